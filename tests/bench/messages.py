#!/usr/bin/python3
"""What messages between workers cost (gcorn_publish), and how long one takes to sleeping workers.

    tests/bench/messages.py [RATE SIZE SECONDS]        (100000 100 60)

A server of 4 workers with tests/system/apps/messages.c. First one worker publishes RATE messages of SIZE
bytes a second, from a thread that wakes up each millisecond; all four have subscribed. Printed for each:
what it has received and lost, and its processor time a message, with what else it did. Then an idle worker
publishes one message every 20 ms, 1,000 times: how long until the last of its three sleeping siblings has it.
Last, how often idle workers are woken. Exits with 1 when a limit does not hold: nothing lost, 3 us at the
publisher (which reads its own messages too) and 2 us at each reader.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GCORN_BUILD", REPO / "build"))
WORKERS, PUBLISHER_US, READER_US, P99_US = 4, 3.0, 2.0, 1000


def get(path, target):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.0\r\nHost: t\r\n\r\n".encode())
        answer = b""
        while data := client.recv(1 << 16):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def rows(path):
    lines = [list(map(int, line.split())) for line in get(path, "/rows").splitlines()]
    return {line[1]: dict(zip(("received", "lost", "disorder", "torn", "slowest_us"), line[2:]))
            for line in lines}


def cpu_us(pid):
    """Of all threads, also those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e6


def switches(pid):
    return sum(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
               if "ctxt_switches" in line)


def measure_stream(path, rate, size, seconds):
    before = {pid: cpu_us(pid) for pid in rows(path)}
    get(path, f"/rate?rate={rate}&size={size}&ms={seconds * 1000}")
    count = rate * seconds
    deadline = time.monotonic() + seconds * 3 + 5
    while time.monotonic() < deadline:
        time.sleep(1)
        if all(r["received"] + r["lost"] >= count for r in rows(path).values()):
            break
    is_good = True
    costs = {pid: (cpu_us(pid) - cpu) / count for pid, cpu in before.items()}
    publisher = max(costs, key=costs.get)
    for pid, row in rows(path).items():
        limit = PUBLISHER_US + READER_US if pid == publisher else READER_US
        name = "publisher" if pid == publisher else "reader"
        print(f"{name:9} received {row['received']} of {count}, lost {row['lost']}, torn {row['torn']}, "
              f"out of order {row['disorder']}, {costs[pid]:.2f} us a message")
        is_good = is_good and row["received"] == count and costs[pid] <= limit and row["torn"] == 0
    return is_good


def measure_latency(path):
    times = sorted(int(word) for word in get(path, "/latency?count=1000&ms=20").split())
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"one message to {WORKERS - 1} sleeping workers, {len(times)} times: p50 {p50} us, p99 {p99} us, "
          f"longest {times[-1]} us")
    return p99 < P99_US


def measure_idle(path):
    pids = list(rows(path))
    before = sum(switches(pid) for pid in pids)
    time.sleep(10)
    print(f"idle: {(sum(switches(pid) for pid in pids) - before) / 10 / len(pids):.2f} context switches a second "
          "and worker (the heartbeat is 1)")


def main():
    rate, size, seconds = (int(word) for word in sys.argv[1:4] or ("100000", "100", "60"))
    with tempfile.TemporaryDirectory() as directory:
        app, path = Path(directory, "messages.so"), Path(directory, "s")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-D_GNU_SOURCE", f"-I{REPO}/include", "-o", app,
                        REPO / "tests/system/apps/messages.c"], check=True)
        with subprocess.Popen([BUILD / "gcorn", "--workers", str(WORKERS), "--bind", f"unix:{path}",
                               "--log-level", "warning", f"{app}:handler"]) as server:
            while not path.exists():
                time.sleep(0.1)
            time.sleep(1)
            print("load average", Path("/proc/loadavg").read_text().split()[0])
            is_good = measure_stream(path, rate, size, seconds)
            is_good = measure_latency(path) and is_good
            measure_idle(path)
            server.send_signal(signal.SIGTERM)
    sys.exit(not is_good)


main()
