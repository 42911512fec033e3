# SPDX-License-Identifier: MIT
"""The gthread worker class: calls run in threads, everything else on the loop."""
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from harness import BUILD, PATIENCE, SANITIZED, SLOWER, pace, request, run, wait_for


@pytest.fixture
def threaded(gcorn, app):
    """apps/threaded.c in one worker with so many threads."""
    def start(*args, threads=3, **options):
        return gcorn(f"{app('threaded')}:handler", "--threads", threads, *args, **options)
    return start


def hold(server, name, path="/hold"):
    """A connection whose call runs until let_go."""
    client = server.ask(f"{path}?name={name}")
    wait_for((server.dir / f"{name}.running").exists, f"{path} of {name} to run")
    return client


def let_go(server, name):
    (server.dir / f"{name}.go").touch()


def is_told(client, status, body=None):
    answer = client.response()
    assert answer.status == status, answer
    assert body is None or answer.text == body, answer


def call_threads(server):
    names = [Path(f"/proc/{pid}/task/{tid}/comm").read_text()
             for pid in server.worker_pids for tid in os.listdir(f"/proc/{pid}/task")]
    return sum(name.startswith("gcorn-call-") for name in names)


# ---- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("args, threads", [(("--threads", "5"), 5), (("-k", "gthread"), 1),
                                           (("-k", "gthread", "--threads", "2"), 2)])
def test_the_class_is_chosen(gcorn, app, args, threads):
    server = gcorn(f"{app('threaded')}:handler", *args)
    assert server.get("/threads").text == f"{threads} 1 127.0.0.1"
    server.wait_log("Using worker: gthread")
    assert call_threads(server) == threads


def test_the_sync_class_has_no_threads(gcorn, app):
    server = gcorn(f"{app('threaded')}:handler", "--threads", "1")
    assert server.get("/threads").text == "1 0 127.0.0.1"
    server.wait_log("Using worker: sync")
    assert call_threads(server) == 0


@pytest.mark.parametrize("count", ["65", "100", "0"])
def test_the_count_is_bounded(tmp_path, count):
    result = run("--threads", count, "--print-config", cwd=tmp_path)
    assert result.returncode == 2
    assert re.search(r"threads.*1 (and|to) 64", result.stderr), result.stderr


def test_most_threads_run_at_once(threaded):
    server = threaded(threads=64)
    clients = [server.ask("/meet?of=64") for _ in range(64)]
    for client in clients:
        is_told(client, 200, "64")


# ---- at once ------------------------------------------------------------------------------------


def test_calls_run_at_once(threaded):
    server = threaded()
    clients = [server.ask("/meet?of=3") for _ in range(3)]
    for client in clients:
        is_told(client, 200, "3")


def test_call_without_a_free_thread_waits(threaded):
    server = threaded(threads=2)
    first, second = hold(server, "a"), hold(server, "b")
    third, fourth = server.ask("/pid"), server.ask("/threads")
    let_go(server, "b")
    is_told(second, 200, "b")
    is_told(third, 200)
    is_told(fourth, 200)
    let_go(server, "a")
    is_told(first, 200, "a")


def test_new_client_is_served_while_all_threads_stream(gcorn, app):
    """Each worker leaves new connections to the other, but not for ever.

    A piece takes its time: clients that do not read what is made without a pause have the kernel
    put together so many small segments that the whole machine stands still for seconds."""
    server = gcorn(f"{app('flood')}:handler", "--workers", "2", "--threads", "2")
    for _ in range(100):
        server.ask("/stream?piece=10&ms=1")
    is_told(server.ask("/"), 200)


def test_pipelined_answers_keep_their_order(threaded):
    server = threaded()
    client = server.ask("/hold?name=a")
    client.send("GET /count?to=3 HTTP/1.1\r\nHost: test\r\n\r\n"
                "POST /threads HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
                "GET /nothing HTTP/1.0\r\n\r\n")
    wait_for((server.dir / "a.running").exists, "the first to run")
    let_go(server, "a")
    is_told(client, 200, "a")
    is_told(client, 200, "0\n1\n2\n")
    is_told(client, 200, "3 1 127.0.0.1")
    is_told(client, 200)
    client.assert_closed()


def test_slow_clients_hold_no_thread(threaded):
    server = threaded("--header-timeout", "60", threads=1)
    slow = [server.connect().send("GET /pid HTTP/1.1\r\nHo") for _ in range(20)]
    readers = [server.ask("/count?to=20000") for _ in range(2)]
    assert server.get("/pid").status == 200
    for client in slow:
        is_told(client.send("st: test\r\n\r\n"), 200)
    for client in readers:
        assert client.response().text.endswith("\n19999\n")


def test_many_requests_at_once_are_answered_each_its_own(threaded):
    server = threaded(threads=8)
    wrong = []

    def serve(seed):
        with server.connect() as client:
            for i in range(40):
                to = (seed * 7 + i) % 30 + 1
                if client.get(f"/count?to={to}").text.count("\n") != to:
                    wrong.append((seed, i))

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 6)
        assert not thread.is_alive()
    assert not wrong


def test_connection_waits_until_a_thread_closes_its_body(threaded):
    server = threaded(threads=2)
    client = hold(server, "a", "/drops")
    is_told(client, 200, "")  # the answer is whole before
    client.send(request("/pid"))
    assert server.get("/pid").status == 200
    let_go(server, "a")
    is_told(client, 200)


def test_client_that_leaves_during_a_call_is_forgotten(threaded):
    server = threaded(threads=2)
    for i in range(6):
        for path in ("/hold", "/part", "/drops"):
            name = f"{path[1:]}{i}"
            hold(server, name, path).close()
            let_go(server, name)
    clients = [server.ask("/meet?of=2") for _ in range(2)]
    for client in clients:
        is_told(client, 200, "2")


def test_request_past_queue_timeout_is_not_run(threaded):
    server = threaded("--queue-timeout", f"{150 * SLOWER}ms", threads=1)
    late = server.connect()
    late.get("/pid")
    first = hold(server, "a")
    late.send(request("/hold?name=late"))
    assert late.is_silent_for(0.3 * SLOWER)
    let_go(server, "a")
    is_told(first, 200, "a")
    answer = late.response()
    assert answer.status == 503 and answer.header("Retry-After") == "1"
    assert not (server.dir / "late.running").exists()


# ---- time ---------------------------------------------------------------------------------------


def test_other_calls_finish_before_a_hung_call_ends_it(threaded):
    server = threaded("--timeout", f"{2 * SLOWER}", threads=3)
    [before] = server.worker_pids
    part = hold(server, "part", "/part")
    hung = server.ask("/meet?of=100")
    wait_for(lambda: b"begun" in part.unread or part._more(), "the stream to begin")
    longer = hold(server, "extend", "/extend")
    server.wait_log(r"WORKER TIMEOUT \(pid:%d\)" % before)
    wait_for(lambda: server.get("/pid").text != str(before), "the replacement")
    assert before in server.worker_pids and longer.is_silent_for(0.2)
    let_go(server, "part")  # before the one that is waited for: by now it is too long itself
    assert part.response().text == "begun\npart"
    let_go(server, "extend")
    is_told(longer, 200, "extend")
    is_told(hung, 504)
    server.wait_log(r"Worker \(pid:%d\) was killed; the client was answered 504" % before)
    assert re.search(r"WORKER TIMEOUT .* in GET /(meet|part)", server.log())


def test_the_wait_for_the_others_is_bounded(threaded):
    server = threaded("--timeout", "1", "--graceful-timeout", "2", threads=3)
    hung = server.ask("/meet?of=100")
    endless = hold(server, "never", "/extend")
    is_told(hung, 504)
    # 504 where the worker is too slow to answer for itself, and the master does
    assert endless.response().status in (503, 504)


def test_all_that_hang_are_answered_504(threaded):
    server = threaded("--timeout", "1", threads=2)
    clients = [server.ask("/meet?of=100") for _ in range(2)]
    for client in clients:
        is_told(client, 504)
    assert server.get("/pid").status == 200


def test_hung_call_that_ends_after_all_kills_no_worker(threaded):
    server = threaded("--timeout", "1", threads=3)
    [before] = server.worker_pids
    (server.dir / "exit.hold").touch()
    late, longer = hold(server, "late"), hold(server, "longer", "/extend")
    server.wait_log("WORKER TIMEOUT")
    server.wait_log(r"\| stopped for \d+ ms")
    let_go(server, "late")
    is_told(late, 200, "late")
    let_go(server, "longer")
    is_told(longer, 200, "longer")
    late.close()
    longer.close()
    wait_for((server.dir / "exit.running").exists, "its last hook")
    pace(0.6)  # the master looks at it every 250 ms
    (server.dir / "exit.hold").unlink()
    server.wait_log(rf"Worker \(pid:{before}\) finished all its calls after the timeout")


def test_slow_requests_are_told_each_once(threaded):
    server = threaded("--slow-request", "500ms")
    first, second = hold(server, "a"), hold(server, "b")
    server.wait_log(r"Slow request: .* GET /hold of", count=2)
    server.wait_log(r"\| stopped for \d+ ms")
    let_go(server, "a")
    let_go(server, "b")
    is_told(first, 200)
    is_told(second, 200)
    assert len(re.findall("Slow request", server.log())) == 2


# ---- crashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, told", [
    ("segv", "was sent SIGSEGV! .*into GET /crash of"), ("stack", "was sent SIGSEGV! .*into GET /crash of"),
    ("abort", "was sent SIGABRT! .*into GET /crash of"),
    ("exit", "exited with code 3: .*into GET /crash of")])
def test_crash_is_answered_500_and_other_calls_503(threaded, how, told):
    server = threaded("--access-logfile", "access", threads=4)
    held, part = hold(server, "a"), hold(server, "b", "/part")
    idle = server.connect()
    idle.get("/pid")
    is_told(server.ask(f"/crash?how={how}"), 500)
    is_told(held, 503)
    part._take_until(b"begun\n")
    with pytest.raises((AssertionError, ConnectionResetError)):
        part.response()  # cut: no last chunk
    idle.assert_closed()
    server.wait_log(told + ".*the client was answered 500; 1 other connections were answered 503; "
                    "1 other answers were cut short; in thread")
    assert server.get("/pid").status == 200
    server.stop()
    lines = (server.dir / "access").read_text().splitlines()
    assert sum("GET /crash" in line for line in lines) == 1, lines
    assert sum("GET /hold" in line for line in lines) == 1, lines
    assert [line for line in lines if "GET /crash" in line and '" 500 ' in line], lines
    assert [line for line in lines if "GET /hold" in line and '" 503 ' in line], lines


@pytest.mark.skipif(SANITIZED, reason="their library must be the first to be preloaded")
def test_request_just_read_is_answered_when_a_thread_crashes(threaded, app):
    server = threaded(env={"LD_PRELOAD": str(app("slowread", "-D_GNU_SOURCE"))})
    client = server.connect()
    is_told(client.send(request("/pid")), 200)
    crashing = server.ask("/crash?how=segv&name=read")
    wait_for((server.dir / "read.running").exists, "the call that is to crash")
    client.send(request("/slow-read"))
    is_told(client, 503)
    is_told(crashing, 500)


def test_crash_in_a_foreign_thread_is_no_requests_fault(threaded):
    server = threaded()
    held = hold(server, "a")
    is_told(server.ask("/crash?how=other"), 503)
    is_told(held, 503)
    server.wait_log("In a thread that runs no request")


# ---- ends ---------------------------------------------------------------------------------------


def test_a_stop_waits_for_calls(threaded):
    server = threaded(threads=2)
    calls = [hold(server, "a"), hold(server, "b", "/part"), server.ask("/hold?name=c")]
    server.kill(signal.SIGTERM)
    for name in "abc":
        let_go(server, name)
    is_told(calls[0], 200, "a")
    is_told(calls[1], 200, "begun\nb")
    is_told(calls[2], 200, "c")
    assert server.wait_exit() == 0


def test_quick_stop_waits_for_no_call(threaded):
    server = threaded(threads=2)
    hold(server, "a")
    assert server.stop(signal.SIGINT) == 0


def test_quick_stop_closes_bodies_that_can_be(gcorn, app):
    server = gcorn(f"{app('waits')}:handler", "--threads", "2")
    client = server.ask("/stream?name=a")
    wait_for(lambda: b"begun" in client.unread or client._more(), "the stream to begin")
    assert server.stop(signal.SIGINT) == 0
    assert (server.dir / "a.said").read_text() == "closed\ndeferred\n"


def test_reloads_and_recycling_drop_nothing(threaded):
    server = threaded("--max-requests", "60", threads=4)
    ends, wrong, answered = threading.Event(), [], []

    def serve():
        while not ends.is_set():
            try:
                with server.connect() as client:
                    for _ in range(5):
                        answer = client.get("/count?to=3")
                        if answer.text != "0\n1\n2\n":
                            wrong.append(answer)
                        answered.append(1)
                        if answer.closes:
                            break
            except (AssertionError, OSError) as error:
                wrong.append(error)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(2):
        mark = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log(r"Worker exiting", after=mark)
    wait_for(lambda: len(answered) > 400, "more requests than one worker may answer")
    ends.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong, wrong[:3]
    assert server.log().count("max_requests") > 0


def test_status_shows_what_every_thread_runs(threaded):
    server = threaded("--control-socket", "ctl")
    clients = [hold(server, "a"), hold(server, "b")]
    text = subprocess.run([BUILD / "gcornctl", "-s", "ctl", "--json", "status"], cwd=server.dir,
                          capture_output=True, check=True, text=True, timeout=PATIENCE).stdout
    [worker] = json.loads(text)["workers"]
    assert worker["state"] == "calling" and worker["in_flight"] == 2
    assert worker["request"]["target"] == "/hold"
    assert [other["target"] for other in worker["others"]] == ["/hold"]
    table = subprocess.run([BUILD / "gcornctl", "-s", "ctl", "status"], cwd=server.dir,
                           capture_output=True, check=True, text=True, timeout=PATIENCE).stdout
    assert re.search(r"GET /hold for .*, GET /hold for ", table), table
    for name in "ab":
        let_go(server, name)
    for client in clients:
        is_told(client, 200)
