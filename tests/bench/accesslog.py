#!/usr/bin/python3
"""What the JSON access log costs of the throughput of hello (to hold: 10 % to a file, 15 % to a pipe
with a reader).

One worker, 16 connections, alternately without a log, with one in a regular file and with one in a pipe
that somebody reads; medians over the rounds. Beside the requests a second, the worker's processor time
for one request, which means something on a machine that has other things to do, too.

    tests/bench/accesslog.py BUILD_DIR [rounds] [format]
"""
import os
import re
import subprocess
import sys
import tempfile

from harness import Server, median

SECONDS = 2


def worker_cpu_s(server):
    pid = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True,
                         check=True).stdout.split()[0]
    with open(f"/proc/{pid}/schedstat") as stat:
        return int(stat.read().split()[0]) / 1e9


def measure(server):
    """Requests a second, and the worker's microseconds for one."""
    before = worker_cpu_s(server)
    out = subprocess.run(["wrk", "-t1", "-c16", f"-d{SECONDS}s", f"http://127.0.0.1:{server.port}/"],
                         capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"accesslog: wrk failed:\n{out}")
    requests = int(re.search(r"(\d+) requests in", out)[1])
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
            1e6 * (worker_cpu_s(server) - before) / requests)


def more(name, value, base):
    return f"{name} {value:.2f} us ({100 * (value / base - 1):+.1f} %)"


def report(form, results):
    rates, costs = ({name: median([pair[i] for pair in pairs]) for name, pairs in results.items()}
                    for i in (0, 1))
    print(f"access log ({form}): without {rates['without']:.0f} requests/s; " + ", ".join(
        f"{name} {rates[name]:.0f} ({100 * (1 - rates[name] / rates['without']):.1f} % less)"
        for name in ("file", "pipe")))
    print(f"  the worker's time for one: without {costs['without']:.2f} us; " + ", ".join(
        more(name, costs[name], costs["without"]) for name in ("file", "pipe")))


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    form = sys.argv[3] if len(sys.argv) > 3 else "json"
    common = ("-w", "1", "--access-logformat", form)
    app = f"{build}/examples/hello.so:handler"
    results = {"without": [], "file": [], "pipe": []}
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "access.log")
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
            with Server(build, "-w", "1", app) as without, \
                 Server(build, *common, "--access-logfile", log, app) as to_file, \
                 Server(build, *common, "--access-logfile", "-", app,
                        stdout=reader.stdin) as to_pipe:
                reader.stdin.close()
                for _ in range(rounds):
                    results["without"].append(measure(without))
                    results["file"].append(measure(to_file))
                    os.truncate(log, 0)
                    results["pipe"].append(measure(to_pipe))
    report(form, results)


main()
