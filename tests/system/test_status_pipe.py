# SPDX-License-Identifier: MIT
"""What a worker, a template or a child of either tells the master: never more than the master takes
beside its other work, and a state of the worker until the master has heard it."""
import fcntl
import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness import SLOWER, install, pace, wait_for

READY, HEARTBEAT, BOOTFAIL, DYING, CRASHED, RECYCLE = range(1, 7)  # enum up_type


@pytest.fixture
def loud(app):
    return f"{app('loud', '-pthread')}:handler"


def lines_of(server, pid):
    return re.findall(rf".*\[(?:ERROR|CRITICAL|WARNING)\] .*\(pid:{pid}\).*", server.log())


def ask(server, target):
    """One request, of a worker that may be killed before it answers. The worker."""
    worker, = server.worker_pids
    server.ask(target)
    return worker


@pytest.mark.parametrize("message", [READY, BOOTFAIL, HEARTBEAT, DYING, CRASHED])
def test_worker_that_floods_is_killed_with_one_line(gcorn, loud, message):
    server = gcorn(loud)
    worker = ask(server, f"/flood?type={message}")
    server.wait_log(rf"\[CRITICAL\] Worker \(pid:{worker}\): "
                    "(it floods its status pipe|a message on its status pipe does not fit)")
    server.wait_workers(1, other_than={worker})
    assert len(lines_of(server, worker)) == 1, server.log()
    assert server.stop() == 0


@pytest.mark.parametrize("message", [READY, BOOTFAIL])
def test_worker_with_an_unexpected_message_is_killed(gcorn, loud, message):
    server = gcorn(loud)
    worker = ask(server, f"/say?type={message}")
    server.wait_log(rf"\[CRITICAL\] Worker \(pid:{worker}\): a message on its status pipe does not "
                    "fit what it said before; killing it")
    server.wait_workers(1, other_than={worker})
    assert len(lines_of(server, worker)) == 1


def test_flooding_workers_do_not_hold_up_a_stop(gcorn, loud):
    """They are replaced by others, which are made to flood as well."""
    server = gcorn(loud, "--workers", "4")
    for _ in range(8):
        server.ask(f"/flood?type={HEARTBEAT}")
    server.wait_log("it floods its status pipe")
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 4 * SLOWER  # it was 8 s and more


def test_flooding_template_is_killed(gcorn, app):
    server = gcorn(f"{app('loud', '-pthread', '-DIN_TEMPLATE')}:handler", "--preload", ready=0)
    server.wait_log(r"\[CRITICAL\] Template \(pid:\d+\): it flooded its socket with messages; killing")
    server.wait_log(r"\[CRITICAL\] Worker failed to boot: the template process flooded its socket")
    assert server.wait_exit() == 3
    assert len(re.findall(r"\[(?:ERROR|CRITICAL)\] Template", server.log())) == 1


@pytest.mark.parametrize("size", [0, 3, 4000])
def test_template_that_sends_no_message_is_killed(gcorn, app, size):
    server = gcorn(f"{app('loud', '-pthread', f'-DMALFORMED={size}')}:handler", "--preload", ready=0)
    server.wait_log(r"\[CRITICAL\] Template \(pid:\d+\): it sent a malformed message; killing it")
    server.wait_log(r"\[CRITICAL\] Worker failed to boot: the template process sent a malformed message")
    assert server.wait_exit() == 3
    assert len(re.findall(r"\[(?:ERROR|CRITICAL)\] Template", server.log())) == 1


def test_reload_to_a_flooding_template_fails(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--preload", "--boot-timeout", "60s")
    before = server.worker_pids
    install(tmp_path / "app.so", app("loud", "-pthread", "-DIN_TEMPLATE"))
    server.kill(signal.SIGHUP)
    server.wait_log("Reload failed: the template process flooded its socket with messages")
    wait_for(lambda: server.worker_pids == before, "the end of the template and its children")
    assert server.get("/version").status == 200
    assert server.stop() == 0


def test_endless_orphans_do_not_block_the_master(gcorn, loud):
    server = gcorn(loud, "--preload", "--workers", "2")  # a subreaper
    for _ in range(2):
        server.get("/orphans")
    before = server.worker_pids
    server.kill(signal.SIGTTIN)
    server.wait_log("3 workers wanted")
    wait_for(lambda: any(p.is_ready_worker for p in server.workers if p.pid not in before),
             "the third worker")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    for p in server.left_over():
        with contextlib.suppress(ProcessLookupError):  # each ends some time
            os.kill(p.pid, signal.SIGKILL)


# ---- a master that is away ----------------------------------------------------------------------


def fill_status_pipe(pid):
    """With what comes while the master is away, a heartbeat a second: there is room for 16."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            info = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # closed since it was listed: it still starts
        flags = int(re.search(r"flags:\s*(\d+)", info).group(1), 8)
        is_packets = flags & (os.O_ACCMODE | os.O_DIRECT) == os.O_WRONLY | os.O_DIRECT
        if is_packets and link.startswith("pipe:"):
            break
    else:
        raise AssertionError("the worker has no status pipe")
    fd = os.open(f"/proc/{pid}/fd/{name}", os.O_WRONLY | os.O_NONBLOCK)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(fd, bytes([HEARTBEAT]))
    os.close(fd)


@pytest.mark.parametrize("why", ["max_requests", "SIGTERM"])
def test_wish_to_leave_outlasts_a_full_pipe(gcorn, probe, why):
    server = gcorn(probe, "--max-requests", "3" if why == "max_requests" else "0")
    worker, = server.worker_pids
    server.kill(signal.SIGSTOP)
    fill_status_pipe(worker)
    for _ in range(3):
        assert server.get("/version").status == 200
    if why == "SIGTERM":
        os.kill(worker, signal.SIGTERM)
        pace(0.1)  # an assertion: it goes on serving
        assert server.get("/version").status == 200
    server.kill(signal.SIGCONT)
    server.wait_log(rf"Worker \(pid:{worker}\) is to be replaced: {why}")
    server.wait_workers(1, other_than={worker})


def test_wish_to_leave_of_a_deaf_worker_outlasts_a_full_pipe(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    worker, = server.worker_pids
    server.kill(signal.SIGSTOP)
    fill_status_pipe(worker)
    assert server.get("/deaf").status == 200
    waiting = server.ask("/echo?a")
    server.wait_log("Listening socket .*: the application has closed it")
    server.kill(signal.SIGCONT)
    server.wait_log(rf"Worker \(pid:{worker}\) is to be replaced: it cannot accept")
    assert waiting.response().body == b"a"


def test_worker_with_a_malformed_message_is_killed(gcorn):
    server = gcorn("hello")
    worker = server.workers[0].pid
    for link in Path(f"/proc/{worker}/fd").iterdir():
        try:
            info = Path(f"/proc/{worker}/fdinfo/{link.name}").read_text()
        except FileNotFoundError:
            continue  # closed since it was listed: it still starts
        flags = int(re.search(r"flags:\s*(\d+)", info).group(1), 8)
        if os.readlink(link).startswith("pipe:") and flags & os.O_ACCMODE == os.O_WRONLY:
            fd = os.open(link, os.O_WRONLY)
            os.write(fd, b"\xff" * 7)
            os.close(fd)
    server.wait_log(rf"Worker \(pid:{worker}\): malformed message on its status pipe; killing")
    server.wait_workers(1, other_than={worker})
    assert server.get().status == 200
