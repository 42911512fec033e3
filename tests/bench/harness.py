"""What the benchmarks share: a gcorn started on a free port and stopped again, percentiles."""
import re
import signal
import statistics
import subprocess


class Server:
    """gcorn with these arguments, serving when the constructor returns."""

    def __init__(self, build, *arguments, stdout=None):
        self.process = subprocess.Popen([f"{build}/gcorn", "-b", "127.0.0.1:0", *arguments],
                                        stdout=stdout, stderr=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stderr:
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        if not self.port:
            raise SystemExit("gcorn did not start")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        self.process.stderr.read()
        self.process.wait()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values):
    return statistics.median(values)
