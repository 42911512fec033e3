#!/usr/bin/python3
"""Fairness between workers: what a quick request waits for behind slow ones, and who takes them.

The experiment of fair_close:

4 workers, 16 clients; 90 % of the calls take 1 ms, 10 % take 100 ms; a client thinks for 100 ms.
Printed is the p95 of the 1 ms requests with keep-alive connections, with a connection per request
in the same run, over all rounds together, and their ratio (to hold: at most 2); beside it, what it
is without fair_close. Of single rounds the p95 says little: 12 % of the requests find no worker free,
so it lies where waiting begins, and is 5 ms in one round and 90 in the next, either way.

Then the shares: 300 new connections to 8 workers, each with a call of 50 ms; no worker should answer
over twice its share. Beside it, when all are made before the first request is sent: then nobody is slow
yet while they are taken. Printed are all rounds together (the one that got most in each, and so on) and
the worst.

    tests/bench/fair.py BUILD_DIR [seconds a round] [rounds]
"""
import asyncio
import collections
import os
import random
import socket
import sys
import tempfile
import time

from harness import Server, percentile

WORKERS, CLIENTS, THINK_S = 4, 16, 0.1
SLOW_SHARE, SLOW_MS, QUICK_MS = 0.1, 100, 1
SHARE_WORKERS, SHARE_CONNECTIONS, SHARE_MS = 8, 300, 50


async def request(port, connection, ms, keep_alive):
    """One request, on the connection given or a new one. The connection to go on with, or None."""
    reader, writer = connection or await asyncio.open_connection("127.0.0.1", port)
    close = "" if keep_alive else "Connection: close\r\n"
    writer.write(f"GET /sleep?ms={ms} HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    if b"connection: close" in head.lower() or not keep_alive:
        writer.close()
        return None
    return reader, writer


async def client(port, keep_alive, until, quick, seed):
    chance = random.Random(seed)
    connection = None
    await asyncio.sleep(chance.random() * THINK_S)
    while time.monotonic() < until:
        slow = chance.random() < SLOW_SHARE
        began = time.monotonic()
        connection = await request(port, connection, SLOW_MS if slow else QUICK_MS, keep_alive)
        if not slow:
            quick.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(THINK_S)
    if connection:
        connection[1].close()


async def measure(port, keep_alive, seconds, seed):
    quick = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(client(port, keep_alive, until, quick, seed * 100 + i)
                           for i in range(CLIENTS)))
    return quick


def fair_close(build, seconds, rounds):
    """Prints the figures; the ratio of p95 with keep-alive connections and with new ones."""
    app = f"{build}/examples/faulty.so:handler"
    ways = {"a connection per request": ([], False), "keep-alive": ([], True),
            "keep-alive, --no-fair-close": (["--no-fair-close"], True)}
    p95 = {way: [] for way in ways}
    everything = {way: [] for way in ways}
    for turn in range(rounds):
        for way, (arguments, keep_alive) in ways.items():
            with Server(build, "-w", str(WORKERS), "--log-level", "info", *arguments, app) as server:
                quick = asyncio.run(measure(server.port, keep_alive, seconds, turn))
            everything[way] += quick
            p95[way].append(percentile(quick, 0.95))
    all_p95 = {}
    print("fair_close: the 1 ms requests, ms")
    for way in ways:
        all_p95[way] = percentile(everything[way], 0.95)
        print(f"  {way:30} p50 {percentile(everything[way], 0.5):6.1f}  p95 {all_p95[way]:6.1f}   "
              f"(by round: {', '.join(f'{value:.1f}' for value in p95[way])})")
    ratio = all_p95["keep-alive"] / all_p95["a connection per request"]
    by_round = [kept / new for kept, new in zip(p95["keep-alive"], p95["a connection per request"])]
    print(f"  p95 keep-alive / connection per request: {ratio:.2f} "
          f"(by round: {min(by_round):.2f} to {max(by_round):.2f})")
    return ratio


def storm(port, send_at_once):
    text = f"GET /sleep?ms={SHARE_MS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    clients = []
    for _ in range(SHARE_CONNECTIONS):
        clients.append(socket.create_connection(("127.0.0.1", port)))
        if send_at_once:
            clients[-1].sendall(text)
    for one in clients:
        if not send_at_once:
            one.sendall(text)
    for one in clients:
        assert one.recv(1000), "a request has no answer"
        one.close()


def share_counts(build, send_at_once):
    """How many connections each worker answered, the most first."""
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "access")
        with Server(build, "-w", str(SHARE_WORKERS), "--access-logfile", log, "--access-logformat",
                    "%(p)s", f"{build}/examples/faulty.so:handler") as server:
            server.wait_ready(SHARE_WORKERS)
            storm(server.port, send_at_once)
        with open(log) as lines:
            counts = sorted(collections.Counter(lines.read().split()).values(), reverse=True)
    assert sum(counts) == SHARE_CONNECTIONS, counts
    return counts + [0] * (SHARE_WORKERS - len(counts))


def shares(build, rounds):
    """Prints how many connections each worker answered; the most in any round, in shares."""
    share, worst = SHARE_CONNECTIONS / SHARE_WORKERS, 0
    print(f"shares: {SHARE_CONNECTIONS} new connections with calls of {SHARE_MS} ms, "
          f"{SHARE_WORKERS} workers, {rounds} rounds")
    for send_at_once, title in ((True, "requests sent at once"), (False, "connections made first")):
        counts = [share_counts(build, send_at_once) for _ in range(rounds)]
        means = [sum(ranked) / rounds for ranked in zip(*counts)]
        most = max(counts)
        print(f"  {title:24} {' '.join(f'{mean:.0f}' for mean in means)}: {means[0] / share:.2f} shares; "
              f"worst {' '.join(map(str, most))}: {most[0] / share:.2f}")
        worst = max(worst, most[0] / share)
    return worst


def main():
    build = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    fair_close(build, seconds, rounds)
    shares(build, rounds)


if __name__ == "__main__":
    main()
