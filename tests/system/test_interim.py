# SPDX-License-Identifier: MIT
"""Interim answers (103 Early Hints), by the real server in both classes of workers."""
import subprocess

import pytest

from harness import PATIENCE, PLAIN_ONLY, wait_for

CLASSES = pytest.mark.parametrize("threads", [1, 2], ids=["sync", "gthread"])
LINK = "</style.css>; rel=preload; as=style"
HINT = f"HTTP/1.1 103 Early Hints\r\nLink: {LINK}\r\n\r\n"


@pytest.fixture
def around(gcorn, app):
    """apps/around.c in one worker, with so many threads."""
    def start(threads, *args, **options):
        return gcorn(f"{app('around')}:handler", "--threads", threads, *args, **options)
    return start


def is_hint(answer):
    assert (answer.status, answer.reason) == (103, "Early Hints")
    assert answer.headers == [("Link", LINK)]


def is_whole(answer, status=200, text="whole\n"):
    assert (answer.status, answer.text) == (status, text)
    assert answer.header("Link") is None


@CLASSES
def test_interim_comes_while_handler_runs(around, threads):
    server = around(threads)
    client = server.ask("/hold?name=a")
    wait_for((server.dir / "a.running").exists, "the handler to run")
    is_hint(client.response())
    assert client.is_silent_for(0.05)
    (server.dir / "a.go").touch()
    is_whole(client.response())
    is_hint(client.get("/"))  # the connection goes on
    is_whole(client.response())


@CLASSES
def test_interim_comes_from_next_that_waits(around, threads):
    client = around(threads).ask("/wait")
    is_hint(client.response())
    is_hint(client.response())
    is_whole(client.response(), text="waited\n")


@CLASSES
def test_interim_of_head_hook_precedes_continue(around, threads):
    server = around(threads)
    client = server.connect()
    client.send("POST /head HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n"
                "Expect: 100-continue\r\n\r\n")
    is_hint(client.response())
    assert client.response().status == 100
    assert client.is_silent_for(0.05)
    client.send("body")
    is_hint(client.response())
    is_whole(client.response())
    is_hint(client.get("/head"))
    is_hint(client.response())
    is_whole(client.response())


@CLASSES
def test_interim_precedes_pushed_answer(around, threads):
    client = around(threads).connect()
    for _ in range(20):
        is_hint(client.get("/pushed"))
        is_whole(client.response())


@CLASSES
def test_pipelined_interims_stay_in_order(around, threads):
    client = around(threads).connect()
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 20)
    for _ in range(20):
        is_hint(client.response())
        is_whole(client.response())


@CLASSES
def test_unread_interims_lose_no_byte(around, threads):
    """More than the sockets hold, so that the worker has to keep what a client does not take."""
    server = around(threads)
    client = server.connect()
    ask = "GET /many?n=1000 HTTP/1.1\r\nHost: t\r\n"
    client.send((ask + "\r\n") * 199 + ask + "Connection: close\r\n\r\n")
    assert server.get("/null").status == 103  # the worker serves others meanwhile
    hints = (HINT * 1001 + "HTTP/1.1 200 OK\r\n").encode()
    answers = client.rest().split(b"whole\n")
    assert [answer.startswith(hints) for answer in answers] == [True] * 200 + [False]
    assert answers[-1] == b""


@CLASSES
@pytest.mark.parametrize("fields", ["", "Connection: keep-alive\r\n"])
def test_client_of_http_1_0_gets_no_interim(around, threads, fields):
    server = around(threads)
    is_whole(server.connect().get("/", version="1.0", fields=fields))


@CLASSES
def test_head_and_close_after_interim(around, threads):
    server = around(threads)
    client = server.connect()
    is_hint(client.get("/", method="HEAD"))
    assert client.response("HEAD").header("Content-Length") == "6"
    is_hint(client.get("/", fields="Connection: close\r\n"))
    answer = client.response()
    assert answer.closes
    client.assert_closed()


@CLASSES
def test_failed_handler_is_500_after_interim(around, threads):
    client = around(threads).connect()
    is_hint(client.get("/null"))
    assert client.response().status == 500
    is_hint(client.get("/"))


@PLAIN_ONLY
@CLASSES
def test_crash_is_500_after_interim(around, threads):
    server = around(threads)
    client = server.ask("/crash?name=a")
    is_hint(client.response())
    (server.dir / "a.go").touch()
    assert client.response().status == 500
    client.assert_closed()


@CLASSES
def test_access_log_has_the_final_answer_alone(around, threads):
    server = around(threads, "--access-logfile", "log", "--access-logformat", "%(s)s %(B)s %(U)s")
    client = server.connect()
    is_hint(client.get("/x"))
    is_whole(client.response())
    wait_for(lambda: (server.dir / "log").read_text() == "200 6 /x\n", "the line")


@CLASSES
def test_curl_shows_interim_before_answer(around, threads):
    server = around(threads)
    shown = subprocess.run(["curl", "-s", "-i", f"http://127.0.0.1:{server.port}/"],
                           capture_output=True, check=True, timeout=PATIENCE).stdout.decode()
    assert shown.startswith(HINT + "HTTP/1.1 200 OK\r\n")
    assert shown.endswith("\r\n\r\nwhole\n")
