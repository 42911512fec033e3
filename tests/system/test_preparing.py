# SPDX-License-Identifier: MIT
"""Nothing in the master blocks: a reload is prepared in a process of its own, and a log that is not
read loses lines. The library apps/refuse.c holds a name server's or a disk's answer back."""
import errno
import fcntl
import os
import re
import resource
import signal
import socket
import time

import pytest

from harness import (PATIENCE, SANITIZED, SLOWER, Held, Holding, Process, ask_control, best_of, children,
                     ctl_output, hup, install, start_ctl, status_of, wait_for, write_config)

LIMIT_S = 0.1 * SLOWER  # for an answer of the master
STEPS = {"getaddrinfo": "resolving and opening the addresses",
         "pread": "opening the logs and copying the application"}

with_refuser = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime is to be loaded first")


def answer_seconds(server):
    begin = time.monotonic()
    assert ask_control(server.dir / "ctl", b"status\n")["pid"] == server.pid
    return time.monotonic() - begin


def assert_answers(server):
    assert best_of(5, lambda: answer_seconds(server)) < LIMIT_S


def preparing(server):
    """The process that prepares a reload, while there is one."""
    return [p for p in children(server.pid) if p.title == "gcorn: reload" and p.is_alive]


def prepared_by(server):
    return wait_for(lambda: preparing(server), "the process that prepares")[0].pid


def assert_unchanged(server, workers):
    assert server.worker_pids == workers
    assert server.get().status == 200
    assert status_of(server.dir)["generation"] == 1


@pytest.fixture
def start(gcorn, app, tmp_path, refuser):
    """A server whose next reload resolves a name."""
    install(tmp_path / "app.so", app("gated"))

    def start_it(*args, **settings):
        write_config(tmp_path, control_socket="ctl", workers=1, bind='"127.0.0.1:0"', **settings)
        server = gcorn("app.so:handler", "--no-fair-close", *args, bare=True, env=refuser.env)
        write_config(tmp_path, control_socket="ctl", workers=1, bind='"localhost:0"', **settings)
        return server
    return start_it


# ---- the master answers -------------------------------------------------------------------------


@with_refuser
@pytest.mark.parametrize("call", list(STEPS))
def test_blocked_reload_leaves_the_master_answering(start, refuser, call):
    server = start()
    before = server.worker_pids
    holding = Holding(refuser, call)
    server.kill(signal.SIGHUP)
    holding.wait()
    assert_answers(server)
    assert status_of(server.dir)["state"] == "reloading"
    assert_unchanged(server, before)
    holding.let_go()
    server.wait_log("Reloaded: generation 1 -> 2")
    server.wait_workers(1, other_than=before)
    assert not preparing(server)


@with_refuser
@pytest.mark.parametrize("call", list(STEPS))
def test_reload_blocked_past_boot_timeout_fails(start, refuser, call):
    server = start(boot_timeout="1s")
    before = server.worker_pids
    holding = Holding(refuser, call)
    with start_ctl(server.dir, "-s", "ctl", "reload") as reloading:
        why = rf"it was not prepared within boot_timeout \(1\.0 s\): {STEPS[call]}"
        assert re.search(why, reloading.communicate()[1])
        assert reloading.returncode == 1
    server.wait_log(rf"Reload failed: {why}\. Generation 1 goes on unchanged$")
    wait_for(lambda: not preparing(server), "the process that prepares to end")
    assert_unchanged(server, before)
    holding.let_go()
    hup(server)


def stalled_pipe(tmp_path):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    return reader, writer


def stalled_terminal(tmp_path):
    reader, writer = os.openpty()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    return reader, writer


def stalled_socket(tmp_path):
    ends = socket.socketpair()
    return tuple(end.detach() for end in ends)


def stalled_fifo(tmp_path):
    os.mkfifo(tmp_path / "error")
    reader = os.open(tmp_path / "error", os.O_RDONLY | os.O_NONBLOCK)
    return reader, os.open(tmp_path / "error", os.O_WRONLY | os.O_NONBLOCK)


def fill(writer):
    os.set_blocking(writer, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(writer, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(writer, True)  # as a shell leaves it


@pytest.mark.parametrize("stalled", [stalled_pipe, stalled_terminal, stalled_socket, stalled_fifo])
def test_stalled_log_leaves_the_master_answering(gcorn, tmp_path, stalled):
    reader, writer = stalled(tmp_path)
    options = ("--error-logfile", tmp_path / "error") if stalled is stalled_fifo else ()

    def take_over():
        if not options:
            os.dup2(writer, 1)
            os.dup2(writer, 2)

    server = gcorn("hello", "--control-socket", "ctl", *options, ready=0, preexec=take_over)
    server.wait_workers(1)
    fill(writer)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU):
        server.kill(number)
    assert_answers(server)
    wait_for(lambda: status_of(server.dir)["generation"] == 2, "the reload")
    assert_answers(server)
    os.close(reader)
    os.close(writer)


# ---- it fails alone -----------------------------------------------------------------------------


def virtual_size(pid):
    return int(Process(pid).status("VmSize").split()[0]) * 1024


@pytest.mark.skipif(SANITIZED, reason="a sanitizer reserves terabytes of addresses")
def test_reload_without_memory_fails_alone(gcorn, tmp_path):
    write_config(tmp_path, control_socket="ctl")
    server = gcorn("hello")
    before, limits = server.worker_pids, resource.prlimit(server.pid, resource.RLIMIT_AS)
    with open(tmp_path / "gunicorn-c.yaml", "a", encoding="ascii") as file:
        file.write("# much to read\n" * 60_000)
    resource.prlimit(server.pid, resource.RLIMIT_AS,
                     (virtual_size(server.pid) + 256 * 1024, limits[1]))
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: .*([Oo]ut of memory|Cannot allocate memory).*goes on unchanged")
    assert_unchanged(server, before)
    resource.prlimit(server.pid, resource.RLIMIT_AS, limits)
    hup(server)


@with_refuser
def test_failed_allocation_while_preparing_fails_the_reload(start, refuser):
    server = start()
    holding = Holding(refuser, "pread")
    server.kill(signal.SIGHUP)
    holding.wait()
    refuser.refuse(child_malloc=errno.ENOMEM)
    holding.let_go()
    server.wait_log(r"Reload failed: out of memory \(\d+ bytes\)\. Generation 1 goes on unchanged")
    refuser.refuse()
    server.wait_workers(1)
    hup(server)


@with_refuser
def test_process_that_prepares_is_killed(start, refuser):
    server = start()
    before = server.worker_pids
    holding = Holding(refuser, "getaddrinfo")
    server.kill(signal.SIGHUP)
    holding.wait()
    os.kill(prepared_by(server), signal.SIGKILL)
    server.wait_log(r"Reload failed: the process that prepares it was killed by SIGKILL \(Killed\)\. "
                    r"Generation 1 goes on unchanged")
    assert_unchanged(server, before)
    holding.let_go()
    hup(server)


# ---- the first start ------------------------------------------------------------------------------


@pytest.fixture
def resolving(gcorn, refuser):
    """A server whose first start waits for the resolver."""
    holding = Holding(refuser, "getaddrinfo")
    server = gcorn("hello", "--pid", "pid", bind="localhost:0", env=refuser.env, ready=0)
    server.holding = holding
    holding.wait()
    return server


@with_refuser
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_that_resolves_is_stopped_at_once(resolving, number):
    begin = time.monotonic()
    resolving.kill(number)
    assert resolving.wait_exit() == 0
    assert time.monotonic() - begin < 1 * SLOWER
    assert not resolving.left_over() and not (resolving.dir / "pid").exists()
    assert "cannot bind" not in resolving.log()
    resolving.holding.let_go()


@with_refuser
def test_start_that_resolves_goes_on_with_the_answer(resolving):
    resolving.kill(signal.SIGHUP)
    resolving.holding.let_go()
    resolving.wait_ready()
    assert resolving.get().status == 200
    hup(resolving)


@with_refuser
def test_start_says_how_its_resolver_died(resolving):
    resolver = wait_for(lambda: [p for p in children(resolving.pid) if p.title == "gcorn: resolver"],
                        "the process that resolves")[0]
    os.kill(resolver.pid, signal.SIGKILL)
    assert resolving.wait_exit() == 4
    assert re.search(r"cannot bind localhost:0: the process that resolves it was killed by SIGKILL",
                     resolving.log())
    resolving.holding.let_go()


def test_start_says_which_name_cannot_be_resolved(gcorn):
    server = gcorn("hello", bind="no-such-host.invalid:0", ready=0)
    assert server.wait_exit() == 4
    assert "cannot bind no-such-host.invalid:0: " in server.log()
    assert "resolves it" not in server.log()


# ---- preparing meets ... ------------------------------------------------------------------------


@pytest.fixture
def held(start, refuser):
    """A server whose reload is held while it is prepared."""
    server = start()
    server.before = server.worker_pids
    server.holding = Holding(refuser, "getaddrinfo")
    server.kill(signal.SIGHUP)
    server.holding.wait()
    return server


@with_refuser
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_stop_amid_preparation_ends_it(held, number):
    pid = prepared_by(held)
    with start_ctl(held.dir, "-s", "ctl", "reload") as reloading:
        wait_for(lambda: len([f for f in Process(held.pid).links if "socket" in f]) > 0, "the client")
        held.wait_log("Control socket: reload")
        held.kill(number)
        assert "the server is stopping" in reloading.communicate()[1]
    assert held.wait_exit() == 0
    assert not Process(pid).is_alive
    assert "Reload failed" not in held.log()
    held.holding.let_go()


@with_refuser
def test_drain_amid_preparation_ends_it(start, refuser):
    server = start(drain_delay="1h")
    server.get()
    holding = Holding(refuser, "getaddrinfo")
    server.kill(signal.SIGHUP)
    holding.wait()
    pid = prepared_by(server)
    server.kill(signal.SIGTERM)
    wait_for(lambda: not Process(pid).is_alive, "the process that prepares to end")
    holding.let_go()
    assert status_of(server.dir)["generation"] == 1
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "Reloaded" not in server.log()


@with_refuser
def test_second_hup_amid_preparation_gets_the_next_outcome(held):
    first = prepared_by(held)
    with start_ctl(held.dir, "-s", "ctl", "reload") as reloading:
        held.wait_log(r"Reload: generation 2 has been prepared for \d+\.\d s \(resolving and opening the "
                      r"addresses\); cancelling it for the newer HUP")
        wait_for(lambda: not Process(first).is_alive, "the first process to end")
        held.holding.wait()
        held.holding.let_go()
        assert reloading.wait(PATIENCE) == 0
    assert len(re.findall("Reloaded: generation 1 -> 2", held.log())) == 1
    assert len(re.findall("Hang up: Master", held.log())) == 2


@with_refuser
def test_hup_soon_after_another_waits_for_its_end(held):
    held.kill(signal.SIGHUP)
    held.wait_log("Handling signal: hup", count=2)
    held.holding.let_go()
    held.wait_log("Reloaded: generation 2 -> 3")
    assert "cancelling" not in held.log()


@with_refuser
def test_upgrade_amid_preparation_is_refused(held):
    assert "a reload is under way" in ask_control(held.dir / "ctl", b"upgrade\n")["error"]
    held.holding.let_go()
    held.wait_log("Reloaded: generation 1 -> 2")


@with_refuser
def test_dead_worker_amid_preparation_is_replaced(held):
    os.kill(held.before.pop(), signal.SIGKILL)
    held.wait_log("was sent SIGKILL")
    held.wait_workers(1)
    assert status_of(held.dir)["workers"][0]["generation"] == 1
    held.holding.let_go()
    held.wait_log("Reloaded: generation 1 -> 2")
    held._find_address()  # pylint: disable=protected-access
    assert held.get().status == 200


@with_refuser
def test_logs_reopened_amid_preparation_are_the_new_ones(start, refuser, tmp_path):
    server = start(accesslog="access")
    holding = Holding(refuser, "getaddrinfo")
    server.kill(signal.SIGHUP)
    holding.wait()
    (tmp_path / "access").rename(tmp_path / "rotated")
    server.kill(signal.SIGUSR1)
    wait_for((tmp_path / "access").exists, "the new file")
    holding.let_go()
    server.wait_log("Reloaded: generation 1 -> 2")
    server._find_address()  # pylint: disable=protected-access
    server.get("/pid")
    wait_for(lambda: "/pid" in (tmp_path / "access").read_text(), "the line")
    assert (tmp_path / "rotated").read_text() == ""


@with_refuser
def test_socket_file_of_a_cancelled_preparation_holds_up_nothing(gcorn, tmp_path, refuser):
    write_config(tmp_path, control_socket="ctl", workers=1, boot_timeout="1s", bind="127.0.0.1:0")
    server = gcorn("hello", bare=True, env=refuser.env)
    write_config(tmp_path, control_socket="ctl", workers=1, bind='["unix:app.sock", "localhost:0"]')
    holding = Holding(refuser, "getaddrinfo")
    server.kill(signal.SIGHUP)
    server.wait_log("Reload failed: it was not prepared within boot_timeout")
    holding.let_go()
    hup(server)
    server.address = str(tmp_path / "app.sock")
    assert server.get().status == 200


@with_refuser
def test_master_that_dies_takes_the_process_along(held):
    pid = prepared_by(held)
    held.kill(signal.SIGKILL)
    wait_for(lambda: not Process(pid).is_alive, "the process that prepares to end")
    held.holding.let_go()
    held.wait_exit()


@with_refuser
def test_stopped_process_dies_with_the_master(held):
    pid = prepared_by(held)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: Process(pid).state == "T", "it to stop")
    held.kill(signal.SIGKILL)
    wait_for(lambda: not Process(pid).is_alive, "the process that prepares to end")
    held.holding.let_go()
    held.wait_exit()


def sockets_of(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_socket())


@pytest.fixture
def held_in_listen(gcorn, tmp_path, refuser):
    """Its reload is held when its socket is bound to a temporary name."""
    def start_it(**new):
        old = dict(workers=1, boot_timeout="1s", bind="127.0.0.1:0", control_socket="ctl")
        write_config(tmp_path, **old)
        server = gcorn("hello", bare=True, env=refuser.env)
        write_config(tmp_path, **{**old, **new})
        server.holding = Holding(refuser, "listen")
        server.kill(signal.SIGHUP)
        server.holding.wait()
        assert len(sockets_of(tmp_path)) == 2, "the temporary one as well"
        return server
    return start_it


@with_refuser
@pytest.mark.parametrize("new", [{"bind": "unix:app.sock"}, {"control_socket": "other"}])
def test_killed_preparation_leaves_no_temporary_socket(held_in_listen, tmp_path, new):
    server = held_in_listen(**new)
    os.kill(prepared_by(server), signal.SIGKILL)
    server.wait_log("Reload failed: the process that prepares it was killed by SIGKILL")
    server.holding.let_go()
    assert sockets_of(tmp_path) == ["ctl"]


@with_refuser
def test_late_preparation_leaves_no_temporary_socket(held_in_listen, tmp_path):
    server = held_in_listen(bind="unix:app.sock")
    server.wait_log("Reload failed: it was not prepared within boot_timeout")
    wait_for(lambda: sockets_of(tmp_path) == ["ctl"], "the temporary socket to be removed")
    server.holding.let_go()
    hup(server)
    assert sockets_of(tmp_path) == ["app.sock", "ctl"]


def test_reload_keeps_open_only_what_counts(gcorn, tmp_path):
    """No descriptor of a failed or replaced generation stays in the master."""
    write_config(tmp_path, control_socket="ctl", workers=1, accesslog="access", bind="unix:app.sock")
    server = gcorn("hello", bare=True)
    hup(server)
    wait_for(lambda: len(status_of(tmp_path)["workers"]) == 1, "the master to reap the old worker")
    before = sorted(Process(server.pid).links)
    for count in range(1, 4):
        write_config(tmp_path, control_socket="ctl", workers=1, accesslog="access", bind="unix:app.sock",
                     admin_bind="unix:/nonexistent/dir/admin.sock")
        server.kill(signal.SIGHUP)
        server.wait_log("Reload failed: .*admin_bind", count=count)
        write_config(tmp_path, control_socket="ctl", workers=1, accesslog="access", bind="unix:app.sock")
        hup(server)
        wait_for(lambda: len(server.workers) == 1, "the old worker to leave")

    def names(links):
        return sorted(re.sub(r"\d+", "N", link) for link in links)
    wait_for(lambda: names(Process(server.pid).links) == names(before), "the same descriptors")


@with_refuser
def test_request_runs_on_while_a_reload_is_prepared(held):
    request = Held(held)
    assert request.let_go().status == 200
    held.holding.let_go()
    held.wait_log("Reloaded: generation 1 -> 2")
    ctl_output(held.dir, "-s", "ctl", "reload")
