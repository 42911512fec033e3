# SPDX-License-Identifier: MIT
"""What the workers may do, what the master keeps, and whom it believes."""
import ctypes
import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from harness import (GCORN, NOBODY, PATIENCE, REPO, ROOT_ONLY, SANITIZED, Client, Process,
                     clean_environment, ctl_output, install, run, wait_for)

NET_BIND = 1 << 10
NO_CAPABILITIES = {"CapInh": "0" * 16, "CapPrm": "0" * 16, "CapEff": "0" * 16, "CapAmb": "0" * 16}


@pytest.fixture
def rights_dir(public_dir, app):
    """A directory that any user can enter, with apps/rights.c as app.so in it."""
    install(public_dir / "app.so", app("rights"))
    return public_dir


def rights_of(text):
    """The lines of /proc/PID/status, as a dictionary; the last of each key."""
    return {key: value.strip() for key, _, value in
            (line.partition(":") for line in text.splitlines() if ":" in line)}


def with_capability():
    """A command in front of gcorn's: as user 1, with CAP_NET_BIND_SERVICE in every set that there
    is, as AmbientCapabilities= of a service manager gives it."""
    return ["setpriv", "--reuid=1", "--regid=1", "--clear-groups",
            "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]


# ---- what workers may do ------------------------------------------------------------------------


def test_workers_have_no_new_privs(gcorn):
    server = gcorn("hello", "--admin-bind", "127.0.0.1:0", ready=2)
    assert [worker.status("NoNewPrivs") for worker in server.workers] == ["1", "1"]
    assert Process(server.pid).status("NoNewPrivs") == "0"


def test_allow_setuid_leaves_no_new_privs_off(gcorn):
    server = gcorn("hello", "--allow-setuid")
    assert server.workers[0].status("NoNewPrivs") == "0"


@ROOT_ONLY
def test_the_admin_process_is_the_workers_user(public_dir, gcorn):
    server = gcorn("app.so:handler", "--user", "nobody", "--admin-bind", "127.0.0.1:0", ready=2,
                   directory=public_dir)
    assert {p.status("Uid").split()[0] for p in server.workers} == {str(NOBODY)}
    assert {p.status("CapEff") for p in server.workers} == {"0" * 16}
    server.stop()


@ROOT_ONLY
def test_rights_of_a_workers_programs(rights_dir, gcorn):
    server = gcorn("app.so:handler", "--user", "nobody", directory=rights_dir)
    for path in ("/rights", "/run"):
        rights = rights_of(server.get(path).text)
        assert rights["Uid"].split() == [str(NOBODY)] * 4
        assert {key: rights[key] for key in NO_CAPABILITIES} == NO_CAPABILITIES
        assert rights["CapBnd"] == "0" * 16 and rights["NoNewPrivs"] == "1"


@ROOT_ONLY
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer needs more than the master has there")
@pytest.mark.parametrize("more", [(), ("--preload",), ("--allow-setuid",), ("--threads", "2")])
def test_workers_keep_no_capability_of_the_master(rights_dir, gcorn, more):
    os.chown(rights_dir, 1, 1)
    server = gcorn("app.so:handler", "--admin-bind", "127.0.0.1:0", *more, ready=2,
                   directory=rights_dir, wrapper=with_capability())
    assert int(Process(server.pid).status("CapEff"), 16) == NET_BIND
    assert int(Process(server.pid).status("CapAmb"), 16) == NET_BIND
    for process in server.workers:
        assert {key: process.status(key) for key in NO_CAPABILITIES} == NO_CAPABILITIES
    for path in ("/rights", "/run"):
        rights = rights_of(server.get(path).text)
        assert {key: rights[key] for key in NO_CAPABILITIES} == NO_CAPABILITIES


@ROOT_ONLY
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer needs more than the master has there")
@pytest.mark.needs("setcap")
def test_workers_keep_no_file_capability_of_the_master(rights_dir, gcorn):
    os.chown(rights_dir, 1, 1)
    program = rights_dir / "gcorn"
    shutil.copy(GCORN, program)
    subprocess.run(["setcap", "cap_net_bind_service=ep", str(program)], check=True)
    server = gcorn("app.so:handler", directory=rights_dir, program=program,
                   wrapper=["setpriv", "--reuid=1", "--regid=1", "--clear-groups"])
    assert int(Process(server.pid).status("CapEff"), 16) == NET_BIND
    rights = rights_of(server.get("/rights").text)
    assert {key: rights[key] for key in NO_CAPABILITIES} == NO_CAPABILITIES


@ROOT_ONLY
def test_initgroups_without_user_takes_own_groups(rights_dir, gcorn):
    """root's, of a system where it has some."""
    groups = rights_dir / "groups"
    groups.write_text(Path("/etc/group").read_text() + "first:x:4001:root\nsecond:x:4002:root\n")
    script = f"mount --bind {groups} /etc/group && exec \"$@\""
    words = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    server = gcorn("app.so:handler", "--group", "4003", "--initgroups", directory=rights_dir,
                   wrapper=words)
    rights = rights_of(server.get("/rights").text)
    assert rights["Gid"].split() == ["4003"] * 4
    assert {"4001", "4002", "4003"} <= set(rights["Groups"].split())


# ---- what the application's files and programs inherit ------------------------------------------


@pytest.mark.parametrize("more", [(), ("--preload",), ("--threads", "2")])
@pytest.mark.parametrize("given, mode", [((), 0o027), (("--umask", "002"), 0o002),
                                         (("--umask", "0"), 0), (("--umask", "inherit"), 0o027)])
def test_umask_is_the_starts_unless_it_is_set(gcorn, app, tmp_path, given, mode, more):
    server = gcorn(f"{app('rights')}:handler", *given, *more, "--access-logfile", "access", "--pid",
                   "pid", bind="unix:app.sock", env={"TMPDIR": str(tmp_path)},
                   preexec=lambda: os.umask(0o027))
    for path in ("/rights", "/run"):
        assert int(rights_of(server.get(path).text)["Umask"], 8) == mode
    server.get("/new")
    for name, bits in (("made", 0o666), ("access", 0o644), ("pid", 0o644), ("app.sock", 0o777)):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == bits & ~mode, name


def test_umask_of_replay_and_check_is_a_workers(app, tmp_path):
    (tmp_path / "kept.http").write_text("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    program = f"{app('rights')}:handler"
    before = os.umask(0o031)
    try:
        for more, mode in (((), 0o031), (("--umask", "027"), 0o027)):
            for words in (("--replay", "kept.http"), ("--check-config", "--bind", "127.0.0.1:0")):
                done = run(*words, program, *more, cwd=tmp_path)
                assert int(rights_of(done.stderr)["Umask"], 8) == mode
    finally:
        os.umask(before)


@pytest.mark.parametrize("more", [(), ("--threads", "2"), ("--threads", "2", "--preload")])
def test_programs_of_a_handler_have_no_blocked_signals(gcorn, app, more):
    """One started by popen, one by fork and exec."""
    server = gcorn(f"{app('rights')}:handler", *more)
    text = server.get("/run").text
    masks = [line.split()[1] for line in text.splitlines() if line.startswith("SigBlk")]
    assert masks == ["0" * 16] * 2, text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signal_taken_by_a_pool_thread_is_handled(gcorn, app, number):
    """Whichever thread the kernel chooses: TERM ends the worker in an orderly way, others nothing."""
    server = gcorn(f"{app('rights')}:handler", "--threads", "2")
    worker = server.workers[0].pid
    threads = [int(tid) for tid in os.listdir(f"/proc/{worker}/task") if int(tid) != worker]
    assert len(threads) >= 2
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.tgkill(worker, threads[0], number) == 0
    if number == signal.SIGTERM:
        server.wait_workers(1, other_than=[worker])
    assert server.get("/rights").status == 200
    assert number == signal.SIGTERM or server.workers[0].pid == worker


# ---- what runs an application without serving ---------------------------------------------------


@ROOT_ONLY
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer cannot trace a process that changed its user")
@pytest.mark.parametrize("user, kept", [("nobody", NOBODY), (None, 0)])
def test_replay_and_check_load_as_a_worker(rights_dir, user, kept):
    args = ["app.so:handler", *(("--user", user) if user else ())]
    (rights_dir / "kept.http").write_text("GET /run HTTP/1.1\r\nHost: test\r\n\r\n")
    os.chmod(rights_dir / "kept.http", 0o600)
    replayed = run("--replay", "kept.http", *args, cwd=rights_dir)
    checked = run("--check-config", "--bind", "127.0.0.1:0", *args, cwd=rights_dir)
    assert replayed.returncode == checked.returncode == 0, replayed.stderr + checked.stderr
    for text in (replayed.stderr, replayed.stdout, checked.stderr):
        rights = rights_of(text)
        assert rights["Uid"].split() == [str(kept)] * 4
        assert rights["NoNewPrivs"] == "1"
        assert not user or {key: rights[key] for key in NO_CAPABILITIES} == NO_CAPABILITIES
    checked = run("--check-config", "--bind", "127.0.0.1:0", "--allow-setuid", *args, cwd=rights_dir)
    assert rights_of(checked.stderr)["NoNewPrivs"] == "0"


@ROOT_ONLY
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer cannot trace a process that changed its user")
def test_replay_loads_an_application_only_root_can_read(rights_dir):
    private = rights_dir / "private"
    private.mkdir(mode=0o700)
    os.rename(rights_dir / "app.so", private / "app.so")
    (private / "kept.http").write_text("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    done = run("--replay", private / "kept.http", private / "app.so", "--user", "nobody",
               cwd=rights_dir)
    assert done.returncode == 0, done.stderr
    assert rights_of(done.stdout)["Uid"].split() == [str(NOBODY)] * 4


@pytest.mark.parametrize("option", ["--replay", "--check-config"])
def test_user_that_cannot_be_set_loads_no_application(rights_dir, option):
    """By a user that is not root, if this is root."""
    (rights_dir / "kept.http").write_text("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    os.chmod(rights_dir / "kept.http", 0o644)
    words = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"] if os.geteuid() == 0 else []
    args = ["kept.http"] if option == "--replay" else ["--bind", "127.0.0.1:0"]
    done = subprocess.run([*words, GCORN, option, *args, "--user", "nobody", "app.so:handler"],
                          cwd=rights_dir, capture_output=True, text=True, check=False,
                          timeout=PATIENCE)
    assert done.returncode == 2
    assert "user: only root can run workers as another user" in done.stderr
    assert "loaded with" not in done.stderr


# ---- what a helper of the master opens ----------------------------------------------------------


def watch_opens(path):
    """A descriptor that is readable once the file has been opened (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(fd, str(path).encode(), 0x20) >= 0, "IN_OPEN"
    return fd


@ROOT_ONLY
def test_stacks_open_no_file_by_a_workers_path(rights_dir, gcorn):
    """A name in /proc/PID/maps is text that a worker made up: here it leads to a file of root's."""
    secret, shared = rights_dir / "private" / "secret", rights_dir / "shared"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("secret")
    shared.mkdir()
    os.chown(shared, NOBODY, NOBODY)
    server = gcorn("app.so:handler", "--user", "nobody", "--control-socket", "ctl",
                   directory=rights_dir, env={"TMPDIR": str(shared), "SECRET": str(secret)})
    assert server.get("/map").text == "mapped"
    opened = watch_opens(secret)
    text = ctl_output(rights_dir, "-s", "ctl", "dump")
    assert "stack of thread" in text
    with pytest.raises(BlockingIOError):
        os.read(opened, 4096)
    secret.read_text()
    assert os.read(opened, 4096), "the watch works"
    os.close(opened)


# ---- what the master keeps ----------------------------------------------------------------------


@ROOT_ONLY
def test_hup_binds_and_opens_as_root(public_dir, gcorn):
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
def test_workers_reopen_logs_only_root_may_open(public_dir, gcorn, more):
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
def test_a_unix_socket_is_the_workers_users(public_dir, gcorn):
    """As gunicorn's: with a umask that shuts others out, a proxy of that user or group gets in."""
    server = gcorn("app.so:handler", "--user", "daemon", "--group", "nogroup", "--umask", "007",
                   bind="unix:app.sock", directory=public_dir)
    found = os.stat(public_dir / "app.sock")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, NOBODY, 0o770)
    server.stop()
    assert not (public_dir / "app.sock").exists()


# ---- whom it believes ---------------------------------------------------------------------------


def test_scribbled_slot_harms_no_other_worker(gcorn, app, tmp_path):
    """A worker overwrites all that the master reads of it, while the master is asked about it, and
    while it dies."""
    server = gcorn(f"{app('scribble', f'-I{REPO}/src')}:handler", "--workers", "2", "--slow-request",
                   "10ms", "--control-socket", "ctl", "--access-logfile", "access",
                   "--admin-bind", "unix:admin.sock", ready=3)
    mad = int(server.get("/own").text)
    others = server.worker_pids - {mad}
    for _ in range(5):
        assert json.loads(ctl_output(tmp_path, "-s", "ctl", "status", "--json"))["workers_wanted"] == 2
        ctl_output(tmp_path, "-s", "ctl", "status")
        ctl_output(tmp_path, "-s", "ctl", "top", "--once")
        for path in ("/metrics", "/readyz"):
            with Client(str(tmp_path / "admin.sock")) as admin:
                assert admin.get(path).text.isascii()
    ctl_output(tmp_path, "-s", "ctl", "dump")
    os.kill(mad, signal.SIGSEGV)
    server.wait_log(rf"Worker \(pid:{mad}\) was (sent|killed)")
    server.wait_workers(3, other_than=[mad])
    assert others < server.worker_pids, "a bystander was harmed"
    ctl_output(tmp_path, "-s", "ctl", "reload")
    server.wait_workers(3, other_than=[mad, *others])
    assert server.get().status == 200
    log = (tmp_path / "stderr").read_bytes()
    assert not [byte for byte in log if byte != 10 and (byte < 32 or byte == 127)]


@ROOT_ONLY
def test_user_without_root_is_refused(public_dir):
    shutil.copy(GCORN, public_dir / "gcorn")  # where that user can read it
    done = subprocess.run([public_dir / "gcorn", "-u", "root", "-b", "127.0.0.1:0",
                           "app.so:handler"], cwd=public_dir, env=clean_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          user=65534, group=65534, extra_groups=[])
    assert done.returncode == 2
    assert "user: only root" in done.stderr
