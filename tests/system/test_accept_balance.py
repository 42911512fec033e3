# SPDX-License-Identifier: MIT
"""Which worker takes a new connection: one that holds few, and another only if that one does not come."""
import collections
import os
import signal

import pytest

WORKERS, CONNECTIONS = 8, 300
ASK = "GET /pid HTTP/1.1\r\nHost: t\r\n\r\n"


def pids_of(clients):
    """Which worker has which connection: all of them ask, and then all are answered."""
    for client in clients:
        client.send(ASK)
    return collections.Counter(int(client.response().text) for client in clients)


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:s"])
@pytest.mark.parametrize("threads", [(), ("--threads", "2")])
def test_connections_made_before_requests_are_spread(gcorn, probe, bind, threads):
    """All workers are idle while they come, so one of them could take them all. In one round of a
    few: on a loaded machine a worker may not have the processor for a whole round."""
    server = gcorn(probe, "--workers", str(WORKERS), *threads, bind=bind)
    for _ in range(4):
        clients = [server.connect() for _ in range(CONNECTIONS)]
        held = pids_of(clients)
        if len(held) == WORKERS and max(held.values()) <= 2 * CONNECTIONS / WORKERS:
            return
        for client in clients:
            client.close()
    raise AssertionError(f"the last round: {held}")


def test_new_worker_gets_new_connections(gcorn, probe):
    """Its siblings have connections already, until it has as many."""
    server = gcorn(probe, "--workers", "2")
    old = pids_of([server.connect() for _ in range(400)])
    gone, stays = old
    os.kill(gone, signal.SIGKILL)
    server.wait_workers(2, other_than=[gone])
    held = pids_of([server.connect() for _ in range(old[stays] // 2)])
    assert held[stays] <= sum(held.values()) / 3, (old, held)


@pytest.mark.parametrize("binds", [("127.0.0.1:0",), ("127.0.0.1:0", "unix:s")])
def test_connection_that_no_sibling_accepts_is_taken(gcorn, probe, binds):
    """A worker that is stopped looks idle, and holds nothing."""
    more = [word for bind in binds[1:] for word in ("--bind", bind)]
    server = gcorn(probe, "--workers", "3", *more, bind=binds[0])
    awake, *asleep = sorted(server.worker_pids)
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    addresses = [server.address, str(server.dir / "s")][: len(binds)]
    try:
        one_by_one = [server.connect(addresses[i % len(binds)]) for i in range(20)]
        for client in one_by_one:
            assert client.get("/pid").text == str(awake)
        at_once = [server.connect(addresses[i % len(binds)]) for i in range(100)]
        assert pids_of(at_once) == {awake: 100}
    finally:
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
