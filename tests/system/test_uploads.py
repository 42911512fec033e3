# SPDX-License-Identifier: MIT
"""Request bodies that are large, slow, refused or many: what their clients hear, and what the others
hear meanwhile."""
import http.client
import signal
import threading

import pytest

from server import PATIENCE, SANITIZED, pace, wait_for
from test_proxy import nginx  # noqa: F401  pylint: disable=unused-import

MIB = 1 << 20
FRAMINGS = ["counted", "chunked"]


def upload(server, size, framing="counted", path="/"):
    """The status of a POST by http.client, which sends the whole body before it reads."""
    body = b"u" * size
    chunked = {"body": iter([body]), "encode_chunked": True,
               "headers": {"Transfer-Encoding": "chunked"}}
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3 * PATIENCE)
    try:
        client.request("POST", path, **(chunked if framing == "chunked" else {"body": body}))
        return client.getresponse().status
    finally:
        client.close()


# ---- a refused upload reaches its client as its status --------------------------------------------


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [17 * MIB, 100 * MIB])
def test_upload_past_the_limit_hears_413(gcorn, size, framing):
    server = gcorn("hello")
    turns = 10 if size < 50 * MIB else 2
    assert [upload(server, size, framing) for _ in range(turns)] == [413] * turns


@pytest.mark.parametrize("framing", FRAMINGS)
def test_upload_without_room_on_disk_hears_507(gcorn, tmp_path, framing):
    place = tmp_path / "uploads"
    place.mkdir()
    server = gcorn("hello", "--tmp-upload-dir", str(place), "--limit-request-body", "0")
    place.rmdir()
    assert [upload(server, 17 * MIB, framing) for _ in range(3)] == [507] * 3


@pytest.mark.parametrize("fields, status", [
    ("Expect: the unexpected\r\nContent-Length: 17825792", 417),
    ("Content-Length: 17825792\r\nTransfer-Encoding: chunked", 400),
    ("Content-Length: 17825792\r\nX: " + "x" * 9000, 431)])
def test_upload_with_a_bad_head_hears_why(gcorn, fields, status):
    client = gcorn("hello").connect()
    client.send(f"POST / HTTP/1.1\r\nHost: t\r\n{fields}\r\n\r\n")
    for _ in range(17):
        client.send(b"u" * MIB)
    assert client.response().status == status
    client.assert_closed()


def test_refused_upload_may_take_its_time(gcorn):
    """Longer than the pause that is allowed between two bytes, and than a close took before."""
    client = gcorn("hello", "--limit-request-body", "1000").connect()
    client.send(f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {17 * MIB}\r\n\r\n")
    for _ in range(17):
        client.send(b"u" * MIB)
        pace(0.2)
    assert client.response().status == 413
    client.assert_closed()


def test_refused_pipelined_uploads_hear_the_first_answer(gcorn):
    client = gcorn("hello", "--limit-request-body", "1000").connect()
    post = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5000000\r\n\r\n" + b"u" * 5000000
    for _ in range(4):
        client.send(post)
    assert client.response().status == 413
    client.assert_closed()


def test_refused_upload_ends_with_its_announced_length(gcorn):
    """The worker does not wait for a client that keeps its side open. The other client, which was
    silent before, still has its time."""
    server = gcorn("hello", "--limit-request-body", "1000")
    worker = server.workers[0]
    before = worker.sockets
    silent, whole = server.connect(), server.connect()
    for client in (silent, whole):
        client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3000000\r\n\r\n")
        assert client.response().status == 413
    whole.send(b"u" * 3000000)
    wait_for(lambda: worker.sockets <= before + 1, "the worker to close a connection")
    assert worker.sockets == before + 1
    whole.assert_closed()


def test_stop_does_not_outwait_refused_uploads(gcorn):
    server = gcorn("hello", "--limit-request-body", "1000", "--graceful-timeout", "1s")
    client = server.connect()
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n")
    assert client.response().status == 413
    is_over = threading.Event()

    def send_on():
        try:
            while not is_over.wait(0.01):
                client.send(b"u" * 10000)
        except OSError:
            pass

    sender = threading.Thread(target=send_on)
    sender.start()
    server.kill(signal.SIGTERM)
    try:
        assert server.wait_exit() == 0
    finally:
        is_over.set()
        sender.join()


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:app{}.sock"])
def test_refused_uploads_keep_nginx_servers_in(
        gcorn, nginx, bind, buffering):  # noqa: F811  pylint: disable=redefined-outer-name
    """nginx allows more than its two servers do; it must not take their refusals for failures."""
    servers = [gcorn("environ", bind=bind.format(i)) for i in range(2)]
    front = nginx([server.address for server in servers], body="100m",
                  fields=f"proxy_request_buffering {buffering};")
    for size in (17 * MIB, 40 * MIB) * (1 if SANITIZED else 3):
        client = http.client.HTTPConnection("localhost", timeout=3 * PATIENCE)
        client.sock = servers[0].connect(front.address).socket
        client.request("POST", "/", body=b"u" * size)
        assert client.getresponse().status == 413
        client.close()
    for _ in range(4):
        assert servers[0].connect(front.address).get().status == 200
    assert [line for line in front.complaints() if "is buffered to a temporary file" not in line] == []
