"""An application crashes: its client is answered 500, no client gets the answer of another, the others
lose nothing, and the log says what happened."""
import contextlib
import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from harness import SANITIZED, example, request, run, wait_for


# What ends a worker that can still speak, and how the log calls it.
FAULTS = [
    ("/segv", r"was sent SIGSEGV! Nothing is mapped at address 0x40;"),
    ("/abort", r"was sent SIGABRT! Raised by itself;"),
    ("/exit", r"exited with code 0: the application called exit\(\)\."),
    ("/overflow", r"was sent SIG(ABRT|SEGV)!"),
]


def ends(client):
    """How the connection ends: "closed" in order, or "reset"."""
    try:
        client.assert_closed()
        return "closed"
    except ConnectionResetError:
        return "reset"


def idle_clients(server, count):
    """Connections that have had an answer each."""
    clients = [server.connect() for _ in range(count)]
    for each in clients:
        assert each.get("/").status == 200
    return clients


# ---- the request that crashes -------------------------------------------------------------------


@pytest.mark.parametrize("path, how", FAULTS)
def test_crash_is_answered_500_and_explained(gcorn, path, how):
    server = gcorn("faulty", "--workers", "2")
    server.expects_report = path == "/overflow"
    pids = server.worker_pids
    with server.connect() as client:
        answer = client.get(f"{path}?token=secret")
        assert (answer.status, answer.reason) == (500, "Internal Server Error")
        assert answer.closes
        client.assert_closed()
    line = server.wait_log(rf"\[CRITICAL\] Worker \(pid:(\d+)\) {how}.* \d\.\d{{3}} s into "
                           rf"GET {path} of 127\.0\.0\.1, request [0-9a-f]{{16}}, number 1 of this "
                           r"worker; memory \d+\.\d MiB; the client was answered 500$")
    victim = int(line.group(1))
    assert victim in pids
    assert "secret" not in server.log()
    server.wait_workers(2, other_than={victim})
    assert server.get("/").status == 200


def test_crash_in_head_is_answered_without_body(gcorn):
    server = gcorn("faulty")
    with server.connect() as client:
        answer = client.get("/segv", method="HEAD")
        assert answer.status == 500
        client.assert_closed()


def test_answers_before_a_crash_come_in_order(gcorn):
    """Three pipelined requests, the third crashes: its 500 is the third answer."""
    server = gcorn("faulty")
    with server.connect() as client:
        client.send(request("/") + request("/sleep?ms=0") + request("/segv") + request("/"))
        assert b"/segv" in client.response().body
        assert client.response().text == "slept 0 ms\n"
        assert client.response().status == 500
        client.assert_closed()


def test_a_replacement_serves_while_the_worker_dies(gcorn):
    server = gcorn("faulty")
    for _ in range(3):
        assert server.get("/segv").status == 500
        assert server.get("/").status == 200


def test_a_unix_socket_client_is_answered_too(gcorn):
    server = gcorn("faulty", bind="unix:s")
    with server.connect() as client:
        assert client.get("/segv").status == 500
        client.assert_closed()


# ---- its neighbours -----------------------------------------------------------------------------


def crash(server, client, path="/segv", status=500):
    client.send(request(path))
    assert client.response().status == status


def neighbours(server):
    """One connection of each kind beside the one that crashes."""
    idle, begun, body = server.connect(), server.connect(), server.connect()
    assert idle.get("/").status == 200
    begun.send("GET /slow HTTP/1.1\r\nHo")
    body.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123")
    assert server.get("/").status == 200  # by now the worker has read them
    return idle, begun, body


def test_neighbours_are_answered_503_or_closed(gcorn):
    server = gcorn("faulty")
    idle, begun, body = neighbours(server)
    with server.connect() as client:
        crash(server, client)
    assert ends(idle) == "closed"
    for each in (begun, body):
        answer = each.response()
        assert (answer.status, answer.closes) == (503, True)
        assert ends(each) == "closed"
    server.wait_log("2 other connections were answered 503")


def test_a_request_that_waits_unread_is_answered_503(gcorn):
    """In the worker's sockets, while a call runs that then crashes."""
    server = gcorn("faulty")
    waiting = idle_clients(server, 8)
    with server.connect() as client:
        client.send(request("/sleep?ms=300") + request("/segv"))
        wait_for(lambda: server.workers[0].sleeps, "the call")
        for each in waiting:
            each.send(request("/"))
        assert client.response().status == 200
        assert client.response().status == 500
    for each in waiting:
        assert each.response().status == 503
        assert ends(each) == "closed"


def test_late_bytes_after_a_crash_cause_no_reset(gcorn):
    """An idle client sends while the worker is closing: it reads for a moment longer."""
    server = gcorn("faulty")
    idle = idle_clients(server, 20)
    with server.connect() as client:
        client.send(request("/segv"))
        for each in idle:
            each.send(request("/"))
        assert client.response().status == 500
    statuses = [each.response().status for each in idle]
    assert set(statuses) <= {200, 503}, statuses
    assert all(ends(each) == "closed" for each, status in zip(idle, statuses) if status == 503)


def test_an_answer_that_is_being_sent_is_finished(gcorn, app):
    """A large answer to a reader that takes it slowly: what is in memory still goes."""
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as reader, server.connect() as client:
        reader.send(request("/big?kb=8000")).wait_readable()
        client.send(request("/segv"))
        answer = reader.response()
        assert len(answer.body) == 8000 * 1024
        assert client.response().status == 500


def test_unread_answer_is_cut_and_logged(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as reader, server.connect() as client:
        reader.send(request("/big?kb=64000"))
        assert reader.socket.recv(1000).startswith(b"HTTP/1.1 200 OK")
        client.send(request("/segv"))
        assert client.response().status == 500
        server.wait_log(r"was answered 500; 1 other answers were cut short$")


# ---- answers that have begun --------------------------------------------------------------------


@pytest.mark.parametrize("framing, version, end", [
    ("chunked", "1.1", "closed"), ("counted", "1.1", "closed"), ("close", "1.0", "reset")])
def test_an_answer_that_has_begun_is_visibly_cut(gcorn, app, framing, version, end):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        client.send(f"GET /midstream?framing={framing} HTTP/{version}\r\nHost: t\r\n\r\n")
        data, how = b"", "closed"
        try:
            while more := client.socket.recv(65536):
                data += more
        except ConnectionResetError:
            how = "reset"
    assert how == end
    if how == "closed":  # a reset may destroy what was on its way
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"first" in data
        assert b"500" not in data
        assert not data.endswith(b"0\r\n\r\n")
    server.wait_log("its connection was reset during the answer" if how == "reset"
                    else "its answer was cut short")


# ---- behind the application's back ---------------------------------------------------------------


def test_crash_after_an_answer_adds_no_bytes(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        assert client.get("/close").text == "whole"
        client.assert_closed()
    server.wait_log(r"was sent SIGSEGV!.* into GET /close .*, number 1 of this worker; "
                    r"memory \d+\.\d MiB$")


def test_pipelined_answers_before_a_crash_are_sent(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        client.send(request("/") + request("/") + request("/close"))
        assert [client.response().status for _ in range(3)] == [200] * 3
        client.assert_closed()


@pytest.mark.parametrize("before", ["", request("/") + request("/")])
def test_crash_while_building_an_answer_is_answered_500(gcorn, app, before):
    """As by a heap that the application has broken: no call runs, the head is half made."""
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        client.send(before + request("/unreadable"))
        for _ in range(before.count("GET")):
            assert client.response().status == 200
        assert client.response().status == 500
        client.assert_closed()
    server.wait_log(r"was sent SIGSEGV!.* /unreadable .*; the client was answered 500$")


def test_crash_503_is_whole_after_any_earlier_request(gcorn):
    server = gcorn("faulty")
    asked = server.connect()
    assert asked.get("/", method="HEAD").status == 200
    asked.send("GET / HTTP/1.1\r\nHo")
    assert server.get("/").status == 200  # by now the worker has read it
    with server.connect() as client:
        crash(server, client)
    assert asked.response().status == 503
    asked.assert_closed()


def test_second_crash_in_exit_ends_the_worker(gcorn, app):
    server = gcorn(f"{app('crasher', '-DFALLS_AGAIN')}:handler")
    pid = min(server.worker_pids)
    assert server.get("/exit").status == 500
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the worker to be gone")
    server.wait_log(r"exited with code 0: the application called exit\(\)")
    server.wait_workers(1, other_than={pid})


def test_exit_in_a_call_leaks_nothing(gcorn):
    """With sanitizers a report would fail it: the worker's buffer is then the connection's."""
    server = gcorn("faulty")
    assert server.get("/").status == 200
    assert server.get("/exit").status == 500


class Asker(threading.Thread):
    """Asks for /echo?N, N counting, on one connection after another; notes every answer that is
    not the one asked for, and whatever comes behind one."""

    def __init__(self, server, stop):
        super().__init__(daemon=True)
        self.server, self.stop = server, stop
        self.wrong, self.answered = [], 0

    def ask(self, client, number):
        answer = client.get(f"/echo?{number}")
        self.answered += 1
        if answer.status == 200 and answer.text != str(number):
            self.wrong.append((number, answer))
        if client.unread:
            self.wrong.append((number, answer, client.unread))
        return not answer.closes

    def run(self):
        number = 0
        while not self.stop.is_set():
            with contextlib.suppress(AssertionError, OSError), self.server.connect() as client:
                while not self.stop.is_set() and self.ask(client, number):
                    number += 1
            number += 1


@pytest.mark.parametrize("how", ["signal", "thread"])
def test_crash_at_any_moment_sends_no_answer_twice(gcorn, app, how):
    """Not by a request, so it comes while the worker is doing anything: often in send."""
    server = gcorn(f"{app('crasher')}:handler")
    stop = threading.Event()
    askers = [Asker(server, stop) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(12):
        victim = server.wait_workers(1)[0].pid
        enough = sum(asker.answered for asker in askers) + 50
        wait_for(lambda enough=enough: sum(a.answered for a in askers) > enough, "answers")
        if how == "signal":
            os.kill(victim, signal.SIGSEGV)
        else:
            with contextlib.suppress(AssertionError, OSError):
                server.get("/thread-soon")
        wait_for(lambda victim=victim: victim not in server.worker_pids, "its end")
    stop.set()
    for asker in askers:
        asker.join()
    assert [asker.wrong for asker in askers] == [[]] * 4


# ---- time outs ----------------------------------------------------------------------------------


def test_a_hung_call_is_answered_504_and_its_neighbours_503(gcorn):
    server = gcorn("faulty", "--timeout", "1")
    idle, begun, body = neighbours(server)
    with server.connect() as client:
        crash(server, client, "/hang", 504)
        client.assert_closed()
    assert ends(idle) == "closed"
    assert begun.response().status == 503
    assert body.response().status == 503
    server.wait_log("WORKER TIMEOUT")
    assert server.get("/").status == 200


# ---- whose crash it is --------------------------------------------------------------------------


def test_a_thread_of_the_application_crashes(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        assert client.get("/thread").status == 500
        client.assert_closed()
    server.wait_log(r"was sent SIGSEGV!.* into GET /thread .*; in thread \d+ \(.+\)$")
    assert server.get("/").status == 200


def test_a_thread_crashes_between_two_calls(gcorn, app, tmp_path):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as idle:
        assert idle.get("/thread-later").status == 200
        (tmp_path / "go").touch()
        assert ends(idle) == "closed"
    server.wait_log(r"was sent SIGSEGV!.* Between two calls; the last one was for GET "
                    r"/thread-later of 127\.0\.0\.1")
    assert server.get("/").status == 200


def test_crash_of_a_forked_child_harms_no_request(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    pids = server.worker_pids
    with server.connect() as client:
        assert client.get("/fork-segv").text == f"{int(signal.SIGSEGV)}"
        assert client.get("/").status == 200
    assert server.worker_pids == pids
    assert not re.search("was (sent|killed)", server.log())


def test_stack_overflow_is_answered(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    with server.connect() as client:
        assert client.get("/recurse").status == 500
        client.assert_closed()
    server.wait_log(r"was sent SIGSEGV! .* into GET /recurse ")


def test_handler_of_the_application_runs_after_ours(gcorn, app):
    server = gcorn(f"{app('crasher', '-DHANDLES')}:handler")
    with server.connect() as client:
        assert client.get("/segv").status == 500
    server.wait_log("the application's own handler ran")


def test_a_handler_that_is_taken_away_is_noticed(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    assert server.get("/steal").status == 200
    server.wait_log("the application has installed a handler of SIGSEGV")


def test_blocked_fatal_signals_are_unblocked(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    assert server.get("/block").status == 200
    server.wait_log("the application has blocked fatal signals")
    assert server.get("/segv").status == 500


def test_a_worker_whose_listening_socket_is_closed_is_replaced(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    before = server.worker_pids
    assert server.get("/deaf").status == 200
    assert server.get("/echo?a").body == b"a"
    assert server.worker_pids != before
    server.wait_log("Listening socket .*: the application has closed it")
    server.wait_workers(1, other_than=before)
    assert "graceful_timeout" not in server.log()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer replaces malloc")
@pytest.mark.parametrize("path, status", [("/segv", 500), ("/hang", 504)])
@pytest.mark.parametrize("form, line", [
    ("%(u)s %(s)s %({X-List}i)s %({HTTP_X_LIST}e)s %({QUERY_STRING}e)s", "me {} a{{3000}}, b"),
    ("json", '.*"status":{},.*"user_agent":"c, d"')])
def test_a_dying_worker_calls_no_malloc(gcorn, app, path, status, form, line):
    server = gcorn(f"{app('nomalloc', '-D_GNU_SOURCE')}:handler", "--access-logfile", "access.log",
                   "--access-logformat", form, "-t", "1s",
                   env={"LD_PRELOAD": str(app("nomalloc", "-DPRELOADED", "-D_GNU_SOURCE"))})
    before = server.worker_pids
    fields = f"X-List: {3000 * 'a'}\r\nX-List: {3000 * 'b'}\r\nUser-Agent: c\r\nUser-Agent: d\r\n"
    fields += "Authorization: Basic bWU6cGFzcw==\r\n"
    other = server.connect().send("GET /behind HTTP/1.1\r\nHost: test\r\nX-List: e\r\n")
    assert server.get(f"{path}?q=1", fields=fields).status == status
    server.wait_workers(1, other_than=before)
    log = wait_for(lambda: (server.dir / "access.log").read_text().splitlines(), "its line")
    assert re.match(line.format(status), log[0]), log
    assert "forbidden" not in server.log()
    other.close()


def test_signal_from_outside_is_logged_as_such(gcorn):
    server = gcorn("faulty")
    os.kill(min(server.worker_pids), signal.SIGSEGV)
    server.wait_log(rf"was sent SIGSEGV! Sent by pid {os.getpid()}; Between two calls")
    assert server.get("/").status == 200


# ---- storms -------------------------------------------------------------------------------------


def test_a_storm_of_crashes_leaves_nothing_behind(gcorn):
    server = gcorn("faulty")

    def weight():
        descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
        pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
        return (descriptors, len(server.worker_pids),
                [pid for pid in pids if is_zombie(pid, server.pid)])

    before = weight()
    for _ in range(20):
        assert server.get("/segv").status == 500
    wait_for(lambda: weight() == before, "one worker, and no more descriptors than before")


def is_zombie(pid, parent):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] == "Z" and int(fields[1]) == parent


# ---- the access log -----------------------------------------------------------------------------


def lines_of(server):
    path = server.dir / "access"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def logged(gcorn):
    return lambda *args: gcorn("faulty", "--access-logfile", "access", "--access-logformat", "json",
                               *args)


def line_for(server, path):
    return wait_for(lambda: next((each for each in lines_of(server) if each["path"] == path), None),
                    f"the line of {path}")


def test_a_crashed_request_has_its_line(logged):
    server = logged()
    answer = server.get("/segv?a=1", fields="User-Agent: ua/1\r\nX-Request-ID: abc\r\n")
    assert answer.status == 500
    line = line_for(server, "/segv")
    assert (line["status"], line["ended"], line["user_agent"], line["query"], line["request_id"]) == (
        500, "crash", "ua/1", "a=1", "abc")
    assert server.get("/").status == 200
    assert "ended" not in line_for(server, "/")
    assert len(lines_of(server)) == 2


def test_a_timed_out_request_has_its_line(logged):
    server = logged("--timeout", "1")
    assert server.get("/hang").status == 504
    line = line_for(server, "/hang")
    assert (line["status"], line["ended"]) == (504, "timeout")
    assert line["duration_us"] >= 1000000
    assert len(lines_of(server)) == 1


@pytest.mark.parametrize("how", ["_exit", "SIGKILL"])
def test_a_request_whose_worker_is_killed_has_its_line(logged, how):
    server = logged()
    pid = min(server.worker_pids)
    with server.connect() as client:
        path = "/_exit" if how == "_exit" else "/sleep"
        client.send(f"PUT {path}?ms=60000&a=\"b HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n"
                    "X-Request-ID: abc\r\n\r\n")
        if how == "SIGKILL":
            wait_for(lambda: "sleep" in Path(f"/proc/{pid}/wchan").read_text(), "it to sleep")
            os.kill(pid, signal.SIGKILL)
        line = line_for(server, path)
    assert (line["status"], line["ended"], line["method"], line["pid"], line["request_id"]) == (
        0, "killed", "PUT", pid, "abc")
    assert line["remote_addr"] == "127.0.0.1"
    assert len(lines_of(server)) == 1


def test_requests_that_were_not_run_have_their_lines(logged):
    server = logged()
    idle, begun, body = neighbours(server)
    with server.connect() as client:
        crash(server, client)
    assert body.response().status == 503
    line = line_for(server, "/segv")
    assert (line["status"], line["ended"]) == (500, "crash")
    lines = wait_for(lambda: len(lines_of(server)) >= 5 and lines_of(server), "all lines")
    assert len(lines) == 5
    turned_away = [each for each in lines if each["status"] == 503]
    assert {each["method"] for each in turned_away} == {None, "POST"}
    assert [(each["ended"], each["remote_addr"]) for each in turned_away] == [
        ("crash", "127.0.0.1")] * 2
    idle.close()
    begun.close()


def test_whole_answer_of_a_crashed_worker_is_logged_whole(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler", "--access-logfile", "access", "--access-logformat",
                   "json")
    with server.connect() as reader, server.connect() as client:
        reader.send(request("/big?kb=8000")).wait_readable()
        client.send(request("/segv"))
        assert len(reader.response().body) == 8000 * 1024
        assert client.response().status == 500
    line = line_for(server, "/big")
    assert (line["status"], line.get("ended"), line["bytes"]) == (200, None, 8000 * 1024)
    assert line_for(server, "/segv")["ended"] == "crash"


def test_client_that_leaves_during_its_answer_is_logged(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler", "--access-logfile", "access", "--access-logformat",
                   "json")
    with server.connect() as client:
        client.send(request("/big?kb=64000"))
        assert client.socket.recv(1000)
    assert line_for(server, "/big")["ended"] == "client gone"


def test_an_answer_shorter_than_promised_is_in_the_line(gcorn, app):
    server = gcorn(f"{app('probe')}:handler", "--access-logfile", "access", "--access-logformat",
                   "json")
    with server.connect() as client:
        client.send(request("/") + request("/promise"))
        assert client.response().status == 200
        assert client.rest().endswith(b"Content-Length: 10\r\n\r\n")
    assert "ended" not in line_for(server, "/")
    assert line_for(server, "/promise")["ended"] == "application"


# ---- crash_dir ----------------------------------------------------------------------------------


def test_crashed_request_is_kept_and_can_be_replayed(gcorn, tmp_path):
    (tmp_path / "crashes").mkdir(mode=0o777)
    server = gcorn("faulty", "--crash-dir", "crashes", "--no-crash-redact")
    assert server.get("/segv?a=1", fields="X-Mine: yes\r\n").status == 500
    command = server.wait_log(r"its request is kept: gcorn (--replay crashes/\S+) ").group(1)
    path = tmp_path / command.split()[1]
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_bytes()
    assert text.startswith(b"GET /segv?a=1 HTTP/1.1\r\n")
    assert b"X-Mine: yes\r\n" in text
    done = run(*command.split(), example("faulty"), cwd=tmp_path)
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("keep", [2, 0])
def test_a_crash_loop_does_not_fill_the_disk(gcorn, tmp_path, keep):
    (tmp_path / "crashes").mkdir(mode=0o777)
    (tmp_path / "crashes/README").touch()
    server = gcorn("faulty", "--crash-dir", "crashes", "--crash-keep", keep)
    names = []
    for _ in range(5):
        before, mark = server.worker_pids, server.mark()
        assert server.get("/segv").status == 500
        names.append(server.wait_log(r"--replay crashes/(\S+) ", mark).group(1))
        server.wait_workers(1, other_than=before)
    kept = {path.name for path in (tmp_path / "crashes").iterdir()} - {"README"}
    assert len(kept) in ((keep, keep + 1) if keep else (5,)), "the last may be newer than the worker"
    assert kept == set(names[-len(kept):]), "the oldest go first"
    assert (tmp_path / "crashes/README").exists()


@pytest.mark.parametrize("args", [[], ["--preload"]])
def test_missing_crash_dir_does_not_stop_replacement(gcorn, tmp_path, args):
    (tmp_path / "crashes").mkdir(mode=0o777)
    server = gcorn("faulty", "--crash-dir", "crashes", *args)
    (tmp_path / "crashes").rename(tmp_path / "moved")
    before = server.worker_pids
    assert server.get("/segv").status == 500
    assert server.get("/").status == 200
    server.wait_log("crash_dir: cannot open the directory crashes: .*; it keeps no requests of crashes")
    server.wait_workers(1, other_than=before)


def test_hung_request_is_kept_in_crash_dir(gcorn, tmp_path):
    (tmp_path / "crashes").mkdir(mode=0o777)
    server = gcorn("faulty", "--crash-dir", "crashes", "--timeout", "1")
    with server.connect() as client:
        client.send("POST /hang?a=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody")
        assert client.response().status == 504
    path = tmp_path / server.wait_log(r"gcorn --replay (\S+) ").group(1)
    assert path.read_bytes().startswith(b"POST /hang?redacted HTTP/1.1\r\n")
    assert path.read_bytes().endswith(b"\r\n\r\nbody")
