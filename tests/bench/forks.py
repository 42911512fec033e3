#!/usr/bin/python3
"""What forks of an application's handlers cost its other requests (to hold: p99 within 1.2 times).

1 gthread worker of 4 threads. In every other phase two clients have a handler fork 100 children a
second, and wait for each; the others' waits are compared. A child closes what it has of the server,
and the fork holds up connections that are accepted or closed in that moment: with "connection" the
normal client makes a connection for each request.

    tests/bench/forks.py BUILD_DIR [rounds] [forks a second]
"""
import multiprocessing
import socket
import sys
import time

from harness import Server, median, percentile

PHASE_S = 2
FORKERS = 2


def request(client, path):
    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    answer = client.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"forks: answered {answer[:40]!r}")


def fork_on(port, rate, stop):
    client, due = socket.create_connection(("127.0.0.1", port)), time.monotonic()
    while not stop.is_set():
        request(client, b"/fork-exit")
        due += 1 / rate
        stop.wait(max(0, due - time.monotonic()))
    client.close()


def normal(port, keep_alive):
    took, until = [], time.monotonic() + PHASE_S
    client = socket.create_connection(("127.0.0.1", port))
    while time.monotonic() < until:
        began = time.monotonic()
        request(client, b"/")
        if not keep_alive:
            client.close()
            client = socket.create_connection(("127.0.0.1", port))
        took.append(1000 * (time.monotonic() - began))
    client.close()
    return took


def phase(port, keep_alive, rate):
    stop = multiprocessing.Event()
    forkers = [multiprocessing.Process(target=fork_on, args=(port, rate / FORKERS, stop))
               for _ in range(FORKERS if rate else 0)]
    for process in forkers:
        process.start()
    took = normal(port, keep_alive)
    stop.set()
    for process in forkers:
        process.join()
    return took


def compare(port, keep_alive, rounds, rate):
    """The medians of p50, p99 and of each round's ratio of p99."""
    quiet, forking = [], []
    for _ in range(rounds):
        quiet.append(phase(port, keep_alive, 0))
        forking.append(phase(port, keep_alive, rate))
    ratios = [percentile(with_forks, 0.99) / percentile(without, 0.99)
              for without, with_forks in zip(quiet, forking)]
    return [[median([percentile(took, share) for took in phases]) for share in (0.5, 0.99)]
            for phases in (quiet, forking)], median(ratios)


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    print(f"forks: {rate} a second in a gthread worker, another client's ms (median of {rounds})")
    with Server(build, "-w", "1", "-k", "gthread", "--threads", "4",
                f"{build}/examples/faulty.so:handler") as server:
        server.wait_ready(1)
        for keep_alive, name in ((True, "keep-alive"), (False, "connection")):
            (quiet, forking), ratio = compare(server.port, keep_alive, rounds, rate)
            print(f"  {name:10} quiet p50 {quiet[0]:.3f} p99 {quiet[1]:.3f}, forking p50 "
                  f"{forking[0]:.3f} p99 {forking[1]:.3f}, ratio of p99 {ratio:.2f}")


main()
