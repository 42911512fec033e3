# SPDX-License-Identifier: MIT
"""What the workers may do, what the master keeps, and whom it believes."""
import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from server import BUILD, PATIENCE, REPO, Client, Process, wait_for
from test_master import ROOT_ONLY, public_dir  # noqa: F401  pylint: disable=unused-import

NOBODY = 65534


def ctl(directory, *words):
    done = subprocess.run([str(BUILD / "gcornctl"), "-s", "ctl", *words], cwd=directory, text=True,
                          capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- what workers may do ------------------------------------------------------------------------


def test_workers_can_gain_nothing(gcorn):
    server = gcorn("hello", "--admin-bind", "127.0.0.1:0", ready=2)
    assert [worker.status("NoNewPrivs") for worker in server.workers] == ["1", "1"]
    assert Process(server.pid).status("NoNewPrivs") == "0"


def test_they_can_where_it_is_allowed(gcorn):
    server = gcorn("hello", "--allow-setuid")
    assert server.workers[0].status("NoNewPrivs") == "0"


@ROOT_ONLY
def test_the_admin_process_is_the_workers_user(public_dir, gcorn):  # noqa: F811
    server = gcorn("app.so:handler", "--user", "nobody", "--admin-bind", "127.0.0.1:0", ready=2,
                   directory=public_dir)
    assert {p.status("Uid").split()[0] for p in server.workers} == {str(NOBODY)}
    assert {p.status("CapEff") for p in server.workers} == {"0" * 16}
    server.stop()


# ---- what the master keeps ----------------------------------------------------------------------


@ROOT_ONLY
def test_hup_binds_and_opens_what_only_root_may(public_dir, gcorn):  # noqa: F811
    private = public_dir / "private"
    private.mkdir(mode=0o700)
    settings = public_dir / "gunicorn-c.yaml"
    settings.write_text("bind: unix:one.sock\n")
    server = gcorn("app.so:handler", "--workers", "1", "--user", "nobody", bare=True,
                   directory=public_dir)
    settings.write_text("bind: unix:private/two.sock\naccesslog: private/log\n")
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    server.address = str(private / "two.sock")
    assert server.get("/ids").text.startswith(f"{NOBODY} ")
    wait_for(lambda: "/ids" in (private / "log").read_text(), "the line")
    assert os.stat(private / "log").st_uid == 0
    server.stop()


@ROOT_ONLY
@pytest.mark.parametrize("more", [(), ("--preload",), ("--threads", "2")])
def test_workers_reopen_what_only_root_may_open(public_dir, gcorn, more):  # noqa: F811
    """As logrotate does it: renamed, then USR1. The master opens, and passes descriptors."""
    private = public_dir / "private"
    private.mkdir(mode=0o700)
    server = gcorn("app.so:handler", "--user", "nobody", "--access-logfile", "private/access",
                   "--error-logfile", "private/error", *more, ready=0, directory=public_dir)
    server.error_log = private / "error"
    wait_for(server.error_log.exists, "the log")
    server.wait_ready(1)
    for round_ in range(3):
        for name in ("access", "error"):
            os.rename(private / name, private / f"{name}.{round_}")
        server.kill(signal.SIGUSR1)
        for name in ("access", "error"):
            wait_for((private / name).exists, f"the new {name}")
        wait_for(lambda: log_of(server.workers[0], "access") == str(private / "access"), "the worker")
        assert log_of(server.workers[0], "error") == str(private / "error")
        server.get(f"/ids?{round_}")
        wait_for(lambda n=round_: f"/ids?{n}" in (private / "access").read_text(), "the line")
        assert os.stat(private / "access").st_uid == 0
    server.stop()


def log_of(process, name):
    """The file of this name that a process has open."""
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            link = os.readlink(entry)
        except OSError:
            continue  # closed since it was listed
        if Path(link).name.startswith(name):
            return link
    return None


@ROOT_ONLY
def test_a_unix_socket_is_the_workers_users(public_dir, gcorn):  # noqa: F811
    """As gunicorn's: with a umask that shuts others out, a proxy of that user or group gets in."""
    server = gcorn("app.so:handler", "--user", "daemon", "--group", "nogroup", "--umask", "007",
                   bind="unix:app.sock", directory=public_dir)
    found = os.stat(public_dir / "app.sock")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, NOBODY, 0o770)
    server.stop()
    assert not (public_dir / "app.sock").exists()


# ---- whom it believes ---------------------------------------------------------------------------


def test_a_scribbled_slot_harms_nobody_else(gcorn, app, tmp_path):
    """A worker overwrites all that the master reads of it, while the master is asked about it, and
    while it dies."""
    server = gcorn(f"{app('scribble', f'-I{REPO}/src')}:handler", "--workers", "2", "--slow-request",
                   "10ms", "--control-socket", "ctl", "--access-logfile", "access",
                   "--admin-bind", "unix:admin.sock", ready=3)
    mad = int(server.get("/scribble").text)
    others = server.worker_pids - {mad}
    for _ in range(5):
        assert json.loads(ctl(tmp_path, "status", "--json"))["workers_wanted"] == 2
        ctl(tmp_path, "status")
        ctl(tmp_path, "top", "--once")
        for path in ("/metrics", "/readyz"):
            with Client(str(tmp_path / "admin.sock")) as admin:
                assert admin.get(path).text.isascii()
    ctl(tmp_path, "dump")
    os.kill(mad, signal.SIGSEGV)
    server.wait_log(rf"Worker \(pid:{mad}\) (was sent|died)")
    server.wait_workers(3, other_than=[mad])
    assert others < server.worker_pids, "a bystander was harmed"
    ctl(tmp_path, "reload")
    server.wait_workers(3, other_than=[mad, *others])
    assert server.get().status == 200
    log = (tmp_path / "stderr").read_bytes()
    assert not [byte for byte in log if byte != 10 and (byte < 32 or byte == 127)]
