# SPDX-License-Identifier: MIT
"""Reloads by HUP: the code, the settings and the workers that come and go; what fails leaves all as it was."""
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from harness import (Client, Held, Process, can_bind, example, fails_to_reload, free_port, hup,
                     install, pid_of, run, wait_for, write_config)


# ---- code, settings, workers ----------------------------------------------------------------------


def test_hup_replaces_the_workers(gcorn):
    server = gcorn("hello", "--workers", "2")
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_log(r"Handling signal: hup\n.*Hang up: Master")
    server.wait_log(r"Reloaded: generation 1 -> 2, no setting changed")
    server.wait_workers(2, other_than=old)
    assert server.get().status == 200


def test_hup_finishes_the_request_in_flight(gcorn, probe):
    server = gcorn(probe)
    old = server.workers[0].pid
    held = Held(server)
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    assert pid_of(server) != old
    assert held.let_go().text == str(old)
    held.client.close()
    server.wait_workers(1, other_than={old})


def test_hup_loads_new_code(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--workers", "2")
    old = server.worker_pids
    assert server.get("/version").text == "one"
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    server.wait_workers(2, other_than=old)
    assert {server.get("/version").text for _ in range(5)} == {"two"}


def overwrite(path, source):
    """As cp does it: into the file that is there."""
    with open(path, "r+b") as old, open(source, "rb") as new:
        old.truncate()
        old.write(new.read())


@pytest.mark.parametrize("change", ["rename", "overwrite", "truncate", "delete"])
def test_changes_to_the_file_reach_no_worker(gcorn, app, tmp_path, change):
    """A worker that is started after the change runs the code of its generation too."""
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler")
    if change == "rename":
        install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    elif change == "overwrite":
        overwrite(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    elif change == "truncate":
        os.truncate(tmp_path / "app.so", 0)
    else:
        os.unlink(tmp_path / "app.so")
    assert server.get("/version").text == "one"
    old = server.worker_pids
    os.kill(min(old), signal.SIGKILL)
    server.wait_workers(1, other_than=old)
    assert server.get("/version").text == "one"
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    assert server.get("/version").text == "two"


@pytest.mark.parametrize("before, after", [(1, 3), (3, 1)])
def test_hup_changes_the_number_of_workers(gcorn, tmp_path, before, after):
    write_config(tmp_path, workers=before, bind="127.0.0.1:0")
    server = gcorn("hello", bare=True, ready=before)
    old, port = server.worker_pids, server.port
    write_config(tmp_path, workers=after, bind="127.0.0.1:0")
    server.kill(signal.SIGHUP)
    server.wait_log(rf"Reloaded: generation 1 -> 2, workers {before} -> {after}$")
    server.wait_workers(after, other_than=old)
    assert server.port == port  # the socket is kept
    assert server.get().status == 200


def test_hup_changes_a_limit(gcorn, tmp_path):
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", limit_request_body=3)
    server = gcorn("hello", bare=True)
    old = server.worker_pids
    post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabcd"
    with server.connect() as client:
        assert client.send(post).response().status == 413
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", limit_request_body=4)
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    assert server.connect().send(post).response().status == 200


def test_hup_changes_the_bind(gcorn, tmp_path):
    write_config(tmp_path, workers=1, bind="unix:one.sock")
    server = gcorn("hello", bare=True)
    write_config(tmp_path, workers=1, bind="unix:two.sock")
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    assert Client(str(tmp_path / "two.sock")).get().status == 200
    wait_for(lambda: not (tmp_path / "one.sock").exists(), "the old socket's file to go")


def test_hup_adds_a_bind_and_keeps_the_other(gcorn, tmp_path):
    write_config(tmp_path, workers=1, bind="[unix:one.sock]")
    server = gcorn("hello", bare=True)
    inode = os.stat(tmp_path / "one.sock").st_ino
    write_config(tmp_path, workers=1, bind="[unix:one.sock, unix:two.sock]")
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    for name in ("one.sock", "two.sock"):
        assert Client(str(tmp_path / name)).get().status == 200
    assert os.stat(tmp_path / "one.sock").st_ino == inode


@pytest.mark.parametrize("content, why", [
    (None, "cannot open the application ./app.so: No such file"),
    (b"#!/bin/sh\n", "app.so is not a shared object"),
    ("hooks -DREFUSES", "gcorn_on_worker_init"),
    ("hooks -DCRASHES", "SIGSEGV"),
], ids=["missing", "not ELF", "refuses", "crashes"])
def test_hup_with_a_broken_application_changes_nothing(gcorn, app, tmp_path, content, why):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--workers", "2")
    if isinstance(content, str):
        install(tmp_path / "app.so", app(*content.split()))
    else:
        (tmp_path / "app.so").unlink()
        if content:
            (tmp_path / "app.so").write_bytes(content)
    fails_to_reload(server, why)


def test_hup_after_a_failed_one_succeeds(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler")
    old = server.worker_pids
    install(tmp_path / "app.so", app("hooks", "-DREFUSES"))
    fails_to_reload(server, "gcorn_on_worker_init")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    assert server.get("/version").text == "two"


@pytest.mark.parametrize("text, why", [
    ("workers: [1\n", "gunicorn-c.yaml:1:"),
    ("workers: none\n", r"gunicorn-c.yaml:1:\d+: workers: must be"),
    ("wokers: 1\n", 'did you mean "workers"'),
    ("bind: 'unix:/nonexistent/x.sock'\n", "cannot bind unix:/nonexistent/x.sock"),
    ("errorlog: /nonexistent/log\n", "cannot open /nonexistent/log"),
    ("access_log_format: '%(zz)s'\n", "access_log_format"),
    ("user: no-such-user\n", "no-such-user"),
    ("workers: 1000\n", "workers"),
    ("chdir: /nonexistent\n", "cannot change to /nonexistent"),
], ids=lambda value: value.split(":")[0] if value.endswith("\n") else "")
def test_hup_with_broken_settings_changes_nothing(gcorn, tmp_path, text, why):
    write_config(tmp_path, workers=2, bind="unix:app.sock")
    server = gcorn("hello", bare=True, ready=2)
    (tmp_path / "gunicorn-c.yaml").write_text(text if "bind" in text else text + "bind: 'unix:app.sock'\n")
    fails_to_reload(server, why)
    assert (tmp_path / "app.sock").exists()


def test_hup_twice_at_once(gcorn):
    server = gcorn("hello", "--workers", "2")
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_log("Hang up: Master")
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    server.wait_workers(2, other_than=old)
    assert server.get().status == 200


def test_term_during_a_reload_stops(gcorn):
    server = gcorn("hello", "--workers", "3")
    server.kill(signal.SIGHUP)
    server.wait_log("Hang up: Master")
    assert server.stop() == 0


def test_idle_connections_survive_hup_for_a_request(gcorn, probe):
    """A retired worker keeps its idle connections: the request that was on its way is answered,
    with Connection: close."""
    server = gcorn(probe)
    old = server.workers[0].pid
    client = server.connect()
    client.get()
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    answer = client.get("/pid")
    assert int(answer.text) == old
    while not answer.closes:  # the old worker may not have been told yet
        answer = client.get("/pid")
    client.assert_closed()


# ---- what a worker has open ---------------------------------------------------------------------


def test_address_dropped_by_a_reload_is_free(gcorn, tmp_path):
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


# ---- the directory and the umask ----------------------------------------------------------------


def test_reload_with_chdir_moves_no_other_generation(gcorn, app, tmp_path):
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
    server.wait_log("Booting worker", count=2)
    assert os.readlink(f"/proc/{server.pid}/cwd") == f"{tmp_path}/one"
    old = pid_of(server)
    os.kill(old, signal.SIGKILL)  # its successor is the old generation's
    wait_for(lambda: [p for p in server.workers if p.is_ready_worker and p.pid != old], "another")
    assert server.get("/cwd").text == f"{tmp_path}/one"
    assert server.get("/umask").text == "022"
    assert server.stop() == 0
    for name in ("one/app.sock", "two/app.sock", "one/pid", "two/pid"):
        assert not (tmp_path / name).exists()


def test_failed_reload_keeps_the_masters_directory(gcorn, app, tmp_path):
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
    server.wait_log("Booting worker", count=2)
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
            canary = int(server.wait_log(r"Booting worker with pid: (\d+)", count=2)[1].group(1))
            wait_for(lambda: Process(canary).catches(signal.SIGHUP), "the canary")
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


# ---- logs ---------------------------------------------------------------------------------------


def test_usr1_reopens_logs_of_retiring_workers(gcorn, probe, tmp_path):
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
    hup(server, "Reload failed: pid file .*holds something other than a pid")
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


def test_stopped_master_fails_no_booting_worker(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--boot-timeout", "2s", "-t", "1", "--heartbeat", "2s")
    install(tmp_path / "app.so", app("hooks", "-DSLOW"))
    server.kill(signal.SIGHUP)
    server.wait_log("Booting worker", count=2)
    stop_for(server, 3)
    server.wait_log("Reloaded: generation 1 -> 2")
    assert "failed" not in server.log() and "UNRESPONSIVE" not in server.log()


def test_stopped_master_lets_retiring_workers_finish(gcorn, probe):
    server = gcorn(probe, "--graceful-timeout", "2s")
    held = Held(server)
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    stop_for(server, 3)
    time.sleep(0.5)  # an assertion of silence takes its time
    assert held.let_go().status == 200
    assert "did not finish" not in server.log()


def test_hup_binds_no_address_twice(gcorn, tmp_path):
    """A start with these settings would fail, so they must not count until then."""
    write_config(tmp_path, bind="unix:sock")
    server = gcorn("hello", bare=True, ready=0)
    server.wait_log("Listening at")
    write_config(tmp_path, bind="[unix:sock, unix:./sock]")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: gunicorn-c\.yaml:1.*: bind: unix:\./sock is given twice")
