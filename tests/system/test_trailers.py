# SPDX-License-Identifier: MIT
"""Trailers of answers, by the real server in both classes of workers."""
import subprocess

import pytest

from harness import MIB, PATIENCE

CLASSES = pytest.mark.parametrize("threads", [1, 2], ids=["sync", "gthread"])
SUM = [("X-Sum", "1 2 3")]
TE = "TE: trailers\r\n"


@pytest.fixture
def around(gcorn, app):
    """apps/around.c in one worker, with so many threads."""
    def start(threads, *args):
        return gcorn(f"{app('around')}:handler", "--threads", threads, "--log-level", "info", *args)
    return start


@CLASSES
def test_trailers_follow_body_of_who_asks(around, threads):
    server = around(threads)
    client = server.connect()
    for _ in range(3):  # the connection is kept
        late = client.get("/late", fields=TE)
        assert (late.text, late.trailers, late.header("Trailer")) == ("1\n2\n3\n", SUM, None)
        early = client.get("/early", fields=TE)
        assert (early.text, early.trailers, early.header("Trailer")) == ("1\n2\n3\n", SUM, "X-Sum")
        pushed = client.get("/push", fields=TE)
        assert (pushed.text, pushed.trailers, pushed.header("Trailer")) == ("1\n2\n3\n", SUM, None)
    server.wait_log("trailer: added", count=9)


@CLASSES
def test_trailers_are_dropped_for_others(around, threads):
    server = around(threads)
    client = server.connect()
    for path, method in (("/late", "GET"), ("/early", "GET"), ("/early", "HEAD"), ("/push", "GET"),
                         ("/push", "HEAD")):
        answer = client.get(path, method=method, fields=TE if method == "HEAD" else "")
        assert answer.text == ("" if method == "HEAD" else "1\n2\n3\n")
        assert (answer.trailers, answer.header("Trailer")) == ([], None)
    old = server.connect().get("/late", version="1.0", fields=TE)
    assert (old.text, old.closes) == ("1\n2\n3\n", True)
    server.wait_log("trailer: Operation not supported", count=6)


@CLASSES
@pytest.mark.parametrize("fields", ["", TE], ids=["counted", "chunked"])
def test_file_with_trailer_is_whole(around, threads, fields):
    """It is read and sent in chunks, or by the kernel, as ever."""
    server = around(threads)
    content = bytes(i % 251 for i in range(3 * MIB))
    (server.dir / "file").write_bytes(content)
    client = server.connect()
    for _ in range(2):
        answer = client.get("/file", fields=fields)
        assert answer.body == content
        assert answer.trailers == (SUM if fields else [])
        assert answer.header("Content-Length") == (None if fields else str(len(content)))


@CLASSES
def test_pipelined_trailers_stay_in_order(around, threads):
    client = around(threads).connect()
    one = f"GET /late HTTP/1.1\r\nHost: t\r\n{TE}\r\n"
    other = "GET /early HTTP/1.1\r\nHost: t\r\n\r\n"
    client.send((one + other) * 20)
    for _ in range(20):
        assert client.response().trailers == SUM
        assert client.response().header("Content-Length") == "6"


@CLASSES
def test_access_log_counts_no_byte_of_trailers(around, threads):
    server = around(threads, "--access-logfile", "log", "--access-logformat", "%(s)s %(B)s %(U)s")
    client = server.connect()
    client.get("/late", fields=TE)
    client.get("/early", fields=TE)
    client.close()
    server.stop()
    assert (server.dir / "log").read_text() == "200 6 /late\n200 6 /early\n"


@CLASSES
def test_curl_shows_trailers(around, threads):
    server = around(threads)
    shown = subprocess.run(["curl", "-s", "-i", "-H", TE.strip(),
                            f"http://127.0.0.1:{server.port}/late"],
                           capture_output=True, check=True, timeout=PATIENCE).stdout
    assert shown.endswith(b"\r\n\r\n1\n2\n3\nX-Sum: 1 2 3\r\n\r\n") or shown.endswith(
        b"1\n2\n3\nX-Sum: 1 2 3\r\n"), shown
