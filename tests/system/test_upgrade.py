# SPDX-License-Identifier: MIT
"""Binary upgrades: USR2 with gunicorn's choreography, and gcornctl upgrade."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from harness import (GCORN, GCORNCTL, PATIENCE, PROCESS_ONE, SLOWER, Client, Held, Process,
                     children, clean_environment, install, pace, passing, status_of, upgrade,
                     wait_for, write_config)


@pytest.fixture
def start(gcorn, app, tmp_path):
    """A server of VERSION one, run from a copy of gcorn, with all files that it can have."""
    def start_it(*args, **options):
        install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
        program = tmp_path / "gcorn"
        if not program.exists():
            shutil.copy(GCORN, program)
        return gcorn("app.so:handler", "--workers", "2", "--pid", "pid", "--control-socket", "ctl",
                     *args, program=program, **options)
    return start_it


def pid_in(path):
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def usr2(server):
    """The new master's pid, when it serves."""
    mark = server.mark()
    server.kill(signal.SIGUSR2)
    return int(server.wait_log(r"the new master \(pid:(\d+)\) serves as well", mark).group(1))


def masters(server):
    return {pid for pid in (int(name) for name in os.listdir("/proc") if name.isdigit())
            if Process(pid).session in server.sessions
            and Process(pid).title.startswith("gcorn: master")}


def test_workers_beyond_the_room_take_an_upgrade(gcorn, tmp_path):
    settings = {"bind": "127.0.0.1:0", "control_socket": "ctl"}
    write_config(tmp_path, workers=1, **settings)
    server = gcorn("hello", bare=True)
    write_config(tmp_path, workers=33, **settings)
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: gunicorn-c\.yaml:1: workers: this master has room for 32, not for "
                    r"33; gcornctl upgrade, or USR2 and then TERM, makes room for more")
    assert status_of(server.dir)["workers_wanted"] == 1
    answer = upgrade(server)
    assert answer["ok"], answer
    assert server.wait_exit() == 0
    server.is_succeeded_by(answer["pid"])
    assert status_of(server.dir)["workers_wanted"] == 33 and server.get("/").status == 200


# ---- USR2 ---------------------------------------------------------------------------------------


def test_usr2_and_quit_hand_over(start, tmp_path):
    server = start(bind="unix:sock")
    old, new = server.pid, usr2(server)
    assert (pid_in(tmp_path / "pid"), pid_in(tmp_path / "pid.2")) == (old, new)
    assert status_of(server.dir)["pid"] == old, "until it leaves, the old master answers"
    with server.connect() as kept:
        assert kept.get("/version").text == "one"
        os.kill(old, signal.SIGTERM)
        wait_for(lambda: pid_in(tmp_path / "pid") == new, "the pid file to change hands")
        wait_for(lambda: not (tmp_path / "pid.2").exists(), "its former name to go")
        assert status_of(server.dir)["pid"] == new
        assert kept.get("/version").text == "one", "an idle connection is not dropped"
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    assert server.get("/version").text == "one"
    server.stop()
    for name in ("pid", "sock", "ctl"):
        assert not (tmp_path / name).exists(), f"{name} is left over"


def test_term_to_the_new_master_rolls_back(start, tmp_path):
    server = start(bind="unix:sock")
    first = {p.pid for p in server.workers}
    new = usr2(server)
    server.kill(signal.SIGWINCH)
    wait_for(lambda: not first & {p.pid for p in server.workers}, "the old workers to finish")
    assert server.get("/version").text == "one"
    os.kill(new, signal.SIGTERM)
    server.wait_log("Upgrade rolled back")
    server.wait_workers(2)
    assert server.get("/version").text == "one"
    assert pid_in(tmp_path / "pid") == server.pid and not (tmp_path / "pid.2").exists()
    assert status_of(server.dir)["pid"] == server.pid
    server.stop()
    assert not (tmp_path / "sock").exists() and not (tmp_path / "pid").exists()


def test_hup_brings_retired_workers_back_as_they_were(start, app, tmp_path):
    server = start()
    new = usr2(server)
    server.kill(signal.SIGWINCH)
    wait_for(lambda: {p.pid for p in server.workers} == {new}, "the old workers to finish")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    wait_for(lambda: len(server.workers) == 3, "two workers beside the new master")
    os.kill(new, signal.SIGTERM)
    server.wait_log("Upgrade rolled back")
    assert server.get("/version").text == "one"
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: ")
    wait_for(lambda: server.get("/version").text == "two", "a reload, now")


def test_winch_from_a_terminal_is_ignored(start):
    server = start()
    before = server.worker_pids
    server.kill(signal.SIGWINCH)
    server.wait_log("Handling signal: winch")
    server.kill(signal.SIGTTIN)
    server.wait_workers(3)
    assert before <= server.worker_pids


def test_usr2_twice_and_from_the_new_master_is_ignored(start):
    server = start()
    new = usr2(server)
    server.kill(signal.SIGUSR2)
    server.wait_log("USR2 is ignored: an upgrade is under way already")
    os.kill(new, signal.SIGUSR2)
    server.wait_log(rf"USR2 is ignored: the old master \(pid:{server.pid}\) has not ended yet")
    assert masters(server) == {server.pid, new}
    os.kill(new, signal.SIGTERM)
    server.wait_log("Upgrade rolled back")


def test_killed_old_master_is_succeeded(start, tmp_path):
    server = start(bind="unix:sock")
    new = usr2(server)
    server.kill(signal.SIGKILL)
    server.process.wait(PATIENCE)
    wait_for(lambda: pid_in(tmp_path / "pid") == new, "the pid file to change hands")
    server.is_succeeded_by(new)
    wait_for(lambda: not (tmp_path / "pid.2").exists(), "its former name to go")
    assert status_of(server.dir)["pid"] == new
    assert server.get("/version").text == "one"


def test_killed_new_master_is_rolled_back(start):
    server = start()
    os.kill(usr2(server), signal.SIGKILL)
    server.wait_log("Upgrade rolled back")
    assert server.get("/version").text == "one"
    os.kill(usr2(server), signal.SIGTERM)


def test_files_go_with_both_masters(start, tmp_path):
    """The new one is told first, as may be when a service manager tells all."""
    server = start(bind="unix:sock")
    new = usr2(server)
    server.kill(signal.SIGWINCH)
    wait_for(lambda: {p.pid for p in server.workers} == {new}, "the old workers to finish")
    held = Held(server)
    os.kill(new, signal.SIGTERM)
    server.wait_log(rf"\[{new}\] \[INFO\] Handling signal: term")
    server.kill(signal.SIGTERM)
    server.wait_log(rf"the old master \(pid:{server.pid}\) is stopping")
    assert held.let_go().status == 200
    assert server.wait_exit() == 0
    wait_for(lambda: not masters(server), "the end of both")
    for name in ("pid", "pid.2", "sock", "ctl"):
        assert not (tmp_path / name).exists(), f"{name} is left over"


def test_stop_while_the_new_master_boots_ends_both(start, app, tmp_path):
    server = start()
    install(tmp_path / "gcorn", GCORN)
    (tmp_path / "gcorn").write_text("#!/bin/sh\necho hangs >&2\nexec sleep 1000\n")
    server.kill(signal.SIGUSR2)
    server.wait_log("^hangs")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


WAITS = "#!/bin/sh\necho waits >&2\nwhile [ ! -e go ]; do sleep 0.01; done\nexec {} \"$@\"\n"


def test_term_counts_while_the_new_program_boots(start, tmp_path):
    """Also when drain_delay puts it off: a new master would not know of it."""
    server = start("--drain-delay", "300ms")
    install(tmp_path / "gcorn", GCORN)
    (tmp_path / "gcorn").write_text(WAITS.format(GCORN))
    with subprocess.Popen([GCORNCTL, "-s", "ctl", "upgrade"], cwd=tmp_path, text=True,
                          env=clean_environment(), stderr=subprocess.PIPE) as asking:
        server.wait_log("^waits")
        server.kill(signal.SIGTERM)
        server.wait_log("Draining")
        (tmp_path / "go").touch()
        assert "the server is stopping" in asking.communicate(timeout=PATIENCE)[1]
        assert asking.returncode == 1
    assert server.wait_exit() == 0
    wait_for(lambda: not masters(server), "the end of both")


def test_daemon_is_upgraded(start, tmp_path):
    server = start("--daemon", "--error-logfile", "log", ready=0)
    assert server.process.wait(PATIENCE) == 0
    old = pid_in(tmp_path / "pid")
    server.sessions.add(Process(old).session)
    server.is_succeeded_by(old)
    server.error_log = tmp_path / "log"
    new = upgrade(server)["pid"]
    wait_for(lambda: masters(server) == {new}, "the old master to leave")
    server.is_succeeded_by(new)
    assert pid_in(tmp_path / "pid") == new


# ---- gcornctl upgrade ---------------------------------------------------------------------------


def test_upgrade_runs_the_program_that_is_there_now(start, app, tmp_path):
    server = start()
    old = server.pid
    install(tmp_path / "gcorn", GCORN)
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    held = Held(server)
    answer = upgrade(server)
    new = answer["pid"]
    assert answer["ok"] and new != old
    assert os.readlink(f"/proc/{new}/exe") == str(tmp_path / "gcorn"), "not the deleted one"
    assert status_of(server.dir)["pid"] == new
    assert server.get("/version").text == "two"
    assert held.let_go().status == 200, "what ran in the old program is answered by it"
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    third = upgrade(server)["pid"]
    wait_for(lambda: masters(server) == {third}, "the second master to leave")
    server.is_succeeded_by(third)


def test_service_manager_is_told_the_new_main_pid(
        start, manager, listening, app, tmp_path):
    socket = listening()
    options = passing([socket], "web")
    watchdog = {"WATCHDOG_USEC": "400000"}
    server = start(bind="fd://web", env={**manager.env, **watchdog}, **options, ready=2)
    server.address = socket.getsockname()
    manager.wait(READY="1")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    new = upgrade(server)["pid"]
    at = manager.wait(MAINPID=str(new))
    at = manager.wait(READY="1", after=at)
    manager.wait(WATCHDOG="1", after=at)
    assert not [m for m in manager.messages[at:] if "STOPPING" in m], "the old one is silent"
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    assert server.get("/version").text == "two"


def test_busy_service_manager_is_told_when_it_reads(
        start, manager):
    """It would take the end of the old master for the end of the service."""
    server = start(env=manager.env)
    manager.wait(STATUS="2 of 2 workers serve.*")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"STATUS=other", manager.env["NOTIFY_SOCKET"])
    new = upgrade(server)["pid"]
    wait_for(lambda: not server.workers or {p.pid for p in server.workers} == {new},
             "the old workers to finish")
    manager.wait(MAINPID=str(new))
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)


def test_backlog_is_what_the_settings_say_now(start, tmp_path):
    write_config(tmp_path, backlog=5, admin_bind="unix:admin")
    server = start(ready=3)

    def limits():
        text = Client(str(tmp_path / "admin")).get("/metrics").text
        return re.findall(r"gcorn_listen_backlog_limit\S* (\d+)", text)
    wait_for(lambda: limits() == ["5"], "the first sample")
    write_config(tmp_path, backlog=6, admin_bind="unix:admin")
    assert upgrade(server)["ok"]
    wait_for(lambda: limits() == ["6"], "the new backlog")
    assert server.wait_exit() == 0
    server.is_succeeded_by(status_of(server.dir)["pid"])


def test_upgrade_waits_until_old_workers_accept_no_more(start):
    """A worker that does not run keeps its listening sockets open."""
    server = start()
    stopped, other = server.worker_pids
    os.kill(stopped, signal.SIGSTOP)
    with subprocess.Popen([GCORNCTL, "-s", "ctl", "--json", "upgrade"], cwd=server.dir, text=True,
                          env=clean_environment(), stdout=subprocess.PIPE) as asking:
        server.wait_log("takes over; this one stops")
        wait_for(lambda: other not in server.worker_pids, "the other worker to leave")
        assert asking.poll() is None
        os.kill(stopped, signal.SIGCONT)
        new = json.loads(asking.communicate(timeout=PATIENCE)[0])["pid"]
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)


def test_request_after_upgrade_meets_new_code_under_load(start):
    server = start()
    is_over = threading.Event()

    def load():
        while not is_over.is_set():
            assert server.get("/big?kb=64").status == 200

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            before = set(map(str, server.worker_pids))
            new = upgrade(server)["pid"]
            assert before.isdisjoint(server.get("/pid").text for _ in range(20))
            server.process.wait(PATIENCE)
            server.is_succeeded_by(new)
    finally:
        is_over.set()
        for client in clients:
            client.join()


def test_reload_waits_for_the_new_master(start, tmp_path):
    """Which has read the settings already, and has the sockets that they name."""
    write_config(tmp_path, bind="unix:before")
    server = start("--reload-check-path", "/hold?name=boot", bare=True)
    with subprocess.Popen([GCORNCTL, "-s", "ctl", "upgrade"], cwd=tmp_path,
                          env=clean_environment()) as asking:
        wait_for((tmp_path / "boot.running").exists, "the new master's worker to be asked")
        write_config(tmp_path, bind="unix:after")
        server.kill(signal.SIGHUP)
        server.wait_log("Handling signal: hup")
        with socket.socket(socket.AF_UNIX) as reloading:
            reloading.settimeout(PATIENCE)
            reloading.connect(str(tmp_path / "ctl"))
            reloading.sendall(b"reload\n")
            for _ in range(2):
                status_of(server.dir)  # asked later, in a later pass of its loop
            (tmp_path / "boot.go").touch()
            assert b"passed on to the new master" in reloading.recv(4096)
        assert asking.wait(PATIENCE) == 0
    assert server.wait_exit() == 0
    new = int(server.wait_log(r"Listening at: unix:after \((\d+)\)").group(1))
    server.is_succeeded_by(new)
    server.address = str(tmp_path / "after")
    assert server.get("/version").text == "one"
    wait_for(lambda: not (tmp_path / "before").exists(), "the former address to go")
    wait_for(lambda: status_of(server.dir)["pid"] == new, "the files to change hands")


def test_reload_after_an_upgrade_that_fails(start, app, tmp_path):
    server = start()
    install(tmp_path / "gcorn", GCORN)
    (tmp_path / "gcorn").write_text(WAITS.format("false"))
    server.kill(signal.SIGUSR2)
    server.wait_log("^waits")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGHUP)
    server.wait_log("Handling signal: hup")
    (tmp_path / "go").touch()
    server.wait_log("Upgrade failed")
    server.wait_log("Reloaded: ")
    wait_for(lambda: server.get("/version").text == "two", "the reload that waited")


def test_new_master_that_has_served_and_died_is_no_successor(start, app):
    """Both are news to the old one at the same time."""
    server = start()
    install(server.dir / "app.so", app("gated"))
    (server.dir / "closed").touch()  # so that it is not ready before the old one is stopped
    with subprocess.Popen([GCORNCTL, "-s", "ctl", "upgrade"], cwd=server.dir, text=True,
                          env=clean_environment(), stderr=subprocess.PIPE) as asking:
        new = int(server.wait_log(r"is started, pid (\d+)").group(1))
        server.kill(signal.SIGSTOP)
        (server.dir / "closed").unlink()
        wait_for(lambda: len([p for p in children(new) if p.is_ready_worker]) == 2, "its workers")
        pace(0.2)
        os.kill(new, signal.SIGKILL)
        wait_for(lambda: not Process(new).is_alive, "its end")
        server.kill(signal.SIGCONT)
        assert "was killed by SIGKILL" in asking.communicate(timeout=PATIENCE)[1]
    assert server.get("/version").text == "one"
    assert status_of(server.dir)["pid"] == server.pid


def broken_by(path, how, directory):
    if how == "missing":
        path.unlink()
    elif how == "not executable":
        path.chmod(0o644)
    elif how == "settings":
        write_config(directory, workers="many")
    elif how == "application":
        (directory / "app.so").write_bytes(b"no library")
    else:
        install(path, GCORN)
        path.write_text(how)


HANGS = "#!/bin/sh\nexec sleep 1000\n"
BROKEN = {
    "missing": "cannot execute .*No such file",
    "not executable": "cannot execute .*Permission denied",
    "not a program\n": "cannot execute .*Exec format",
    "#!/bin/sh\nexit 7\n": "exited with code 7",
    "#!/bin/sh\nkill -SEGV $$\n": "was killed by SIGSEGV",
    HANGS: "did not say within boot_timeout",
    "settings": "workers",
    "application": "app.so",
}


def check_broken(server, directory):
    for how, why in BROKEN.items():
        before = server.worker_pids
        broken_by(directory / "gcorn", how, directory)
        answer = upgrade(server)
        assert not answer["ok"] and re.search(why, answer["error"]), (how, answer)
        assert re.search(f"Upgrade failed: .*(?:{why})", server.log())
        assert server.worker_pids == before, "nothing happened"
        assert server.get("/version").text == "one"
        (directory / "gunicorn-c.yaml").unlink(missing_ok=True)
        if how != "application":
            install(directory / "gcorn", GCORN)


def test_broken_upgrades_change_nothing(start, tmp_path):
    server = start("--boot-timeout", f"{0.4 * SLOWER}s")
    check_broken(server, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("pid")) == ["pid"]
    assert masters(server) == {server.pid}


def test_pre_exec_decides(start, tmp_path):
    command = ("echo $GCORN_HOOK_EVENT $GCORN_HOOK_MASTER_PID $GCORN_HOOK_PROGRAM $(umask) >> ran; "
               "[ ! -e forbidden ]")
    server = start("--pre-exec", command, "--umask", "0077", preexec=lambda: os.umask(0o027))
    (tmp_path / "forbidden").touch()
    before, ran = server.worker_pids, []
    for _ in range(2):
        answer = upgrade(server)
        assert answer == {"ok": False, "error": "pre_exec: its command exited with code 1"}
        assert masters(server) == {server.pid} and server.worker_pids == before
        ran.append(f"pre_exec {status_of(server.dir)['pid']} {tmp_path}/gcorn 0027\n")
    (tmp_path / "forbidden").unlink()
    ran.append(ran[0])
    new = upgrade(server)["pid"]
    assert (tmp_path / "ran").read_text() == "".join(ran), "once for each, in the old one's name"
    wait_for(lambda: masters(server) == {new}, "the old master to leave")
    server.is_succeeded_by(new)
    (tmp_path / "forbidden").touch()
    assert not upgrade(server)["ok"]
    assert (tmp_path / "ran").read_text().endswith(f"pre_exec {new} {tmp_path}/gcorn 0027\n")


def test_pre_exec_that_hangs(start):
    server = start("--pre-exec", "echo hangs >&2; exec sleep 1000",
                   "--boot-timeout", f"{0.4 * SLOWER}s")
    answer = upgrade(server)
    assert not answer["ok"] and "within boot_timeout" in answer["error"]
    for p in server.left_over():
        if p.title.startswith("sleep"):
            os.kill(p.pid, signal.SIGKILL)


def test_new_master_is_heard_by_one_that_was_stopped(start):
    """Longer than the new one may take: which has said long ago that it serves."""
    boot_s = 0.5 * SLOWER
    server = start("--boot-timeout", f"{boot_s}s")
    server.kill(signal.SIGUSR2)
    new = int(server.wait_log(r"is started, pid (\d+)").group(1))
    server.kill(signal.SIGSTOP)
    wait_for(lambda: len([p for p in children(new) if p.is_ready_worker]) == 2, "its workers")
    pace(boot_s + 2.2)
    server.kill(signal.SIGCONT)
    server.wait_log(rf"the new master \(pid:{new}\) serves as well")
    os.kill(new, signal.SIGTERM)
    server.wait_log("Upgrade rolled back")


def test_release_directories_are_followed_anew(gcorn, app, tmp_path):
    """A link that is switched from one release, gcorn and all, to the next: current/."""
    def switch_to(version):
        release = tmp_path / version
        release.mkdir()
        install(release / "app.so", app("probe", f'-DVERSION="{version}"'))
        shutil.copy(GCORN, release / "gcorn")
        (tmp_path / "new").symlink_to(version)
        os.rename(tmp_path / "new", tmp_path / "current")
    switch_to("one")
    server = gcorn("app.so:handler", "--chdir", "current", program="current/gcorn")
    before = server.worker_pids
    switch_to("two")
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=before)
    assert server.get("/version").text == "two"
    assert server.get("/cwd").text == str(tmp_path / "two")
    before = server.worker_pids
    switch_to("three")
    new = usr2(server)
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    server.wait_workers(1, other_than=before)
    assert server.get("/version").text == "three"
    for link in ("exe", "cwd"):
        assert os.readlink(f"/proc/{server.pid}/{link}").startswith(str(tmp_path / "three"))


def test_new_program_killed_in_its_boot_changes_nothing(start, tmp_path):
    server = start()
    before = server.worker_pids
    install(tmp_path / "gcorn", GCORN)
    (tmp_path / "gcorn").write_text(WAITS.format(GCORN))
    server.kill(signal.SIGUSR2)
    pid = int(server.wait_log(r"is started, pid (\d+)").group(1))
    server.wait_log("^waits")
    os.kill(pid, signal.SIGKILL)
    server.wait_log("Upgrade failed: the new program was killed by SIGKILL")
    assert server.get("/version").text == "one" and server.worker_pids == before


def test_old_master_killed_in_the_new_ones_boot_is_succeeded(start, app, tmp_path):
    server = start(bind="unix:sock")
    install(tmp_path / "app.so", app("hooks", "-DSLOW"))
    server.kill(signal.SIGUSR2)
    new = int(server.wait_log(r"is started, pid (\d+)").group(1))
    server.wait_log("Booting worker", count=3)
    server.kill(signal.SIGKILL)
    server.process.wait(PATIENCE)
    server.is_succeeded_by(new)
    wait_for(lambda: pid_in(tmp_path / "pid") == new, "the pid file to change hands")
    server.wait_workers(2)
    assert server.get("/").status == 200 and status_of(server.dir)["pid"] == new


def test_all_names_may_change_with_an_upgrade(gcorn, app, tmp_path):
    def settings(number):
        write_config(tmp_path, wsgi_app="app.so:handler", workers=2, bind=f"unix:sock{number}",
                     pidfile=f"pid{number}", control_socket=f"ctl{number}",
                     admin_bind=f"unix:admin{number}")
        return {f"{name}{number}" for name in ("sock", "pid", "ctl", "admin")}

    def there():
        return {path.name for path in tmp_path.iterdir()} & (one | two | {"pid1.2", "pid2.2"})
    install(tmp_path / "app.so", app("probe"))
    shutil.copy(GCORN, tmp_path / "gcorn")
    one = settings(1)
    server = gcorn(None, bare=True, program=tmp_path / "gcorn", ready=0).wait_ready(3)
    two = settings(2)
    new = usr2(server)
    assert there() == (one | two | {"pid2.2"}) - {"pid2", "ctl2"}
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    wait_for(lambda: there() == two, "the new names alone")
    server.address = str(tmp_path / "sock2")
    assert server.get("/version").status == 200
    server.stop()
    assert there() == set()


def test_upgrade_during_a_reload_is_refused(start, app, tmp_path):
    server = start("--boot-timeout", "20s")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGSTOP)
    server.kill(signal.SIGHUP)
    server.kill(signal.SIGUSR2)  # both are there when it wakes, HUP the lower number
    server.kill(signal.SIGCONT)
    server.wait_log("USR2 is ignored: a reload is under way")
    wait_for(lambda: server.get("/version").text == "two", "the reload")


# ---- process 1 ----------------------------------------------------------------------------------


@PROCESS_ONE
def test_upgrade_as_process_one_is_refused(start, tmp_path):
    """The container ends with its process 1, so no successor could take its place."""
    server = start(is_process_one=True)
    before = server.worker_pids
    answer = upgrade(server)
    assert not answer["ok"] and "replace the container" in answer["error"]
    server.kill(signal.SIGUSR2)
    server.wait_log("USR2 is ignored: this master is process 1 of a container")
    assert masters(server) == {server.pid} and server.worker_pids == before
    assert server.get("/version").text == "one"


# ---- preload_app --------------------------------------------------------------------------------


def template_of(master):
    """The pid of its template, once there is only one."""
    def only():
        found = [p.pid for p in children(master) if p.title.startswith("gcorn: template")]
        return found if len(found) == 1 else None
    return wait_for(only, "one template")[0]


def test_preloading_masters_hand_over(start, app, tmp_path):
    server = start("--preload", bind="unix:sock")
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    held, template = Held(server), template_of(server.pid)
    new = upgrade(server)["pid"]
    assert template_of(new) != template
    wait_for(lambda: server.get("/version").text == "two", "the old workers to accept no more")
    assert held.let_go().status == 200
    held.client.close()
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    victims = template_of(new), min(server.worker_pids)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    server.wait_log(r"Template \(pid:\d+\): the template process was killed")
    server.wait_workers(2)
    assert {p.parent for p in server.workers} == {new}


def test_preloading_master_is_rolled_back_to(start, app, tmp_path):
    server = start("--preload", bind="unix:sock")
    template, new = template_of(server.pid), usr2(server)
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    server.kill(signal.SIGWINCH)
    wait_for(lambda: {p.pid for p in server.workers} == {new}, "the old workers to finish")
    os.kill(new, signal.SIGKILL)
    server.wait_log("Upgrade rolled back")
    server.wait_workers(2)
    assert template_of(server.pid) == template, "it has borne the workers again"
    assert server.get("/version").text == "one"


def test_broken_upgrades_of_a_preloading_master(start, app, tmp_path):
    server = start("--preload", "--boot-timeout", f"{0.6 * SLOWER}s")
    template = template_of(server.pid)
    check_broken(server, tmp_path)
    install(tmp_path / "gcorn", GCORN)
    for flag in ("-DREFUSES", "-DCRASHES"):  # what boots not, in a worker and in the template
        install(tmp_path / "app.so", app("hooks", flag))
        server.kill(signal.SIGHUP)
        assert not upgrade(server)["ok"]
    wait_for(lambda: [p.pid for p in server.templates] == [template], "the others' end")
    # the reload that waited forks, and its process has the master's title for a moment
    wait_for(lambda: masters(server) == {server.pid}, "the others' end")
    assert server.get("/version").text == "one"


# ---- other versions -----------------------------------------------------------------------------


OTHER_VERSION = """\
#!{python}
import os, sys
fd = int(os.environ["GCORN_HANDOVER"])
os.pwrite(fd, (99).to_bytes(4, sys.byteorder), 8)
os.execv({gcorn!r}, [{gcorn!r}, *sys.argv[1:]])
"""


def test_other_version_serves_the_same_sockets(start, app, tmp_path):
    server = start()
    install(tmp_path / "gcorn", GCORN)
    (tmp_path / "gcorn").write_text(OTHER_VERSION.format(python=sys.executable, gcorn=GCORN))
    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    held = Held(server)
    new = upgrade(server)["pid"]
    wait_for(lambda: server.get("/version").text == "two", "the new program's workers")
    assert held.let_go().status == 200
    held.client.close()
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
