# SPDX-License-Identifier: MIT
"""Request bodies that are large, slow, refused or many: what their clients hear, and what the others
hear meanwhile."""
import http.client
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from harness import (MIB, PATIENCE, PLAIN_ONLY, SANITIZED, Process, ask_admin, hup, pace, request,
                     wait_for)

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


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGHUP])
def test_drain_does_not_outwait_refused_uploads(gcorn, order):
    server = gcorn("hello", "--limit-request-body", "1000", "--graceful-timeout", "4s")
    worker = server.workers[0]
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
    server.kill(order)
    try:
        wait_for(lambda: not Process(worker.pid).is_alive, "the worker to end")
    finally:
        is_over.set()
        sender.join()
    assert "SIGKILL" not in server.log()


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:app{}.sock"])
def test_refused_uploads_keep_nginx_servers_in(
        gcorn, nginx, bind, buffering):
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


# ---- a full worker makes room ---------------------------------------------------------------------


def begin_body(client, size, sent):
    return client.send(f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n" + "b" * sent)


class Tricklers:
    """One client's many slow uploads: a few bytes now and then on each, and a new connection for each
    that is ended."""

    def __init__(self, server, count):
        self.server, self.statuses = server, []
        self.is_over = threading.Event()
        self.clients = [self._begin() for _ in range(count)]
        self.thread = threading.Thread(target=self._run)

    def _begin(self):
        return begin_body(self.server.connect(), 1 * MIB, 10)

    def _run(self):
        while not self.is_over.wait(0.05):
            for i, client in enumerate(self.clients):
                try:
                    client.send("b" * 15)
                    if client.is_silent_for(0):
                        continue
                    self.statuses.append(client.response().status)
                except OSError:
                    self.statuses.append(None)
                client.close()
                self.clients[i] = self._begin()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.is_over.set()
        self.thread.join()
        for client in self.clients:
            client.close()


@pytest.mark.parametrize("words", [[], ["-k", "gthread", "--threads", "2"]])
def test_slow_bodies_keep_nobody_out(gcorn, words):
    server = gcorn("hello", "--workers", "2", "--worker-connections", "20", *words)
    with Tricklers(server, 60) as slow:
        for _ in range(30):
            with server.connect() as client:
                assert client.send(request()).response().status == 200
            pace(0.01)
    assert set(slow.statuses) <= {408, None}
    assert 408 in slow.statuses
    server.wait_log(r"\[WARNING\] Worker full \(pid: \d+\): 20 connections are open; answered \d+ "
                    r"unfinished requests 408 to make room")


def test_slow_heads_keep_nobody_out(gcorn):
    server = gcorn("hello", "--worker-connections", "10")
    slow = [server.connect().send("GET / HTTP/1.1\r\nX: ") for _ in range(30)]
    for _ in range(10):
        with server.connect() as client:
            assert client.send(request()).response().status == 200
    assert slow[0].response().status == 408
    slow[0].assert_closed()


def test_silent_connections_keep_nobody_out(gcorn):
    server = gcorn("hello", "--worker-connections", "10")
    silent = [server.connect() for _ in range(30)]
    assert server.ask().response().status == 200
    silent[0].assert_closed()


def test_slowest_body_gives_way(gcorn):
    server = gcorn("environ", "--worker-connections", "3")
    sizes = [100_000, 10, 50_000]
    clients = [begin_body(server.connect(), 200_000, size) for size in sizes]
    assert server.ask().response().status == 200
    assert clients[1].response().status == 408
    for client, size in ((clients[0], sizes[0]), (clients[2], sizes[2])):
        assert client.send("b" * (200_000 - size)).response().status == 200


def test_body_that_has_just_begun_does_not_give_way(gcorn):
    """Although it is the slowest by far. Only a try counts that takes less time than a young body has."""
    server = gcorn("environ", "--worker-connections", "2")

    def young_is_spared():
        with begin_body(server.connect(), 200_000, 100_000) as old:
            pace(0.05)
            began = time.monotonic()
            young = server.connect().send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
                                          "Expect: 100-continue\r\n\r\n")
            assert young.response().status == 100
            with server.connect() as late:
                assert late.send(request()).response().status == 200
                took = time.monotonic() - began
            if took < 0.02:
                assert old.response().status == 408
                assert young.send("b").response().status == 200
            young.close()
        return took < 0.02
    wait_for(young_is_spared, "a try that is fast enough")


def wait_request(name):
    """One that is complete, and whose answer is not."""
    return f"GET /wait?name={name} HTTP/1.1\r\nHost: t\r\n\r\n"


def is_reset(client):
    try:
        client.send(b"b")
    except OSError:
        return True
    return False


def test_full_worker_makes_room_in_order(waits):
    """Requests that wait are complete: they never give way. When there are no others the worker is not
    ready, and a new client waits until one of them ends."""
    server = waits("--worker-connections", "4", "--limit-request-body", "1000", "--admin-bind",
                   "127.0.0.1:0", "--ready-fresh", "2s", "--keep-alive", "60", ready=2)
    body = begin_body(server.connect(), 900, 10)
    head = server.connect().send("GET / HTTP/1.1\r\nX: ")
    idle = server.connect()
    assert idle.get().status == 200
    lingering = begin_body(server.connect(), 100_000, 10)
    assert lingering.response().status == 413
    lingering.assert_closed()

    streams = []

    def add():
        streams.append(server.connect().send(wait_request(len(streams))))

    add()
    wait_for(lambda: is_reset(lingering), "the lingering connection to give way")
    assert idle.is_silent_for(0)
    add()
    idle.assert_closed()
    assert head.is_silent_for(0)
    add()
    assert head.response().status == 408
    assert body.is_silent_for(0)
    add()
    assert body.response().status == 408
    wait_for(lambda: ask_admin(server, "/readyz").status == 503, "the full worker to be seen")
    assert ask_admin(server, "/readyz").text == (
        "0 of 1 workers can serve, and 1 should\n"
        "1 workers are full and can end no connection\n")
    late = server.ask("/wake?name=0")
    assert late.is_silent_for(0.1)
    streams[1].close()
    assert late.response().status == 200
    assert streams[0].response().status == 200
    wait_for(lambda: ask_admin(server, "/readyz").status == 200, "room to be seen")


def test_stop_serves_queue_behind_slow_bodies(gcorn):
    server = gcorn("faulty", "--worker-connections", "3", "--graceful-timeout", "30s")
    busy = server.ask("/sleep?ms=300")
    slow = [begin_body(server.connect(), 1000, 10) for _ in range(6)]
    waiting = [server.ask() for _ in range(3)]
    server.kill(signal.SIGTERM)
    for client in (busy, *waiting):
        assert client.response().status == 200
        client.close()
    for client in slow:
        client.close()
    assert server.wait_exit() == 0


def few_files(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def test_out_of_descriptors_neither_spins_nor_kills(
        waits):
    """None of the connections can give way: each has a request that waits for its answer."""
    limit = 40
    server = waits(preexec=few_files(limit))
    worker = server.workers[0]
    streams = [server.connect().send(wait_request(i)) for i in range(limit)]
    late = server.ask()
    server.wait_log(r"\[ERROR\] Worker .*: cannot accept; .*Too many open files")
    cpu = Process(worker.pid).cpu_s
    assert late.is_silent_for(0.3)
    assert Process(worker.pid).cpu_s - cpu <= 0.1
    assert server.log().count("Too many open files") == 1
    for client in streams[: limit // 2]:
        client.close()
    assert late.response().status == 200
    assert server.worker_pids == {worker.pid}


def test_out_of_descriptors_the_oldest_make_room(gcorn):
    limit = 40
    server = gcorn("hello", preexec=few_files(limit))
    clients = [server.connect() for _ in range(limit)]
    assert clients[0].get().status == 200
    server.wait_log(r"\[ERROR\] Worker .*: cannot accept; .*Too many open files")
    assert clients[-1].send(request()).response().status == 200
    clients[0].assert_closed()
    assert server.log().count("Too many open files") == 1


# ---- where bodies are kept ------------------------------------------------------------------------


def writes(worker):
    """Write system calls of a process so far (proc(5))."""
    return int(Path(f"/proc/{worker.pid}/io").read_text().split("syscw: ")[1].split()[0])


def bytes_on_the_way(port):
    """From clients to this port of 127.0.0.1: unsent at their end, unread at the other (proc(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    server = f"0100007F:{port:04X}"
    unsent = [row[4].split(":")[0] for row in rows if row[2] == server]
    unread = [row[4].split(":")[1] for row in rows if row[1] == server and row[3] != "0A"]
    return sum(int(count, 16) for count in unsent + unread)


def test_body_in_single_byte_chunks_is_gathered(gcorn):
    server = gcorn("environ", "--body-memory", "0")
    client = server.connect()
    before = writes(server.workers[0])
    client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send("1\r\nx\r\n" * 200_000 + "0\r\n\r\n")
    assert "BODY 200000\n" in client.response().text
    assert writes(server.workers[0]) - before < 50


@pytest.mark.parametrize("words", [[], ["-k", "gthread", "--threads", "2"]])
def test_uploads_past_tmp_upload_max_hear_507(gcorn, words):
    server = gcorn("environ", "--tmp-upload-max", "1MiB", "--body-memory", "0", *words)
    statuses = []
    for _ in range(3):  # what is over counts no more
        clients = [begin_body(server.connect(), 400_001, 400_000) for _ in range(4)]
        wait_for(lambda: bytes_on_the_way(server.port) == 0, "the worker to have read them")
        for client in clients:
            client.send("b")
        turn = sorted(client.response().status for client in clients)
        assert turn in ([200, 200, 200, 507], [200, 200, 507, 507])
        statuses += turn
        for client in clients:
            client.close()
    said = server.log().count("tmp_upload_max is reached (logged at most every 10 s)")
    assert 1 <= said < statuses.count(507)
    assert upload(server, MIB - 100) == 200
    assert upload(server, MIB + 100, "chunked") == 507


def test_short_bodies_need_no_upload_room(gcorn):
    server = gcorn("environ", "--tmp-upload-max", "1", "--body-memory", "0")
    assert [upload(server, 60_000) for _ in range(3)] == [200] * 3
    assert upload(server, 70_000) == 507


CLASSES = [[], ["-k", "gthread", "--threads", "2"]]
NO_FILES = ["--tmp-upload-max", "1"]  # a body that would go to a file is answered 507


def text(size):
    return (b"0123456789abcdefghijklmnopqrstuvw" * (size // 33 + 1))[:size]


def chunked(body, sizes):
    """The body in chunks of these sizes, in turn."""
    pieces, at = [], 0
    while at < len(body):
        piece = body[at : at + sizes[len(pieces) % len(sizes)]]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += len(piece)
    return b"".join(pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("words", CLASSES)
def test_body_of_one_mib_needs_no_file(gcorn, words, framing):
    server = gcorn("hello", *NO_FILES, *words)
    assert [upload(server, MIB, framing) for _ in range(20)] == [200] * 20
    assert upload(server, MIB + 1, framing) == 507
    assert upload(server, MIB, framing) == 200


@pytest.mark.parametrize("words", CLASSES)
def test_bodies_of_any_length_come_whole(gcorn, words):
    """In memory, in a buffer and in a file, in pieces of many sizes; the answer is their echo."""
    server = gcorn("environ", "--body-memory", "3MiB", "--limit-request-body", "0", *words)
    sizes = [16_384, 16_385, 65_536, 65_537, 200_000, MIB - 1, MIB, MIB + 1, 3 * MIB]

    def run(number):
        client = server.connect()
        for turn, size in enumerate(sizes[number:] + sizes[:number]):
            body = text(size)
            if (number + turn) % 2:
                client.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
                rest = chunked(body, [70_000, 3, 300_000])
            else:
                client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
                rest = body
            step = [1000, 40_000, 100_000, MIB][turn % 4]
            for at in range(0, len(rest), step):
                client.send(rest[at : at + step])
            answer = client.response()
            assert answer.status == 200
            assert answer.body.endswith(b"BODY %d\n" % size + body)
        passed.append(number)
        client.close()

    passed = []
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(sizes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == list(range(len(sizes)))


@pytest.mark.parametrize("words", CLASSES)
def test_bodies_that_are_held_use_the_memory_up(gcorn, words):
    """Of 17 clients, whose bodies are complete but for a byte, one's is in a file. When one of the
    others is done, there is room again."""
    server = gcorn("hello", *words)
    worker = server.workers[0]

    def files():
        return sum(link.endswith("(deleted)") for link in worker.links)

    before = files()
    held = [begin_body(server.connect(), MIB, MIB - 1) for _ in range(16)]
    wait_for(lambda: private_kb(worker) > 16_000, "the bodies to come")
    assert files() == before
    last = begin_body(server.connect(), MIB, MIB - 1)
    wait_for(lambda: files() == before + 1, "a body in a file")
    assert held[3].send("b").response().status == 200
    held[3] = begin_body(server.connect(), MIB, MIB - 2)
    assert upload(server, 15_000) == 200
    assert files() == before + 1
    for client in held[:3] + held[4:] + [last]:
        assert client.send("b").response().status == 200
    assert held[3].send("bb").response().status == 200
    assert files() == before


def test_pipelined_request_after_a_long_body_is_answered(gcorn):
    server = gcorn("environ", *NO_FILES)
    client = begin_body(server.connect(), MIB, MIB - 50_000)
    client.send(b"b" * 50_000 + request("/next").encode() * 3)
    assert f"BODY {MIB}\n" in client.response().text
    for _ in range(3):
        assert "PATH /next\n" in client.response().text


def private_kb(worker):
    sizes = Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in sizes if line.startswith("Private_"))


@PLAIN_ONLY
@pytest.mark.parametrize("words", CLASSES)
def test_memory_of_a_burst_of_bodies_goes_back(gcorn, words):
    server = gcorn("hello", *NO_FILES, *words)
    worker = server.workers[0]
    assert upload(server, MIB) == 200
    wait_for(lambda: private_kb(worker) < 1000, "the first body's memory to go back")
    before = private_kb(worker)
    held = [begin_body(server.connect(), MIB, MIB - 1) for _ in range(16)]
    wait_for(lambda: private_kb(worker) > before + 15_000, "the bodies to come")
    assert private_kb(worker) < before + 17_000
    for client in held:
        assert client.send("b").response().status == 200
    wait_for(lambda: private_kb(worker) <= before + 100, "the memory to go back")


@PLAIN_ONLY
def test_announced_bodies_take_no_memory(gcorn):
    """Nor what others could have: only what has come counts."""
    server = gcorn("hello", *NO_FILES)
    worker = server.workers[0]
    before, sockets = private_kb(worker), worker.sockets
    slow = [begin_body(server.connect(), MIB, 1) for _ in range(200)]
    wait_for(lambda: worker.sockets == sockets + 200, "the slow clients to be accepted")
    assert private_kb(worker) < before + 2000
    assert [upload(server, MIB) for _ in range(3)] == [200] * 3
    for client in slow:
        client.close()


def test_reload_lets_bodies_in_memory_come_whole(gcorn):
    server = gcorn("environ", *NO_FILES, "--graceful-timeout", "30s")
    old, sockets = server.worker_pids, server.workers[0].sockets
    clients = [begin_body(server.connect(), MIB, MIB // 2 + i) for i in range(8)]
    wait_for(lambda: server.workers[0].sockets == sockets + 8, "the clients to be accepted")
    hup(server)
    for i, client in enumerate(clients):
        client.send("b" * (MIB // 2 - i))
        assert f"BODY {MIB}\n" in client.response().text
    wait_for(lambda: not server.worker_pids & old, "the old worker to end")
    assert upload(server, MIB) == 200
