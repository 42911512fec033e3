# SPDX-License-Identifier: MIT
"""Timers, posts and threads of an application: what the loop calls for no request."""
import errno
import signal
import time

import pytest

from harness import BUILD, PRELOAD_OR_NOT, SLOWER, WORKER_CLASSES, ctl_output, hup, run, wait_for

SLEEPS_AT_EXIT = "thread" in BUILD.name  # ThreadSanitizer's _exit takes a second of its own


@pytest.fixture
def looping(gcorn, app):
    """apps/loops.c in one worker."""
    def start(*args, flags=(), **options):
        return gcorn(f"{app('loops', *flags)}:handler", *args, **options)
    return start


def said(server):
    path = server.dir / "said"
    return path.read_text().splitlines() if path.exists() else []


def wait_said(server, line):
    return wait_for(lambda: line in said(server) and said(server), f"'{line}' in said")


def is_woken(client):
    answer = client.response()
    assert (answer.status, answer.text) == (200, "woken"), answer


# ---- timers and posts ---------------------------------------------------------------------------


@WORKER_CLASSES
@PRELOAD_OR_NOT
def test_timers_and_posts_wake_requests(looping, worker_class, flags):
    server = looping(*worker_class, *flags)
    began = time.monotonic()
    clients = [server.ask(f"/wait?ms={ms}") for ms in (150, 100, 0)]
    for client in clients:
        is_woken(client)
    assert time.monotonic() - began >= 0.15
    is_woken(server.ask("/thread"))
    before = int(server.get("/ticks").text)
    wait_for(lambda: int(server.get("/ticks").text) >= before + 3, "three ticks")


@PRELOAD_OR_NOT
def test_constructor_posts_only_in_a_worker(looping, flags):
    server = looping(*flags)
    lines = wait_said(server, "post of init")
    code = errno.ENOTSUP if flags else 0
    assert lines[0] == f"constructor {code} {code} {code}"
    assert ("post of the constructor" in lines) != bool(flags)
    assert lines.index("init") < lines.index("post of init"), "posts wait for the loop"


@WORKER_CLASSES
def test_forked_child_has_no_loop(looping, worker_class):
    server = looping(*worker_class)
    assert server.get("/fork").text == "3"
    is_woken(server.ask("/wait?ms=1"))


# ---- seen from outside ---------------------------------------------------------------------------


@WORKER_CLASSES
@pytest.mark.parametrize("kind", ["timer", "post"])
def test_crash_in_callback_names_it(looping, worker_class, kind):
    server = looping(*worker_class)
    waiting = server.ask("/wait?ms=60000")
    mark = server.mark()
    server.ask(f"/do?what=crash_now&in={kind}")  # the answer may come too late for its client
    server.wait_log(rf"was sent SIGSEGV!.* s into {kind.upper()} crash_now;", mark)
    assert waiting.response().status == 503
    wait_for(lambda: "init" in said(server)[1:], "the next worker")
    is_woken(server.ask("/wait?ms=1"))


@WORKER_CLASSES
def test_crash_in_thread_names_it(looping, worker_class):
    server = looping(*worker_class)
    mark = server.mark()
    server.ask("/fault")
    server.wait_log(r"was sent SIGSEGV!.*; in thread \d+ \(loops\)", mark)
    wait_for(lambda: "init" in said(server)[1:], "the next worker")
    is_woken(server.ask("/thread"))


@WORKER_CLASSES
@pytest.mark.parametrize("kind", ["timer", "post"])
def test_timeout_counts_in_callback(looping, worker_class, kind):
    server = looping("--timeout", 1 * SLOWER, *worker_class)
    mark = server.mark()
    server.ask(f"/do?what=block_now&in={kind}")
    server.wait_log(rf"WORKER TIMEOUT \(pid:\d+\) after \d+\.\d s in {kind.upper()} block_now", mark)
    server.wait_log("was killed", mark)
    is_woken(server.ask("/wait?ms=1"))


@WORKER_CLASSES
def test_callback_may_outlast_heartbeat(looping, worker_class):
    """A call explains that the loop is silent; only `timeout` counts."""
    server = looping("--timeout", 0, "--heartbeat", 2, "--slow-request", 4, *worker_class)
    mark = server.mark()
    server.ask("/do?what=block_now&in=timer")
    server.wait_log("Slow request: .* in TIMER block_now", mark)
    (server.dir / "go").touch()
    is_woken(server.ask("/wait?ms=1"))
    assert server.log().count("Booting worker") == 1


@WORKER_CLASSES
def test_status_shows_callback(looping, worker_class):
    server = looping("--control-socket", "ctl", *worker_class)
    server.ask("/do?what=block_now&in=post")
    wait_said(server, "blocks")
    assert "POST block_now" in ctl_output(server.dir, "-s", "ctl", "status")
    (server.dir / "go").touch()
    is_woken(server.ask("/wait?ms=1"))
    assert "block_now" not in ctl_output(server.dir, "-s", "ctl", "status")


# ---- the end -------------------------------------------------------------------------------------


@WORKER_CLASSES
def test_last_posts_run_before_exit(looping, worker_class):
    server = looping(*worker_class)
    client = server.ask("/stream")
    wait_for(lambda: int(server.get("/ticks").text) > 0, "a tick")
    server.kill(signal.SIGTERM)
    assert client.response().text == "begun\n"
    assert server.wait_exit() == 0
    lines = said(server)
    end = [line for line in lines if line in ("post of the drain", "stop", "thread ends", "last post", "exit")]
    assert end == ["post of the drain", "stop", "thread ends", "last post", "exit"], lines
    assert "too late" not in lines and "exit?" not in lines


@WORKER_CLASSES
def test_endless_posts_do_not_hold_the_exit(looping, worker_class):
    server = looping("--graceful-timeout", 20 * SLOWER, *worker_class)
    assert server.get("/again").text == "posted\n"
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert said(server)[-2:] == ["refused", "exit"]


@WORKER_CLASSES
@PRELOAD_OR_NOT
def test_reload_ends_and_starts_threads(looping, worker_class, flags):
    server = looping(*worker_class, *flags)
    hup(server)
    wait_said(server, "exit")
    lines = said(server)
    assert lines.count("init") == 2 and lines.count("stop") == 1
    is_woken(server.ask("/thread"))
    is_woken(server.ask("/wait?ms=1"))


@WORKER_CLASSES
def test_check_of_reload_runs_timers(looping, worker_class):
    """The request of reload_check_path waits in the loop, before the worker is ready."""
    server = looping("--reload-check-path", "/until?ticks=5", *worker_class)
    hup(server)
    assert server.get("/until?ticks=1").text == "ticked"


def test_replay_runs_timers_and_ends_threads(app, tmp_path):
    (tmp_path / "kept").write_bytes(b"GET /until?ticks=5 HTTP/1.1\r\nHost: t\r\n\r\n")
    done = run("--replay", "kept", f"{app('loops')}:handler", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("ticked\n0\n\n"), done.stdout
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines[-4:] == ["stop", "thread ends", "last post", "exit"]


def test_endless_thread_is_left(looping):
    server = looping("--graceful-timeout", 2 * SLOWER, flags=("-DENDLESS",))
    server.stop()
    assert server.wait_exit() == 0
    assert server.log().count("have not ended within graceful_timeout: loops;") == 1
    assert "exit" in said(server), "the hook runs all the same"
    assert "killed" not in server.log() or SLEEPS_AT_EXIT


def test_quick_stop_leaves_endless_thread(looping):
    server = looping(flags=("-DENDLESS",))
    server.stop(signal.SIGINT)
    assert server.wait_exit() == 0
    assert server.log().count("have not ended within graceful_timeout") == 1
    assert "killed" not in server.log() or SLEEPS_AT_EXIT
