#!/usr/bin/python3
"""What forks of an application's handlers cost its other requests (to hold: p99 within 1.2 times).

1 gthread worker of 4 threads answers a client that measures its waits. Two more clients have handlers
make children, 100 a second in all, and wait for each. The phases of a round:

    quiet      nothing else happens
    elsewhere  another server's handlers fork: the same CPU time is used, and as many other requests
               are served, but the process that is measured does not fork
    fork       handlers of the measured server fork
    spawn      they run a program by posix_spawn, which copies no memory

"fork" over "elsewhere" is what a fork costs the process that forks: while the kernel copies the
tables of its memory, threads that write to memory wait (mmap_lock), and later each first write to a
page copies it. "elsewhere" over "quiet" is what this machine's processors cost. With "connection" the
client makes a connection for each request; at 10,000 a second 100 forks are its slowest 1 %, so that
its p99 is nearly that of requests that met a fork.

    tests/bench/forks.py BUILD_DIR [rounds] [forks a second]

On a machine with other load: `chrt -f 5 tests/bench/forks.py ...`
"""
import multiprocessing
import random
import socket
import sys
import time

from harness import Server, median, percentile

PHASE_S = 2
FORKERS = 2
SHARES = (0.5, 0.99)


def request(client, path):
    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    answer = client.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"forks: answered {answer[:40]!r}")


def connect(port):
    return socket.create_connection(("127.0.0.1", port))


def disturb(targets, rate, begin, stop):
    """Requests to both servers at a time, from `begin` on."""
    clients, due = [(connect(port), path) for port, path in targets], begin
    while not stop.wait(max(0, due - time.monotonic())):
        for client, path in clients:
            request(client, path)
        due += 1 / rate
    for client, _ in clients:
        client.close()


def normal(port, keep_alive):
    took, until = [], time.monotonic() + PHASE_S
    client = connect(port)
    while time.monotonic() < until:
        began = time.monotonic()
        request(client, b"/")
        if not keep_alive:
            client.close()
            client = connect(port)
        took.append(1000 * (time.monotonic() - began))
    client.close()
    return took


def phase(port, keep_alive, targets, rate):
    """Two handlers do not fork at once: what is measured is a fork, not two that wait for each
    other."""
    stop, begin = multiprocessing.Event(), time.monotonic() + 0.1
    clients = [multiprocessing.Process(target=disturb, args=(targets, rate / FORKERS,
                                                             begin + i / rate, stop))
               for i in range(FORKERS if targets else 0)]
    for process in clients:
        process.start()
    time.sleep(max(0, begin - time.monotonic()))
    took = normal(port, keep_alive)
    stop.set()
    for process in clients:
        process.join()
    return took


def measure(port, other, keep_alive, rounds, rate):
    """The waits of each phase, a list a round."""
    phases = {"quiet": (), "elsewhere": ((port, b"/"), (other, b"/fork-exit")),
              "fork": ((port, b"/fork-exit"), (other, b"/")),
              "spawn": ((port, b"/spawn"), (other, b"/"))}
    waits = {name: [] for name in phases}
    for _ in range(rounds):
        for name in random.sample(list(phases), len(phases)):
            waits[name].append(phase(port, keep_alive, phases[name], rate))
    return waits


def ratio(waits, name, base):
    """The median of the rounds' ratios of p99."""
    return median([percentile(took, 0.99) / percentile(without, 0.99)
                   for took, without in zip(waits[name], waits[base])])


def main():
    build = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    arguments = [build, "-w", "1", "-k", "gthread", "--threads", "4",
                 f"{build}/examples/faulty.so:handler"]
    print(f"forks: {rate} a second in a gthread worker, another client's ms (median of {rounds}), "
          "ratios of p99")
    with Server(*arguments) as server, Server(*arguments) as other:
        server.wait_ready(1)
        other.wait_ready(1)
        for keep_alive, kind in ((True, "keep-alive"), (False, "connection")):
            waits = measure(server.port, other.port, keep_alive, rounds, rate)
            for name, phases in waits.items():
                p50, p99 = (median([percentile(took, share) for took in phases]) for share in SHARES)
                print(f"  {kind:10} {name:9} p50 {p50:.3f} p99 {p99:.3f}, over quiet "
                      f"{ratio(waits, name, 'quiet'):.2f}, over elsewhere "
                      f"{ratio(waits, name, 'elsewhere'):.2f}", flush=True)


main()
