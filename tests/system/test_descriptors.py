# SPDX-License-Identifier: MIT
"""An application that closes, replaces or shuts down descriptors of the server (apps/thief.c): its
worker is replaced, and clients are served on."""
import pytest

from harness import PRELOAD_OR_NOT, WORKER_CLASSES, Process, wait_for


@pytest.fixture
def thief(app):
    return f"{app('thief')}:handler"


@WORKER_CLASSES
@pytest.mark.parametrize("how", ["close", "tcp", "udp", "listening", "file"])
def test_a_worker_without_its_listening_socket_is_replaced(gcorn, thief, how, worker_class):
    server = gcorn(thief, *worker_class)
    before = server.worker_pids
    assert server.get(f"/{how}").status == 200
    server.wait_log(r"\[ERROR\] Listening socket http://127.0.0.1:\d+: the application has closed it, "
                    "or put another file in the place of its descriptor; this worker is replaced")
    server.wait_workers(1, other_than=before)
    assert int(server.get("/").text) not in before
    assert "graceful_timeout" not in server.log()


def test_one_of_two_workers_without_its_socket_is_replaced(gcorn, thief):
    server = gcorn(thief, "--workers", "2")
    pid = int(server.get("/listening").text)
    server.wait_log("this worker is replaced")
    wait_for(lambda: not Process(pid).is_alive, "the worker to end")
    server.wait_workers(2, other_than={pid})
    assert server.get("/").status == 200


def test_a_tcp_socket_that_was_shut_down_listens_again(gcorn, thief):
    server = gcorn(thief, "--workers", "2")
    before = server.worker_pids
    assert server.get("/shutdown").status == 200
    server.wait_log(r"Listening socket http://127.0.0.1:\d+: the application has shut it down; "
                    "listening again")
    for _ in range(10):  # by both workers
        assert server.get("/").status == 200
    assert server.worker_pids == before


def test_a_worker_without_its_channel_ends(gcorn, thief):
    server = gcorn(thief)
    before = server.worker_pids
    assert server.get("/channel").status == 200
    server.wait_log(r"\[ERROR\] Worker \(pid:\d+\): the application has closed its channel to the master")
    server.wait_workers(1, other_than=before)
    assert int(server.get("/").text) not in before


@WORKER_CLASSES
def test_a_worker_without_any_descriptor_is_replaced(gcorn, thief, worker_class):
    server = gcorn(thief, *worker_class)
    before = server.worker_pids
    server.ask("/all")
    server.wait_workers(1, other_than=before)
    assert int(server.get("/").text) not in before


@pytest.mark.parametrize("flag", ["-DIGNORES", "-DREAPS"])
@PRELOAD_OR_NOT
def test_an_application_with_its_own_sigchld_boots(gcorn, app, flag, flags):
    server = gcorn(f"{app('thief', flag)}:handler", "--workers", "2", *flags)
    pid = int(server.get("/").text)
    ignores = int(Process(pid).status("SigIgn"), 16) >> 16 & 1
    assert ignores == (flag == "-DIGNORES")
    before = server.worker_pids
    assert server.get("/close").status == 200
    wait_for(lambda: server.worker_pids - before, "a replacement")
    server.wait_workers(2)


@pytest.mark.parametrize("path", ["/all", "/close", "/file", "/channel"])
@pytest.mark.parametrize("flag, flags", [("-DIN_INIT", ()), ("-DIN_LOAD", ()), ("-DIN_INIT", ["--preload"]),
                                         ("-DIN_LOAD", ["--preload"])],
                         ids=["init", "load", "preloaded-init", "preloaded-load"])
def test_a_boot_that_closes_descriptors_says_so(gcorn, app, flag, flags, path):
    server = gcorn(f"""{app('thief', f'{flag}="{path}"')}:handler""", *flags, ready=0)
    assert server.wait_exit() == 3
    server.wait_log(r"\[CRITICAL\] .*the application has closed descriptors of the server, or has put "
                    "other files in their place")
    assert "Assertion" not in server.log() and "signal 6" not in server.log()
