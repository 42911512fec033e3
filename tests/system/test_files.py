# SPDX-License-Identifier: MIT
"""The files that the master opens where a worker may write: logs and the pid file."""
import os
import re
import signal
import socket
import subprocess

import pytest

from harness import (GCORN, NOBODY, PATIENCE, ROOT_ONLY, SANITIZED, Process, all_processes,
                     clean_environment, run, wait_for)

REFUSED = "symbolic link that the user of the workers could have placed; it is not followed"
SETTINGS = {"errorlog": "--error-logfile", "accesslog": "--access-logfile", "pidfile": "--pid"}


@pytest.fixture
def shared(public_dir):
    """A directory of the workers' user, in public_dir; beside it secret, of root's alone."""
    directory = public_dir / "shared"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    secret = public_dir / "secret"
    secret.touch(mode=0o600)
    return directory


def place(link, target):
    """As a worker would: the link is its own."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)


def holders_of(server, path):
    """The titles of the server's processes that have the file open."""
    found = [p for p in all_processes() if p.session in server.sessions and p.is_alive]
    return [p.title for p in found if any(link.split(" (deleted)")[0] == str(path) and
                                          link.endswith("(deleted)") for link in p.links)]


# ---- links --------------------------------------------------------------------------------------


@ROOT_ONLY
@pytest.mark.parametrize("key", SETTINGS)
@pytest.mark.parametrize("how", ["link", "dangling", "directory", "hard link", "chdir"])
def test_a_link_that_a_worker_placed_fails_a_start(public_dir, shared, key, how):
    file, args = shared / "file", []
    if how == "link":
        place(file, public_dir / "secret")
    elif how == "dangling":
        place(file, public_dir / "made")
    elif how == "directory":
        place(shared / "to", public_dir)
        file = shared / "to/file"
    elif how == "hard link":
        os.link(public_dir / "secret", file)
    else:
        place(shared / "to", public_dir)
        file, args = "file", ["--chdir", shared / "to"]
    args += ["--user", "nobody", "--bind", "127.0.0.1:0", SETTINGS[key], file,
             public_dir / "app.so"]
    for words in ([], ["--check-config"]):
        done = run(*words, *args, cwd=public_dir)
        assert done.returncode == 1, done.stderr
        assert re.search(r"the user of the workers\s+could have placed", done.stderr)
        assert ("pid file" if key == "pidfile" and how != "chdir" else key) in done.stderr
    assert (public_dir / "secret").read_text() == ""
    assert not (public_dir / "made").exists() and not (public_dir / "file").exists()


@ROOT_ONLY
def test_links_of_other_users_are_followed(public_dir, gcorn):
    """A release directory's, and one of root's in /var."""
    release = public_dir / "releases/1"
    release.mkdir(parents=True)
    (public_dir / "current").symlink_to(release)
    os.chown(public_dir / "current", 1, 1, follow_symlinks=False)
    server = gcorn(f"{public_dir}/app.so", "--user", "nobody", "--access-logfile",
                   public_dir / "current/access", "--pid", "pid", "--chdir", public_dir / "current",
                   directory=public_dir)
    server.get("/ids")
    wait_for(lambda: "/ids" in (release / "access").read_text(), "the line")
    assert (release / "pid").read_text() == f"{server.pid}\n"
    server.stop()


@ROOT_ONLY
@pytest.mark.parametrize("key, name", [("errorlog", "error"), ("accesslog", "access")])
def test_a_link_placed_later_fails_reopening(public_dir, shared, gcorn, key, name):
    server = gcorn("app.so:handler", "--user", "nobody", SETTINGS[key], shared / name, ready=0,
                   directory=public_dir)
    if key == "errorlog":
        server.error_log = shared / name
        wait_for(server.error_log.exists, "the log")
    server.wait_ready(1)
    before = shared / f"{name}.1"
    os.rename(shared / name, before)
    place(shared / name, public_dir / "secret")
    if key == "errorlog":
        server.error_log = before
    server.kill(signal.SIGUSR1)
    server.wait_log(f"cannot reopen {shared / name}: it is, or leads through, a {REFUSED}")
    secret = str(public_dir / "secret")
    assert not [p for p in (Process(server.pid), *server.workers) if secret in p.links]
    server.kill(signal.SIGHUP)
    server.wait_log(f"{key}: cannot open {shared / name}: it is, or leads through, a {REFUSED}")
    assert server.get("/ids").text.startswith(f"{NOBODY} ")
    assert (public_dir / "secret").read_text() == ""
    server.stop()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime is to be loaded first")
@ROOT_ONLY
@pytest.mark.parametrize("key", SETTINGS)
def test_hard_link_that_was_removed_fails_a_start(public_dir, shared, app, key):
    secret = public_dir / "secret"
    env = {"LD_PRELOAD": str(app("swap", "-ldl")), "SWAP": str(secret), "SWAP_OPEN": "file"}
    done = run("--bind", "127.0.0.1:0", "--user", "nobody", SETTINGS[key], shared / "file",
               public_dir / "app.so", cwd=public_dir, env=env)
    assert done.returncode == 1
    assert f"{shared}/file: it is a second name (hard link) of a file" in done.stderr
    assert secret.read_bytes() == b""


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime is to be loaded first")
@ROOT_ONLY
def test_a_file_in_the_place_of_a_socket_keeps_its_owner(public_dir, shared, app):
    secret = public_dir / "secret"
    env = {"LD_PRELOAD": str(app("swap", "-ldl")), "SWAP": str(secret), "SWAP_BIND": "1"}
    done = run("--bind", f"unix:{shared}/socket", "--user", "nobody", public_dir / "app.so",
               cwd=public_dir, env=env)
    assert done.returncode == 4
    assert f"cannot bind unix:{shared}/socket" in done.stderr
    assert secret.stat().st_uid == 0


@ROOT_ONLY
def test_check_config_names_a_replaceable_control_socket(public_dir, shared):
    done = run("--check-config", "--bind", "127.0.0.1:0", "--user", "nobody", "--control-socket",
               "shared/control", public_dir / "app.so", cwd=public_dir)
    assert f"shared/control: the user of the workers ({NOBODY}) may write in {shared}:" in done.stderr


@ROOT_ONLY
def test_check_config_names_a_replaceable_log(public_dir, shared):
    (public_dir / "roots").mkdir()
    args = ["--check-config", "--bind", "127.0.0.1:0", public_dir / "app.so"]
    files = [word for key, flag in SETTINGS.items() for word in (flag, f"shared/{key}")]
    done = run(*args, *files, "--user", "nobody", cwd=public_dir)
    warnings = [line for line in done.stderr.splitlines() if "may write in" in line]
    assert done.returncode == 0 and len(warnings) == len(SETTINGS)
    for key, line in zip(SETTINGS, warnings):
        assert f"shared/{key}: the user of the workers ({NOBODY}) may write in {shared}:" in line
    for words in (files, [word.replace("shared", "roots") for word in files] + ["--user", "nobody"],
                  ["--user", "nobody", "--error-logfile", "/dev/stderr"]):
        done = run(*args, *words, cwd=public_dir)
        assert done.returncode == 0 and "may write in" not in done.stderr
    assert not list(shared.iterdir())


# ---- rotation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--preload",), ("--threads", "2"), ("--capture-output",)])
def test_no_process_holds_a_log_that_was_removed(gcorn, tmp_path, more):
    """Of master, workers, template and admin process."""
    logs = [tmp_path / "access", tmp_path / "error"]
    server = gcorn("hello", "--workers", "2", "--access-logfile", logs[0], "--error-logfile",
                   logs[1], "--admin-bind", "127.0.0.1:0", *more, ready=0)
    server.error_log = logs[1]
    wait_for(logs[1].exists, "the log")
    server.wait_ready(3)
    for _ in range(3):
        for log in logs:
            log.unlink()
        server.kill(signal.SIGUSR1)
        for log in logs:
            wait_for(log.exists, "the new log")
            wait_for(lambda path=log: not holders_of(server, path), f"all to leave {log}")
        assert all(str(logs[1]) in p.links for p in server.workers)
    doomed = server.worker_pids  # of a template: one that is borne from now on has the new files
    os.kill(server.workers[0].pid, signal.SIGKILL)
    server.wait_workers(3, other_than=[next(iter(doomed - server.worker_pids), 0)])
    assert not [log for log in logs if holders_of(server, log)]
    server.get("/last")
    wait_for(lambda: "/last" in logs[0].read_text(), "the line")
    server.stop()


# ---- standard output and error as paths ---------------------------------------------------------


def start_with(output, tmp_path, *args, words=()):
    """gcorn whose standard output and error are this descriptor."""
    return subprocess.Popen(  # pylint: disable=consider-using-with
        [*words, GCORN, "--workers", "1", "--bind", f"unix:{tmp_path}/sock", *args,
         "app.so:handler"], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stdout=output, stderr=output, env=clean_environment(), start_new_session=True)


def stop(process):
    process.terminate()
    assert process.wait(PATIENCE) == 0


def ask(tmp_path, target):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        wait_for(lambda: client.connect_ex(str(tmp_path / "sock")) == 0, "the socket")
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        while client.recv(65536):
            pass


@pytest.mark.parametrize("error, access", [("/dev/stderr", "/dev/stdout"),
                                           ("/dev/stdout", "/dev/stderr"),
                                           ("/proc/self/fd/1", "/dev/fd/2")])
@pytest.mark.parametrize("more", [(), ("--capture-output",), ("--preload",)])
def test_standard_paths_of_a_socket(app, tmp_path, error, access, more):
    """As under systemd: /dev/stdout of a socket cannot be opened."""
    (tmp_path / "app.so").symlink_to(app("probe"))
    ours, theirs = socket.socketpair()
    with ours, start_with(theirs, tmp_path, "--error-logfile", error, "--access-logfile", access,
                          *more) as process:
        theirs.close()
        ours.settimeout(PATIENCE)
        text = b""
        try:
            while b"Listening at" not in text:
                text += ours.recv(65536)
            process.send_signal(signal.SIGUSR1)
            ask(tmp_path, "/ids?one")
            while b"/ids?one" not in text:
                text += ours.recv(65536)
        finally:
            stop(process)
        assert b"cannot" not in text


@ROOT_ONLY
def test_standard_paths_of_another_users_pipe(public_dir):
    os.chmod(public_dir, 0o777)
    read_end, write_end = os.pipe()
    os.fchmod(write_end, 0o600)
    with start_with(write_end, public_dir, "--error-logfile", "/dev/stderr", "--access-logfile",
                    "/dev/stdout", words=["setpriv", "--reuid=1", "--regid=1",
                                          "--clear-groups"]) as process:
        os.close(write_end)
        text = b""
        try:
            while b"Listening at" not in text:
                text += (more := os.read(read_end, 65536))
                assert more, text
            ask(public_dir, "/ids?one")
            while b"/ids?one" not in text:
                text += (more := os.read(read_end, 65536))
                assert more, text
        finally:
            if process.poll() is None:
                stop(process)
    os.close(read_end)
