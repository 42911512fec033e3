# SPDX-License-Identifier: MIT
"""Nothing grows: requests of every kind, a third of whose clients leave half-way, then as many as
before. `make soak` has the numbers that must hold, 100,000 requests; here they are fewer. Under the
sanitizers, whose memory says nothing, the worker looks for leaks when it ends."""
import os
import random
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from harness import PATIENCE, SANITIZED, Process, wait_for

REQUESTS = int(os.environ.get("GCORN_SOAK") or 6000)
WARM = max(REQUESTS // 10, 2000)  # until every buffer has been as large as it gets
GROWTH_MAX_KIB = 256
CLIENTS = 8  # at once

TARGETS = ["/text", "/buffer?n=1", "/buffer?n=100", "/file?n=5", "/file?n=500", "/stream?n=1",
           "/stream?n=40", "/wait?n=0", "/wait?n=3", "/wait?n=20", "/fails?n=0", "/fails?n=3",
           "/null", "/nothing"]


def request(chance):
    """A request's bytes, its method, and whether its answer ends the connection early."""
    kind = chance.randrange(8)
    if kind < 2:
        body = bytes(chance.choice([0, 10, 20000, 200000]))
        target = f"/echo?n={kind}&wrap={chance.randrange(3)}"
        if chance.randrange(2):
            framed = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 50000]), body[i:i + 50000])
                              for i in range(0, len(body), 50000)) + b"0\r\n\r\n"
            return (f"POST {target} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .encode() + framed, "POST", False)
        return (f"POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body, "POST", False)
    if kind == 2 and chance.randrange(10) == 0:
        return b"GET /\x01 HTTP/1.1\r\nHost: t\r\n\r\n", "GET", True
    method = "HEAD" if kind == 2 else "GET"
    target = chance.choice(TARGETS)
    breaks = target == "/fails?n=3" and method == "GET"
    target += ("&" if "?" in target else "?") + f"wrap={chance.randrange(3)}"
    return f"{method} {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode(), method, breaks


def leave(client, data, chance):
    """Within the request, before the answer, or within it; by a close or a reset."""
    client.send(data[:chance.randrange(1, len(data))] if chance.randrange(3) == 0 else data)
    if chance.randrange(2):
        client.socket.settimeout(0.001 * chance.randrange(1, 5))
        try:
            client.socket.recv(chance.randrange(1, 20000))
        except TimeoutError:
            pass
    if chance.randrange(2):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve_connection(server, chance, budget):
    """How many requests were made."""
    leaves = chance.randrange(3) == 0
    stays = chance.randrange(5)
    with server.connect() as client:
        server.clients.remove(client)
        for done in range(min(stays + 1, budget)):
            data, method, breaks = request(chance)
            if leaves and done == stays:
                leave(client, data, chance)
            elif breaks:
                client.send(data).rest()
                return done + 1
            elif client.send(data).response(method).closes:
                return done + 1
    return min(stays + 1, budget)


def run_clients(server, requests, seed):
    wrong = []

    def run(number):
        chance, left = random.Random(seed * CLIENTS + number), requests // CLIENTS
        try:
            while left > 0:
                left -= serve_connection(server, chance, left)
        except (AssertionError, OSError) as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def buffers(worker):
    """How many mappings may not be of huge pages (proc(5), VmFlags: nh): buffers of bodies, and stacks."""
    return len(re.findall(r"^VmFlags:.* nh\b", Path(f"/proc/{worker.pid}/smaps").read_text(), re.M))


def weigh(server):
    """Kilobytes and descriptors of the worker, when all clients are gone, and buffers of their bodies."""
    worker, = server.workers
    own = server.idle_sockets
    wait_for(lambda: worker.sockets == own, "the connections to end", 3 * PATIENCE)
    wait_for(lambda: SANITIZED or buffers(worker) <= server.idle_buffers,
             "the memory of bodies to go back")
    return int(Process(worker.pid).status("VmRSS").split()[0]), len(os.listdir(f"/proc/{worker.pid}/fd"))


@pytest.mark.parametrize("threads", [(), ("--threads", "4")], ids=["sync", "gthread"])
def test_nothing_grows(gcorn, app, threads):
    server = gcorn(f"{app('mixed')}:handler", "--access-logfile", "/dev/null", *threads)
    worker, = server.workers
    server.idle_sockets, server.idle_buffers = worker.sockets, buffers(worker)
    run_clients(server, WARM, 1)
    before = weigh(server)
    run_clients(server, REQUESTS - WARM, 2)
    after = weigh(server)
    print(f"{WARM} requests: {before[0]} KiB, {before[1]} descriptors; "
          f"{REQUESTS}: {after[0]} KiB, {after[1]}")
    assert server.worker_pids == {worker.pid}
    assert after[1] == before[1]
    if not SANITIZED:
        assert after[0] <= before[0] + GROWTH_MAX_KIB
    assert server.stop() == 0
    assert "Sanitizer" not in server.log()
