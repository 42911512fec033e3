# SPDX-License-Identifier: MIT
"""The master and its workers: how many there are, what each signal does, what becomes of a worker
that dies, hangs or does not boot."""
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from harness import (GCORN, PATIENCE, ROOT_ONLY, SLOWER, Client, Held, Process, best_of, children,
                     clean_environment, critical_lines, example, fails_to_reload, fails_to_start,
                     install, pace, pid_of, request, run, wait_for)


# ---- processes ----------------------------------------------------------------------------------


def test_four_workers_are_five_processes(gcorn):
    server = gcorn("hello", "--workers", "4")
    assert len(server.workers) == 4
    assert len(server.left_over()) == 5


def test_process_titles(gcorn, tmp_path):
    os.symlink(example("hello").split(":")[0], tmp_path / "hello.so")
    server = gcorn("hello.so:handler", "--workers", "2")
    assert Process(server.pid).title == "gcorn: master [hello.so:handler]"
    assert [p.title for p in server.workers] == ["gcorn: worker [hello.so:handler]"] * 2


def test_process_title_by_name(gcorn):
    server = gcorn("hello", "--name", "shop")
    assert Process(server.pid).title == "gcorn: master [shop]"
    assert server.workers[0].title == "gcorn: worker [shop]"


def test_slots_are_numbered(gcorn, probe):
    server = gcorn(probe, "--workers", "2")
    held = Held(server)
    slots = {server.get("/slot").text}  # of the other
    os.kill(pid_of(server), signal.SIGKILL)
    assert slots <= {"0", "1"}
    assert held.let_go().status == 200


def test_the_log_of_a_start(gcorn):
    server = gcorn("hello", "--workers", "2")
    for line in (r"Starting gcorn \d+\.\d+\.\d+", rf"Listening at: http://127.0.0.1:\d+ \({server.pid}\)",
                 r"Using worker: sync", r"Workers: 2 \(command line\)"):
        server.wait_log(rf"\[{server.pid}\] \[INFO\] {line}$")
    for pid in server.worker_pids:
        server.wait_log(rf"\[{pid}\] \[INFO\] Booting worker with pid: {pid}$")


def test_workers_inherit_no_descriptor_of_others(gcorn):
    server = gcorn("hello", "--workers", "4")
    counts = {len(os.listdir(f"/proc/{p.pid}/fd")) for p in server.workers}
    assert max(counts) - min(counts) <= 1, counts


def test_many_workers_fit_into_a_small_limit(gcorn):
    def preexec():
        import resource  # pylint: disable=import-outside-toplevel
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 4000))

    server = gcorn("hello", "--workers", "40", "--worker-connections", "10", preexec=preexec)
    assert len(server.workers) == 40
    assert "cannot start a worker" not in server.log()


# ---- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_signals_exit_0(gcorn, number):
    server = gcorn("hello", "--workers", "2")
    server.get()
    assert server.stop(number) == 0
    assert f"Handling signal: {number.name[3:].lower()}" in server.log()
    assert server.log().count("Worker exiting") == 2
    assert server.log().endswith("[INFO] Shutting down: Master\n")


def test_term_finishes_the_running_request(gcorn, probe):
    server = gcorn(probe)
    held = Held(server)
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    assert server.process.poll() is None
    assert held.let_go().status == 200
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_running_request_is_answered_with_close(gcorn, probe, number):
    """So that the client does not send its next one into the end of the connection."""
    server = gcorn(probe)
    held = Held(server)
    server.kill(number)
    server.wait_log("Handling signal: term|Reloaded: generation 1 -> 2")
    assert held.let_go().closes


def test_term_serves_what_waits_in_the_backlog(gcorn, probe):
    server = gcorn(probe)
    held = Held(server)
    waiting = [server.connect() for _ in range(3)]
    for client in waiting:
        client.send(request("/pid"))
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    held.let_go()
    for client in waiting:
        assert client.response().status == 200
    assert server.wait_exit() == 0


def test_term_of_a_sleeping_application(gcorn):
    server = gcorn("faulty")
    client = server.connect()
    client.send(request("/sleep?ms=200"))
    server.kill(signal.SIGTERM)
    assert client.response().text == "slept 200 ms\n"
    assert server.wait_exit() == 0


def test_term_still_answers_on_an_idle_connection(gcorn):
    """A request that is on its way when the server stops is not lost: keepalive_drain."""
    server = gcorn("hello", "--keepalive-drain", "10s")
    client = server.connect()
    client.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    assert client.get().status == 200
    assert server.wait_exit() == 0


def test_term_closes_idle_connections_after_keepalive_drain(gcorn):
    server = gcorn("hello", "--keepalive-drain", "50ms")
    client = server.connect()
    client.get()
    server.kill(signal.SIGTERM)
    client.assert_closed()
    assert server.wait_exit() == 0


def test_graceful_timeout_ends_a_request(gcorn, probe):
    server = gcorn(probe, "--graceful-timeout", "200ms")
    held = Held(server)
    server.kill(signal.SIGTERM)
    assert server.wait_exit(hang_up=False) == 0
    server.wait_log(r"\[ERROR\] Worker \(pid:\d+\) did not finish within graceful_timeout: killed")
    with pytest.raises((AssertionError, ConnectionResetError)):
        held.client.response()


def test_a_second_term_changes_nothing(gcorn, probe):
    server = gcorn(probe)
    held = Held(server)
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term", count=2)
    assert held.let_go().status == 200
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_after_term_does_not_wait(gcorn, number):
    server = gcorn("hello", "--keepalive-drain", "30s")
    client = server.connect()
    client.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    server.kill(number)
    client.assert_closed()
    assert server.wait_exit() == 0


def test_quit_does_not_wait_for_a_request(gcorn, probe):
    server = gcorn(probe, "--graceful-timeout", "1000")  # far more than anybody's patience
    Held(server)
    server.kill(signal.SIGQUIT)
    assert server.wait_exit() == 0


@pytest.mark.parametrize("more", [(), ("--drain-delay", "60s"), ("--preload",)])
def test_term_in_the_first_boot_stops_at_once(gcorn, app, more):
    server = gcorn(f"{app('hooks', '-DSTUCK')}:handler", "--workers", "2", *more, ready=0)
    server.wait_log("Preloading" if more == ("--preload",) else "Booting worker")
    assert server.stop() == 0
    assert critical_lines(server) == [] and "graceful_timeout" not in server.log()


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:app.sock"])
def test_term_in_the_first_boot_serves_clients_that_came(gcorn, app, bind):
    server = gcorn(f"{app('hooks', '-DSLOW')}:handler", bind=bind, ready=0)
    server.wait_log("Booting worker")
    server.wait_log(r"Listening at: .*\n")
    server._find_address()  # pylint: disable=protected-access
    client = server.ask("/")
    server.kill(signal.SIGTERM)
    assert client.response().text == "hooked"
    assert server.wait_exit() == 0


def test_a_stop_while_workers_boot(gcorn):
    server = gcorn("hello", "--workers", "4", ready=0)
    server.wait_log("Booting worker")
    assert server.stop() == 0


def test_clients_are_refused_once_the_server_stops(gcorn, probe, tmp_path):
    server = gcorn(probe, bind="127.0.0.1:0,unix:app.sock")
    held = Held(server)
    server.kill(signal.SIGTERM)
    wait_for(lambda: not (tmp_path / "app.sock").exists(), "the file of the socket to go")
    names = [link for link in Process(server.pid).links if link.startswith("socket:")]
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
                 if line.split()[3] == "0A"}
    assert not {name[8:-1] for name in names} & listening
    assert held.let_go().status == 200
    assert server.wait_exit() == 0


def test_a_booting_worker_does_not_hold_up_a_stop(gcorn, app, tmp_path):
    """Nor do clients wait at a socket that only it holds."""
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    server.kill(signal.SIGHUP)
    server.wait_log("Booting worker", count=2)
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "graceful_timeout" not in server.log()


# ---- the other signals --------------------------------------------------------------------------


def test_ttin_and_ttou(gcorn):
    server = gcorn("hello", "--workers", "1")
    server.kill(signal.SIGTTIN)
    server.wait_workers(2)
    server.wait_log("2 workers wanted")
    server.kill(signal.SIGTTOU)
    server.wait_workers(1)
    server.kill(signal.SIGTTOU)
    server.wait_log("workers: cannot go below 1")
    assert server.get().status == 200


def test_ttou_finishes_the_request(gcorn, probe):
    server = gcorn(probe, "--workers", "2")
    held = [Held(server, "a"), Held(server, "b")]
    server.kill(signal.SIGTTOU)
    server.wait_log("1 workers wanted")
    for h in held:
        assert h.let_go().status == 200
        h.client.close()
    server.wait_workers(1)


@pytest.mark.parametrize("number", [signal.SIGWINCH, signal.SIGPIPE])
def test_other_signals_do_not_end_the_master(gcorn, number):
    server = gcorn("hello")
    pids = server.worker_pids
    server.kill(number)
    for pid in pids:
        os.kill(pid, number)
    assert server.get().status == 200
    assert server.worker_pids == pids


def test_log_pipe_without_reader_ends_no_process(gcorn, tmp_path):
    """2>&1 | head: the next line meets a closed pipe."""
    reads, writes = os.pipe()
    server = gcorn("hello", "--error-logfile", f"/dev/fd/{writes}", pass_fds=[writes], ready=0,
                   bind="unix:app.sock")
    os.close(writes)
    server.wait_workers(1)
    os.close(reads)
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    with Client(str(tmp_path / "app.sock")) as client:
        assert client.get().status == 200


def test_signals_to_the_whole_group_are_the_masters(gcorn):
    """^C in a terminal reaches everybody: the workers leave it to the master."""
    server = gcorn("hello", "--workers", "2")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait_exit() == 0
    assert not re.search("was (sent|killed by) SIG", server.log())


@pytest.fixture
def terminal():
    """A terminal's two ends, and what makes it a server's own."""
    ours, theirs = pty.openpty()
    yield ours, theirs, lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    for fd in (ours, theirs):
        try:
            os.close(fd)
        except OSError:
            pass  # the test has closed it


def test_a_terminal_that_is_resized_and_closed(gcorn, terminal):
    ours, theirs, take_it = terminal
    server = gcorn("hello", "--workers", "2", preexec=take_it)
    before = server.worker_pids
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    server.wait_log("Handling signal: winch")
    assert server.get().status == 200 and server.worker_pids == before
    os.close(theirs)
    os.close(ours)
    server.wait_log("Handling signal: hup")
    server.wait_workers(2, other_than=before)
    assert server.get().status == 200


@pytest.mark.parametrize("key", [b"\x03", b"\x1c"])
def test_terminal_keys_stop_the_server(gcorn, terminal, key):
    server = gcorn("hello", "--workers", "2", preexec=terminal[2])
    os.write(terminal[0], key)
    assert server.wait_exit() == 0
    assert not re.search("was (sent|killed)", server.log())


def test_usr1_reopens_the_logs(gcorn, tmp_path):
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    server = gcorn("hello", "--workers", "2", "--error-logfile", error, "--access-logfile", access,
                   ready=0)
    wait_for(lambda: error.exists() and "Listening at" in error.read_text(), "the log")
    server.error_log = error
    server.wait_ready(2)
    server.get("/before")
    wait_for(lambda: "/before" in access.read_text(), "the access log")
    for path in (error, access):
        os.rename(path, f"{path}.1")
    server.kill(signal.SIGUSR1)
    wait_for(lambda: error.exists() and access.exists(), "the new files")
    wait_for(lambda: all(f"{tmp_path}/error.log" in p.links and f"{tmp_path}/access.log"
                         in p.links for p in server.workers), "the workers to follow")
    for i in range(4):
        server.get(f"/after{i}")
    wait_for(lambda: access.read_text().count("/after") == 4, "the access log")
    before = (tmp_path / "access.log.1").read_text()
    assert "/before" in before and "/after" not in before
    server.stop()
    assert error.read_text().count("Worker exiting") == 2
    assert "Shutting down: Master" in error.read_text()


def test_usr1_without_files_is_harmless(gcorn):
    server = gcorn("hello")
    server.kill(signal.SIGUSR1)
    server.wait_log("Handling signal: usr1")
    assert server.get().status == 200


def test_a_hup_to_the_group_during_the_first_boot(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    server = gcorn("app.so:handler", "--workers", "2", "--boot-timeout", "2s", ready=0)
    server.wait_log("Booting worker", count=2)
    wait_for(lambda: all(p.catches(signal.SIGHUP) for p in server.workers), "the handlers")
    os.killpg(server.pid, signal.SIGHUP)
    server.wait_log("Handling signal: hup")
    assert len(server.workers) >= 2
    server.assert_running()
    server.kill(signal.SIGQUIT)
    server.process.wait()


@pytest.mark.parametrize("more", [(), ("--preload",)])
def test_signals_to_the_group_harm_no_booting_worker(gcorn, probe, more):
    """As from a terminal that is closed, or pkill: what meets a worker before it catches them."""
    server = gcorn(probe, "--workers", "4", *more)
    for i in range(150):
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU):
            os.killpg(server.pid, number)
        pace(i % 10 / 5000)
    wait_for(lambda: server.get("/version").status == 200, "an answer")
    server.kill(signal.SIGTTIN)
    server.wait_log("workers wanted")
    assert not re.findall(".*(?:was sent SIG|was killed by|failed).*", server.log())


# ---- workers that die ---------------------------------------------------------------------------


def test_a_killed_worker_is_replaced(gcorn):
    server = gcorn("hello", "--workers", "2")
    pids = server.worker_pids
    victim = min(pids)
    os.kill(victim, signal.SIGKILL)
    server.wait_log(rf"\[ERROR\] Worker \(pid:{victim}\) was sent SIGKILL, not by gcorn; "
                    "(the kernel counts no out-of-memory kill"
                    "|no cgroup counts out-of-memory kills)$")
    server.wait_workers(2, other_than={victim})
    assert server.worker_pids & pids == pids - {victim}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_worker_killed_in_its_boot_is_replaced_at_once(gcorn, app, tmp_path, number):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--boot-timeout", "60s")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    server.kill(signal.SIGHUP)
    for i in range(3):
        canary = int(server.wait_log(r"Booting worker with pid: (\d+)", count=i + 2)[i + 1].group(1))
        wait_for(lambda: Process(canary).catches(signal.SIGHUP), "the canary")
        os.kill(canary, number)
        server.wait_log(rf"Worker \(pid:{canary}\) was (sent SIGKILL|killed by SIGTERM)")
    assert "Reload failed" not in server.log() and server.get("/pid").status == 200


def test_worker_killed_in_the_first_boot_is_replaced(gcorn, app):
    server = gcorn(f"{app('hooks', '-DSLOW')}:handler", ready=0)
    first = wait_for(lambda: server.workers, "the first worker")[0].pid
    os.kill(first, signal.SIGKILL)
    server.wait_ready()
    assert server.get().text == "hooked"


def test_worker_that_is_killed_in_each_boot_ends_a_start(gcorn, app):
    """So it is out of memory: the start gives up when boot_timeout is over."""
    server = gcorn(f"{app('hooks', '-DKILLED')}:handler", "--boot-timeout", "1s", ready=0)
    assert server.wait_exit() == 3
    server.wait_log("Worker failed to boot: it was killed by SIGKILL")


def test_a_worker_told_to_stop_by_a_person_is_replaced(gcorn):
    server = gcorn("hello", "--workers", "2")
    victim = min(server.worker_pids)
    os.kill(victim, signal.SIGTERM)
    server.wait_log(rf"\[{victim}\] \[INFO\] Worker exiting")
    server.wait_workers(2, other_than={victim})


def test_silent_exit_is_logged_and_the_worker_replaced(gcorn):
    """_exit cannot be caught; test_crash.py has what can."""
    server = gcorn("faulty", "--workers", "2")
    other = server.connect()
    client = server.connect()
    client.send(request("/_exit?token=secret"))
    with pytest.raises((AssertionError, ConnectionResetError)):
        client.response()
    line = server.wait_log(r"\[ERROR\] Worker \(pid:(\d+)\) exited with code 0 while it ran "
                           r"GET /_exit of 127\.0\.0\.1, request [0-9a-f]{16}$")
    assert "secret" not in server.log()
    server.wait_workers(2, other_than={int(line.group(1))})
    other.close()
    assert server.get("/").status == 200


def test_many_crashes_in_a_row_do_not_end_the_service(gcorn):
    server = gcorn("faulty", "--workers", "2")
    for _ in range(6):
        with server.connect() as client:
            client.send(request("/_exit"))
            with pytest.raises((AssertionError, ConnectionResetError)):
                client.response()
    server.wait_workers(2)
    assert server.get("/").status == 200


def test_exit_of_a_forked_child_harms_no_worker(gcorn):
    server = gcorn("faulty")
    pids = server.worker_pids
    client = server.connect()
    assert client.get("/fork-exit").text == "the child's status is 0\n"
    assert client.get("/").status == 200
    assert server.worker_pids == pids


def test_a_spawned_program_harms_no_worker(gcorn):
    server = gcorn("faulty", "-k", "gthread", "--threads", "2")
    pids = server.worker_pids
    with server.connect() as client:
        assert client.get("/spawn").text == "the child's status is 0\n"
        assert client.get("/").status == 200
    assert server.worker_pids == pids


@pytest.mark.parametrize("path", ["/hang", "/spin"])
def test_timeout_kills_a_call_that_takes_too_long(gcorn, path):
    server = gcorn("faulty", "-t", "1")
    pid = server.workers[0].pid
    client = server.connect()
    client.send(f"POST {path}?q=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    line = server.wait_log(rf"\[CRITICAL\] WORKER TIMEOUT \(pid:{pid}\) after (\d\.\d) s in "
                           rf"POST {path} of 127\.0\.0\.1, request [0-9a-f]{{16}}$")
    assert 1 <= float(line.group(1)) <= 2.5 * SLOWER
    assert client.response().status == 504
    client.assert_closed()
    server.wait_workers(1, other_than={pid})
    assert server.get("/").status == 200


def test_timeout_leaves_the_other_workers_alone(gcorn):
    server = gcorn("faulty", "-t", "1", "--workers", "2")
    before = server.worker_pids
    server.ask("/hang")
    victim = int(server.wait_log(r"WORKER TIMEOUT \(pid:(\d+)\)").group(1))
    server.wait_workers(2, other_than={victim})
    assert before - {victim} <= server.worker_pids


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_leave_when_the_master_is_killed(gcorn, probe, state):
    server = gcorn(probe, "--workers", "2")
    held = Held(server) if state == "busy" else None
    server.kill(signal.SIGKILL)
    server.process.wait()
    if held:
        wait_for(lambda: len(server.left_over()) == 1, "the idle worker to leave")
        assert held.let_go().status == 200  # what runs is finished
        held.client.close()
    wait_for(lambda: not server.left_over(), "the workers to leave")


def test_short_timeout_is_checked_often_enough(gcorn, app):
    server = gcorn(f"{app('hooks')}:handler", "-t", "400ms")

    def seconds():
        server.wait_workers(1)
        mark, began = server.mark(), time.monotonic()
        server.ask("/hang")
        server.wait_log("WORKER TIMEOUT", after=mark)
        took = time.monotonic() - began
        server.wait_log("was killed", after=mark)
        return took
    assert best_of(4, seconds) < 0.9


# ---- what does not start ------------------------------------------------------------------------


def test_boot_missing_file(gcorn, tmp_path):
    fails_to_start(gcorn, "nowhere.so:handler", 3,
                   rf"cannot open the application ./nowhere.so: No such file or directory "
                   rf"\(working directory {tmp_path}\)")


def test_boot_not_elf(gcorn, tmp_path):
    (tmp_path / "app.so").write_text("int handler;\n" * 20)
    fails_to_start(gcorn, "app.so:handler", 3, "app.so is not a shared object: build it with")


def test_boot_of_a_program_is_refused(gcorn, tmp_path):
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-no-pie", "-o", tmp_path / "app.so", tmp_path / "main.c"], check=True)
    fails_to_start(gcorn, "app.so:handler", 3, "app.so is an ELF file but no shared object")


def test_boot_missing_symbol(gcorn):
    fails_to_start(gcorn, example("hello").replace(":handler", ":application"), 3,
                   "hello.so exports no function application")


def test_boot_unresolved_symbol(gcorn, app):
    fails_to_start(gcorn, f"{app('unresolved')}", 3, "needs not_defined_anywhere")


def test_boot_wrong_abi(gcorn, app):
    fails_to_start(gcorn, f"{app('unresolved', '-DABI')}", 3, "ABI 999.*this gcorn speaks ABI 2")


@pytest.mark.needs("c++")
def test_boot_cxx_name(gcorn, app):
    fails_to_start(gcorn, f"{app('mangled', compiler='c++')}", 3,
                   "defines handler with a C\\+\\+ name: put GCORN_EXPORT")


def test_boot_constructor_crashes(gcorn, app):
    fails_to_start(gcorn, f"{app('hooks', '-DCRASHES')}:handler", 3, "SIGSEGV")


def test_boot_constructor_exits(gcorn, app):
    fails_to_start(gcorn, f"{app('hooks', '-DLEAVES')}:handler", 3, r"exited with code 0")


def test_boot_init_refuses(gcorn, app):
    fails_to_start(gcorn, f"{app('hooks', '-DREFUSES')}:handler", 3,
                   "gcorn_on_worker_init of the application failed")


def test_boot_that_takes_too_long(gcorn, app):
    fails_to_start(gcorn, f"{app('hooks', '-DSTUCK')}:handler", 3, "not ready within boot_timeout",
                   "--boot-timeout", "150ms")


def test_hup_fails_if_the_application_boots_too_slowly(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--boot-timeout", f"{250 * SLOWER}ms")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    fails_to_reload(server, "not ready within boot_timeout")


def test_term_while_the_application_is_loaded(gcorn, app):
    server = gcorn(f"{app('hooks', '-DSTUCK')}:handler", ready=0)
    server.wait_log("Booting worker")
    server.kill(signal.SIGQUIT)
    assert server.wait_exit() == 0
    assert critical_lines(server) == []


def test_boot_failure_with_many_workers_is_one_line(gcorn):
    fails_to_start(gcorn, "nowhere.so:handler", 3, "nowhere.so", "--workers", "8")


def test_bind_in_use(gcorn):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        fails_to_start(gcorn, "hello", 4, f"cannot bind 127.0.0.1:{port}: Address already in use",
                       bind=f"127.0.0.1:{port}")


def test_bind_to_a_foreign_address(gcorn):
    fails_to_start(gcorn, "hello", 4, "cannot bind 192.0.2.1:80: Cannot assign",
                   bind="192.0.2.1:80")


def test_bind_to_a_directory_that_is_not_there(gcorn):
    fails_to_start(gcorn, "hello", 4, "cannot bind unix:no/app.sock: No such file",
                   bind="unix:no/app.sock")


@pytest.mark.parametrize("args", [("--workers", "many"), ("--no-such-flag",), ("-b", "1:2:3"),
                                  ("--user", "no-such-user"), ("--access-logformat", "%(zz)s")])
def test_bad_settings_exit_2(tmp_path, args):
    done = run("--bind", "unix:app.sock", *args, example("hello"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert args[0].lstrip("-") in done.stderr.replace("_", "-") or args[1] in done.stderr


# ---- pid file, daemon ---------------------------------------------------------------------------


def test_pid_file(gcorn, tmp_path):
    server = gcorn("hello", "--pid", "gcorn.pid")
    assert (tmp_path / "gcorn.pid").read_text() == f"{server.pid}\n"
    server.stop()
    assert not (tmp_path / "gcorn.pid").exists()


def test_pid_file_of_a_running_server(gcorn, tmp_path):
    first = gcorn("hello", "--pid", "gcorn.pid")
    second = gcorn("hello", "--pid", tmp_path / "gcorn.pid", ready=0)
    assert second.wait_exit() == 1
    assert f"already running with pid {first.pid}" in second.log()
    assert (tmp_path / "gcorn.pid").read_text() == f"{first.pid}\n"
    assert first.get().status == 200


def test_pid_file_of_a_server_that_starts(gcorn, tmp_path):
    """Its socket has a name and does not listen yet, as one that was left behind."""
    with open(tmp_path / "pid", "w", encoding="ascii") as pid_file, socket.socket(
            socket.AF_UNIX) as bound:
        fcntl.lockf(pid_file, fcntl.LOCK_EX)
        bound.bind(str(tmp_path / "sock"))
        second = gcorn("hello", "--pid", "pid", bind="unix:sock", ready=0)
        assert second.wait_exit() == 1
        assert f"already running with pid {os.getpid()}" in second.log()
        bound.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "sock"))


def test_pid_file_left_behind_is_replaced(gcorn, tmp_path):
    (tmp_path / "gcorn.pid").write_text("1\n")
    server = gcorn("hello", "--pid", "gcorn.pid")
    assert (tmp_path / "gcorn.pid").read_text() == f"{server.pid}\n"


def test_pid_file_is_no_other_file(gcorn, tmp_path):
    (tmp_path / "precious").write_text("text\n")
    server = gcorn("hello", "--pid", "precious", ready=0)
    assert server.wait_exit() == 1
    assert (tmp_path / "precious").read_text() == "text\n"


def test_daemon_returns_when_it_serves(gcorn, tmp_path):
    server = gcorn("hello", "-D", "--pid", "gcorn.pid", "--error-logfile", "error.log",
                   bind="unix:app.sock", ready=0)
    assert server.wait_exit() == 0
    pid = int((tmp_path / "gcorn.pid").read_text())
    server.sessions.add(Process(pid).session)
    try:
        with Client(str(tmp_path / "app.sock")) as client:
            assert client.get().body == b"Hello, World!"  # at once: no waiting
        daemon = Process(pid)
        assert daemon.session not in (os.getsid(0), pid, server.pid)  # no session leader
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        assert len(children(pid)) == 1
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not Process(pid).is_alive, "the daemon to stop")
    assert not (tmp_path / "gcorn.pid").exists()


@pytest.mark.parametrize("more", [
    (), ("--error-logfile", "log"), ("--error-logfile", "/dev/stderr", "--access-logfile", "-"),
    ("--preload",), ("--admin-bind", "127.0.0.1:0", "--workers", "2"), ("--capture-output",),
    ("--on-starting", "sleep 300 & echo $! >hook"), ("--syslog",)], ids=" ".join)
def test_daemon_holds_nothing_of_its_starter(tmp_path, more):
    """As ssh waits: until all have closed what it reads. And as a script holds a lock."""
    outputs = [os.pipe() for _ in range(3)]  # standard output and error, and one more
    ends = [write for _, write in outputs]
    held = {f"pipe:[{os.fstat(read).st_ino}]" for read, _ in outputs}
    words = [GCORN, "-D", "--bind", "unix:app.sock", "--pid", "pid", *more, example("hello")]
    starter = subprocess.Popen(  # pylint: disable=consider-using-with
        words, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=ends[0], stderr=ends[1],
        pass_fds=ends[2:], env=clean_environment())
    said = b""
    for end in ends:
        os.close(end)
    try:
        assert starter.wait(PATIENCE) == 0
        for read, _ in outputs:
            os.set_blocking(read, False)
            while (text := wait_for(lambda fd=read: read_now(fd), "the end of a pipe")) is not True:
                said += text
        pid = int((tmp_path / "pid").read_text())
        with Client(str(tmp_path / "app.sock")) as client:
            assert client.get().body == b"Hello, World!"
        for process in (Process(pid), *children(pid)):
            assert not held & set(process.links)
    finally:
        if (tmp_path / "pid").exists():
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        if (tmp_path / "hook").exists():
            os.kill(int((tmp_path / "hook").read_text()), signal.SIGKILL)
        wait_for(lambda: not (tmp_path / "pid").exists(), "the daemon to stop")
        for read, _ in outputs:
            os.close(read)
    is_lost = "log" not in more and "--syslog" not in more
    assert (b"errorlog: a daemon has neither standard output nor standard error" in said) == is_lost
    assert (b"accesslog: a daemon has neither" in said) == ("-" in more)


def read_now(fd):
    """Bytes; True at the end; None when there is nothing yet."""
    try:
        return os.read(fd, 65536) or True
    except BlockingIOError:
        return None


def test_daemon_serves_sockets_that_it_was_passed(tmp_path):
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(tmp_path / "app.sock"))
        passed.listen()
        done = subprocess.run([GCORN, "-D", "--bind", f"fd://{passed.fileno()}", "--pid", "pid",
                               "--error-logfile", "log", example("hello")], cwd=tmp_path,
                              pass_fds=[passed.fileno()], env=clean_environment(), check=False,
                              timeout=PATIENCE)
    assert done.returncode == 0
    with Client(str(tmp_path / "app.sock")) as client:
        assert client.get().body == b"Hello, World!"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not (tmp_path / "pid").exists(), "the daemon to stop")


@pytest.mark.parametrize("args, status, why", [
    (["--bind", "unix:a.sock", "nowhere.so:handler"], 3, "cannot open the application ./nowhere.so"),
    (["--bind", "unix:no/a.sock", "hello"], 4, "cannot bind unix:no/a.sock"),
    (["--bind", "unix:a.sock", "--workers", "x", "hello"], 2, "workers: must be")],
    ids=["app", "bind", "settings"])
def test_daemon_reports_why_it_does_not_serve(gcorn, args, status, why):
    app_text = args.pop()
    server = gcorn(app_text, "-D", *args, bare=True, ready=0)
    assert server.wait_exit() == status
    assert why in server.log()


# ---- sockets ------------------------------------------------------------------------------------


def test_unix_socket_file_goes_with_the_server(gcorn, tmp_path):
    server = gcorn("hello", bind="unix:app.sock")
    assert f"Listening at: unix:app.sock ({server.pid})" in server.log()
    server.stop()
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.parametrize("spelling", ["unix:@{}", "unix://@{}"])
def test_abstract_unix_socket(gcorn, tmp_path, spelling):
    """It has no file, is kept by a reload, and cannot be bound twice."""
    text = spelling.format(f"gcorn-test-{os.getpid()}")
    server = gcorn("hello", "--access-logfile", "access", bind=text)
    assert server.get().status == 200
    assert server.address.startswith("\0") and not list(tmp_path.glob("*@*"))
    assert text.replace("//", "")[5:] in Path("/proc/net/unix").read_text()
    before = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    server.wait_workers(1, other_than=before)
    assert server.get().status == 200
    for words in ([], ["--check-config"]):
        done = run(*words, "--bind", text, server.command[-1], cwd=tmp_path, timeout=30)
        assert "already in use by another server" in done.stderr
        assert done.returncode == (0 if words else 4)
    server.stop()
    assert f"@gcorn-test-{os.getpid()}" not in Path("/proc/net/unix").read_text()


def test_a_file_may_begin_with_an_at(gcorn, tmp_path):
    server = gcorn("hello", bind="unix:./@app.sock")
    assert server.get().status == 200 and (tmp_path / "@app.sock").is_socket()


def test_unix_socket_file_left_behind_is_replaced(gcorn, tmp_path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "app.sock"))
    stale.close()
    assert gcorn("hello", bind="unix:app.sock").get().status == 200


def test_unix_socket_of_another_server_is_not_stolen(gcorn, tmp_path):
    first = gcorn("hello", bind="unix:app.sock")
    second = gcorn("hello", bind=f"unix:{tmp_path}/app.sock", ready=0)
    assert second.wait_exit() == 4
    assert "already in use by another server" in second.log()
    assert first.get().status == 200


def test_unix_socket_replaces_no_file(gcorn, tmp_path):
    (tmp_path / "app.sock").write_text("precious")
    server = gcorn("hello", bind="unix:app.sock", ready=0)
    assert server.wait_exit() == 4
    assert (tmp_path / "app.sock").read_text() == "precious"


def test_socket_file_of_a_successor_is_left(gcorn, tmp_path):
    first = gcorn("hello", bind="unix:app.sock")
    (tmp_path / "app.sock").unlink()
    gcorn("hello", bind=f"unix:{tmp_path}/app.sock")
    first.stop()
    assert Client(str(tmp_path / "app.sock")).get().status == 200


def test_inherited_socket(gcorn):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        server = gcorn("hello", bind=f"fd://{fd}", pass_fds=[fd])
        assert f"Listening at: fd://{fd} (" in server.log()
        with Client(("127.0.0.1", port)) as client:
            assert client.get().status == 200


def test_inherited_descriptor_that_is_no_socket_fails(gcorn, tmp_path):
    with open(tmp_path / "file", "w") as file:
        server = gcorn("hello", bind=f"fd://{file.fileno()}", pass_fds=[file.fileno()], ready=0)
        assert server.wait_exit() == 4
    assert "cannot use fd://" in server.log()


def test_the_port_is_free_at_once_after_a_stop(gcorn):
    first = gcorn("hello")
    client = first.connect()
    client.get(fields="Connection: close\r\n")
    port = first.port
    first.stop()
    assert gcorn("hello", bind=f"127.0.0.1:{port}").get().status == 200


# ---- the process's surroundings -----------------------------------------------------------------


@ROOT_ONLY
def test_user_and_group(public_dir, gcorn):
    server = gcorn("app.so:handler", "--user", "nobody", "--group", "65534", directory=public_dir)
    assert server.get("/ids").text == "65534 65534: 65534"
    assert Process(server.pid).status("Uid").split()[0] == "0"
    server.stop()


@ROOT_ONLY
def test_user_brings_its_group(public_dir, gcorn):
    server = gcorn("app.so:handler", "--user", "daemon", directory=public_dir)
    assert server.get("/ids").text == "1 1: 1"
    server.stop()


@ROOT_ONLY
def test_dropped_workers_still_reopen_logs(public_dir, gcorn):
    access = public_dir / "access.log"
    server = gcorn("app.so:handler", "--user", "nobody", "--access-logfile", access,
                   directory=public_dir)
    os.rename(access, f"{access}.1")
    server.kill(signal.SIGUSR1)
    wait_for(lambda: str(access) in server.workers[0].links, "the worker to follow")
    server.get()
    wait_for(access.read_text, "a line")
    server.stop()


@pytest.mark.parametrize("mode", ["022", "077"])
def test_umask(gcorn, probe, tmp_path, mode):
    server = gcorn(probe, "--umask", mode, bind="unix:app.sock")
    assert server.get("/umask").text == mode
    assert os.stat(tmp_path / "app.sock").st_mode & 0o777 == 0o777 & ~int(mode, 8)


def test_env_reaches_the_application(gcorn, probe):
    server = gcorn(probe, "-e", "COLOUR=red=blue", "-e", "EMPTY=", env={"INHERITED": "yes"})
    assert server.get("/env?name=COLOUR").text == "red=blue"
    assert server.get("/env?name=EMPTY").text == ""
    assert server.get("/env?name=INHERITED").text == "yes"
    assert server.get("/env?name=ABSENT").text == "(none)"


def test_chdir_is_where_the_application_is_found_and_runs(gcorn, app, tmp_path):
    (tmp_path / "site").mkdir()
    install(tmp_path / "site" / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--chdir", "site")
    assert server.get("/cwd").text == f"{tmp_path}/site"
    old = server.worker_pids
    server.kill(signal.SIGHUP)  # relative to the directory of the start, again
    server.wait_workers(1, other_than=old)
    assert server.get("/cwd").text == f"{tmp_path}/site"


def test_stdin_closed_at_start(tmp_path):
    """Descriptors 0 to 2 are filled, so that no socket becomes the standard output of a process."""
    process = subprocess.Popen(  # pylint: disable=consider-using-with
        ["/bin/sh", "-c", f'exec "{GCORN}" -w 1 -b unix:app.sock "{example("hello")}" <&- >&-'],
        cwd=tmp_path, env=clean_environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: (tmp_path / "app.sock").exists(), "the socket")
        wait_for(lambda: [p for p in children(process.pid) if p.is_ready_worker], "the worker")
        with Client(str(tmp_path / "app.sock")) as client:
            assert client.get().status == 200
        assert os.readlink(f"/proc/{process.pid}/fd/1") == "/dev/null"
    finally:
        process.terminate()
        assert process.wait(10 * SLOWER) == 0


# ---- hooks --------------------------------------------------------------------------------------


def test_the_applications_hooks_are_called_in_order(gcorn, app, tmp_path):
    server = gcorn(f"{app('hooks')}:handler")
    assert server.get("/x").text == "hooked"
    server.stop()
    assert (tmp_path / "hooks.txt").read_text().splitlines() == [
        "init", "pre /x", "call", "post /x 200 6", "exit"]


def test_exit_hook_that_takes_long_is_not_killed(gcorn, app, tmp_path):
    server = gcorn(f"{app('hooks', '-DTAKES_LEAVE')}:handler", "--heartbeat", "2s")
    server.stop()
    assert "exit" in hooks_called(tmp_path)
    assert "SILENT" not in server.log()


def hooks_called(directory):
    path = directory / "hooks.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("threads", [(), ("--threads", "1", "-k", "gthread")])
def test_a_request_that_is_not_run_has_no_hooks(gcorn, app, tmp_path, threads):
    server = gcorn(f"{app('hooks')}:handler", "--queue-timeout", "100ms", *threads)
    late = server.connect()
    late.get("/first")
    held = server.ask("/hold")
    wait_for(lambda: "pre /hold" in hooks_called(tmp_path), "the call")
    late.send(request("/late"))
    pace(0.3)
    (tmp_path / "go").touch()
    assert held.response().status == 200
    assert late.response().status == 503
    server.stop()
    called = hooks_called(tmp_path)
    assert "post /hold 200 6" in called and not [line for line in called if "/late" in line]


def test_hooks_run_for_the_reload_check_request(gcorn, app, tmp_path):
    server = gcorn(f"{app('hooks')}:handler", "--reload-check-path", "/check")
    server.kill(signal.SIGHUP)
    wait_for(lambda: "exit" in hooks_called(tmp_path), "the old worker to end")
    called = hooks_called(tmp_path)
    assert called.index("pre /check") + 2 == called.index("post /check 200 6")


def test_abort_hook(gcorn, app, tmp_path):
    server = gcorn(f"{app('hooks')}:handler", "-t", "1")
    pid = server.workers[0].pid
    server.ask("/hang")
    server.wait_log("WORKER TIMEOUT")
    server.wait_workers(1, other_than={pid})
    # the replacement does not wait for the end of the condemned
    assert sorted((tmp_path / "hooks.txt").read_text().splitlines()) == [
        "abort", "init", "init", "pre /hang"]
