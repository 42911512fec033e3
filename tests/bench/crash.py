#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a crashing worker costs the other clients of the same worker, and the master.

    crash.py BUILD [CRASHES] [CLIENTS]

One worker crashes again and again (faulty's /segv) while CLIENTS keep it busy on keep-alive
connections, 0 to 4 ms between requests. A request is lost when no complete answer comes; a
connection that had been closed before it was used costs nothing. Printed: requests, 503s, losses
(at most 1 in 10,000), and the master's memory and descriptors at crash 100 and at the end.
"""
import os
import random
import socket
import sys
import threading
import time

from harness import Server

LOST_MAX = 1 / 10000
GROWTH_MAX_KIB = 64


class Client(threading.Thread):
    """Keeps one connection busy until told to stop."""

    def __init__(self, port, seed, stop):
        super().__init__(daemon=True)
        self.port, self.stop, self.random = port, stop, random.Random(seed)
        self.answered = self.refused = 0
        self.lost = []

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def is_closed(self, connection):
        connection.setblocking(False)
        try:
            return connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            connection.settimeout(10)

    def one(self, connection):
        """Whether the connection can be used again."""
        connection.sendall(b"GET /sleep?ms=0 HTTP/1.1\r\nHost: t\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"\n"):
            more = connection.recv(65536)
            if not more:
                raise ConnectionError(f"the end after {data!r}")
            data += more
        if data.startswith(b"HTTP/1.1 200 "):
            self.answered += 1
        elif data.startswith(b"HTTP/1.1 503 "):
            self.refused += 1
        else:
            raise ConnectionError(f"answered {data!r}")
        return b"\r\nConnection: close\r\n" not in data

    def run(self):
        connection = None
        while not self.stop.is_set():
            if connection and self.is_closed(connection):
                connection.close()
                connection = None
            connection = connection or self.connect()
            try:
                again = self.one(connection)
            except OSError as error:
                self.lost.append(repr(error))
                again = False
            if not again:
                connection.close()
                connection = None
            time.sleep(self.random.uniform(0, 0.004))


def crash(port):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"GET /segv HTTP/1.1\r\nHost: t\r\n\r\n")
        data = b""
        while more := connection.recv(65536):
            data += more
    return data.startswith(b"HTTP/1.1 500 ")


def weigh(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


def main(build, crashes=1000, clients=32):
    stop = threading.Event()
    with Server(build, "-w", "1", f"{build}/examples/faulty.so:handler") as server:
        drain = threading.Thread(target=server.process.stderr.read, daemon=True)
        drain.start()
        threads = [Client(server.port, seed, stop) for seed in range(clients)]
        for thread in threads:
            thread.start()
        answered_500, at_100 = 0, None
        for number in range(1, crashes + 1):
            answered_500 += crash(server.port)
            if number == min(100, crashes):
                server.wait_ready(1)
                at_100 = weigh(server.process.pid)
            time.sleep(0.02)  # no crash sooner after another
        stop.set()
        for thread in threads:
            thread.join()
        server.wait_ready(1)
        at_end = weigh(server.process.pid)
        drain_ends(server, drain)
    answered = sum(thread.answered for thread in threads)
    refused = sum(thread.refused for thread in threads)
    lost = [why for thread in threads for why in thread.lost]
    total = answered + refused + len(lost)
    print(f"{crashes} crashes, {answered_500} of them answered 500")
    print(f"{total} other requests: {answered} answered, {refused} told 503, {len(lost)} lost "
          f"(at most {total * LOST_MAX:.0f})")
    for why in sorted(set(lost))[:5]:
        print(f"  {lost.count(why)} x {why}")
    print(f"master: {at_100[0]} KiB and {at_100[1]} descriptors at crash {min(100, crashes)}, "
          f"{at_end[0]} KiB and {at_end[1]} at the end")
    good = (answered_500 == crashes and len(lost) <= total * LOST_MAX and
            at_end[0] <= at_100[0] + GROWTH_MAX_KIB and at_end[1] == at_100[1])
    return 0 if good else 1


def drain_ends(server, drain):
    server.process.terminate()
    drain.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
