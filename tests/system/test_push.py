# SPDX-License-Identifier: MIT
"""What a handler pushes before it returns (gcorn_send), in the classes sync and gthread."""
import re
import signal
import socket

import pytest

from harness import MIB, PLAIN_ONLY, SLOWER, THREADS, pace, request, reset, wait_for

CLASSES = [("sync",), ("gthread", "--threads", "2")]
FIVE = "".join(f"{i:099d}\n" for i in range(5))


@pytest.fixture(params=CLASSES if not THREADS else CLASSES[1:], ids=lambda words: words[0])
def pushes(request, gcorn, app):  # pylint: disable=redefined-outer-name
    """apps/pushes.c in one worker of each class."""
    def start(*args, **options):
        return gcorn(f"{app('pushes')}:handler", "-k", *request.param, *args, **options)
    return start


def said(server, name):
    path = server.dir / f"{name}.said"
    return path.read_text().splitlines() if path.exists() else []


def wait_said(server, name, word):
    wait_for(lambda: any(line.startswith(word) for line in said(server, name)), f"{word} of {name}")


def let_go(server, name):
    (server.dir / f"{name}.go").touch()


def read_until(client, mark):
    got = client.unread
    while mark not in got:
        data = client.socket.recv(65536)
        assert data, got
        got += data
    client.unread = b""
    return got


def narrow(server, target, fields="Connection: close\r\n", **options):
    """A client that has asked and whose socket takes little, at first."""
    client = server.connect()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    return client.send(request(target, fields=fields, **options))


def whole_body(client):
    """Of a chunked answer with many chunks, after which the connection ends."""
    parts = []
    while data := client.socket.recv(1 << 20):
        parts.append(data)
    head, _, data = (client.unread + b"".join(parts)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Transfer-Encoding: chunked" in head
    at, body = 0, []
    while True:
        line_end = data.index(b"\r\n", at)
        size, at = int(data[at:line_end], 16), line_end + 2
        body.append(data[at:at + size])
        assert data[at + size:at + size + 2] == b"\r\n"
        at += size + 2
        if size == 0:
            assert at == len(data)
            return b"".join(body)


# ---- what leaves, and when ----------------------------------------------------------------------


def test_pushed_bytes_leave_while_the_handler_runs(pushes):
    server = pushes()
    client = server.ask("/s5iW?name=a")
    got = read_until(client, FIVE.encode()[-100:] + b"\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n") and got.count(b"64\r\n") == 5
    wait_said(server, "a", "waits")
    assert said(server, "a") == ["waits"]
    let_go(server, "a")
    assert read_until(client, b"0\r\n\r\n") == b"0\r\n\r\n"
    wait_said(server, "a", "sent 500")
    assert client.get("/st").text == "tail"  # the connection goes on


def test_a_push_of_nothing_sends_the_head(pushes):
    server = pushes()
    client = server.ask("/shhW?name=a")
    head = read_until(client, b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in head and head.endswith(b"\r\n\r\n")
    let_go(server, "a")
    assert read_until(client, b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("steps, body", [
    ("s5i", FIVE), ("500cs5i", FIVE), ("500ch5i", FIVE), ("s5it", FIVE + "tail"),
    ("504ch5it", FIVE + "tail"), ("s5if", FIVE + "file"), ("504ch5if", FIVE + "file"),
    ("sht", "tail"), ("st", "tail")])
def test_what_is_returned_follows_what_was_pushed(pushes, steps, body):
    client = pushes().connect()
    for _ in range(2):
        answer = client.get(f"/{steps}")
        assert (answer.status, answer.text) == (200, body)
        is_counted = steps == "st" or "c" in steps and "s" not in steps
        assert (answer.header("Content-Length") is not None) == is_counted


def test_next_may_not_push(pushes):
    server = pushes()
    assert server.get("/s1iu?name=a").text == FIVE[:100] + "iter"
    wait_said(server, "a", "sent 104")
    assert said(server, "a") == ["returns", "EINVAL", "EINVAL", "sent 104"]


@pytest.mark.parametrize("method, steps, status", [
    ("HEAD", "s5i", 200), ("HEAD", "500ch5i", 200), ("HEAD", "s5iu", 200), ("HEAD", "n5i", 204),
    ("GET", "n5i", 204), ("GET", "m5i", 304)])
def test_answers_without_body_drop_what_is_pushed(pushes, method, steps, status):
    client = pushes().connect()
    for _ in range(2):
        answer = client.get(f"/{steps}", method=method)
        assert (answer.status, answer.body) == (status, b"")
        assert answer.header("Content-Length") == ("500" if "c" in steps else None)
        assert client.get("/st").text == "tail"


def test_http_1_0_gets_bytes_until_the_end(pushes):
    client = pushes().connect()
    answer = client.get("/s5it", version="1.0")
    assert answer.text == FIVE + "tail" and answer.closes and not answer.header("Transfer-Encoding")


def test_http_1_0_keeps_a_counted_answer_alive(pushes):
    client = pushes().connect()
    for _ in range(2):
        answer = client.get("/500ch5i", version="1.0", fields="Connection: keep-alive\r\n")
        assert answer.text == FIVE and answer.header("Connection") == "keep-alive"


def test_connection_close_is_said_in_a_pushed_head(pushes):
    server = pushes()
    client = server.connect()
    assert client.get("/s5i", fields="Connection: close\r\n").closes
    client.assert_closed()


def test_pipelined_requests_follow_pushed_answers(pushes):
    client = pushes().connect()
    client.send(request("/st") + request("/s5i") + request("/500ch5i") + request("/s5it") + request("/st"))
    assert [client.response().text for _ in range(5)] == ["tail", FIVE, FIVE, FIVE + "tail", "tail"]


def test_a_large_push_is_whole(pushes):
    client = pushes().connect()
    assert client.get("/s5000z3i").body == b"z" * 5000 * 1024 + FIVE.encode()[:300]


# ---- what is not in order -----------------------------------------------------------------------


def test_bytes_above_the_content_length_are_cut(pushes):
    server = pushes()
    client = server.connect()
    answer = client.get("/250ch5i?name=a")
    assert answer.text == FIVE[:250]
    wait_said(server, "a", "sent 250")
    assert said(server, "a") == ["EINVAL", "EINVAL", "EINVAL", "returns", "sent 250"]
    assert client.get("/st").text == "tail"
    assert server.log().count("longer than its Content-Length of 250; cutting it") == 1


def test_fewer_bytes_than_the_content_length_break(pushes):
    server = pushes()
    client = server.ask("/600ch5i")
    assert client.rest().endswith(FIVE.encode())
    server.wait_log("100 bytes shorter than its Content-Length")


@pytest.mark.parametrize("steps", ["5it", "N", "hst", "sNt"])
def test_a_push_that_is_not_in_order_is_500(pushes, steps):
    server = pushes()
    answer = server.get(f"/{steps}?name=a")
    assert (answer.status, answer.text) == (500, "500 Internal Server Error\n")
    assert "EINVAL" in said(server, "a")
    server.wait_log(r"gcorn_send: (the answer was not started|data is NULL)")


@pytest.mark.parametrize("steps", ["s5iN", "s5ix"])
def test_a_failure_after_a_push_breaks_the_answer(pushes, steps):
    server = pushes("--access-logfile", "access", "--access-logformat", "%(s)s %({gcorn.ended}e)s")
    got = server.ask(f"/{steps}").rest()
    assert got.count(b"\r\n64\r\n") == 5 and not got.endswith(b"0\r\n\r\n") and b"500" not in got[9:12]
    with pytest.raises(ConnectionResetError):
        server.ask(f"/{steps}", version="1.0").rest()
    wait_for(lambda: (server.dir / "access").read_text() == "200 application\n" * 2, "its line")


def test_start_after_a_push_is_too_late(pushes):
    server = pushes()
    assert server.get("/shst?name=a").text == "tail"
    assert said(server, "a")[0] == "start: EALREADY"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_crash_after_a_push_cuts_the_answer(pushes, version):
    server = pushes()
    client = server.ask("/s5iWX?name=a", version=version)
    got = read_until(client, FIVE.encode()[-100:])
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    let_go(server, "a")
    if version == "1.1":
        assert client.rest() in (b"", b"\r\n")
    else:
        with pytest.raises(ConnectionResetError):
            client.rest()
    server.wait_log("Worker .* (died|crashed|was)|signal 6|SIGABRT")


def test_crash_before_a_push_is_500(pushes):
    server = pushes()
    assert server.get("/sX").status == 500
    server.wait_workers(1)


# ---- slow clients, and those that leave ---------------------------------------------------------


def test_a_push_waits_for_no_client_within_stream_spool(pushes):
    server = pushes()
    client = narrow(server, "/s12000z5i?name=a")
    wait_said(server, "a", "returns")
    assert whole_body(client) == b"z" * 12000 * 1024 + FIVE.encode()
    assert server.get("/st").text == "tail"


def test_items_in_the_file_keep_their_order(pushes):
    server = pushes()
    client = narrow(server, "/s80000i?name=a")
    wait_said(server, "a", "returns")
    lines = whole_body(client).split()
    assert [int(line) for line in lines] == list(range(80000))


def test_a_push_waits_when_stream_spool_is_full(pushes):
    server = pushes("--stream-spool", "2MiB")
    client = narrow(server, "/s20000z5i?name=a")
    client.wait_readable()
    pace(0.3)  # a handler that did not wait would have returned long ago
    assert said(server, "a") == []
    assert whole_body(client) == b"z" * 20000 * 1024 + FIVE.encode()
    wait_said(server, "a", "returns")


@pytest.mark.parametrize("spool", ["0", "1000", "70000"])
def test_a_small_stream_spool_loses_nothing(pushes, spool):
    server = pushes("--stream-spool", spool)
    client = narrow(server, "/s3000z20000i")
    body = whole_body(client)
    assert body[:3000 * 1024] == b"z" * 3000 * 1024
    assert [int(line) for line in body[3000 * 1024:].split()] == list(range(20000))


def test_a_spool_without_disk_waits_for_the_client(pushes):
    server = pushes("--tmp-upload-dir", "/proc/self")
    client = narrow(server, "/s12000z?name=a")
    server.wait_log("cannot keep pushed bytes in a file: .*; gcorn_send waits for the client")
    assert said(server, "a") == []
    assert whole_body(client) == b"z" * 12000 * 1024
    assert server.log().count("cannot keep pushed bytes") == 1


def test_pushed_files_count_for_tmp_upload_max(pushes):
    server = pushes("--tmp-upload-max", "2MiB")
    client = narrow(server, "/s12000z?name=a")
    server.wait_log("cannot keep pushed bytes in a file")
    assert whole_body(client) == b"z" * 12000 * 1024
    client = narrow(server, "/s2800z?name=b")  # all of it has been given back
    wait_said(server, "b", "returns")
    assert len(whole_body(client)) == 2800 * 1024
    assert server.log().count("cannot keep pushed bytes") == 1


def test_other_clients_are_served_while_a_push_waits(pushes, request):
    if "sync" in request.node.name:
        pytest.skip("a sync worker serves one call")
    server = pushes("--stream-spool", "64KiB")
    client = narrow(server, "/s20000z?name=a")
    client.wait_readable()
    for _ in range(3):
        assert server.get("/s5i").text == FIVE
    assert len(whole_body(client)) == 20000 * 1024


@pytest.mark.parametrize("leave", [reset, lambda client: client.close()], ids=["reset", "close"])
def test_the_handler_hears_that_its_client_has_left(pushes, leave):
    server = pushes("--access-logfile", "access", "--access-logformat", "%(s)s %({gcorn.ended}e)s")
    client = narrow(server, "/s1iW30000z5i?name=a")
    read_until(client, b"\n\r\n")
    leave(client)
    let_go(server, "a")
    wait_said(server, "a", "sent")
    assert said(server, "a")[:3] == ["waits", "ECONNRESET", "ECONNRESET"]
    wait_for(lambda: (server.dir / "access").read_text() == "200 client gone\n", "its line")
    assert server.get("/st").text == "tail"


def test_a_client_that_leaves_ends_the_wait(pushes):
    server = pushes("--stream-spool", "64KiB")
    client = narrow(server, "/s30000z?name=a")
    client.wait_readable()
    reset(client)
    wait_said(server, "a", "ECONNRESET")
    assert server.get("/st").text == "tail"


def test_bytes_that_did_not_leave_are_not_counted(pushes):
    server = pushes("--write-timeout", "300ms")
    client = narrow(server, "/s12000z?name=a")
    wait_said(server, "a", "sent")
    sent = int(said(server, "a")[-1].split()[1])
    assert 0 < sent < 9 * MIB
    client.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_write_timeout_ends_a_push_that_waits(pushes, version):
    server = pushes("--write-timeout", "400ms", "--stream-spool", "64KiB", "--access-logfile",
                    "access", "--access-logformat", "%(s)s %({gcorn.ended}e)s")
    client = narrow(server, "/s30000z5i?name=a", version=version)
    wait_said(server, "a", "sent")
    assert said(server, "a")[:2] == ["ECONNRESET", "ECONNRESET"]
    wait_for(lambda: (server.dir / "access").read_text() == "200 write_timeout\n", "its line")
    if version == "1.0":
        with pytest.raises(ConnectionResetError):
            client.rest()


# ---- deadlines ----------------------------------------------------------------------------------


def test_each_push_renews_timeout(pushes):
    server = pushes("--timeout", f"{SLOWER}s")
    steps = f"1i{400 * SLOWER}w" * 5
    assert server.get(f"/s{steps}").text == FIVE[:100] * 5
    assert "timeout" not in server.log()


def test_a_call_that_pushes_no_more_times_out(pushes):
    server = pushes("--timeout", f"{SLOWER}s")
    got = server.ask("/s5i60000w").rest()
    assert got.endswith(FIVE.encode()[-100:] + b"\r\n")  # cut, and no 504 after it
    server.wait_log("WORKER TIMEOUT|timed out|TIMEOUT")


def test_waiting_for_a_client_is_no_timeout(pushes):
    server = pushes("--timeout", f"{SLOWER}s", "--heartbeat", f"{2 * SLOWER}s", "--stream-spool", "64KiB",
                    "--write-timeout", "60s")
    client = narrow(server, "/s30000z?name=a")
    client.wait_readable()
    pid, = server.worker_pids
    pace(3.5 * SLOWER)
    assert server.worker_pids == {pid} and said(server, "a") == []
    assert len(whole_body(client)) == 30000 * 1024


# ---- stopping -----------------------------------------------------------------------------------


def test_a_stop_lets_a_push_end(pushes):
    server = pushes()
    client = server.ask("/s1iD5i?name=a")
    read_until(client, b"\n\r\n")
    server.kill(signal.SIGTERM)
    assert read_until(client, b"0\r\n\r\n").count(b"64\r\n000") == 5
    assert server.wait_exit() == 0


def test_a_push_that_waits_ends_with_graceful_timeout(pushes):
    server = pushes("--graceful-timeout", f"{2 * SLOWER}s", "--stream-spool", "64KiB")
    client = narrow(server, "/s30000z1i?name=a")
    client.wait_readable()
    server.kill(signal.SIGTERM)
    wait_said(server, "a", "sent")
    assert said(server, "a")[:2] == ["ESHUTDOWN", "ESHUTDOWN"]
    client.close()
    assert server.wait_exit() == 0
    assert "did not finish within" not in server.log()


def test_a_quick_stop_ends_a_push_that_waits(pushes):
    server = pushes("--stream-spool", "64KiB")
    client = narrow(server, "/s30000z?name=a")
    client.wait_readable()
    server.kill(signal.SIGINT)
    assert server.wait_exit(hang_up=False) == 0
    assert said(server, "a")[0] == "ESHUTDOWN"
    assert "killed" not in server.log()


def test_a_reload_replaces_a_worker_whose_push_waits(pushes):
    server = pushes("--stream-spool", "64KiB")
    client = narrow(server, "/s30000z?name=a")
    client.wait_readable()
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    wait_for(lambda: server.worker_pids - old, "a new worker")
    assert server.get("/st").text == "tail"
    assert len(whole_body(client)) == 30000 * 1024


# ---- the access log -----------------------------------------------------------------------------


def test_the_access_log_counts_what_was_pushed(pushes):
    server = pushes("--access-logfile", "access", "--access-logformat", "%(m)s %(s)s %(B)s")
    client = server.connect()
    client.get("/s5it")
    client.get("/s5it", method="HEAD")
    client.get("/500ch5i")
    wait_for(lambda: (server.dir / "access").read_text() ==
             "GET 200 504\nHEAD 200 0\nGET 200 500\n", "three lines")
    assert not re.search("error|crit", server.log(), re.I)


# ---- memory -------------------------------------------------------------------------------------


def private_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1024


@PLAIN_ONLY
def test_many_slow_clients_hold_files_instead_of_memory(pushes):
    """Each alone would have 1 MiB in memory; together they have 16 MiB, and 64 KiB each."""
    server = pushes()
    pid, = server.worker_pids
    clients = [narrow(server, f"/s65000i?name=n{i}") for i in range(60)]
    for i in range(60):
        wait_said(server, f"n{i}", "returns")
    assert private_mib(pid) < 40
    for client in clients:
        client.close()
    assert server.get("/st").text == "tail"
