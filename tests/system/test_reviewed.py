# SPDX-License-Identifier: MIT
"""What a review of the master found: each test failed before its fix."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness import (GCORN, ROOT_ONLY, Client, Held, Process, best_of, can_bind, clean_environment,
                     example, free_port, hup, install, pace, pid_of, run, wait_for, write_config)


# ---- what a worker has open ---------------------------------------------------------------------


def test_an_address_that_a_reload_gives_up_is_free(gcorn, tmp_path):
    port = free_port()
    write_config(tmp_path, bind=f'["127.0.0.1:0", "127.0.0.1:{port}"]', workers=2,
                 errorlog="one.log", pidfile="pid")
    server = gcorn("hello", bare=True, ready=0)
    wait_for(lambda: len(server.workers) == 2 and all(p.is_ready_worker for p in server.workers),
             "the workers")
    old = server.worker_pids
    write_config(tmp_path, bind='["127.0.0.1:0"]', workers=2, errorlog="two.log", pidfile="pid")
    server.kill(signal.SIGHUP)
    server.wait_workers(2, other_than=old)
    wait_for(lambda: can_bind(port), "the master to close it, once the old workers are reaped")
    for worker in server.workers:
        assert f"{tmp_path}/one.log" not in worker.links
        assert f"{tmp_path}/pid" not in worker.links
        assert worker.sockets == server.workers[0].sockets


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
    wait_for(lambda: len(server.workers) == 2, "the canary")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "graceful_timeout" not in server.log()


# ---- the directory and the umask ----------------------------------------------------------------


def test_a_reload_does_not_move_the_others(gcorn, app, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    install(tmp_path / "one/app.so", app("probe"))
    install(tmp_path / "two/app.so", app("hooks", "-DSTUCK"))
    write_config(tmp_path, bind="unix:app.sock", workers=1, chdir="one", umask="'022'",
                 boot_timeout="60s", pidfile="pid")
    server = gcorn("app.so:handler", bare=True, ready=0)
    server.wait_log("Listening at")
    server.address = str(tmp_path / "one/app.sock")
    server.wait_workers(1)
    write_config(tmp_path, bind="unix:app.sock", workers=1, chdir="two", umask="'077'",
                 boot_timeout="60s", pidfile="pid")
    server.kill(signal.SIGHUP)
    wait_for(lambda: len(server.workers) == 2, "the canary")
    assert os.readlink(f"/proc/{server.pid}/cwd") == f"{tmp_path}/one"
    old = pid_of(server)
    os.kill(old, signal.SIGKILL)  # its successor is the old generation's
    wait_for(lambda: [p for p in server.workers if p.is_ready_worker and p.pid != old], "another")
    assert server.get("/cwd").text == f"{tmp_path}/one"
    assert server.get("/umask").text == "022"
    assert server.stop() == 0
    for name in ("one/app.sock", "two/app.sock", "one/pid", "two/pid"):
        assert not (tmp_path / name).exists()


def test_a_failed_reload_leaves_the_master_where_it_is(gcorn, app, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    install(tmp_path / "one/app.so", app("probe"))
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, chdir="one")
    server = gcorn("app.so:handler", bare=True)
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, chdir="two")
    hup(server, "Reload failed: cannot open the application")
    assert os.readlink(f"/proc/{server.pid}/cwd") == f"{tmp_path}/one"


# ---- reloads in a row ---------------------------------------------------------------------------


def test_a_hup_during_a_reload_that_fails_counts(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--boot-timeout", "1s")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    server.kill(signal.SIGHUP)
    wait_for(lambda: len(server.workers) == 2, "the canary")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    server.wait_log("Reload failed: it was not ready within boot_timeout")
    server.wait_log("Reloaded: generation 1 -> 3")
    wait_for(lambda: server.get("/version").text == "two", "the new code")


def test_newer_hup_cancels_a_candidate_that_boots_for_long(gcorn, app, tmp_path):
    """Clients that wait for the cancelled reload get the outcome of the next one."""
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--boot-timeout", "600s", "--control-socket", "ctl")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    waiting = []
    for i in range(2):
        ask = Client(str(tmp_path / "ctl"))
        ask.send("reload\n")
        waiting.append(ask)
        server.wait_log("Control socket: reload", count=i + 1)
        if i == 0:
            canary = wait_for(lambda: [p for p in server.workers if not p.is_ready_worker and
                                       p.catches(signal.SIGHUP)], "the canary")[0].pid
            install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.wait_log(r"generation 2 has booted for 2\.\d s and serves no client; cancelling it")
    server.wait_log("Reloaded: generation 1 -> 3")
    for ask in waiting:
        assert ask.rest() == b'{"ok": true, "generation": 3}\n'
        ask.close()
    assert server.get("/version").text == "two"
    assert not Process(canary).is_alive and "Reload failed" not in server.log()


def test_newer_hup_cancels_a_template_that_loads_for_long(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--boot-timeout", "600s", "--preload")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    server.kill(signal.SIGHUP)
    stuck = wait_for(lambda: server.templates[1:], "the second template")[0].pid
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 3")
    assert server.get("/version").text == "two"
    wait_for(lambda: not Process(stuck).is_alive, "the end of the template that is stuck")


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


# ---- logs ---------------------------------------------------------------------------------------


def test_usr1_reopens_the_logs_of_those_that_leave(gcorn, probe, tmp_path):
    common = {"bind": "127.0.0.1:0", "workers": 1}
    write_config(tmp_path, **common, accesslog="one.log")
    server = gcorn(probe, bare=True)
    held = Held(server)
    old = server.worker_pids
    write_config(tmp_path, **common, accesslog="two.log")
    hup(server)
    for name in ("one", "two"):
        os.rename(tmp_path / f"{name}.log", tmp_path / f"{name}.log.1")
    server.kill(signal.SIGUSR1)
    for name in ("one", "two"):
        wait_for((tmp_path / f"{name}.log").exists, f"{name}.log")
    new, = (p for p in server.workers if p.pid not in old)
    # workers are told in the order of their births: the old one has been, too
    wait_for(lambda: str(tmp_path / "two.log") in new.links, "the new worker to have its log")
    assert held.let_go().status == 200
    held.client.close()
    wait_for(lambda: not server.worker_pids & old, "the old worker to leave")
    wait_for(lambda: "/hold" in (tmp_path / "one.log").read_text(), "the line")
    assert "/hold" not in (tmp_path / "one.log.1").read_text()


# ---- settings that a reload changes -------------------------------------------------------------


def test_hup_moves_the_pid_file(gcorn, tmp_path):
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, pidfile="one.pid")
    server = gcorn("hello", bare=True)
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, pidfile="two.pid")
    hup(server)
    assert (tmp_path / "two.pid").read_text() == f"{server.pid}\n"
    assert not (tmp_path / "one.pid").exists()
    (tmp_path / "two.pid").unlink()
    hup(server)
    assert (tmp_path / "two.pid").read_text() == f"{server.pid}\n"
    (tmp_path / "other").write_text("no pid")
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, pidfile="other")
    hup(server, "Reload failed: pid file .*holds something else")
    assert (tmp_path / "two.pid").exists()
    assert run("--pid", "two.pid", "-b", "unix:x", example("hello"), cwd=tmp_path / "..",
               env={"GCORN_CHDIR": str(tmp_path)}).returncode == 1  # still locked
    assert server.stop() == 0
    assert not (tmp_path / "two.pid").exists()


def waiting_room(path):
    """How many connections the queue of a unix socket takes."""
    clients = []
    try:
        while len(clients) < 100:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            client.connect(path)
    except BlockingIOError:
        return len(clients) - 1
    finally:
        for client in clients:
            client.close()
    return len(clients)


def test_hup_changes_the_backlog(gcorn, probe, tmp_path):
    write_config(tmp_path, bind="unix:app.sock", workers=1, backlog=2)
    server = gcorn(probe, bare=True)
    old = server.worker_pids
    write_config(tmp_path, bind="unix:app.sock", workers=1, backlog=20)
    hup(server)
    wait_for(lambda: not server.worker_pids & old, "the old worker to leave")
    held = Held(server)
    assert waiting_room(server.address) > 10
    assert held.let_go().status == 200


def test_hup_raises_the_limit_of_open_files(gcorn, tmp_path):
    def limit(pid):
        text = Path(f"/proc/{pid}/limits").read_text()
        return int(re.search(r"Max open files\s+(\d+)", text).group(1))

    def preexec():
        import resource  # pylint: disable=import-outside-toplevel
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 4000))

    write_config(tmp_path, bind="127.0.0.1:0", workers=1, worker_connections=100)
    server = gcorn("hello", bare=True, preexec=preexec)
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, worker_connections=2000, daemon="true")
    old = server.worker_pids
    hup(server)
    server.wait_log("daemon: only a restart can change it")
    server.wait_workers(1, other_than=old)
    assert limit(server.workers[0].pid) >= 2000


def test_many_workers_fit_into_a_small_limit(gcorn):
    def preexec():
        import resource  # pylint: disable=import-outside-toplevel
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 4000))

    server = gcorn("hello", "--workers", "40", "--worker-connections", "10", preexec=preexec)
    assert len(server.workers) == 40
    assert "cannot start a worker" not in server.log()


def test_a_socket_file_that_was_removed_comes_back(gcorn, tmp_path):
    server = gcorn("hello", bind="unix:app.sock")
    (tmp_path / "app.sock").unlink()
    old = server.worker_pids
    hup(server)
    assert server.get().status == 200
    wait_for(lambda: not server.worker_pids & old, "the old worker to leave")
    assert server.get().status == 200


# ---- time ---------------------------------------------------------------------------------------


def stop_for(server, seconds):
    server.kill(signal.SIGSTOP)
    wait_for(lambda: Process(server.pid).state == "T", "the master to stop")
    time.sleep(seconds)
    server.kill(signal.SIGCONT)


def test_a_master_that_was_stopped_does_not_blame_the_booting(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--boot-timeout", "2s", "-t", "1", "--heartbeat", "2s")
    install(tmp_path / "app.so", app("hooks", "-DSLOW"))
    server.kill(signal.SIGHUP)
    wait_for(lambda: len(server.workers) == 2, "the canary")
    stop_for(server, 3)
    server.wait_log("Reloaded: generation 1 -> 2")
    assert "failed" not in server.log() and "SILENT" not in server.log()


def test_a_master_that_was_stopped_lets_the_leaving_finish(gcorn, probe):
    server = gcorn(probe, "--graceful-timeout", "2s")
    held = Held(server)
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    stop_for(server, 3)
    time.sleep(0.5)  # an assertion of silence takes its time
    assert held.let_go().status == 200
    assert "did not finish" not in server.log()


def test_a_short_timeout_is_judged_finely(gcorn, app):
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


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting, value", [
    ("bind", "'1:2:3'"), ("bind", "['unix:a', 'unix:a']"), ("access_log_format", "'%(zz)s'"),
    ("user", "no-such-user"), ("group", "no-such-group")])
def test_what_is_refused_has_its_place(tmp_path, setting, value):
    (tmp_path / "gunicorn-c.yaml").write_text(f"workers: 1\n{setting}: {value}\n")
    for words in (["--check-config"], []):
        done = run(*words, example("hello"), cwd=tmp_path)
        assert done.returncode == 2
        assert re.search(rf"gunicorn-c\.yaml:2.*: {setting}: ", done.stderr)


def test_hup_binds_no_address_twice(gcorn, tmp_path):
    """A start with these settings would fail, so they must not count until then."""
    write_config(tmp_path, bind="unix:sock")
    server = gcorn("hello", bare=True, ready=0)
    server.wait_log("Listening at")
    write_config(tmp_path, bind="[unix:sock, unix:./sock]")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: gunicorn-c\.yaml:1.*: bind: unix:\./sock is given twice")


def test_an_fd_that_nobody_passed(tmp_path):
    for number in range(3, 12):
        done = run("-w", "1", "-b", f"127.0.0.1:0,fd://{number}", "--error-logfile", "log",
                   example("hello"), cwd=tmp_path)
        assert done.returncode == 4
        assert "no such descriptor was passed" in done.stderr


@ROOT_ONLY
def test_another_user_without_being_root(public_dir):
    shutil.copy(GCORN, public_dir / "gcorn")  # where that user can read it
    done = subprocess.run([public_dir / "gcorn", "-u", "root", "-b", "127.0.0.1:0",
                           "app.so:handler"], cwd=public_dir, env=clean_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          user=65534, group=65534, extra_groups=[])
    assert done.returncode == 2
    assert "user: only root" in done.stderr


# ---- --check-config -----------------------------------------------------------------------------


def test_check_config_of_an_application_that_leaves(tmp_path, app):
    done = run("--check-config", app("hooks", "-DLEAVES"), cwd=tmp_path)
    assert done.returncode == 3
    assert "exit(0)" in done.stderr


def test_check_config_of_an_application_that_hangs(tmp_path, app):
    done = run("--check-config", "--boot-timeout", "500ms", app("hooks", "-DSTUCK"), cwd=tmp_path)
    assert done.returncode == 3
    assert "boot_timeout" in done.stderr


@pytest.mark.parametrize("name, status", [("hello", 0), ("nowhere", 3)])
def test_check_config_with_sigchld_ignored(tmp_path, name, status):
    done = subprocess.run([GCORN, "--check-config", example(name)], cwd=tmp_path,
                          env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, preexec_fn=lambda: signal.signal(signal.SIGCHLD,
                                                                        signal.SIG_IGN))
    assert done.returncode == status


def test_check_config_of_a_bind_given_twice(tmp_path):
    done = run("--check-config", "-b", "unix:a", "-b", "unix://a", example("hello"), cwd=tmp_path)
    assert done.returncode == 2
    assert "given twice" in done.stderr


# ---- a worker gone mad --------------------------------------------------------------------------


def test_a_worker_that_sends_nonsense_is_killed(gcorn):
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
