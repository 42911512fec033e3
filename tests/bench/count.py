#!/usr/bin/python3
"""Prints what one request costs gcorn: user instructions (callgrind) and system calls (strace).

Both are differences of two run lengths, so start and end do not count, and neither depends on what
else the machine does. The request is h2load's (four fields), the application hello.

    tests/bench/count.py BUILD_DIR [gcorn arguments...]
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SHORT, LONG = 2000, 12000
STRACE_SHORT, STRACE_LONG = 100, 1100


def start(build, arguments, prefix, log):
    command = prefix + [f"{build}/gcorn", "--workers", "1", "-b", "127.0.0.1:0", "--no-fair-close",
                        "--timeout", "0", "--heartbeat", "0", *arguments,
                        f"{build}/examples/hello.so:handler"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=os.path.dirname(log))
    port = None
    with open(log, "w") as out:
        for line in server.stderr:
            out.write(line)
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
            port = int(found[1]) if found else port
            if "Booting worker" in line and port:
                return server, port
    raise SystemExit(f"count: gcorn did not start; see {log}")


def load(port, requests, clients):
    output = subprocess.run(["h2load", "--h1", "-n", str(requests), "-c", str(clients), "-t", "1",
                             f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout
    if f"{requests} succeeded" not in output:
        raise SystemExit(f"count: h2load failed:\n{output}")


def stop(server):
    # valgrind and strace pass the signal on, or are the process themselves
    master = server.pid
    children = subprocess.run(["pgrep", "-P", str(master), "-f", "gcorn"], capture_output=True,
                              text=True).stdout.split()
    if server.args[0] == "strace" and children:
        master = int(children[0])
    os.kill(master, signal.SIGTERM)
    server.stderr.read()
    server.wait()


def instructions(build, arguments, requests, directory):
    out = os.path.join(directory, f"callgrind.{requests}")
    server, port = start(build, arguments, ["valgrind", "-q", "--tool=callgrind",
                                            f"--callgrind-out-file={out}.%p"],
                         os.path.join(directory, "log"))
    load(port, requests, 8)
    stop(server)
    totals = []
    for name in glob.glob(out + ".*"):
        with open(name) as profile:
            found = re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)
        totals.append((int(found[1]), name))
    return max(totals)  # the worker's: the master's is far smaller


def system_calls(build, arguments, requests, clients, directory):
    out = os.path.join(directory, f"strace.{requests}.{clients}")
    server, port = start(build, arguments, ["strace", "-f", "-c", "-o", out],
                         os.path.join(directory, "log"))
    load(port, requests, clients)
    stop(server)
    calls = {}
    with open(out) as table:
        for line in table:
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit():
                calls[fields[-1]] = int(fields[3])
    return calls


def main():
    build, arguments = os.path.abspath(sys.argv[1]), sys.argv[2:]
    for tool in ("h2load", "valgrind", "strace"):
        if not shutil.which(tool):
            raise SystemExit(f"count: {tool} is not installed (nghttp2-client, valgrind, strace)")
    with tempfile.TemporaryDirectory() as directory:
        short, _ = instructions(build, arguments, SHORT, directory)
        long, profile = instructions(build, arguments, LONG, directory)
        print(f"user instructions a request: {(long - short) / (LONG - SHORT):.0f}")
        if os.environ.get("COUNT_PROFILE"):
            shutil.copy(profile, os.environ["COUNT_PROFILE"])
        for clients in (1, 8):
            before = system_calls(build, arguments, STRACE_SHORT, clients, directory)
            after = system_calls(build, arguments, STRACE_LONG, clients, directory)
            span = STRACE_LONG - STRACE_SHORT
            each = {name: (count - before.get(name, 0)) / span for name, count in after.items()
                    if name != "total"}
            listed = ", ".join(f"{name} {value:.2f}" for name, value in
                               sorted(each.items(), key=lambda item: -item[1]) if value >= 0.01)
            print(f"system calls a request, {clients} connection(s): "
                  f"{sum(each.values()):.2f} ({listed})")


main()
