# SPDX-License-Identifier: MIT
"""Many answers that go on as fast as their clients read: each has its turn, and so has a new client."""
import threading
import time

import pytest

from harness import SLOWER, best_of, wait_for


@pytest.fixture
def flood(gcorn, app):
    """apps/flood.c in one worker."""
    return gcorn(f"{app('flood')}:handler")


class Readers:
    """Clients that read as fast as they can, each in a thread; how much each has received."""

    def __init__(self, clients):
        self.totals, self.over = [0] * len(clients), threading.Event()
        self.threads = [threading.Thread(target=self.read, args=pair)
                        for pair in enumerate(clients)]

    def read(self, i, client):
        while not self.over.is_set():
            self.totals[i] += len(client.socket.recv(1 << 18))

    def got_since(self, before):
        return [now - then for now, then in zip(self.totals, before)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("target, turns", [("/stream?piece=10", 2 << 20),
                                           ("/stream?piece=1000", 64 << 20),
                                           ("/bytes?mib=2000", 64 << 20)])
def test_no_answer_starves_another(flood, target, turns):
    """All of them are writable always: the kernel finds them in the same order again and again."""
    with Readers([flood.ask(target) for _ in range(4)]) as readers:
        wait_for(lambda: all(readers.totals), "all to begin")
        before = list(readers.totals)
        wait_for(lambda: max(readers.got_since(before)) > turns, "what takes many turns")
        got = readers.got_since(before)
    # a reader that has little of the processor gets less; three of four once got nothing at all
    assert min(got) > max(got) / 50, got


def test_new_client_is_served_beside_fast_readers(flood):
    with Readers([flood.ask(target) for target in ("/stream?piece=10", "/bytes?mib=2000")] * 2):
        for _ in range(10):
            assert flood.get("/").status == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_new_client_does_not_wait_for_starting_streams(gcorn, app, workers):
    """Each of them could fill a pass of the loop; they must not be taken one a pass."""
    flood = gcorn(f"{app('flood')}:handler", "--workers", workers)

    def seconds():
        streams = [flood.ask("/stream?piece=10&ms=1") for _ in range(200)]
        began = time.monotonic()
        assert flood.get("/").status == 200
        took = time.monotonic() - began
        for stream in streams:
            stream.close()
        return took
    assert best_of(4, seconds) < 200 * 0.005 * SLOWER
