# SPDX-License-Identifier: MIT
"""When the system says no: processes, pipes, memory or watches that cannot be had. The library
apps/refuse.c, loaded into the server, makes the calls fail."""
import errno
import os
import signal

import pytest

from harness import SANITIZED, install, pid_of, request, wait_for

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime is to be loaded first")


# ---- processes ----------------------------------------------------------------------------------

PROCESS_CALLS = [("fork", errno.EAGAIN), ("pipe2", errno.EMFILE), ("socketpair", errno.EMFILE)]


@pytest.mark.parametrize("more", [(), ("--preload",)])
@pytest.mark.parametrize("call, number", PROCESS_CALLS)
def test_start_without_processes_exits(gcorn, refuser, call, number, more):
    refuser.refuse(**{call: number})
    server = gcorn("hello", "--boot-timeout", "1s", *more, ready=0, env=refuser.env)
    assert server.wait_exit() == 1
    server.wait_log(rf"\[CRITICAL\] Start failed: no process can be started: {os.strerror(number)}")


@pytest.mark.parametrize("more", [(), ("--preload",)])
@pytest.mark.parametrize("call, number", PROCESS_CALLS)
def test_reload_without_processes_fails(gcorn, refuser, call, number, more):
    server = gcorn("hello", "--boot-timeout", "1s", *more, env=refuser.env)
    before = server.worker_pids
    refuser.refuse(**{call: number})
    server.kill(signal.SIGHUP)
    server.wait_log(rf"Reload failed: no process can be started: {os.strerror(number)}")
    refuser.refuse()
    assert server.get().status == 200
    assert server.worker_pids == before
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=before)


def test_template_that_cannot_fork_fails_a_reload(gcorn, refuser):
    server = gcorn("hello", "--boot-timeout", "1s", "--preload", env=refuser.env)
    before = server.worker_pids
    refuser.refuse(child_fork=errno.EAGAIN)
    server.kill(signal.SIGHUP)
    server.wait_log("Reload failed: no process can be started: the template process cannot fork")
    refuser.refuse()
    assert server.worker_pids == before and server.get().status == 200


def test_template_that_cannot_fork_for_a_moment_serves(gcorn, refuser):
    refuser.refuse(child_fork=errno.EAGAIN)
    server = gcorn("hello", "--preload", ready=0, env=refuser.env)
    server.wait_log("cannot start a worker: the template process cannot fork")
    refuser.refuse()
    assert server.wait_ready().get().status == 200


def test_dead_worker_is_replaced_before_a_reload_goes_on(gcorn, refuser, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", env=refuser.env)
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    old = pid_of(server)
    refuser.refuse(fork=errno.EAGAIN)
    server.kill(signal.SIGHUP)
    server.wait_log("no process can be started: .*; trying again in 1 s")
    refuser.let_one_pass()  # the process that prepares it
    server.wait_log("cannot start a worker")
    os.kill(old, signal.SIGKILL)
    server.wait_log("was sent SIGKILL")
    refuser.let_one_pass()
    server.wait_workers(1, other_than={old})
    assert server.get("/version").text == "one"
    refuser.refuse()
    wait_for(lambda: server.get("/version").text == "two", "the reload")


def test_reload_that_cannot_replace_all_ends(gcorn, refuser, manager):
    """The service manager hears of it, and is not asked for more time for ever."""
    server = gcorn("hello", "--workers", "2", "--boot-timeout", "4s",
                   env={**manager.env, **refuser.env})
    manager.wait(READY="1")
    refuser.refuse(fork=errno.EAGAIN)
    server.kill(signal.SIGHUP)
    server.wait_log("no process can be started: .*; trying again in 1 s")
    refuser.let_one_pass()  # the process that prepares it
    server.wait_log("cannot start a worker")
    refuser.let_one_pass()
    server.wait_log("Reloaded: generation 1 -> 2")
    end = manager.wait(READY="1", after=manager.wait(RELOADING="1"),
                       STATUS=".*reload failed: .* not all of its workers booted: no process can be "
                              "started: .*")
    assert "EXTEND_TIMEOUT_USEC" in str(manager.messages[:end])
    server.wait_log("cannot start a worker", after=server.mark(), count=3)
    assert "EXTEND_TIMEOUT_USEC" not in str(manager.read()[end:])


# ---- memory -------------------------------------------------------------------------------------

FILES = ("--pid", "pid", "--control-socket", "ctl", "--admin-bind", "unix:admin.sock")


def expect_no_files(directory):
    names = {p.name for p in directory.iterdir()}
    assert not names & {"pid", "ctl", "app.sock", "admin.sock"}, names
    assert not [name for name in names if name.startswith((".gcorn", "core"))]


@pytest.mark.parametrize("call", ["malloc", "realloc"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_master_without_memory_leaves_cleanly(gcorn, refuser, tmp_path, call, form):
    """realloc: libev's, too, which needs it for the descriptors of further workers."""
    server = gcorn("hello", *FILES, "--error-log-format", form, bind="unix:app.sock",
                   env=refuser.env, ready=0)
    wait_for(lambda: len(server.workers) == 2, "worker and admin process")
    server.wait_workers(2)
    mark = server.mark()
    refuser.refuse(**{call: errno.ENOMEM})
    server.kill(signal.SIGTTIN if call == "malloc" else signal.SIGHUP)
    assert server.wait_exit() == 1
    refuser.refuse()
    told = [line for line in server.log(mark).splitlines() if "ut of memory" in line]
    assert len(told) == 1 and "exiting with status 1" in told[0], server.log()
    expect_no_files(tmp_path)
    wait_for(lambda: not server.left_over(), "the workers to leave")


@pytest.mark.parametrize("after", ["pid", "app.sock", "ctl", "admin.sock"])
def test_start_without_memory_leaves_no_file(gcorn, refuser, tmp_path, after):
    refuser.refuse(malloc=errno.ENOMEM)
    server = gcorn("hello", *FILES, bind="unix:app.sock", ready=0,
                   env={**refuser.env, "REFUSE_AFTER": str(tmp_path / after)})
    assert server.wait_exit() == 1
    assert server.log().count("ut of memory") == 1
    expect_no_files(tmp_path)


def test_settings_without_memory_exit_1(gcorn, refuser):
    refuser.refuse(malloc=errno.ENOMEM)
    server = gcorn("hello", ready=0, env=refuser.env)
    assert server.wait_exit() == 1
    assert server.log().count("ut of memory") == 1


def test_worker_without_memory_is_a_crash_and_replaced(gcorn, refuser, tmp_path):
    """Its master's way out is not its own."""
    server = gcorn("hello", *FILES, bind="unix:app.sock", env=refuser.env, ready=0)
    server.wait_workers(2)
    server._find_address()  # pylint: disable=protected-access
    before = server.worker_pids
    refuser.refuse(child_malloc=errno.ENOMEM)
    client = server.connect()
    client.send(request("/"))
    server.wait_log("SIGABRT")
    refuser.refuse()
    wait_for(lambda: server.worker_pids - before, "another worker")
    assert {"pid", "ctl", "app.sock"} <= {p.name for p in tmp_path.iterdir()}


# ---- watches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call, number, why", [
    ("epoll_ctl", errno.ENOSPC, "signals do not reach the event loop: epoll_ctl fails"),
    ("epoll_create1", errno.EMFILE, "cannot make an event loop: epoll_create: Too many open files")])
def test_master_without_watches_exits(gcorn, refuser, tmp_path, call, number, why):
    refuser.refuse(**{call: number})
    server = gcorn("hello", *FILES, bind="unix:app.sock", ready=0, env=refuser.env)
    assert server.wait_exit() == 1
    assert len(server.wait_log(rf"^.*\[CRITICAL\] {why}.*$", count=1).group()) > 0
    assert "Booting" not in server.log()
    expect_no_files(tmp_path)


@pytest.mark.parametrize("call, number, why", [
    ("child_epoll_ctl", errno.ENOSPC, "epoll_ctl fails"),
    ("child_epoll_create1", errno.EMFILE, "cannot make an event loop: epoll_create: Too many open")])
def test_worker_without_watches_fails_to_boot(gcorn, refuser, call, number, why):
    refuser.refuse(**{call: number})
    server = gcorn("hello", ready=0, env=refuser.env)
    assert server.wait_exit() == 3
    server.wait_log(rf"\[CRITICAL\] Worker failed to boot: .*{why}")
