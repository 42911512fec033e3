# SPDX-License-Identifier: MIT
"""What a client sees: answers byte by byte, framing, order, refusals, limits on time and number."""
import email.utils
import os
import re
import resource
import socket
import ssl
import threading
import time

import pytest

from harness import PATIENCE, SLOWER, Client, pace, request, wait_for

HELLO = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def lines_of(response):
    """The environ example's answer as a dict; HEADER lines under their key, the body under BODY."""
    head, _, rest = response.body.partition(b"BODY ")
    length, _, body = rest.partition(b"\n")
    assert len(body) == int(length)
    facts = {"BODY": body}
    for line in head.decode().splitlines():
        key, _, value = line.partition(" ")
        if key == "HEADER":
            key, _, value = value.partition("=")
        facts[key] = value
    return facts


# ---- hello --------------------------------------------------------------------------------------


def test_hello_bytes(gcorn):
    client = gcorn("hello").connect()
    answer = client.send(HELLO).response()
    date = answer.header("Date")
    assert answer.head == (
        b"HTTP/1.1 200 OK\r\n"
        b"Server: gcorn\r\n"
        b"Date: " + date.encode() + b"\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 13\r\n"
        b"\r\n")
    assert answer.body == b"Hello, World!"


def test_date_is_now_in_http_form(gcorn):
    date = gcorn("hello").get().header("Date")
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|"
                        r"Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT", date)
    sent = email.utils.parsedate_to_datetime(date).timestamp()
    assert abs(sent - time.time()) < 5 * SLOWER


def test_head_has_the_length_and_no_body(gcorn):
    client = gcorn("hello").connect()
    answer = client.get(method="HEAD")
    assert (answer.status, answer.header("Content-Length")) == (200, "13")
    assert client.get().body == b"Hello, World!"  # nothing lies between the two


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "LIST", "X-Y",
                                    "UPDATEREDIRECTREF", "get"])
def test_any_method_reaches_the_application(gcorn, method):
    answer = gcorn("environ").get("/x", method=method)
    assert lines_of(answer)["METHOD"] == method


# ---- environ ------------------------------------------------------------------------------------


def test_environ_of_a_get(gcorn):
    answer = gcorn("environ").get("/a%20b/%C3%A9?q=1&r=%20", fields="X-B: 2\r\nX-A: 1\r\n")
    assert answer.header("Content-Type") == "text/plain"
    assert answer.text == (
        "METHOD GET\n"
        "PATH /a b/\u00e9\n"
        "QUERY q=1&r=%20\n"
        "PROTOCOL HTTP/1.1\n"
        "SCHEME http\n"
        "REMOTE 127.0.0.1\n"
        "HEADER HTTP_HOST=test\n"
        "HEADER HTTP_X_A=1\n"
        "HEADER HTTP_X_B=2\n"
        "BODY 0\n")


def test_environ_joins_repeated_fields(gcorn):
    answer = gcorn("environ").get(fields="X-A: 1\r\nCookie: a=1\r\nX-A: 2\r\nCookie: b=2\r\n")
    assert lines_of(answer)["HTTP_X_A"] in ("1,2", "1, 2")
    assert lines_of(answer)["HTTP_COOKIE"] == "a=1; b=2"


def test_environ_of_an_empty_post(gcorn):
    facts = lines_of(gcorn("environ").get(method="POST", fields="Content-Length: 0\r\n"))
    assert (facts["BODY"], facts["CONTENT_LENGTH"]) == (b"", "0")


def test_environ_of_a_post_with_any_bytes(gcorn):
    body = bytes(range(256)) * 4
    client = gcorn("environ").connect()
    client.send(b"POST /p HTTP/1.1\r\nHost: test\r\nContent-Type: x/y\r\n"
                b"Content-Length: 1024\r\n\r\n" + body)
    facts = lines_of(client.response())
    assert (facts["METHOD"], facts["CONTENT_TYPE"], facts["CONTENT_LENGTH"]) == (
        "POST", "x/y", "1024")
    assert facts["BODY"] == body


def test_environ_of_a_chunked_post(gcorn):
    client = gcorn("environ").connect()
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nHello\r\n8;ext=1\r\n, World!\r\n0\r\nX-Trailer: 1\r\n\r\n")
    facts = lines_of(client.response())
    assert facts["BODY"] == b"Hello, World!"
    assert "HTTP_X_TRAILER" not in facts
    assert client.get().status == 200


def test_a_body_larger_than_memory_keeps(gcorn):
    """It goes through an unlinked file; the answer as well."""
    body = os.urandom(1 << 20)
    client = gcorn("environ").connect()
    sender = threading.Thread(target=client.send, args=(
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body,))
    sender.start()
    assert lines_of(client.response())["BODY"] == body
    sender.join()


def test_environ_of_an_absolute_target(gcorn):
    client = gcorn("environ").connect()
    client.send(request("http://other.example:81/abs?x=1"))
    facts = lines_of(client.response())
    assert (facts["PATH"], facts["QUERY"], facts["HTTP_HOST"]) == (
        "/abs", "x=1", "other.example:81")


def test_environ_over_a_unix_socket(gcorn):
    facts = lines_of(gcorn("environ", bind="unix:app.sock").get("/u"))
    assert (facts["PATH"], facts["REMOTE"]) == ("/u", "")


def test_server_name_over_a_unix_socket_is_that_of_host(gcorn, probe):
    server = gcorn(probe, bind="unix:app.sock")
    ask = server.connect().send
    texts = [ask(f"GET /get?key=SERVER_{key} HTTP/1.1\r\nHost: {host}\r\n\r\n").response().text
             for host in ("a.example:81", "a.example") for key in ("NAME", "PORT")]
    assert texts == ["a.example", "81", "a.example", "80"]
    assert server.get("/get?key=SERVER_NAME", version="1.0").text


def test_a_chunked_body_has_its_decoded_length(gcorn):
    client = gcorn("environ").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    facts = lines_of(client.send("4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n").response())
    assert (facts["CONTENT_LENGTH"], facts["BODY"]) == ("6", b"abcdef")


def test_environ_over_ipv6(gcorn):
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    server = gcorn("environ", bind="[::1]:0")
    assert f"Listening at: http://[::1]:{server.port} (" in server.log()
    assert lines_of(server.get())["REMOTE"] == "::1"


def test_two_binds_serve_both(gcorn):
    server = gcorn("hello", "--bind", "unix:app.sock")
    first, second = server.wait_log(r"Listening at: (\S+) ", count=2)
    assert second.group(1) == "unix:app.sock"
    port = int(first.group(1).rpartition(":")[2])
    for address in (server.address, ("127.0.0.1", port)):
        with Client(address) as client:
            assert client.get().status == 200


# ---- connections --------------------------------------------------------------------------------


def test_a_connection_is_kept(gcorn):
    client = gcorn("hello").connect()
    for _ in range(10):
        answer = client.get()
        assert (answer.status, answer.header("Connection")) == (200, None)


def test_connection_close_is_obeyed(gcorn):
    client = gcorn("hello").connect()
    assert client.get(fields="Connection: close\r\n").closes
    client.assert_closed()


def test_http10_is_closed(gcorn):
    client = gcorn("hello").connect()
    answer = client.get(version="1.0")
    assert answer.body == b"Hello, World!"
    assert answer.closes
    client.assert_closed()


def test_http10_keep_alive_is_kept(gcorn):
    client = gcorn("hello").connect()
    for _ in range(2):
        answer = client.get(version="1.0", fields="Connection: keep-alive\r\n")
        assert answer.header("Connection") == "keep-alive"


def test_http10_needs_no_host(gcorn):
    client = gcorn("hello").connect()
    assert client.send("GET / HTTP/1.0\r\n\r\n").response().status == 200


def test_keepalive_zero_closes_after_one_answer(gcorn):
    client = gcorn("hello", "--keep-alive", "0").connect()
    assert client.get().closes
    client.assert_closed()


def test_a_thousand_pipelined_requests_in_order(gcorn):
    client = gcorn("environ").connect()
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % i for i in range(1000))
    sender = threading.Thread(target=client.send, args=(requests,))
    sender.start()
    for i in range(1000):
        assert client.response().body.split(b"\n")[1] == b"PATH /%d" % i
    sender.join()
    assert client.get("/last").status == 200


def test_pipelined_with_a_bad_one_at_the_end(gcorn):
    client = gcorn("environ").connect()
    good = b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % i for i in range(20))
    client.send(good + b"GET bad HTTP/1.1\r\nHost: t\r\n\r\n" + HELLO)
    for i in range(20):
        assert client.response().body.split(b"\n")[1] == b"PATH /%d" % i
    answer = client.response()
    assert (answer.status, answer.closes) == (400, True)
    client.assert_closed()


def test_pipelined_posts_keep_their_bodies(gcorn):
    client = gcorn("environ").connect()
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
                b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
                b"GET /end HTTP/1.1\r\nHost: t\r\n\r\n")
    assert [lines_of(client.response())["BODY"] for _ in range(3)] == [b"abc", b"de", b""]


def test_a_request_byte_by_byte_while_others_are_served(gcorn):
    server = gcorn("environ")
    slow, other = server.connect(), server.connect()
    request = b"POST /slow HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for i, byte in enumerate(request):
        slow.send(bytes([byte]))
        assert other.get(f"/{i}").status == 200
    facts = lines_of(slow.response())
    assert (facts["PATH"], facts["BODY"]) == ("/slow", b"abc")


def test_client_that_does_not_read_blocks_no_other(gcorn, probe):
    server = gcorn(probe)
    deaf = server.connect()
    deaf.send(request("/big?kb=32768"))
    other = server.connect()
    for _ in range(5):
        assert other.get("/pid").status == 200
    answer = deaf.response()
    assert answer.body == b"b" * (32768 * 1024)
    assert deaf.get("/pid").status == 200


def test_an_iterator_is_sent_chunked(gcorn, probe):
    client = gcorn(probe).connect()
    answer = client.get("/chunks?kb=300")
    assert answer.header("Transfer-Encoding") == "chunked"
    assert answer.body == b"c" * (300 * 1024)
    assert client.get("/pid").status == 200


def test_an_iterator_to_http10_ends_with_the_connection(gcorn, probe):
    client = gcorn(probe).connect()
    answer = client.get("/chunks?kb=3", version="1.0", fields="Connection: keep-alive\r\n")
    assert answer.closes
    assert answer.body == b"c" * 3072


def test_client_that_leaves_during_its_answer_is_forgotten(gcorn, probe):
    server = gcorn(probe)
    worker = server.workers[0]
    before = worker.sockets
    client = server.connect()
    client.send(request("/chunks?kb=100000"))
    wait_for(lambda: worker.sockets == before + 1, "the connection")
    client.socket.recv(1000)
    client.close()
    wait_for(lambda: worker.sockets == before, "the connection to be closed")
    assert server.worker_pids == {worker.pid}


def test_a_half_closed_client_gets_its_answer(gcorn, probe):
    client = gcorn(probe).connect()
    client.send(request("/big?kb=16384")).half_close()
    assert len(client.response().body) == 16384 * 1024
    client.assert_closed()


@pytest.mark.parametrize("part", [
    "GET / HT", "GET / HTTP/1.1\r\nHost: t\r\n",
    "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ids=["line", "head", "body", "chunks"])
def test_an_early_fin_gives_400(gcorn, part):
    client = gcorn("hello").connect()
    client.send(part).half_close()
    assert client.response().status == 400
    client.assert_closed()


def test_a_fin_between_requests_is_no_error(gcorn):
    client = gcorn("hello").connect()
    client.get()
    client.half_close().assert_closed()


# ---- Expect -------------------------------------------------------------------------------------


def test_expect_100_continue(gcorn):
    client = gcorn("environ").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    interim = client.response()
    assert interim.head == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert lines_of(client.send(b"abc").response())["BODY"] == b"abc"


def test_expect_with_the_body_at_hand_gets_no_100(gcorn):
    client = gcorn("environ").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert client.response().status == 200


def test_expect_with_too_large_a_body_gets_413_at_once(gcorn):
    client = gcorn("environ", "--limit-request-body", "10").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
    assert client.response().status == 413
    client.assert_closed()


# ---- refusals -----------------------------------------------------------------------------------

REFUSED = {
    "no version": (400, b"GET /\r\n\r\n"),
    "garbage": (400, b"\x16\x03\x01\x02\x00\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: t\n\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "folded field": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n"),
    "blank before colon": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX : a\r\n\r\n"),
    "NUL in a field": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n"),
    "length and chunked": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
                         b"Content-Length: 5\r\n\r\nabcde"),
    "negative length": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n"),
    "bad chunk size": (400, b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nxy\r\n"),
    "long line": (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"),
    "long field": (431, b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 9000 + b"\r\n\r\n"),
    "many fields": (431, b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: a\r\n" * 101 + b"\r\n"),
    "long head": (431, b"GET / HTTP/1.1\r\nHost: t\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 20),
    "expectation": (417, b"GET / HTTP/1.1\r\nHost: t\r\nExpect: 200-maybe\r\n\r\n"),
    "long method": (501, b"A" * 33 + b" / HTTP/1.1\r\nHost: t\r\n\r\n"),
    "CONNECT": (501, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
    "coding": (501, b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n"),
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_and_closed(gcorn, what):
    """With a short text; then the connection ends in order, whatever else the client had sent."""
    status, request = REFUSED[what]
    client = gcorn("hello").connect()
    client.send(request + HELLO)
    answer = client.response()
    assert (answer.status, answer.closes) == (status, True)
    assert answer.header("Content-Type").startswith("text/plain")
    assert answer.text.startswith(f"{status} {answer.reason}")
    client.assert_closed()


@pytest.mark.parametrize("sent", [
    b"GET /\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n", b"EHLO mail.example.org\r\n", b"PRI * HTTP/2.0\r\n",
    b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"{", b"\r\n\r\n\0\r\nQUIT\n",
    b"GET /a#b HTTP/1.1\r\n", b"CONNECT h:1 HTTP/1.1\r\n"])
def test_bytes_of_no_request_are_refused_at_once(gcorn, sent):
    """The client waits for an answer, and would send nothing more until header_timeout."""
    client = gcorn("hello", "--header-timeout", "1h").connect()
    assert client.send(sent).response().status in (400, 501, 505)


def test_another_protocol_is_named_once_a_minute(gcorn):
    server = gcorn("hello")
    tls = ssl.create_default_context()
    for _ in range(3):
        with socket.create_connection(server.address, PATIENCE) as plain, \
                pytest.raises(ssl.SSLError):
            tls.wrap_socket(plain, server_hostname="localhost")
        server.connect().send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").response()
        server.connect().send(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n").response()
        server.connect().send(b"HELO\r\n").response()
    said = re.findall(r"\[WARNING\] Connection of 127\.0\.0\.1: the client speaks ([^,]*), .* refused with "
                      r"(\d+) ", server.log())
    assert said == [("TLS", "400"), ("HTTP/2", "505"), ("the PROXY protocol", "400")]


@pytest.mark.parametrize("framing", ["Content-Length: 3000000", "Transfer-Encoding: chunked"])
def test_413_arrives_although_the_body_is_sent_on(gcorn, framing):
    """Closing with unread bytes would reset the connection and destroy the answer."""
    client = gcorn("hello", "--limit-request-body", "1000").connect()
    head = f"POST / HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n".encode()
    client.send(head + b"2dc6c0\r\n" + b"x" * 3000000)
    assert client.response().status == 413
    client.assert_closed()


def test_a_chunked_body_over_the_limit_is_413(gcorn):
    client = gcorn("hello", "--limit-request-body", "1000").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        client.send("1f4\r\n" + "x" * 500 + "\r\n")
    assert client.response().status == 413
    client.assert_closed()


def test_the_worker_survives_all_refusals(gcorn):
    server = gcorn("hello")
    pids = server.worker_pids
    for status, raw in REFUSED.values():
        with server.connect() as client:
            assert client.send(raw).response().status == status
    assert server.get().status == 200
    assert server.worker_pids == pids


@pytest.mark.parametrize("path", ["/null", "/bad-header"])
def test_a_failing_application_gives_500(gcorn, path):
    server = gcorn("faulty")
    client = server.connect()
    answer = client.get(path)
    assert (answer.status, answer.text) == (500, "500 Internal Server Error\n")
    assert "Set-Cookie" not in answer.head.decode()
    server.wait_log(r"\[ERROR\] .*answered 500")
    assert client.get("/").status == 200


# ---- time ---------------------------------------------------------------------------------------


def test_head_that_does_not_arrive_is_408(gcorn):
    client = gcorn("hello", "--header-timeout", "50ms").connect()
    assert client.send("GET / HTTP/1.1\r\n").response().status == 408
    client.assert_closed()


def test_a_drip_of_bytes_does_not_move_the_head_timeout(gcorn):
    client = gcorn("hello", "--header-timeout", f"{200 * SLOWER}ms").connect()
    started = time.monotonic()
    client.send("GET / HTTP/1.1\r\nX: ")
    while client.is_silent_for(0.02):
        assert time.monotonic() - started < PATIENCE
        client.send("a")
    assert client.response().status == 408


def test_each_pipelined_head_has_its_own_time(gcorn):
    """The end of one head and the beginning of the next come together, again and again."""
    timeout = 0.5 * SLOWER
    client = gcorn("environ", "--header-timeout", f"{timeout}s").connect()
    ended = time.monotonic() + 2 * timeout
    client.send("GET /0 HTTP/1.1\r\n")
    turn = 0
    while time.monotonic() < ended:
        pace(timeout / 10)
        client.send(f"Host: t\r\n\r\nGET /{turn + 1} HTTP/1.1\r\n")
        assert lines_of(client.response())["PATH"] == f"/{turn}"
        turn += 1
    assert client.response().status == 408  # which that of the last one is, too
    client.assert_closed()


def test_body_that_does_not_arrive_is_408(gcorn):
    client = gcorn("hello", "--body-timeout", "50ms").connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc")
    assert client.response().status == 408
    client.assert_closed()


def test_each_pipelined_body_has_its_own_time(gcorn):
    """The second begins in the bytes that end the first, and is not late for that one's slowness."""
    timeout = 0.3 * SLOWER
    client = gcorn("environ", "--body-timeout", f"{timeout}s", "--body-min-rate", "1000").connect()
    head = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n"
    piece = b"a" * int(timeout * 1000)
    client.send(head % (10 * len(piece)))
    for _ in range(9):
        client.send(piece)
        pace(timeout / 5)
    client.send(piece + head % 3 + b"b")
    pace(timeout / 10)
    client.send("bb")
    assert [len(lines_of(client.response())["BODY"]) for _ in range(2)] == [10 * len(piece), 3]


def test_a_connection_without_a_byte_is_closed_silently(gcorn):
    gcorn("hello", "--header-timeout", "50ms").connect().assert_closed()


def test_keepalive_timeout(gcorn):
    client = gcorn("hello", "--keep-alive", f"{100 * SLOWER}ms").connect()
    client.get()
    assert client.is_silent_for(0.03)
    client.assert_closed()


def test_write_timeout(gcorn, probe):
    server = gcorn(probe, "--write-timeout", "100ms")
    worker = server.workers[0]
    before = worker.sockets
    client = server.connect()
    client.send(request("/big?kb=32768"))
    wait_for(lambda: worker.sockets == before + 1, "the connection")
    wait_for(lambda: worker.sockets == before, "the connection to be given up")
    with pytest.raises((AssertionError, ConnectionResetError)):
        client.response()
    assert server.get("/pid").status == 200


def test_a_slow_reader_is_not_timed_out(gcorn, probe):
    """As long as it takes some bytes in each write_timeout. Over a unix socket: what TCP makes of
    a slow reader is not gcorn's doing."""
    timeout_ms = 150 * SLOWER
    server = gcorn(probe, "--write-timeout", f"{timeout_ms}ms", bind="unix:app.sock")
    client = server.connect()
    client.send(request("/big?kb=4096"))
    started, parts = time.monotonic(), []
    while time.monotonic() < started + 2.5 * timeout_ms / 1000:
        parts.append(client.socket.recv(65536))
        pace(timeout_ms / 20000)
    client.unread = b"".join(parts)
    assert len(client.response().body) == 4096 * 1024


# ---- number -------------------------------------------------------------------------------------


def test_at_the_cap_the_longest_idle_makes_room(gcorn):
    server = gcorn("hello", "--worker-connections", "3")
    first, second, third = [server.connect() for _ in range(3)]
    for client in (first, second, third):
        client.get()
    first.get()  # now second is idle longest
    assert server.connect().get().status == 200
    second.assert_closed()
    assert first.get().status == third.get().status == 200


def test_at_the_cap_a_busy_connection_is_not_closed(gcorn):
    server = gcorn("hello", "--worker-connections", "2")
    begun, idle = server.connect(), server.connect()
    begun.get()
    idle.get()
    begun.send("GET / HTTP/1.1\r\nHost: ")
    idle.get()
    assert server.connect().get().status == 200
    idle.assert_closed()
    assert begun.send("t\r\n\r\n").response().status == 200


def test_open_files_are_raised_to_fit(gcorn):
    server = gcorn("hello", "--worker-connections", "500", preexec=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (100, 2000)))
    server.wait_log(r"\[INFO\] Open files: limit raised from 100 to 564 to fit worker_connections")
