#!/usr/bin/python3
"""Prints what one request costs gcorn: user instructions (callgrind) and system calls (strace).

Both are differences of two run lengths, so start and end do not count, and neither depends on what
else the machine does. The application is hello, the request h2load's own (two fields) or what a
browser sends (15 fields, some 680 bytes).

    tests/bench/count.py BUILD_DIR [gcorn arguments...]
    tests/bench/count.py --check BUILD_DIR

--check holds it against the figures in counts.txt: instructions may differ by 3 % where the file has
a line for this compiler and C library, and are only told where it has none; reads and writes are
exactly one each. What a tool is missing for is left out, but in CI (CI=true), which installs them, it fails. --check prints the line for the file.
"""
import glob
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SHORT, LONG = 2000, 12000
STRACE_SHORT, STRACE_LONG = 100, 1100
FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counts.txt")
TOLERANCE = 0.03
# Always the same: gcorn's heap holds a copy of it, and where that ends decides whether what a request
# compares lies near the end of a page, which costs glibc's strncmp up to 100 instructions more.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
BROWSER = [
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-encoding: gzip, deflate, br, zstd", "accept-language: en-US,en;q=0.9,de;q=0.8",
    "cache-control: max-age=0", "connection: keep-alive",
    "cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1",
    'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24"', "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"', "sec-fetch-dest: document", "sec-fetch-mode: navigate",
    "sec-fetch-site: none", "upgrade-insecure-requests: 1",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/128.0.0.0 Safari/537.36",
]


def start(build, arguments, prefix, log):
    command = prefix + [f"{build}/gcorn", "--workers", "1", "-b", "127.0.0.1:0", "--no-fair-close",
                        "--timeout", "0", "--heartbeat", "0", *arguments,
                        f"{build}/examples/hello.so:handler"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
                              cwd=os.path.dirname(log))
    port = None
    with open(log, "w") as out:
        for line in server.stderr:
            out.write(line)
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
            port = int(found[1]) if found else port
            if "Booting worker" in line and port:
                return server, port
    raise SystemExit(f"count: gcorn did not start; see {log}")


def load(port, requests, clients, fields=()):
    own = [word for field in fields for word in ("-H", field)]
    output = subprocess.run(["h2load", "--h1", "-n", str(requests), "-c", str(clients), "-t", "1",
                             *own, f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout
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


def instructions(build, arguments, requests, directory, fields):
    out = os.path.join(directory, f"callgrind.{requests}")
    server, port = start(build, arguments, ["valgrind", "-q", "--tool=callgrind",
                                            f"--callgrind-out-file={out}.%p"],
                         os.path.join(directory, "log"))
    load(port, requests, 8, fields)
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


def each_instructions(build, arguments, directory, fields=()):
    short, _ = instructions(build, arguments, SHORT, directory, fields)
    long, profile = instructions(build, arguments, LONG, directory, fields)
    if os.environ.get("COUNT_PROFILE"):
        shutil.copy(profile, os.environ["COUNT_PROFILE"])
    for name in glob.glob(os.path.join(directory, "callgrind.*")):
        os.unlink(name)
    return (long - short) / (LONG - SHORT)


def each_system_calls(build, arguments, directory, clients):
    before = system_calls(build, arguments, STRACE_SHORT, clients, directory)
    after = system_calls(build, arguments, STRACE_LONG, clients, directory)
    return {name: (count - before.get(name, 0)) / (STRACE_LONG - STRACE_SHORT)
            for name, count in after.items() if name != "total"}


def missing(*tools):
    return [tool for tool in tools if not shutil.which(tool)]


def report(build, arguments, directory):
    if missing("h2load", "valgrind", "strace"):
        raise SystemExit("count: needs h2load, valgrind and strace (make deps-bench)")
    print(f"user instructions a request of a browser: "
          f"{each_instructions(build, arguments, directory, BROWSER):.0f}")
    print(f"user instructions a request: {each_instructions(build, arguments, directory):.0f}")
    for clients in (1, 8):
        each = each_system_calls(build, arguments, directory, clients)
        listed = ", ".join(f"{name} {value:.2f}" for name, value in
                           sorted(each.items(), key=lambda item: -item[1]) if value >= 0.01)
        print(f"system calls a request, {clients} connection(s): "
              f"{sum(each.values()):.2f} ({listed})")


def toolchain(build):
    """What the instructions depend on beside the source: gcc-12.2.0 glibc-2.36 x86_64."""
    comment = subprocess.run(["readelf", "-p", ".comment", f"{build}/gcorn"], capture_output=True,
                             text=True).stdout
    compiler = re.search(r"(GCC|clang)\D*?(?:\(.*?\) |version )(\d[\d.]*)", comment)
    name = f"{compiler[1].lower()}-{compiler[2]}" if compiler else "unknown"
    return f"{name} {'-'.join(platform.libc_ver())} {platform.machine()}"


def expected(name):
    with open(FIGURES) as figures:
        for line in figures:
            if line.startswith(name + ": "):
                return [int(number) for number in line[len(name) + 2:].split()]
    return None


def check_instructions(build, directory):
    name = toolchain(build)
    counts = [round(each_instructions(build, [], directory, fields)) for fields in ((), BROWSER)]
    line = f"{name}: {counts[0]} {counts[1]}"
    wanted = expected(name)
    if not wanted:
        print(f"count: {line} (no such line in counts.txt, so nothing to hold it against)")
        return True
    fits = all(abs(count - figure) <= TOLERANCE * figure for count, figure in zip(counts, wanted))
    print(f"count: {line} (counts.txt: {wanted[0]} {wanted[1]})")
    if not fits:
        print("count: more than 3 % off. If that is meant, or good news, put this line there.")
    return fits


def check_system_calls(build, directory):
    fits = True
    for clients in (1, 8):
        each = each_system_calls(build, [], directory, clients)
        reads = sum(each.get(name, 0) for name in ("read", "recvfrom", "recvmsg", "readv"))
        writes = sum(each.get(name, 0) for name in ("write", "sendto", "sendmsg", "writev"))
        print(f"count: {clients} connection(s): {reads:g} reads and {writes:g} writes a "
              "request")
        # what the run's length adds in heartbeats is less than a tenth
        fits = fits and round(reads, 1) == 1 and round(writes, 1) == 1
    return fits


def check(build, directory):
    fits, lacks = True, missing("h2load", "valgrind", "strace")
    if lacks and os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        print(f"count: {', '.join(lacks)}: not installed, and CI installs it: see DEPS_TEST in the Makefile")
        return False
    if missing("h2load"):
        print("count: h2load is not installed: nothing is counted")
        return True
    if missing("valgrind"):
        print("count: valgrind is not installed: no instructions are counted")
    else:
        fits = check_instructions(build, directory)
    if missing("strace"):
        print("count: strace is not installed: no system calls are counted")
        return fits
    return check_system_calls(build, directory) and fits


def main():
    checks = sys.argv[1] == "--check"
    build, *arguments = sys.argv[2:] if checks else sys.argv[1:]
    build = os.path.abspath(build)
    with tempfile.TemporaryDirectory() as directory:
        if not checks:
            report(build, arguments, directory)
        elif not check(build, directory):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
