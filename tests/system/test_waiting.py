# SPDX-License-Identifier: MIT
"""Answers that wait for their application (GCORN_AGAIN), and the end of a body in every ending."""
import re
import signal

import pytest

from harness import SLOWER, THREADS, Process, request, reset, wait_for


def said(server, name):
    """What the body called name has said of its end."""
    path = server.dir / f"{name}.said"
    return path.read_text().splitlines() if path.exists() else []


def wait_said(server, name, lines):
    wait_for(lambda: len(said(server, name)) >= len(lines), f"{lines} of {name}")
    assert said(server, name) == lines


def wait_bytes(client, mark):
    """Reads until mark has come, and takes all of it."""
    got = client.unread
    while mark not in got:
        data = client.socket.recv(65536)
        assert data, got
        got += data
    client.unread = b""
    return got


def test_waiting_answer_blocks_no_other_and_is_woken(waits):
    server = waits()
    client = server.ask("/wait?name=a")
    for _ in range(3):
        assert server.get("/").status == 200
    assert client.is_silent_for(0.05)
    assert server.get("/wake?name=a").text == "yes"
    answer = client.response()
    assert (answer.status, answer.text) == (200, "woken\n")
    wait_said(server, "a", ["closed", "deferred"])
    assert client.get("/").status == 200  # the connection goes on


def test_the_head_leaves_with_the_first_body_byte(waits):
    server = waits()
    client = server.ask("/wait?name=a&early=1")
    assert server.get("/").status == 200
    assert client.is_silent_for(0.05)
    server.get("/wake?name=a")
    assert client.response().text == "woken\n"


def test_a_stream_goes_on_at_each_wake(waits):
    server = waits()
    client = server.ask("/stream?name=a")
    assert b"begun" in wait_bytes(client, b"begun\n\r\n")
    for _ in range(5):
        assert server.get("/wake?name=a").text == "yes"
        assert wait_bytes(client, b"woken\n\r\n") == b"6\r\nwoken\n\r\n"
    assert said(server, "a") == []


def test_many_wait_at_once(waits):
    server = waits()
    clients = [server.ask(f"/wait?name=w{i}") for i in range(40)]
    for i in reversed(range(40)):
        wait_for(lambda name=f"w{i}": server.get(f"/wake?name={name}").text == "yes", "its wait")
        assert clients[i].response().text == "woken\n"


def test_client_that_leaves_when_woken_blocks_no_other(waits):
    """A crowd is woken at once, and the first calls take long. Many behind them have left before
    their turn, and the memory of their connections is given back meanwhile."""
    server = waits()
    slow = [server.ask("/crowd?ms=400&rank=0") for _ in range(9)]
    last = [server.ask("/crowd?rank=2") for _ in range(4)]
    leaving = [server.ask("/crowd?rank=1") for _ in range(120)]
    assert server.get("/").status == 200  # all of the others have been read
    assert server.get("/shout").text == "shouted"
    for client in leaving:
        client.close()
    for client in slow + last:
        assert client.response().text == "woken\n"


def test_next_may_wake_itself(waits):
    assert waits().get("/again?times=1000").text == "0 left\n"


@pytest.mark.parametrize("ms", [0, 1, 30, 250])
def test_an_alarm_wakes_at_its_time(waits, ms):
    took = int(waits().get(f"/alarm?ms={ms}").text.split()[0])
    assert ms <= took < ms + 1000 * SLOWER


@pytest.mark.parametrize("path", ["/thread", "/early"])
def test_a_thread_wakes(waits, path):
    server = waits()
    for _ in range(10):
        assert server.get(path).text == "by a thread\n"


def test_a_head_request_does_not_wait_for_bytes(waits):
    server = waits()
    client = server.connect()
    answer = client.get("/wait?name=a&early=1", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    wait_said(server, "a", ["closed", "deferred"])
    assert client.get("/").status == 200


def test_a_head_request_waits_for_the_start(waits):
    server = waits()
    client = server.connect().send("HEAD /wait?name=a HTTP/1.1\r\nHost: test\r\n\r\n")
    wait_for(lambda: server.get("/wake?name=a").text == "yes", "the wait")
    assert client.response("HEAD").status == 200


def test_old_clients_get_a_stream_that_ends_with_the_connection(waits):
    server = waits()
    client = server.ask("/wait?name=a", version="1.0")
    wait_for(lambda: server.get("/wake?name=a").text == "yes", "the wait")
    answer = client.response()
    assert answer.closes and answer.text == "woken\n"


# ---- the client leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/wait", "/stream"])
@pytest.mark.parametrize("leave", [lambda c: c.close(), reset, lambda c: c.half_close()])
def test_a_client_that_leaves_is_noticed_at_once(waits, path, leave):
    server = waits("--access-logfile", "access", "--access-logformat", "%(U)s %(s)s %({gcorn.ended}e)s")
    client = server.ask(f"{path}?name=a")
    if path == "/stream":
        wait_bytes(client, b"begun\n\r\n")
    else:
        assert client.is_silent_for(0.02)
    leave(client)
    wait_said(server, "a", ["closed", "deferred"])
    assert server.get("/wake?name=a").text == "no"
    line = wait_for(lambda: re.search(rf"{path} .*", (server.dir / "access").read_text()), "its line")
    assert line[0].startswith(f"{path} 499" if path == "/wait" else f"{path} 200")


def test_half_closed_client_is_served_with_skip_gone_after_0(waits):
    server = waits("--skip-gone-after", "0")
    client = server.ask("/wait?name=a").half_close()
    assert client.is_silent_for(0.05)
    assert server.get("/wake?name=a").text == "yes"
    assert client.response().text == "woken\n"
    client.assert_closed()


def test_requests_pipelined_after_a_wait_keep_their_order(waits):
    server = waits()
    client = server.ask("/wait?name=a")
    client.send("GET /wait?name=b HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.is_silent_for(0.05)
    server.get("/wake?name=a")
    assert client.response().text == "woken\n"
    assert client.is_silent_for(0.05)
    wait_for(lambda: server.get("/wake?name=b").text == "yes", "the second wait")
    assert client.response().text == "woken\n"
    assert client.response().text == str(server.workers[0].pid)


def behind_unread(server):
    """Clients that read nothing, by the number of answers before one that waits. Answers gather
    before they are sent, so some of them wait behind others that did not fit into the socket."""
    clients = {}
    for count in range(15, 45):
        clients[count] = server.connect().send("GET /fill HTTP/1.1\r\nHost: test\r\n\r\n" * count)
        clients[count].send(request(f"/late?name=l{count}"))
    assert server.get("/").status == 200
    return clients


def test_wait_after_unread_answers_is_woken(waits):
    server = waits("-b", "unix:gcorn.sock")
    clients = behind_unread(server)
    for count in [n for n in clients if server.get(f"/wake?name=l{n}").text == "yes"]:
        for _ in range(count):
            assert len(clients[count].response().body) == 8 * 1024
        wait_bytes(clients[count], b"woken\n\r\n")


def test_waiting_answer_buffers_a_bounded_amount(waits):
    server = waits()
    client = server.ask("/wait?name=a")
    request = b"GET / HTTP/1.1\r\nHost: test\r\nX-Fill: " + b"x" * 1000 + b"\r\n\r\n"
    client.socket.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 100 << 20:
            sent += client.socket.send(request)
    worker, = server.workers
    assert int(Process(worker.pid).status("RssAnon").split()[0]) < 8 * 1024 * SLOWER * SLOWER
    cpu = Process(worker.pid).cpu_s
    assert client.is_silent_for(0.3)
    assert Process(worker.pid).cpu_s - cpu < 0.2, "it turns in circles"
    server.get("/wake?name=a")
    client.socket.settimeout(10 * SLOWER)
    assert client.response().text == "woken\n"
    assert client.response().status == 200


def test_a_handler_can_ask_whether_its_client_has_left(waits):
    server = waits()
    client = server.ask("/gone?name=a")
    wait_said(server, "a", ["waiting"])
    client.close()
    wait_said(server, "a", ["waiting", "gone"])


def test_client_that_does_not_read_is_closed(waits):
    """write_timeout is an ending like the others."""
    server = waits("--write-timeout", "300ms")
    client = server.ask("/flood?name=a")
    wait_said(server, "a", ["closed", "deferred"])
    assert server.get("/").status == 200
    client.close()


# ---- the worker stops ---------------------------------------------------------------------------


def test_streams_end_when_the_worker_drains(waits):
    server = waits()
    clients = [server.ask(f"/stream?name=s{i}") for i in range(5)]
    for client in clients:
        wait_bytes(client, b"begun\n\r\n")
    server.kill(signal.SIGTERM)
    for client in clients:
        assert wait_bytes(client, b"0\r\n\r\n") == b"0\r\n\r\n"
    assert server.wait_exit() == 0
    for i in range(5):
        assert said(server, f"s{i}") == ["closed", "deferred"]


def test_streams_after_unread_answers_end_at_a_drain(waits):
    server = waits("-b", "unix:gcorn.sock")
    clients = behind_unread(server)
    server.kill(signal.SIGTERM)
    for client in clients.values():
        client.rest()
    assert server.wait_exit() == 0


def test_streams_end_at_a_reload(waits):
    server = waits()
    client = server.ask("/stream?name=a")
    wait_bytes(client, b"begun\n\r\n")
    server.kill(signal.SIGHUP)
    assert wait_bytes(client, b"0\r\n\r\n") == b"0\r\n\r\n"
    wait_said(server, "a", ["closed", "deferred"])


@pytest.mark.parametrize("path", ["/wait", "/endless"])
def test_a_quick_stop_closes_bodies(waits, path):
    server = waits("--access-logfile", "access", "--access-logformat", "%(U)s %(s)s %({gcorn.ended}e)s")
    client = server.ask(f"{path}?name=a")
    if path == "/endless":
        wait_bytes(client, b"begun\n\r\n")
    assert server.get("/").status == 200
    server.kill(signal.SIGINT)
    assert server.wait_exit(hang_up=False) == 0
    assert said(server, "a") == ["closed", "deferred"]
    line = (server.dir / "access").read_text().splitlines()[-1]
    assert line == ("/wait 499 stopped" if path == "/wait" else "/endless 200 stopped")


# ---- time ---------------------------------------------------------------------------------------


def test_waiting_never_counts_against_the_time_limits(waits):
    server = waits("--timeout", "1", "--write-timeout", "200ms", "--keep-alive", "200ms")
    worker, = server.workers
    client = server.ask("/stream?name=a")
    wait_bytes(client, b"begun\n\r\n")
    assert client.is_silent_for(2.5)
    assert server.get("/wake?name=a").text == "yes"
    wait_bytes(client, b"woken\n\r\n")
    assert server.worker_pids == {worker.pid}


def test_a_call_can_ask_for_more_time(waits):
    server = waits("--timeout", "1")
    worker, = server.workers
    assert server.get("/extend?ms=3600").text == "done"
    assert server.worker_pids == {worker.pid}
    mark = server.mark()
    server.ask("/busy")  # what one call asked for is not the next one's
    server.wait_log(r"(?i)timeout", after=mark)
    server.wait_workers(1, other_than={worker.pid})


def test_many_calls_can_extend_their_time(waits):
    """Telling of a slow call takes the master's time before it judges the next worker's."""
    server = waits("--workers", "20", "--timeout", "1", "--slow-request", "1500ms")
    for client in [server.ask("/endure?ms=3000") for _ in range(20)]:
        assert client.response().text == "done"


@pytest.mark.skipif(THREADS not in (None, "1"), reason="streams end before, as there is time for it")
def test_crash_answers_waiting_and_cuts_begun_answers(waits):
    server = waits("--timeout", "1")
    worker, = server.workers
    waiting, stream = server.ask("/wait?name=a"), server.ask("/stream?name=b")
    wait_bytes(stream, b"begun\n\r\n")
    busy = server.ask("/busy")
    assert busy.response().status == 504
    assert waiting.response().status == 503
    assert stream.rest() == b""
    server.wait_workers(1, other_than={worker.pid})
