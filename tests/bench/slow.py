#!/usr/bin/python3
"""What 1,000 slow clients do to a normal one (to hold: p50 within 1.5 times, p99 within 1.5 times + 1 ms).

2 workers. A third of the attackers send a head, a third a body, a byte a second each; a third do not
read their answer of 1 MB. Quiet and attacked phases alternate; medians over the rounds.

    tests/bench/slow.py BUILD_DIR [rounds] [attackers]
"""
import multiprocessing
import resource
import select
import socket
import sys
import time

from harness import Server, median, percentile

PHASE_S = 3
BODY = 1 << 20


def attacker(port, kind):
    """A connected slow client and the bytes that it will trickle."""
    client = socket.create_connection(("127.0.0.1", port))
    if kind == 0:
        return client, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 4000
    if kind == 1:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        return client, b"b" * 10000
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY)
    client.sendall(b"c" * BODY)
    return client, b""


def attack(port, count, ready, stop):
    """Holds count slow clients open until told to stop; one that is closed is replaced."""
    clients = [(*attacker(port, i % 3), i % 3) for i in range(count)]
    at = 0
    ready.set()
    while not stop.is_set():
        began = time.monotonic()
        at += 1
        for i, (client, trickle, kind) in enumerate(clients):
            try:
                if trickle:
                    client.send(trickle[at % len(trickle):][:1])
            except OSError:
                client.close()
                clients[i] = (*attacker(port, kind), kind)
        # the rest of the second
        stop.wait(max(0, 1 - (time.monotonic() - began)))
    for client, _, _ in clients:
        client.close()


def normal(port):
    took = []
    client = socket.create_connection(("127.0.0.1", port))
    until = time.monotonic() + PHASE_S
    while time.monotonic() < until:
        began = time.monotonic()
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = client.recv(65536)
        took.append(1000 * (time.monotonic() - began))
        if not answer or b"Connection: close" in answer:
            client.close()
            client = socket.create_connection(("127.0.0.1", port))
        # a client thinks a little, or it would measure only itself
        select.select([], [], [], 0.0005)
    client.close()
    return took


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    p50, p99 = {False: [], True: []}, {False: [], True: []}
    with Server(build, "-w", "2", f"{build}/examples/environ.so:handler") as server:
        for turn in range(2 * rounds):
            attacked = turn % 2 == 1
            stop, ready = multiprocessing.Event(), multiprocessing.Event()
            process = None
            if attacked:
                process = multiprocessing.Process(target=attack,
                                                  args=(server.port, count, ready, stop))
                process.start()
                ready.wait()
            took = normal(server.port)
            if process:
                stop.set()
                process.join()
            p50[attacked].append(percentile(took, 0.5))
            p99[attacked].append(percentile(took, 0.99))
    print(f"slow clients: {count} against 2 workers, a normal client's ms (median of {rounds})")
    for attacked, name in ((False, "quiet"), (True, "attacked")):
        print(f"  {name:9} p50 {median(p50[attacked]):.3f}  p99 {median(p99[attacked]):.3f}")
    print(f"  ratio     p50 {median(p50[True]) / median(p50[False]):.2f}  "
          f"p99 {median(p99[True]) / median(p99[False]):.2f}")


main()
