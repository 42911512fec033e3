# SPDX-License-Identifier: MIT
"""When the system says no: processes, pipes, memory or watches that cannot be had. The library
apps/refuse.c, loaded into the server, makes the calls fail."""
import errno
import os
import signal

import pytest

from server import SANITIZED, wait_for
from test_master import install, pid_of
from test_systemd import manager  # noqa: F401  pylint: disable=unused-import

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime is to be loaded first")


class Refuser:
    """The calls that fail in servers which are started with its env."""

    def __init__(self, directory, library):
        self.file = directory / "refused"
        self.env = {"LD_PRELOAD": str(library), "REFUSE": str(self.file)}

    def refuse(self, **calls):
        """refuse(fork=errno.EAGAIN): the master's; child_fork: its children's. None: no call."""
        text = "".join(f" {name.replace('_', '-')}={number}" for name, number in calls.items())
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def let_one_pass(self):
        one = self.file.with_suffix(".pass")
        one.touch()
        wait_for(lambda: not one.exists(), "the call that is let through")


@pytest.fixture
def refuser(app, tmp_path):
    return Refuser(tmp_path, app("refuse", "-ldl", "-Wno-nonnull-compare"))


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
    server.wait_log("cannot start a worker")
    os.kill(old, signal.SIGKILL)
    server.wait_log("was sent SIGKILL")
    refuser.let_one_pass()
    server.wait_workers(1, other_than={old})
    assert server.get("/version").text == "one"
    refuser.refuse()
    wait_for(lambda: server.get("/version").text == "two", "the reload")


def test_reload_that_cannot_replace_all_ends(gcorn, refuser, manager):  # noqa: F811
    """The service manager hears of it, and is not asked for more time for ever."""
    server = gcorn("hello", "--workers", "2", "--boot-timeout", "2s",
                   env={**manager.env, **refuser.env})
    manager.wait(READY="1")
    refuser.refuse(fork=errno.EAGAIN)
    server.kill(signal.SIGHUP)
    server.wait_log("cannot start a worker")
    refuser.let_one_pass()
    server.wait_log("Reloaded: generation 1 -> 2")
    end = manager.wait(READY="1", after=manager.wait(RELOADING="1"),
                       STATUS=".*reload failed: .* not all of its workers booted: no process can be "
                              "started: .*")
    assert "EXTEND_TIMEOUT_USEC" in str(manager.messages[:end])
    server.wait_log("cannot start a worker", after=server.mark(), count=3)
    assert "EXTEND_TIMEOUT_USEC" not in str(manager.read()[end:])
