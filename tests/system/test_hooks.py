# SPDX-License-Identifier: MIT
"""Commands for events in the master's life."""
import os
import re
import signal
import stat

import pytest

from harness import Process, wait_for

EVENTS = ["on_starting", "when_ready", "on_reload", "nworkers_changed", "child_exit", "on_exit"]


@pytest.fixture
def hooked(gcorn, tmp_path):
    """A server whose every event appends its variables to the file `events`, one line each."""
    script = tmp_path / "note"
    script.write_text("#!/bin/sh\necho $(env | grep ^GCORN_HOOK_ | grep -v GCORN_HOOK_MASTER_PID | sort) "
                      ">> events\n")
    script.chmod(0o755)

    def start(*args, **options):
        words = [word for event in EVENTS for word in ("--" + event.replace("_", "-"), "./note")]
        return gcorn("hello", *words, *args, **options)
    return start


def lines(server, pattern):
    path = server.dir / "events"
    return re.findall(rf"^{pattern}$", path.read_text() if path.exists() else "", re.M)


def wait_line(server, pattern, count=1):
    found = wait_for(lambda: len(lines(server, pattern)) >= count and lines(server, pattern), pattern)
    assert len(found) == count
    return found


def test_start_and_end(hooked):
    server = hooked("--workers", "2")
    wait_line(server, "GCORN_HOOK_EVENT=on_starting")
    wait_line(server, "GCORN_HOOK_EVENT=when_ready GCORN_HOOK_WORKERS=2")
    server.process.terminate()
    assert server.wait_exit() == 0
    wait_line(server, r"GCORN_HOOK_EVENT=child_exit GCORN_HOOK_WORKER_PID=\d+ GCORN_HOOK_WORKER_SLOT=\d "
                      "GCORN_HOOK_WORKER_STATUS=0", 2)
    wait_line(server, "GCORN_HOOK_EVENT=on_exit GCORN_HOOK_STATUS=0")


def test_the_number_of_workers(hooked):
    server = hooked()
    server.kill(signal.SIGTTIN)
    wait_line(server, "GCORN_HOOK_EVENT=nworkers_changed GCORN_HOOK_WORKERS=2 GCORN_HOOK_WORKERS_BEFORE=1")
    server.wait_workers(2)
    server.kill(signal.SIGTTOU)
    wait_line(server, "GCORN_HOOK_EVENT=nworkers_changed GCORN_HOOK_WORKERS=1 GCORN_HOOK_WORKERS_BEFORE=2")
    assert not lines(server, ".*child_exit.*SIGNAL.*")


def test_a_worker_that_is_killed(hooked):
    server = hooked()
    worker, = server.workers
    os.kill(worker.pid, signal.SIGKILL)
    wait_line(server, f"GCORN_HOOK_EVENT=child_exit GCORN_HOOK_WORKER_PID={worker.pid} GCORN_HOOK_WORKER_SIGNAL=9 "
                      "GCORN_HOOK_WORKER_SLOT=0")
    server.wait_workers(1, other_than={worker.pid})


def test_on_reload_is_told_how_it_ended(hooked):
    server = hooked()
    server.kill(signal.SIGHUP)
    wait_line(server, "GCORN_HOOK_EVENT=on_reload GCORN_HOOK_RELOAD=done")
    (server.dir / "gunicorn-c.yaml").write_text("nonsense: 1\n")
    server.kill(signal.SIGHUP)
    wait_line(server, "GCORN_HOOK_EVENT=on_reload GCORN_HOOK_REASON=.*nonsense.* GCORN_HOOK_RELOAD=failed")


def test_hook_that_fails_or_hangs_harms_no_worker(gcorn):
    server = gcorn("hello", "--on-starting", "exit 3", "--when-ready", "kill -KILL $$",
                   "--nworkers-changed", "exec sleep 1000")
    server.wait_log("on_starting: its command exited with code 3")
    server.wait_log("when_ready: its command was killed by SIGKILL")
    server.kill(signal.SIGTTIN)
    server.wait_log("Booting worker", count=2)
    assert server.get("/").status == 200

    def sleeper():
        tasks = open(f"/proc/{server.pid}/task/{server.pid}/children").read().split()
        return [int(pid) for pid in tasks  # and no longer the shell that is to become it
                if open(f"/proc/{pid}/cmdline", "rb").read().startswith(b"sleep")]

    pid, = wait_for(sleeper, "the command")
    status = open(f"/proc/{pid}/status").read()
    assert re.search(r"SigBlk:\s0+$", status, re.M)
    assert Process(pid).sockets == 0
    os.kill(pid, signal.SIGKILL)
    server.wait_log("nworkers_changed: its command was killed by SIGKILL")


def test_hooks_past_the_limit_are_dropped(gcorn):
    server = gcorn("hello", "--nworkers-changed", "exec sleep 1000", "--workers", "1")
    for _ in range(9):
        for number, count in ((signal.SIGTTIN, 2), (signal.SIGTTOU, 1)):
            mark = server.mark()
            server.kill(number)
            server.wait_log(f"{count} workers wanted", after=mark)
    server.wait_log("nworkers_changed: its command is not run")
    server.process.terminate()
    assert server.wait_exit() == 0
    for p in server.left_over():
        os.kill(p.pid, signal.SIGKILL)


def test_hooks_have_the_umask_of_the_start(hooked):
    """umask is for what workers make: 0 by default, which would let everybody write."""
    server = hooked(preexec=lambda: os.umask(0o027))
    wait_line(server, "GCORN_HOOK_EVENT=on_starting")
    assert stat.S_IMODE(os.stat(server.dir / "events").st_mode) == 0o640
    assert server.get("/").status == 200


def test_hooks_do_not_inherit_notify_socket(gcorn, tmp_path):
    server = gcorn("hello", "--when-ready", "env > variables", env={"NOTIFY_SOCKET": "@nobody"})
    wait_for(lambda: (tmp_path / "variables").exists() and
             "GCORN_HOOK_EVENT" in (tmp_path / "variables").read_text(), "the command")
    assert "NOTIFY_SOCKET" not in (tmp_path / "variables").read_text()
    assert server.get("/").status == 200


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_inherited_variables_never_shadow_facts(gcorn, tmp_path, shell):
    """GCORN_WORKERS is a setting's variable, and those of GCORN_HOOK_ are of a hook around gcorn."""
    inherited = {"GCORN_WORKERS": "1", "GCORN_HOOK_WORKERS": "7", "GCORN_HOOK_REASON": "old",
                 "GCORN_HOOK_EVENT": "old", "GCORN_HOOK_MASTER_PID": "1"}
    note = (f"{shell} -c 'echo $GCORN_HOOK_EVENT $GCORN_HOOK_MASTER_PID $GCORN_HOOK_WORKERS"
            " ${GCORN_HOOK_REASON-none}' >> noted; env >> variables")
    server = gcorn("hello", "--workers", "2", "--when-ready", note, "--on-reload", note, env=inherited)
    wait_for(lambda: (tmp_path / "noted").exists(), "when_ready")
    server.kill(signal.SIGHUP)
    wait_for(lambda: (tmp_path / "noted").read_text().count("\n") == 2, "on_reload")
    assert (tmp_path / "noted").read_text().splitlines() == [
        f"when_ready {server.pid} 2 none", f"on_reload {server.pid} none"]
    wait_for(lambda: "GCORN_HOOK_RELOAD=done" in (tmp_path / "variables").read_text(), "variables")
    names = [line.split("=")[0] for line in (tmp_path / "variables").read_text().splitlines()]
    assert names.count("GCORN_HOOK_EVENT") == names.count("GCORN_HOOK_MASTER_PID") == 2
    assert names.count("GCORN_HOOK_WORKERS") == 1 and "GCORN_HOOK_REASON" not in names
    assert not re.search("no such setting", server.log())
