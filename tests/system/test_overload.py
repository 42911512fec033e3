"""What becomes of requests that waited: those whose client has left, those that are too late; and
by which name a request is known."""
import re

import pytest

from harness import SLOWER, Held, pace, request, wait_for

LATE = ("--queue-timeout", "150ms")


def status_of(server, path):
    """Has the application seen this path? Each /hold leaves a file."""
    return (server.dir / f"{path}.running").exists()


# ---- queue_timeout ------------------------------------------------------------------------------


def test_request_past_queue_timeout_is_503_with_retry_after(gcorn, probe):
    server = gcorn(probe, *LATE, "--access-logfile", "access")
    kept = server.connect()
    assert kept.get("/pid").status == 200
    held = Held(server)
    kept.send(request("/hold?name=late"))
    pace(0.3)
    assert held.let_go().status == 200
    answer = kept.response()
    assert (answer.status, answer.reason) == (503, "Service Unavailable")
    assert answer.header("Retry-After") == "1"
    assert answer.closes
    kept.assert_closed()
    assert not status_of(server, "late")
    wait_for(lambda: '"GET /hold?name=late HTTP/1.1" 503' in (server.dir / "access").read_text(),
             "its line in the access log")
    assert server.get("/pid").status == 200


def test_waiting_to_be_accepted_counts(gcorn, probe):
    """Several connections in the kernel's queue, behind calls that are short each."""
    server = gcorn("faulty", *LATE)
    clients = [server.connect() for _ in range(8)]
    for client in clients:
        client.send(request(f"/sleep?ms={100 * SLOWER}"))
    statuses = [client.response().status for client in clients]
    assert set(statuses) == {200, 503}  # the order of ready connections is not defined


def test_request_within_queue_timeout_is_run(gcorn, probe):
    server = gcorn(probe, "--queue-timeout", "60s")
    held = Held(server)
    with server.connect() as client:
        client.send(request("/pid"))
        pace(0.05)
        assert held.let_go().status == 200
        assert client.response().status == 200


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:s"])
def test_late_accept_does_not_count_against_a_slow_client(gcorn, probe, bind):
    server = gcorn(probe, *LATE, bind=bind)
    held = Held(server)
    with server.connect() as client:
        pace(0.3)
        assert held.let_go().status == 200
        assert server.get("/pid").status == 200  # on a connection accepted behind this one
        pace(0.3)
        assert client.get("/pid").status == 200


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:s"])
def test_accept_after_a_long_call_does_not_count(gcorn, probe, bind):
    """Accepted in the pass of that call: the last one before its request comes."""
    server = gcorn(probe, "--queue-timeout", f"{0.5 * SLOWER}s", bind=bind)
    with server.connect() as before:
        assert before.get("/pid").status == 200
        first = Held(server)
        before.send(request("/hold?name=second"))
        with server.connect() as late:
            assert first.let_go().status == 200
            wait_for(lambda: status_of(server, "second"), "the second call")
            pace(0.7 * SLOWER)
            (server.dir / "second.go").touch()
            assert before.response().status == 200
            pace(0.1)
            assert late.get("/pid").status == 200


def test_slow_request_has_not_waited(gcorn, probe):
    """Its last byte counts: the client's own slowness is not the queue's."""
    server = gcorn(probe, *LATE)
    with server.connect() as client:
        client.send("GET /pid HTTP/1.1\r\n")
        pace(0.3)
        client.send("Host: t\r\n\r\n")
        assert client.response().status == 200


@pytest.mark.parametrize("half_closed", [False, True])
def test_request_after_a_slowly_read_answer_has_not_waited(
        gcorn, probe, half_closed):
    server = gcorn(probe, *LATE)
    client = server.connect()
    client.send(request("/big?kb=16000") + request("/pid"))
    if half_closed:
        client.half_close()
    pace(0.3)
    assert len(client.response().body) == 16000 * 1024
    assert client.response().status == 200


def test_request_after_a_waiting_answer_has_not_waited(gcorn, app):
    server = gcorn(f"{app('waits', '-pthread')}:handler", *LATE)
    client = server.connect()
    client.send(request("/alarm?ms=300") + request("/"))
    assert [client.response().status for _ in range(2)] == [200, 200]


# ---- clients that have left ---------------------------------------------------------------------


def leave_amid_the_queue(server, leave):
    held = Held(server)
    client = server.ask("/hold?name=gone")
    leave(client)
    pace(0.3)
    (server.dir / "gone.go").touch()
    assert held.let_go().status == 200
    return client


def test_request_of_a_client_that_left_is_not_run(gcorn, probe):
    server = gcorn(probe, "--access-logfile", "access")
    leave_amid_the_queue(server, lambda client: client.close())
    wait_for(lambda: '"GET /hold?name=gone HTTP/1.1" 499' in (server.dir / "access").read_text(),
             "its line in the access log")
    assert not status_of(server, "gone")


def test_unix_request_of_a_client_that_left_is_not_run(gcorn, probe, tmp_path):
    server = gcorn(probe, "--access-logfile", "access", bind="unix:s")
    leave_amid_the_queue(server, lambda client: client.close())
    wait_for(lambda: '"GET /hold?name=gone HTTP/1.1" 499' in (tmp_path / "access").read_text(),
             "its line in the access log")
    assert not status_of(server, "gone")


def test_half_closed_client_is_run_with_skip_gone_after_0(gcorn, probe):
    server = gcorn(probe, "--skip-gone-after", "0")
    client = leave_amid_the_queue(server, lambda client: client.half_close())
    assert client.response().status == 200
    assert status_of(server, "gone")


def test_half_closed_client_that_did_not_wait_is_run(gcorn, probe):
    server = gcorn(probe)
    client = server.ask("/pid").half_close()
    assert client.response().status == 200


# ---- request ids --------------------------------------------------------------------------------

MADE = r"[0-9a-f]{16}"


def id_of(server, fields=""):
    with server.connect() as client:
        return client.get("/get?key=gcorn.request_id", fields=fields)


def test_a_request_without_id_is_given_one(gcorn, probe):
    server = gcorn(probe, "--request-id-response")
    answers = [id_of(server) for _ in range(3)]
    assert all(re.fullmatch(MADE, answer.text) for answer in answers)
    assert len({answer.text for answer in answers}) == 3
    assert all(answer.header("X-Request-ID") == answer.text for answer in answers)


def test_the_id_of_a_trusted_proxy_is_kept(gcorn, probe):
    server = gcorn(probe, "--request-id-response", "--access-logfile", "access",
                   "--access-logformat", "%({gcorn.request_id}e)s")
    answer = id_of(server, "x-request-id: Root=1-67891233-abcdef\r\n")
    assert answer.text == answer.header("X-Request-ID") == "Root=1-67891233-abcdef"
    wait_for(lambda: (server.dir / "access").read_text() == answer.text + "\n", "the log line")
    assert id_of(server, f"X-Request-ID: {'i' * 128}\r\n").text == "i" * 128


def test_malformed_request_id_is_replaced(gcorn, probe):
    server = gcorn(probe, "--request-id-response")
    for value in ("", "two words", 'quo"te', "i" * 129, "\xe9", "a,b", "<b>"):
        answer = id_of(server, f"X-Request-ID: {value}\r\n")
        assert re.fullmatch(MADE, answer.text), value
        assert answer.header("X-Request-ID") == answer.text


def test_request_id_of_an_untrusted_peer_is_replaced(gcorn, probe):
    server = gcorn(probe, "--forwarded-allow-ips", "192.0.2.1")
    assert re.fullmatch(MADE, id_of(server, "X-Request-ID: mine\r\n").text)
    assert server.get("/get?key=HTTP_X_REQUEST_ID", fields="X-Request-ID: mine\r\n").text == "mine"
    assert "X-Request-ID" not in server.log()


def test_request_id_header_can_be_renamed_or_off(gcorn, probe):
    server = gcorn(probe, "--request-id-header", "CF-Ray", "--request-id-response")
    answer = id_of(server, "CF-Ray: 230b030023ae2822-SJC\r\nX-Request-ID: other\r\n")
    assert answer.text == answer.header("CF-Ray") == "230b030023ae2822-SJC"
    assert answer.header("X-Request-ID") is None
    server = gcorn(probe, "--request-id-header", "", "--request-id-response")
    answer = id_of(server, "X-Request-ID: other\r\n")
    assert re.fullmatch(MADE, answer.text)
    assert answer.header("X-Request-ID") is None


def test_the_id_stands_in_the_error_log(gcorn):
    server = gcorn("faulty")
    assert server.get("/null", fields="X-Request-ID: abc-1\r\n").status == 500
    server.wait_log(r"\[abc-1\] the application failed")
