"""What the benchmarks share: a gcorn started on a free port and stopped again, percentiles."""
import os
import re
import signal
import statistics
import subprocess
import time

PATIENCE_S = 30


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    if int(stat.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found.append(int(entry))
            except OSError:
                pass
    return found


def is_ready_worker(pid):
    """One catches TERM from when it is ready on, and blocks it while it dies of a crash."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            masks = dict(line.split()[:2] for line in status if line.startswith("Sig"))
    except OSError:
        return False
    return [int(masks[name], 16) >> (signal.SIGTERM - 1) & 1
            for name in ("SigCgt:", "SigBlk:")] == [1, 0]


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

    def wait_ready(self, workers):
        """Until the master has so many workers, all ready, and no other child: nobody dies any
        more, nobody is explained."""
        until = time.monotonic() + PATIENCE_S
        while True:
            now = children(self.process.pid)
            if len(now) == workers and all(map(is_ready_worker, now)):
                return
            if time.monotonic() > until:
                raise SystemExit(f"gcorn has no {workers} ready workers within {PATIENCE_S} s")
            time.sleep(0.005)

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
