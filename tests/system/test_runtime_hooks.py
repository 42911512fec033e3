# SPDX-License-Identifier: MIT
"""The hooks that an interpreter needs: load, fork, the start and end of threads, a late call."""
import collections
import os
import re
import signal

import pytest

from harness import PRELOAD_OR_NOT, SLOWER, WORKER_CLASSES, fails_to_start, hup, run, wait_for

Line = collections.namedtuple("Line", "name pid tid")


@pytest.fixture
def runtime(gcorn, app):
    """apps/runtime.c in one worker."""
    def start(*args, flags=(), **options):
        return gcorn(f"{app('runtime', *flags)}:handler", *args, **options)
    return start


def said(server):
    path = server.dir / "said"
    words = (line.split() for line in path.read_text().splitlines()) if path.exists() else ()
    return [Line(name, int(pid), int(tid)) for name, pid, tid in words]


def names_of(server, pid):
    return [line.name for line in said(server) if line.pid == pid]


def only(server, name):
    found = [line for line in said(server) if line.name == name]
    assert len(found) == 1, said(server)
    return found[0]


# ---- load and fork ------------------------------------------------------------------------------


def test_each_worker_loads_without_preload(runtime):
    server = runtime("--workers", "2")
    for pid in server.worker_pids:
        assert names_of(server, pid) == ["load", "init"]


def test_template_loads_once_and_forks(runtime):
    server = runtime("--preload", "--workers", "2")
    template = server.templates[0].pid
    wait_for(lambda: len(names_of(server, template)) == 5, "two forks")
    assert names_of(server, template) == ["load", "before", "parent", "before", "parent"]
    for pid in server.worker_pids:
        assert names_of(server, pid) == ["child", "init"]


def test_reload_loads_again(runtime):
    server = runtime("--preload")
    old = server.templates[0].pid
    hup(server)
    loads = [line.pid for line in said(server) if line.name == "load"]
    assert len(loads) == 2 and loads[0] == old != loads[1]


def test_crashed_worker_is_forked_with_hooks(runtime):
    server = runtime("--preload")
    template = server.templates[0].pid
    first, = server.worker_pids
    os.kill(first, signal.SIGKILL)
    server.wait_workers(1, other_than={first})
    second, = server.worker_pids
    assert names_of(server, second) == ["child", "init"]
    wait_for(lambda: names_of(server, template)[1:] == ["before", "parent"] * 2, "the second fork")


@PRELOAD_OR_NOT
def test_load_may_refuse(gcorn, app, flags):
    fails_to_start(gcorn, f"{app('runtime', '-DREFUSES')}:handler", 3,
                   "gcorn_on_load of the application failed", *flags)


@pytest.mark.parametrize("step, args, told", [
    (1, (), "Before it was ready, in gcorn_on_load"),
    (1, ("--preload",), r"Before it was ready, while it loaded the application \(in a constructor or gcorn_on_load\)"),
    (2, ("--preload",), "Before it was ready, in gcorn_on_fork"),
    (4, ("--preload",), "Template .* was sent SIGSEGV!"),
    (3, ("-k", "gthread"), "Before it was ready, in gcorn_on_thread_start")])
def test_crash_in_hook_is_named(runtime, step, args, told):
    server = runtime(*args, flags=(f"-DCRASHES={step}",), ready=0)
    server.wait_log(told)
    assert server.wait_exit() != 0


def test_check_config_runs_no_hook(app, tmp_path):
    result = run("--check-config", f"{app('runtime')}:handler", cwd=tmp_path)
    assert result.returncode == 0
    assert not (tmp_path / "said").exists()


# ---- threads ------------------------------------------------------------------------------------


@PRELOAD_OR_NOT
def test_threads_start_before_ready_and_end(runtime, flags):
    server = runtime("--threads", "3", *flags)
    pid, = server.worker_pids
    before = names_of(server, pid)
    assert sorted(before[-3:]) == ["start0", "start1", "start2"], "all of them, before it is ready"
    assert before[-4] == "init"
    threads = {line.tid for line in said(server) if line.name.startswith("start")}
    assert len(threads) == 3 and pid not in threads
    assert int(server.get("/tid").text) in threads
    assert server.stop() == 0
    after = names_of(server, pid)[len(before):]
    assert sorted(after[:3]) == ["end0", "end1", "end2"] and after[3:] == ["exit"]
    for i in range(3):
        assert only(server, f"start{i}").tid == only(server, f"end{i}").tid


@PRELOAD_OR_NOT
def test_threads_of_a_new_worker_start(runtime, flags):
    server = runtime("--threads", "2", *flags)
    first, = server.worker_pids
    os.kill(first, signal.SIGKILL)
    server.wait_workers(1, other_than={first})
    second, = server.worker_pids
    assert sorted(names_of(server, second)[-2:]) == ["start0", "start1"]
    hup(server)
    wait_for(lambda: "exit" in names_of(server, second), "the old worker's exit")
    assert sorted(names_of(server, second)[-3:-1]) == ["end0", "end1"]
    third, = server.worker_pids - {second}
    assert sorted(names_of(server, third)[-2:]) == ["start0", "start1"]


def test_sync_worker_has_no_threads(runtime):
    server = runtime()
    assert server.stop() == 0
    assert [line.name for line in said(server)] == ["load", "init", "exit"]


def test_crash_in_end_of_thread_is_named(runtime):
    server = runtime("--threads", "2", flags=("-DCRASHES=5",))
    server.stop()
    server.wait_log(r"was sent SIGSEGV!.* s into HOOK gcorn_on_thread_end")


# ---- a late call --------------------------------------------------------------------------------


@WORKER_CLASSES
@PRELOAD_OR_NOT
def test_late_call_is_interrupted(runtime, worker_class, flags):
    server = runtime("--timeout", 1 * SLOWER, *worker_class, *flags)
    mark = server.mark()
    client = server.ask("/late")
    answer = client.response()
    assert (answer.status, answer.text) == (200, "interrupted")
    server.wait_log(r"Late call: worker \(pid:\d+\) has spent \d+\.\d s in GET /late .*; gcorn_on_call_late", mark)
    assert server.get("/told").text == "1"
    assert "WORKER TIMEOUT" not in server.log() and server.log().count("Booting worker") == 1


@WORKER_CLASSES
def test_call_that_stays_late_ends_its_worker(runtime, worker_class):
    server = runtime("--timeout", 1 * SLOWER, *worker_class)
    mark = server.mark()
    client = server.ask("/stuck")
    assert client.response().status == 504
    log = server.wait_log(r"WORKER TIMEOUT \(pid:\d+\) after (\d+\.\d) s in GET /stuck", mark)
    assert float(re.search(r"WORKER TIMEOUT \(pid:\d+\) after (\d+\.\d) s", server.log()).group(1)) >= 1 * SLOWER + 2, log
    assert server.get("/told").text == "0", "a new worker"


def test_only_the_late_call_is_told(runtime):
    """Of three calls one is late; the others' threads sleep on, with no EINTR of theirs counted."""
    server = runtime("--timeout", 2 * SLOWER, "--threads", "3")
    late = server.ask("/late")
    wait_for(lambda: "Late call" in server.log(), "the first to be late")
    others = [server.ask(f"/slow?ms={500 * SLOWER}") for _ in range(2)]
    assert late.response().text == "interrupted"
    for client in others:
        assert client.response().text == "slept"
    assert server.get("/told").text == "1"


def test_call_in_time_is_not_told(runtime):
    server = runtime("--timeout", 2 * SLOWER)
    assert server.get("/slow?ms=500").text == "slept"
    assert server.get("/told").text == "0"
    assert "Late call" not in server.log()
