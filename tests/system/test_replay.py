# SPDX-License-Identifier: MIT
"""gcorn --replay FILE app.so: one request out of a file, in one process; and crash_dir."""
import os
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import GCORN, NOBODY, PATIENCE, ROOT_ONLY, SANITIZED, clean_environment, example, run

BODY_MAX = 65536
@pytest.fixture
def replay(tmp_path):
    """Runs the bytes of a request through an application."""
    def replay_bytes(raw, app, *args):
        (tmp_path / "kept").write_bytes(raw)
        return run("--replay", "kept", app if ":" in app else example(app), *args, cwd=tmp_path)

    return replay_bytes


def get(path="/", fields=""):
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode()


# ---- what it does --------------------------------------------------------------------------------


def test_answer_is_printed_as_a_client_gets_it(replay):
    done = replay(get(), "hello")
    assert done.returncode == 0
    head, _, body = done.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n") and "Connection: close" in head
    assert body == "Hello, World!"
    assert done.stderr == ""


def test_the_application_sees_the_request_of_the_file(replay):
    done = replay(b"POST /a%20b?q=1 HTTP/1.1\r\nHost: test\r\nX-Forwarded-Proto: https\r\n"
                  b"X-Name: a\r\nX-Name: b\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n",
                  "environ")
    assert done.returncode == 0
    for line in ["METHOD POST", "PATH /a b", "QUERY q=1", "SCHEME https", "REMOTE 127.0.0.1",
                 "HEADER HTTP_X_NAME=a, b", "HEADER CONTENT_LENGTH=3", "BODY 3"]:
        assert f"\n{line}\n" in done.stdout + "\n", line


def test_hooks_run_as_in_a_worker(replay, app, tmp_path):
    done = replay(get("/x"), f"{app('hooks')}:handler")
    assert done.returncode == 0 and done.stdout.endswith("hooked")
    assert (tmp_path / "hooks.txt").read_text() == "init\npre /x\ncall\npost /x 200 6\nexit\n"


def test_settings_apply_and_the_file_is_relative_to_cwd(replay, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = replay(get(), "environ", "--chdir", "elsewhere", "--limit-request-head", "1KiB")
    assert done.returncode == 0
    done = replay(get(fields=f"X: {'x' * 2000}\r\n"), "environ", "--limit-request-head", "1KiB")
    assert done.returncode == 1 and "the request is refused: 431" in done.stderr


@pytest.mark.parametrize("framing, start", [
    (b"Content-Length: 70000", b""),
    (b"Transfer-Encoding: chunked", b"11170\r\n"),
    (b"Transfer-Encoding: chunked", b"5\r\nabcde\r\n1116b\r\n")])
def test_cut_body_is_filled_up(replay, framing, start):
    have = BODY_MAX - (5 if b"abcde" in start else 0)
    done = replay(b"POST / HTTP/1.1\r\nHost: test\r\n" + framing + b"\r\n\r\n" + start +
                  b"x" * have, "environ")
    assert done.returncode == 0
    assert "\nBODY 70000\n" in done.stdout
    assert "the first 65536 bytes of the body only; the other 4464 are replaced by zeros" in done.stderr


def test_a_crash_ends_in_its_signal(replay):
    done = replay(get("/segv"), "faulty")
    assert done.returncode == -signal.SIGSEGV


def test_an_answer_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "kept").write_bytes(get())
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([GCORN, "--replay", "kept", example("hello")], cwd=tmp_path,
                              env=clean_environment(), stdout=full, stderr=subprocess.PIPE,
                              check=False, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "cannot write the answer to standard output: No space left" in done.stderr


# ---- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("raw, why", [
    (b"", ": incomplete request: the file ends in the head"),
    (b"GET / HTTP/1.1\r\nHost: test\r\n", "the file ends in the head"),
    (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc", "the file ends in the body"),
    (b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", "in the body"),
    (b"GET / HTTP/1.1\nHost: test\n\n", "the request is refused: 400: "),
    (b"GET / HTTP/1.1\r\n\r\n", "the request is refused: 400: no Host")])
def test_incomplete_request_is_not_run(replay, app, tmp_path, raw, why):
    done = replay(raw, f"{app('hooks')}:handler")
    assert done.returncode == 1 and why in done.stderr and done.stdout == ""
    assert not (tmp_path / "hooks.txt").exists()


def test_missing_file_is_named(tmp_path):
    done = run("--replay", "nothing", example("hello"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"gcorn: cannot open {tmp_path}/nothing: No such file or directory\n"


@pytest.mark.parametrize("kind, why", [
    ("link", "cannot open {}: it is a symbolic link"),
    ("fifo", "cannot read {}: it is not a regular file"),
    ("socket", "cannot open {}: No such device or address"),
    ("directory", "cannot read {}: it is not a regular file"),
    ("/dev/zero", "cannot read {}: it is not a regular file")])
def test_file_that_is_not_regular_is_not_read(tmp_path, kind, why):
    """A worker could have put it into crash_dir."""
    place = tmp_path / "kept"
    if kind == "link":
        (tmp_path / "other").write_bytes(get())
        place.symlink_to("other")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(place))
    elif kind == "directory":
        place.mkdir()
    else:
        place = Path(kind)
    done = run("--replay", place, example("hello"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert why.format(place) in done.stderr


@ROOT_ONLY
def test_a_link_that_a_worker_placed_is_not_followed():
    with tempfile.TemporaryDirectory(prefix="gcorn-test-") as name:
        private, crashes = Path(name) / "private", Path(name) / "crashes"
        Path(name).chmod(0o755)
        private.mkdir(0o700)
        (private / "kept.http").write_bytes(get())
        crashes.mkdir()
        os.chown(crashes, NOBODY, NOBODY)
        (crashes / "link").symlink_to(private)
        os.chown(crashes / "link", NOBODY, NOBODY, follow_symlinks=False)
        done = run("--replay", crashes / "link/kept.http", "--user", "nobody", example("hello"), cwd=name)
        assert (done.returncode, done.stdout) == (1, "")
        assert "link/kept.http: it is a symbolic link, or its path has one" in done.stderr


def test_applications_that_do_not_load_or_boot(replay, app):
    assert replay(get(), "./nothing.so:handler").returncode == 3
    assert replay(get(), f"{app('hooks')}:nothing").returncode == 3
    done = replay(get(), f"{app('hooks', '-DREFUSES')}:handler")
    assert done.returncode == 3 and "gcorn_on_worker_init" in done.stderr


# ---- in debuggers --------------------------------------------------------------------------------


@pytest.mark.needs("gdb")
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer does not run under a debugger")
def test_a_debugger_finds_function_and_line(tmp_path):
    (tmp_path / "kept").write_bytes(get("/segv"))
    done = subprocess.run(["gdb", "-nx", "-batch", "-ex", "run", "-ex", "backtrace", "--args", GCORN,
                           "--replay", "kept", example("faulty")], cwd=tmp_path, check=False,
                          env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert "SIGSEGV" in done.stdout, done.stdout + done.stderr
    assert "segv () at examples/faulty/faulty.c:" in done.stdout
    assert re.search(r"^#\d+ .*\bhandler \(", done.stdout, re.M)
    assert re.search(r"^#\d+ .*\bmain \(", done.stdout, re.M)


@pytest.mark.needs("valgrind")
@pytest.mark.skipif(SANITIZED, reason="valgrind does not run what the sanitizers compile")
@pytest.mark.parametrize("path, errors", [("/", 0), ("/uaf", 99)])
def test_valgrind_reports_only_the_applications_errors(tmp_path, path, errors):
    (tmp_path / "kept").write_bytes(get(path))
    done = subprocess.run(["valgrind", "--error-exitcode=99", "-q", "--leak-check=full",
                           "--errors-for-leak-kinds=" + ("definite" if errors == 0 else "none"),
                           GCORN, "--replay", "kept", example("faulty")], cwd=tmp_path,
                          env=clean_environment(), capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == errors, done.stderr
    assert ("faulty.c" in done.stderr) == (errors > 0)


# ---- crash_dir -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place, why", [("nothing", "No such file or directory"),
                                        ("file", "Not a directory")])
def test_bad_crash_dir_fails_the_start(tmp_path, place, why):
    (tmp_path / "file").touch()
    wanted = f"crash_dir: cannot open the directory {place}: {why}"
    args = ["--bind", "127.0.0.1:0", "--crash-dir", place, example("hello")]
    started, checked = run(*args, cwd=tmp_path), run("--check-config", *args, cwd=tmp_path)
    assert started.returncode == checked.returncode == 3
    assert wanted in started.stderr and wanted in checked.stderr


@ROOT_ONLY
def test_crash_dir_is_the_workers_to_write(gcorn):
    with tempfile.TemporaryDirectory(prefix="gcorn-test-") as name:
        mine, theirs = Path(name) / "mine", Path(name) / "theirs"
        Path(name).chmod(0o755)
        mine.mkdir(0o755)
        theirs.mkdir(0o700)
        os.chown(theirs, NOBODY, NOBODY)
        args = ["--user", NOBODY, "--bind", "127.0.0.1:0", example("hello"), "--crash-dir"]
        wanted = f"crash_dir: user {NOBODY} cannot create a file in {mine}: Permission denied"
        for words in ([], ["--check-config"]):
            done = run(*words, *args, mine, cwd=name)
            assert done.returncode == 3 and wanted in done.stderr
        server = gcorn("hello", "--user", NOBODY, "--crash-dir", theirs)
        assert server.get("/").status == 200
        assert str(theirs) in server.workers[0].links


def test_a_reload_with_a_bad_crash_dir_is_called_off(gcorn, tmp_path):
    (tmp_path / "gunicorn-c.yaml").write_text("loglevel: info\n")
    server = gcorn("hello")
    before = server.worker_pids
    (tmp_path / "gunicorn-c.yaml").write_text("crash_dir: nothing\n")
    server.kill(signal.SIGHUP)
    server.wait_log(r"crash_dir: cannot open the directory nothing")
    assert server.get("/").status == 200
    assert server.worker_pids >= before
