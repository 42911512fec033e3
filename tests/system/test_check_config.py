# SPDX-License-Identifier: MIT
"""--check-config on a real machine: the errors that a start would end with, the warnings that it
would not give, and nothing made, changed or taken on the way. The decisions are unit-tested."""
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import GCORN, NOBODY, PATIENCE, ROOT_ONLY, clean_environment, example, run


def check(directory, *args, app="hello", **options):
    return run("--check-config", "-w", "1", *args, example(app), cwd=directory, **options)


def warnings(done):
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("gcorn: warning: ") for line in lines), done.stderr
    return [line.removeprefix("gcorn: warning: ") for line in lines]


def warned(done, pattern):
    """The warnings of this kind; the machine may deserve others."""
    return [line for line in warnings(done) if re.search(pattern, line)]


def run_as_nobody(directory, *args):
    """gcorn without root's passing all access checks: as another user when we are root."""
    options = ({"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {})
    return subprocess.run([*map(str, args)], cwd=directory, env=clean_environment(), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=PATIENCE, **options)


@pytest.fixture
def place():
    """A directory that every user may write to, with gcorn and an application that he may read."""
    with tempfile.TemporaryDirectory(prefix="gcorn-test-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        shutil.copy(GCORN, directory / "gcorn")
        shutil.copy(example("hello").split(":")[0], directory / "app.so")
        (directory / "gcorn").chmod(0o755)
        (directory / "app.so").chmod(0o644)
        yield directory


@pytest.fixture
def closed(place):
    """A directory in it that may be read and not written to."""
    directory = place / "closed"
    directory.mkdir()
    (directory / "old.log").write_text("kept\n")
    (directory / "old.log").chmod(0o444)
    directory.chmod(0o555)
    yield directory
    directory.chmod(0o755)


def starts_and_checks(place, *args):
    """The same words with and without --check-config, as a user who is not root: both end."""
    words = [place / "gcorn", "-w", "1", "--bind", "127.0.0.1:0", *args, "app.so:handler"]
    started = run_as_nobody(place, *words)
    checked = run_as_nobody(place, *words[:1], "--check-config", *words[1:])
    return started, checked


def snapshot(directory):
    return {path: (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in directory.rglob("*")}


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [
    ["--error-logfile", "closed/new.log"],
    ["--error-logfile", "closed/old.log"],
    ["--error-logfile", "absent/new.log"],
    ["--access-logfile", "closed/new.log"],
    ["--access-logfile", "closed"],
    ["--pid", "closed/pid"],
    ["--pid", "absent/pid"],
    ["--pid", "closed"],
    ["--pid", "app.so"],
    ["--control-socket", "closed/ctl"],
    ["--control-socket", "absent/ctl"],
    ["--control-socket", "app.so"],
    ["--bind", "unix:closed/sock"],
    ["--bind", "unix:absent/sock"],
    ["--bind", "unix:app.so"],
    ["--bind", "192.0.2.1:8000"],
    ["--user", "root"],
], ids=" ".join)
def test_check_reports_what_a_start_would(place, closed, args):
    assert closed.is_dir()
    before = snapshot(place)
    started, checked = starts_and_checks(place, *args)
    assert started.returncode in (1, 2, 4), started.stderr
    assert checked.returncode == started.returncode, checked.stderr
    assert checked.stdout == "" and len(checked.stderr.splitlines()) == 1, checked.stderr
    why = checked.stderr.strip().removeprefix("gcorn: ")
    assert started.stderr.strip().endswith(f"[CRITICAL] {why}")
    assert snapshot(place) == before


@ROOT_ONLY
@pytest.mark.parametrize("setting", ["--bind", "--control-socket"])
def test_stale_socket_of_another_owner_is_reported(place, setting):
    """As one in /tmp that a start as root has left behind."""
    (place / "sticky").mkdir()
    (place / "sticky").chmod(0o1777)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "sticky/sock"))
    (place / "sticky/sock").chmod(0o777)
    words = [setting, ("unix:" if setting == "--bind" else "") + "sticky/sock"]
    started, checked = starts_and_checks(place, *words)
    assert started.returncode == checked.returncode == 4, checked.stderr
    assert "cannot bind unix:sticky/sock: Operation not permitted" in checked.stderr


@pytest.mark.skipif(not Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").exists(),
                    reason="the kernel has no such limit")
def test_privileged_port_is_reported(place):
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 2:
        pytest.skip("anybody may bind every port here")
    started, checked = starts_and_checks(place, "--bind", "127.0.0.1:1")
    assert started.returncode == checked.returncode == 4
    assert "cannot bind 127.0.0.1:1: Permission denied" in checked.stderr


def test_check_changes_no_file(tmp_path):
    """All the files that a start would make, one that it would append to, and a dead socket."""
    (tmp_path / "error.log").write_text("old\n")
    (tmp_path / "pid").write_text("1\n")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "ctl"))
    (tmp_path / "link.log").symlink_to("target.log")
    before = snapshot(tmp_path)
    for args in (["--error-logfile", "error.log", "--access-logfile", "access.log"],
                 ["--error-logfile", "link.log"],
                 ["--pid", "pid"], ["--pid", "new.pid"],
                 ["--control-socket", "ctl"], ["--control-socket", "new.ctl"],
                 ["--bind", "unix:sock"], ["--bind", "unix:ctl"],
                 ["--tmp-upload-dir", "."]):
        done = check(tmp_path, "--bind", "127.0.0.1:0", *args)
        assert done.returncode == 0, done.stderr
        assert snapshot(tmp_path) == before, args


@pytest.mark.parametrize("key", ["errorlog", "accesslog"])
def test_fifo_log_without_reader_is_reported(tmp_path, key):
    os.mkfifo(tmp_path / "log")
    (tmp_path / "gunicorn-c.yaml").write_text(f"{key}: log\nbind: 127.0.0.1:0\n")
    done = check(tmp_path)
    assert done.returncode == 0
    assert warned(done, key) == [
        f"gunicorn-c.yaml:1: {key}: log is a FIFO: a start fails unless a process reads it by then"]


def test_check_sends_no_end_to_a_fifo_log(tmp_path):
    """The reader of a FIFO would take our closing for the end of the log."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert check(tmp_path, "--error-logfile", "log").returncode == 0
        assert not select.select([reader], [], [], 0)[0]
    finally:
        os.close(reader)


def test_default_control_socket_problem_is_a_warning(place, closed, gcorn, tmp_path):
    """A start goes on without it, so it is a warning."""
    other = {"RUNTIME_DIRECTORY": str(tmp_path)}
    gcorn("hello", env=other)
    for env, why in ((other, "already in use by another server"),
                     ({"RUNTIME_DIRECTORY": str(closed / "absent")}, "No such file or directory")):
        path = env["RUNTIME_DIRECTORY"] + "/gcorn.ctl"
        assert warned(check(place, "--bind", "127.0.0.1:0", env=env), "gcornctl") == [
            f"control_socket: cannot bind unix:{path}: {why}: gcornctl cannot be used"]


# ---- beside a running server --------------------------------------------------------------------


FILES = ["--pid", "pid", "--control-socket", "ctl"]


def test_check_beside_its_own_server_is_quiet(gcorn, tmp_path):
    """Everything is held by the server of these settings: no word about it."""
    server = gcorn("hello", *FILES)
    bind = f"127.0.0.1:{server.port}"
    assert not warned(check(tmp_path, "--bind", bind, *FILES), "bind|pid|control|in use")
    # without one or the other of the files, or with another address
    assert not warned(check(tmp_path, "--bind", bind, *FILES[:2]), "bind|pid|in use")
    assert not warned(check(tmp_path, "--bind", bind, *FILES[2:]), "bind|control|in use")
    assert not warned(check(tmp_path, "--bind", "127.0.0.1:0", *FILES), "bind|pid|control")
    assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
    assert server.get().status == 200
    # the probing left the server's sockets and lock alone
    assert run("--bind", "127.0.0.1:0", "--pid", "pid", example("hello"),
               cwd=tmp_path).returncode == 1


def test_check_beside_another_server_reports_it(gcorn, tmp_path):
    """Its pid file or control socket, and none of its addresses: a mistake."""
    server = gcorn("hello", *FILES)
    done = check(tmp_path, "--bind", "127.0.0.1:0", "--pid", "pid")
    assert done.returncode == 1
    assert done.stderr == f"gcorn: already running with pid {server.pid} (pid file {tmp_path}/pid)\n"
    done = check(tmp_path, "--bind", "127.0.0.1:0", "--control-socket", "ctl")
    assert done.returncode == 4
    assert done.stderr == ("gcorn: control_socket: cannot bind unix:ctl: already in use by another "
                           "server\n")


def test_files_shared_by_two_servers_are_reported(gcorn, tmp_path):
    first = gcorn("hello", *FILES)
    second = gcorn("hello", *FILES)
    done = check(tmp_path, "--bind", f"127.0.0.1:{second.port}", "--pid", second.dir / "pid",
                 "--control-socket", first.dir / "ctl")
    assert done.returncode == 4 and "already in use by another server" in done.stderr


def test_address_in_use_is_reported(tmp_path):
    """Nobody knows who, so it is a warning."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = warned(check(tmp_path, "--bind", f"127.0.0.1:{port}"), "in use")
        assert found == [f"command line: bind: cannot bind 127.0.0.1:{port}: Address already in "
                         "use; no error if that is the server to be reloaded"]
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_unix_address_in_use_is_reported(tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "sock"))
        other.listen()
        found = warned(check(tmp_path, "--bind", "unix:sock"), "in use")
    assert len(found) == 1 and found[0].startswith("command line: bind: cannot bind unix:sock: ")


# ---- warnings -----------------------------------------------------------------------------------


def test_warnings_name_file_and_line(tmp_path):
    (tmp_path / "gunicorn-c.yaml").write_text(
        "bind: 127.0.0.1:0\nkeepalive: 2s\nmax_requests_jitter: 5\ntimeout: 2m\n")
    found = warnings(check(tmp_path))
    for start in ("gunicorn-c.yaml:2: keepalive: 2s is not longer",
                  "gunicorn-c.yaml:3: max_requests_jitter: has no effect",
                  "gunicorn-c.yaml:4: timeout: a graceful_timeout of 30s is shorter"):
        assert len([line for line in found if line.startswith(start)]) == 1, found


def test_error_comes_without_warnings(tmp_path):
    done = run("--check-config", "--keep-alive", "2", "--max-requests-jitter", "3", "nowhere.so",
               cwd=tmp_path, env={"GCORN_WROKERS": "2"})
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("limit, expected", [(500, 1), (1100, 0)])
def test_too_few_descriptors_are_reported(tmp_path, limit, expected):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1100:
        pytest.skip("the hard limit is that low here")
    done = subprocess.run(["prlimit", f"--nofile={limit}:{limit}", GCORN, "--check-config", "-w",
                           "1", "-b", "127.0.0.1:0", example("hello")], cwd=tmp_path, text=True,
                          env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, timeout=PATIENCE)
    found = warned(done, f"limited to {limit}, too few for worker_connections = 1000: raise")
    assert len(found) == expected


def test_low_soft_limit_is_not_reported(tmp_path):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1100:
        pytest.skip("the hard limit is that low here")
    done = subprocess.run(["prlimit", "--nofile=100:", GCORN, "--check-config", "-w", "1", "-b",
                           "127.0.0.1:0", example("hello")], cwd=tmp_path, text=True,
                          env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, timeout=PATIENCE)
    assert not warned(done, "open files")


def test_low_somaxconn_is_reported(tmp_path):
    script = ('mount -t proc proc /proc 2>/dev/null; echo 128 > /proc/sys/net/core/somaxconn && '
              'exec "$0" "$@"')
    words = ["unshare", "--net", "--mount", "sh", "-c", script]
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("no network namespace of our own here")
    done = subprocess.run([*words, GCORN, "--check-config", "-w", "1", "-b", "unix:sock",
                           example("hello")], cwd=tmp_path, text=True, env=clean_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=PATIENCE)
    assert warned(done, "backlog: 2048 is cut by the kernel to net.core.somaxconn = 128")


@ROOT_ONLY
def test_uploads_are_tried_as_the_workers_user(place, closed):
    """Root can write anywhere: its own answer would say nothing."""
    words = ["--bind", "127.0.0.1:0", "--tmp-upload-dir", closed, "--user", str(NOBODY), "--group",
             str(NOBODY)]
    before = snapshot(place)
    found = warned(check(place, *words), "tmp_upload_dir")
    assert len(found) == 1
    assert found[0].startswith(f"command line: tmp_upload_dir: user {NOBODY} cannot create a file in "
                               f"{closed}: Permission denied: ")
    assert not warned(check(place, *words[:-4]), "tmp_upload_dir")
    words[3] = place
    assert not warned(check(place, *words), "tmp_upload_dir")
    assert snapshot(place) == before


def test_uploads_to_the_temporary_directory(tmp_path):
    nowhere = tmp_path / "nowhere"
    found = warned(check(tmp_path, env={"TMPDIR": str(nowhere)}), "tmp_upload_dir")
    assert len(found) == 1 and f"in {nowhere}: No such file" in found[0]
    # the application's environment is the workers'
    found = warned(check(tmp_path, "-e", f"TMPDIR={nowhere}"), "tmp_upload_dir")
    assert len(found) == 1 and f"in {nowhere}: No such file" in found[0]


# ---- unknown variables --------------------------------------------------------------------------


def test_unknown_variables_are_checked(tmp_path):
    env = {"GCORN_WROKERS": "secret", "GCORN_SERVICE_HOST": "10.0.0.1", "GCORN_TIMEOUT": "30"}
    assert warned(check(tmp_path, env=env), "environment|secret") == [
        "environment GCORN_WROKERS: no such setting, did you mean GCORN_WORKERS?"]


def test_unknown_variables_are_logged_at_start_once(gcorn):
    server = gcorn("hello", env={"GCORN_WROKERS": "3", "GCORN_THING": "1"})
    server.wait_log(r"\[WARNING\] environment GCORN_WROKERS: no such setting, did you mean "
                    r"GCORN_WORKERS\?$")
    server.wait_log(r"\[WARNING\] environment GCORN_THING: no such setting$")
    assert server.get().status == 200
    assert server.stop() == 0
    assert server.log().count("no such setting") == 2


@pytest.mark.parametrize("setting, value", [
    ("bind", "'1:2:3'"), ("bind", "['unix:a', 'unix:a']"), ("access_log_format", "'%(zz)s'"),
    ("user", "no-such-user"), ("group", "no-such-group")])
def test_refused_settings_name_file_and_line(tmp_path, setting, value):
    (tmp_path / "gunicorn-c.yaml").write_text(f"workers: 1\n{setting}: {value}\n")
    for words in (["--check-config"], []):
        done = run(*words, example("hello"), cwd=tmp_path)
        assert done.returncode == 2
        assert re.search(rf"gunicorn-c\.yaml:2.*: {setting}: ", done.stderr)


def test_application_that_exits_fails_the_check(tmp_path, app):
    done = run("--check-config", app("hooks", "-DLEAVES"), cwd=tmp_path)
    assert done.returncode == 3
    assert "exit(0)" in done.stderr


def test_application_that_hangs_fails_the_check(tmp_path, app):
    done = run("--check-config", "--boot-timeout", "500ms", app("hooks", "-DSTUCK"), cwd=tmp_path)
    assert done.returncode == 3
    assert "boot_timeout" in done.stderr


@pytest.mark.parametrize("name, status", [("hello", 0), ("nowhere", 3)])
def test_check_works_with_sigchld_ignored(tmp_path, name, status):
    done = subprocess.run([GCORN, "--check-config", example(name)], cwd=tmp_path,
                          env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, preexec_fn=lambda: signal.signal(signal.SIGCHLD,
                                                                        signal.SIG_IGN))
    assert done.returncode == status


def test_address_given_twice_fails_the_check(tmp_path):
    done = run("--check-config", "-b", "unix:a", "-b", "unix://a", example("hello"), cwd=tmp_path)
    assert done.returncode == 2
    assert "given twice" in done.stderr
