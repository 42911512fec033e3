# SPDX-License-Identifier: MIT
"""gcorn_on_head and bodies that are read as they come, on real sockets: what they cost, and clients,
workers and applications that leave meanwhile."""
import hashlib
import os
import signal
import threading
from pathlib import Path

import pytest

from harness import MIB, PLAIN_ONLY, hup, metrics, run, wait_for

CLASSES = [[], ["-k", "gthread", "--threads", "2"]]
PIECE = os.urandom(MIB)


def head(path="/", size=None, fields=""):
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n{fields}\r\n"


def begin(server, path="/", size=None, fields=""):
    client = server.connect()
    client.send(head(path, size, fields))
    return client


def private_kb(pid):
    sizes = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in sizes if line.startswith("Private_"))


def bytes_read(server):
    return metrics(server)["gcorn_received_bytes_total"]


# ---- what it costs -------------------------------------------------------------------------------


@PLAIN_ONLY
@pytest.mark.parametrize("words", CLASSES)
def test_long_upload_is_hashed_within_2_mib(gcorn, words):
    server = gcorn("hash", "--tmp-upload-max", "1", *words)
    worker, count = server.workers[0].pid, 200
    digest, peak = hashlib.sha256(), 0
    with begin(server, size=count * MIB) as client:
        for _ in range(count):
            client.send(PIECE)
            digest.update(PIECE)
            peak = max(peak, private_kb(worker))
        assert client.response().text == f"{count * MIB} {digest.hexdigest()}\n"
    assert peak < 2048, f"{peak} KiB"


@pytest.mark.parametrize("words", CLASSES)
def test_refused_upload_costs_one_read(gcorn, words):
    server = gcorn("hash", "--admin-bind", "127.0.0.1:0", "--env", "HASH_TOKEN=secret", *words, ready=2)
    before = bytes_read(server)
    with begin(server, size=1000 * MIB) as client:
        answer = client.response()
        assert (answer.status, answer.closes) == (401, True)
    with begin(server, size=1000 * MIB, fields="Expect: 100-continue\r\n") as client:
        assert client.response().status == 401
    wait_for(lambda: bytes_read(server) > before, "the heads to be counted")
    assert bytes_read(server) - before < 1000
    with begin(server, fields="Authorization: Bearer secret\r\n") as client:
        client.send("3\r\nabc\r\n0\r\n\r\n")
        assert client.response().text == f"3 {hashlib.sha256(b'abc').hexdigest()}\n"


def test_refused_upload_reaches_client_that_sends_all_first(gcorn):
    server = gcorn("hash", "--env", "HASH_TOKEN=secret")
    with begin(server, size=20 * MIB) as client:
        for _ in range(20):
            client.send(PIECE)
        assert client.response().status == 401


# ---- who leaves ----------------------------------------------------------------------------------


def send_one(server, number, results):
    """A third of the clients leave at half of their body."""
    size, leaves = (number % 7) * 300_000 + number, number % 3 == 0
    body = PIECE[:1000] * (size // 1000 + 1)
    with begin(server, size=size) as client:
        client.send(body[:size // 2])
        if leaves:
            return
        client.send(body[size // 2:size])
        results[number] = client.response().text == \
            f"{size} {hashlib.sha256(body[:size]).hexdigest()}\n"


@pytest.mark.parametrize("words", CLASSES)
def test_third_of_clients_leaving_harms_no_other(gcorn, words):
    server = gcorn("hash", "--admin-bind", "127.0.0.1:0", "--workers", "2", *words, ready=3)
    results = {}
    for first in range(0, 60, 12):
        threads = [threading.Thread(target=send_one, args=(server, n, results))
                   for n in range(first, first + 12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {n: True for n in range(60) if n % 3}
    wait_for(lambda: metrics(server)["gcorn_requests_in_flight"] == 0,
             "every request to end")


@pytest.mark.parametrize("words", CLASSES)
def test_reload_lets_upload_end(gcorn, words):
    server = gcorn("hash", *words)
    before = server.worker_pids
    with begin(server, size=2 * MIB) as client:
        client.send(PIECE)
        hup(server)
        wait_for(lambda: set(server.worker_pids) - set(before), "the new worker")
        client.send(PIECE)
        answer = client.response()
        assert answer.text == f"{2 * MIB} {hashlib.sha256(PIECE * 2).hexdigest()}\n"


# ---- faults --------------------------------------------------------------------------------------


@pytest.fixture(name="ahead")
def fixture_ahead(gcorn, app, tmp_path):
    (tmp_path / "crashes").mkdir(mode=0o777)

    def serve(*words):
        return gcorn(f"{app('ahead')}:handler", "--crash-dir", "crashes", *words)
    return serve


@PLAIN_ONLY
@pytest.mark.parametrize("path", ["/segv", "/head/segv"])
@pytest.mark.parametrize("words", CLASSES)
def test_crash_is_answered_500_and_head_is_kept(ahead, app, tmp_path, words, path):
    server = ahead(*words)
    with begin(server, path, 100) as client:
        client.send("x" * 50)
        assert client.response().status == 500
    line = r"the head of its request is kept, its body is not: gcorn (--replay crashes/\S+) "
    command = server.wait_log(line).group(1).split()
    kept = (tmp_path / command[1]).read_bytes().decode()
    assert kept.startswith(f"POST {path} HTTP/1.1\r\n") and kept.endswith("\r\n\r\n")
    done = run(*command, f"{app('ahead')}:handler", cwd=tmp_path)
    assert done.returncode == -signal.SIGSEGV


@PLAIN_ONLY
@pytest.mark.parametrize("path", ["/sleep", "/head/sleep"])
@pytest.mark.parametrize("words", CLASSES)
def test_timeout_is_answered_504(ahead, words, path):
    server = ahead("--timeout", "1s", *words)
    with begin(server, path, 100) as client:
        client.send("x" * 50)
        assert client.response().status == 504
