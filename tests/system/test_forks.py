# SPDX-License-Identifier: MIT
"""Children that the application forks: they have no descriptor of the server, delay no answer
and no close, and do not serve when they return."""
import os
import re
import threading

import pytest

from harness import PATIENCE, SLOWER, Process, can_bind, wait_for

CLASSES = [[], ["--preload"], ["-k", "gthread", "--threads", "4"]]
FORMS = ["sync", "preload", "gthread"]

UPLOAD = 1_500_000  # bytes: more than a body has in memory


@pytest.fixture
def forker(gcorn, app, tmp_path):
    """Servers of apps/forks.c. At the end children that stay are told to go."""
    yield lambda *args, flags=(), **options: gcorn(f"{app('forks', *flags)}:handler", *args, **options)
    (tmp_path / "go").touch()


def each_class(test):
    return pytest.mark.parametrize("args", CLASSES, ids=FORMS)(test)


def begin_upload(server):
    """A client whose body is in a file of the server, and not complete."""
    client = server.connect()
    client.send(f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {2 * UPLOAD}\r\n\r\n")
    client.send("x" * UPLOAD)
    wait_for(lambda: any("(deleted)" in link and "memfd" not in link
                         for p in server.workers for link in p.links), "a file of the body")
    return client


def shared_maps(pid):
    return [line for line in open(f"/proc/{pid}/maps", encoding="utf-8").read().splitlines()
            if re.match(r"\S+ ..[-x]s ", line)]


# ---- what a child has -----------------------------------------------------------------------------


@each_class
def test_a_forked_child_has_nothing_of_the_server(forker, tmp_path, args):
    server = forker(*args, "--access-logfile", str(tmp_path / "acc"), "--crash-dir", str(tmp_path))
    idle, upload = server.connect(), begin_upload(server)
    assert idle.get("/").status == 200
    child = Process(int(server.get("/orphan").text))
    allowed = {"/dev/null", str(tmp_path / "acc"), str(tmp_path / "stderr"),
               str(tmp_path / "stdout")}
    wait_for(lambda: not [link for link in child.links
                          if link not in allowed and not link.startswith("/memfd:forks.so")],
             "the child to have nothing of the server")
    assert not shared_maps(child.pid)
    assert child.is_alive
    upload.send("x" * UPLOAD)
    assert upload.response().status == 200
    assert idle.get("/").status == 200


@each_class
def test_a_forked_child_keeps_no_address(forker, args):
    server = forker(*args)
    child = int(server.get("/orphan").text)
    server.stop()
    wait_for(lambda: can_bind(server.port), "the address to be free")
    assert Process(child).is_alive


def test_a_constructors_child_keeps_no_address(forker, tmp_path):
    server = forker("--preload", flags=["-DFORK_IN_LOAD"])
    child = int((tmp_path / "child").read_text())
    server.stop()
    wait_for(lambda: can_bind(server.port), "the address to be free")
    assert Process(child).is_alive


@each_class
def test_a_forked_child_waits_for_no_thread_of_metrics(forker, args):
    assert forker(*args).get("/metrics").status == 200


@each_class
def test_a_forked_child_can_read_its_requests_body(forker, tmp_path, args):
    server = forker(*args)
    body = os.urandom(UPLOAD)
    with server.connect() as client:
        client.send(f"POST /body HTTP/1.1\r\nHost: t\r\nContent-Length: {UPLOAD}\r\n\r\n")
        client.send(body)
        assert client.response().status == 200
    wait_for((tmp_path / "body").exists, "the child's copy")
    assert (tmp_path / "body").read_bytes() == body


def test_a_descriptor_given_to_the_application_stays(forker):
    read_end, write_end = os.pipe()
    try:
        server = forker(pass_fds=[read_end])
        child = Process(int(server.get("/orphan").text))
        wait_for(lambda: not child.sockets, "the child to have no sockets")
        assert f"pipe:[{os.fstat(read_end).st_ino}]" in child.links
    finally:
        os.close(read_end)
        os.close(write_end)


# ---- what its parent's clients notice --------------------------------------------------------------


@each_class
def test_a_connection_closes_while_a_forked_child_lives(forker, args):
    server = forker(*args)
    with server.connect() as client:
        answer = client.get("/orphan", fields="Connection: close\r\n")
        client.assert_closed()
    assert Process(int(answer.text)).is_alive


@each_class
def test_answer_without_length_ends_while_a_child_lives(forker, args):
    server = forker(*args)
    with server.connect() as client:
        client.send("GET /endless HTTP/1.0\r\n\r\n")
        assert client.rest().endswith(b"\r\n\r\nonce\n")


@each_class
def test_an_idle_connection_goes_on_while_a_forked_child_lives(forker, args):
    server = forker(*args)
    idle = server.connect()
    assert idle.get("/").status == 200
    assert server.get("/orphan").status == 200
    assert idle.get("/").text == "once\n"


# ---- coming back -----------------------------------------------------------------------------------


@each_class
@pytest.mark.parametrize("path", ["/return", "/return-next", "/return-close", "/return-later"])
def test_a_forked_child_that_returns_ends_with_a_line(forker, args, path):
    server = forker(*args)
    pids = server.worker_pids
    with server.connect() as client:
        assert client.get(path).text == "once\n"
        found = server.wait_log(r"\[ERROR\] A child that the application forked \(pid: (\d+)\) has "
                                r"returned to the server, which ends it: .*\n")
        wait_for(lambda: not Process(int(found[1])).is_alive, "its end")
        assert client.get("/").text == "once\n"
    assert server.worker_pids == pids
    assert "ssertion" not in server.log() and "libev" not in server.log()


@pytest.mark.parametrize("args", [[], ["--preload"]], ids=["sync", "preload"])
def test_a_forked_child_of_the_boot_that_returns_ends(forker, args):
    server = forker(*args, flags=["-DFORK_IN_INIT"])
    server.wait_log(r"\[ERROR\] A child that the application forked .*\n")
    assert server.get("/").text == "once\n"


@each_class
def test_a_forked_child_that_is_terminated_ends_by_that(forker, args):
    server = forker(*args)
    child = Process(int(server.get("/orphan").text))
    wait_for(lambda: not child.sockets, "the child to be itself")
    os.kill(child.pid, 15)
    wait_for(lambda: not Process(child.pid).is_alive, "its end")
    assert server.get("/").status == 200


# ---- many at once ----------------------------------------------------------------------------------


def come_and_go(server, wrong, rounds):
    """Connections that the server closes, those that their client closes, and answers between."""
    for i in range(rounds):
        with server.connect() as client:
            if client.get("/").text != "once\n":
                wrong.append("an answer")
            if i % 2 == 0:
                client.get("/", fields="Connection: close\r\n")
                client.assert_closed()


def fork_on(server, wrong, rounds):
    with server.connect() as client:
        for _ in range(rounds):
            answer = client.get("/storm")
            if answer.status != 200:
                wrong.append(f"{answer.status} {answer.reason}")


def test_forks_beside_connections_that_come_and_go(forker):
    """Four threads fork while 200 connections come and go: no descriptor of the application's is
    closed, each client hears what it is to hear, and the worker has as many descriptors as before."""
    server = forker("-k", "gthread", "--threads", "8")
    before = int(server.get("/fds").text)
    wrong, failed = [], []

    def run(work, *args):
        try:
            work(server, *args)
        except Exception as error:  # pylint: disable=broad-except
            failed.append(repr(error))

    threads = [threading.Thread(target=run, args=(fork_on, wrong, 100 // SLOWER)) for _ in range(4)]
    threads += [threading.Thread(target=run, args=(come_and_go, wrong, 10)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * PATIENCE)
    assert not wrong and not failed
    wait_for(lambda: int(server.get("/fds").text) == before, "all descriptors to be gone")
