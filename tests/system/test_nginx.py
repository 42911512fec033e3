# SPDX-License-Identifier: MIT
"""Behind nginx, as in production: connections that nginx keeps and reuses must never cost a
request, also not while gcorn reloads."""
import os
import signal
import subprocess
import threading

import pytest

from harness import Client, wait_for

pytestmark = pytest.mark.needs("nginx")

@pytest.fixture(params=["tcp", "unix"])
def bind(request):
    return {"tcp": "127.0.0.1:0", "unix": "unix:app.sock"}[request.param]


def load(address, count, failures, stop=None):
    """Requests on one connection of nginx's, until there were count or stop is set."""
    try:
        with Client(address) as client:
            done = 0
            while done < count and not (stop and stop.is_set()):
                answer = client.get(f"/{done}")
                if answer.status != 200 or answer.body.split(b"\n")[1] != b"PATH /%d" % done:
                    failures.append(repr(answer))
                if answer.closes:
                    failures.append("nginx closed")
                    return
                done += 1
    except (OSError, AssertionError) as error:
        failures.append(repr(error))


def together(address, threads, count, failures, stop=None):
    running = [threading.Thread(target=load, args=(address, count, failures, stop))
               for _ in range(threads)]
    for thread in running:
        thread.start()
    return running


def test_a_thousand_requests(gcorn, nginx, bind):
    server = gcorn("environ", "--workers", "2", bind=bind)
    front = nginx(server.address)
    failures = []
    for thread in together(front.address, 4, 250, failures):
        thread.join()
    assert failures == []
    assert (front.complaints(), front.statuses()) == ([], {"200"})


def test_a_thousand_requests_with_fair_close(gcorn, nginx):
    """nginx logs no error for connections that gcorn closes."""
    server = gcorn("environ", "--workers", "2", "--fair-close")
    front = nginx(server.address)
    failures = []
    for thread in together(front.address, 8, 125, failures):
        thread.join()
    assert failures == []
    assert (front.complaints(), front.statuses()) == ([], {"200"})


def test_nginx_forwards_address_and_host(gcorn, nginx, bind):
    front = nginx(gcorn("environ", bind=bind).address)
    with Client(front.address) as client:
        text = client.get("/a%20b?c").text
    assert "PATH /a b\nQUERY c\nPROTOCOL HTTP/1.1\n" in text
    assert "HEADER HTTP_X_FORWARDED_FOR=" in text
    assert "HTTP_CONNECTION" not in text


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_post_bodies(gcorn, nginx, bind, size):
    front = nginx(gcorn("environ", bind=bind).address)
    body = os.urandom(size)
    with Client(front.address) as client:
        for _ in range(2):
            sender = threading.Thread(target=client.send, args=(
                b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size + body,))
            sender.start()
            answer = client.response()
            sender.join()
            assert answer.body.partition(b"BODY ")[2] == b"%d\n" % size + body
    assert not [line for line in front.complaints() if "buffered to a temporary file" not in line]


def test_a_refusal_reaches_the_client(gcorn, nginx, bind):
    """413 with the body unread: a reset would make it a 502."""
    front = nginx(gcorn("environ", "--limit-request-body", "1000", bind=bind).address)
    with Client(front.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200000)
        assert client.response().status == 413


def test_hup_under_load_fails_no_request(gcorn, nginx, bind):
    server = gcorn("environ", "--workers", "2", bind=bind)
    front = nginx(server.address)
    failures, stop = [], threading.Event()
    running = together(front.address, 4, 1_000_000, failures, stop)
    for generation in (2, 3, 4):
        old = server.worker_pids
        server.kill(signal.SIGHUP)
        server.wait_log(f"Reloaded: generation {generation - 1} -> {generation}")
        wait_for(lambda: failures or not server.worker_pids & old, "the old workers to leave")
    stop.set()
    for thread in running:
        thread.join()
    assert failures == []
    assert (front.complaints(), front.statuses()) == ([], {"200"})


def test_crashes_cost_only_their_own_request(gcorn, nginx):
    server = gcorn("faulty", "--workers", "2")
    front = nginx(server.address)
    with Client(front.address) as client:
        assert client.get("/").status == 200
        assert client.get("/_exit", method="POST").status == 502
        assert client.get("/").status == 200


@pytest.mark.needs("wrk")
def test_wrk(gcorn):
    server = gcorn("hello", "--workers", "2")
    done = subprocess.run(["wrk", "-t1", "-c16", "-d1s", f"http://127.0.0.1:{server.port}/"],
                          capture_output=True, text=True, check=True, timeout=30)
    assert "Requests/sec" in done.stdout
    assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
