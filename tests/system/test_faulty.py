# SPDX-License-Identifier: MIT
"""examples/faulty does what its paths say, seen from where any server would see it: which process
ends, and whether the client has an answer. What gcorn makes of the faults is tested elsewhere."""
import os
import signal

import pytest

from harness import SANITIZED, wait_for

KILLED = ["/segv", "/own-thread-segv", "/steals-sigsegv"]


def the_worker(server):
    worker, = server.workers
    return worker.pid


@pytest.mark.parametrize("path", KILLED)
def test_a_fault_ends_the_worker_and_another_serves(gcorn, path):
    server = gcorn("faulty")
    old = the_worker(server)
    server.ask(path)
    server.wait_workers(1, other_than={old})
    assert server.get("/").status == 200


def test_fault_in_a_forked_child_harms_no_worker(gcorn):
    server = gcorn("faulty")
    old = the_worker(server)
    assert server.get("/fork-segv").text == f"the child's signal is {signal.SIGSEGV:d}\n"
    assert server.get("/").status == 200
    assert the_worker(server) == old


def test_call_that_blocks_all_signals_is_killed(gcorn):
    server = gcorn("faulty", "-t", "300")
    old = the_worker(server)
    server.ask("/block-signals")

    def blocks(number):
        mask = server.workers[0].status("SigBlk") if server.workers else ""
        return bool(int(mask or "0", 16) >> (number - 1) & 1)

    wait_for(lambda: blocks(signal.SIGABRT) and blocks(signal.SIGTERM), "the signals to be blocked")
    os.kill(old, signal.SIGABRT)
    assert the_worker(server) == old
    os.kill(old, signal.SIGKILL)
    server.wait_workers(1, other_than={old})


@pytest.mark.parametrize("framing, version", [("chunked", "1.1"), ("counted", "1.1"),
                                              ("close", "1.0")])
def test_crash_during_a_body_comes_after_its_first_bytes(gcorn, framing, version):
    server = gcorn("faulty")
    old = the_worker(server)
    client = server.connect().send(f"GET /crash-midstream?framing={framing} HTTP/{version}\r\n"
                                   "Host: test\r\n\r\n")
    got = b""
    while b"some bytes of the body\n" not in got:
        data = client.socket.recv(4096)
        assert data, got
        got += data
    head = got.partition(b"\r\n\r\n")[0].decode().lower()
    assert ("transfer-encoding: chunked" in head) == (framing == "chunked")
    assert ("content-length: 1000000" in head) == (framing == "counted")
    server.wait_workers(1, other_than={old})


def test_the_framing_must_fit_the_client(gcorn):
    server = gcorn("faulty")
    assert server.get("/crash-midstream?framing=close").status == 400
    assert server.get("/crash-midstream?framing=chunked", version="1.0").status == 400


@pytest.mark.skipif(SANITIZED, reason="the sanitizers report it: test_sanitizers.py")
def test_a_use_after_free_may_go_unnoticed(gcorn):
    server = gcorn("faulty", "--workers", "2")
    client = server.ask("/uaf")
    try:
        assert client.socket.recv(4096)[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 500", b"")
    except ConnectionResetError:
        pass
    server.wait_workers(2)
    assert server.get("/").status == 200
