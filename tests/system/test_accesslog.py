# SPDX-License-Identifier: MIT
"""The access log as a stream: valid whatever clients send, complete whatever becomes of a worker,
and never in anybody's way. What a line says is in test_logs.py."""
import fcntl
import json
import os
import random
import re
import select
import signal

import pytest

from harness import PATIENCE, SANITIZED, SLOWER, Held, pace, request, wait_for


# How many requests of hostile bytes: 100000 has been passed, too.
HOSTILE_REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "5000"))
MEMBERS = {"time": str, "remote_addr": str, "request_id": str, "pid": int, "worker": int,
           "status": int, "bytes": int, "duration_us": int}
MAYBE = {"protocol", "method", "path", "query", "referer", "user_agent"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


def check_line(line):
    """The object of one JSON line, whose bytes have to be as promised."""
    assert len(line) <= 4096 and line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7f for byte in line[:-1]), line
    entry = json.loads(line)
    truncated = entry.pop("truncated", None)
    assert truncated in (None, True)
    assert isinstance(entry.pop("ended", ""), str)
    assert set(entry) == set(MEMBERS) | MAYBE
    assert all(type(entry[name]) is kind for name, kind in MEMBERS.items()), entry
    assert all(entry[name] is None or type(entry[name]) is str for name in MAYBE), entry
    assert re.fullmatch(TIME, entry["time"])
    return entry


def wait_lines(path, count):
    """The log's lines when there are so many; there must never be more."""
    wait_for(lambda: path.read_bytes().count(b"\n") >= count, f"{count} lines")
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == count
    return lines


# ---- hostile clients ----------------------------------------------------------------------------

URL_BYTES = bytes(b for b in range(0x21, 0x7f) if b not in b"#%")
VALUE_BYTES = b"\t" + bytes(b for b in range(0x20, 256) if b != 0x7f)
SPECIAL = [b'"', b"\\", b"\\\\", b'\\"', b'","status":200,"x":"', b"\\u0000", b"\xc2\x9b31m",
           b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\xc3", b"\xff\xfe", b"\t", b"}"]


def hostile_text(rng, alphabet, longest):
    kind = rng.random()
    if kind < 0.05:
        return bytes(rng.choices(alphabet, k=rng.randrange(longest)))
    if kind < 0.5:
        return b"".join(rng.choices([s for s in SPECIAL if all(b in alphabet for b in s)],
                                    k=rng.randrange(20)))
    return bytes(rng.choices(alphabet, k=rng.randrange(60)))


def hostile_request(rng):
    """One that is answered by the application."""
    return (b"GET /%b?%b HTTP/1.1\r\nHost: t\r\nReferer: %b\r\nUser-Agent:%b\r\n\r\n" % (
        hostile_text(rng, URL_BYTES.replace(b"?", b""), 1800), hostile_text(rng, URL_BYTES, 1800),
        hostile_text(rng, VALUE_BYTES, 8000), hostile_text(rng, VALUE_BYTES, 8000)))


def garbage(rng):
    """One of whatever; ends a head, so that it is refused at once or answered."""
    good = hostile_request(rng)
    at = rng.randrange(len(good))
    spoilt = good[:at] + rng.randbytes(rng.randrange(1, 9)) + good[at + rng.randrange(9):]
    return rng.choice([b"G" + rng.randbytes(rng.randrange(1, 300)), spoilt,
                       b"\x16\x03\x01" + rng.randbytes(100),
                       b"GET /\x1b[31m HTTP/1.1\r\nHost: t"]) + b"\r\n\r\n"


def send_pipelined(server, requests):
    """Of requests that all are answered."""
    with server.connect() as client:
        client.send(b"".join(requests))
        return [client.response().status for _ in requests]


def send_garbage(server, data):
    """The statuses of all that it is to the server. The client sends nothing more, so the server
    closes in any case."""
    with server.connect() as client:
        try:
            answers = client.send(data).half_close().rest()
        except (ConnectionResetError, BrokenPipeError):
            raise AssertionError("a refused client was reset") from None
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", answers, re.M)]


def test_json_lines_are_valid_whatever_comes(gcorn, tmp_path):
    server = gcorn("hello", "--access-logfile", "access", "--access-logformat", "json",
                   "--limit-request-line", "8190")
    rng = random.Random(1)
    statuses = []
    while len(statuses) < HOSTILE_REQUESTS:
        statuses += send_pipelined(server, [hostile_request(rng) for _ in range(90)])
        for _ in range(10):
            statuses += send_garbage(server, garbage(rng))
    entries = [check_line(line) for line in wait_lines(tmp_path / "access", len(statuses))]
    assert sorted(entry["status"] for entry in entries) == sorted(statuses)
    assert statuses.count(200) < len(statuses)
    assert any(entry["method"] is None for entry in entries)
    assert len({entry["request_id"] for entry in entries}) == len(entries)
    log = (tmp_path / "access").read_bytes()
    assert b'"truncated":true' in log and b"\\u00ff" in log and b"\\ud83d\\ude00" in log


@pytest.mark.parametrize("status, sent, known", [
    (400, b"garbage\r\n\r\n", {}),
    (400, b"GET /a?b HTTP/1.1\r\nUser-Agent: u\r\n\r\n",
     {"method": "GET", "protocol": "HTTP/1.1", "path": "/a", "query": "b", "user_agent": "u"}),
    (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", {}),
    (431, b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 9000 + b"\r\n\r\n", {}),
    (408, b"GET /slow HTTP/1.1\r\nHost: t\r\n", {}),
    (408, b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab",
     {"method": "POST", "protocol": "HTTP/1.1", "path": "/p", "query": ""}),
])
def test_refused_requests_have_a_line(gcorn, tmp_path, status, sent, known):
    server = gcorn("hello", "--access-logfile", "access", "--access-logformat", "json",
                   "--header-timeout", "300ms", "--body-timeout", "300ms")
    with server.connect() as client:
        assert client.send(sent).response().status == status
    entry = check_line(*wait_lines(tmp_path / "access", 1))
    assert entry["status"] == status
    assert {name: entry[name] for name in MAYBE if entry[name] is not None} == known


def test_request_of_a_client_that_left_has_a_line(gcorn, probe, tmp_path):
    server = gcorn(probe, "--access-logfile", "access", "--access-logformat", "json")
    held = Held(server)
    server.ask("/hold?name=gone").close()
    pace(0.3)
    assert held.let_go().status == 200
    first, second = (check_line(line) for line in wait_lines(tmp_path / "access", 2))
    assert (first["status"], second["status"]) == (200, 499)
    assert (second["path"], second["query"]) == ("/hold", "name=gone")


def test_request_ids_are_those_of_the_proxy(gcorn, tmp_path):
    server = gcorn("hello", "--access-logfile", "access", "--access-logformat", "logfmt")
    with server.connect() as client:
        client.send(request("/", "X-Request-ID: a=b/c\r\n")).response()
        client.send(request("/", "X-Request-ID: abc-1\r\n")).response()
    first, second = wait_lines(tmp_path / "access", 2)
    assert b' request_id="a=b/c" ' in first
    assert b" request_id=abc-1 " in second


# ---- workers that die ---------------------------------------------------------------------------


def answer_of(client):
    """Before the crash or behind it? Which of the waiting is served first is the loop's choice. A
    503 is from the crash: the request was never read, so there is nothing for a line."""
    try:
        status = client.response().status
        return status if status != 503 else None
    except (AssertionError, ConnectionResetError):
        return None


def sleep_until_seen(server, client):
    """Makes the worker sleep in a call; again when the call was over before this process saw it."""
    answered = []

    def sleeps():
        if any(worker.sleeps for worker in server.workers):
            return True
        if not client.is_silent_for(0):
            answered.append(f"/sleep {client.response().status}")
            client.send(request(f"/sleep?ms={100 * SLOWER}"))
        return False

    client.send(request(f"/sleep?ms={100 * SLOWER}"))
    wait_for(sleeps, "the call")
    return answered


@pytest.mark.parametrize("end", ["/segv", "/_exit"])
def test_lines_of_a_worker_that_dies_in_a_call(gcorn, tmp_path, end):
    """What it has answered in the same pass, whose lines are not yet written."""
    server = gcorn("faulty", "--access-logfile", "access", "--access-logformat", "%(U)s %(s)s")
    answered = []
    for round_number in range(3):
        held, *clients = (server.connect() for _ in range(4))
        for client in clients:
            answered.append(f"/ {client.get('/').status}")
        answered += sleep_until_seen(server, held)
        for client, target in zip(clients, ("/null", end, "/null")):
            client.send(request(target))
        answered.append(f"/sleep {held.response().status}")
        server.wait_log(r"was (?:sent|killed by) SIG|exited with code", count=round_number + 1)
        for client, target in zip(clients, ("/null", end, "/null")):
            status = answer_of(client)
            answered += [f"{target} {status}"] if status else []
        server.wait_workers(1)
    server.stop()
    lines = (tmp_path / "access").read_text().splitlines()
    assert "/null 500" in answered
    for line in set(answered):
        assert lines.count(line) == answered.count(line), (line, lines, answered)


def test_lines_of_a_worker_that_is_killed(gcorn, tmp_path):
    """At any moment."""
    server = gcorn("hello", "--workers", "2", "--access-logfile", "access",
                   "--access-logformat", "<%(q)s>")
    rng = random.Random(2)
    answered = []
    for round_number in range(12):
        server.wait_workers(2)
        targets = [f"{round_number}-{i}" for i in range(400)]
        with server.connect() as client:
            client.send("".join(request(f"/?{target}") for target in targets))
            seen = b""
            stop_at = rng.randrange(1, 300)
            while seen.count(b"Hello, World!") < stop_at:
                seen += client.socket.recv(rng.choice([500, 5000]))
            for worker in server.worker_pids:
                os.kill(worker, signal.SIGKILL)
            try:
                while more := client.socket.recv(65536):
                    seen += more
            except ConnectionResetError:
                pass
            answered += targets[:seen.count(b"Hello, World!")]
    server.stop()
    lines = (tmp_path / "access").read_text().splitlines()
    assert all(re.fullmatch(r"<\d+-\d+>", line) for line in lines)
    assert {f"<{target}>" for target in answered} <= set(lines)
    # a line is there twice only where a worker was killed right behind its write
    assert len(lines) - len(set(lines)) <= 12 * 4096 // len("<0-0>\n")


@pytest.mark.skipif(SANITIZED, reason="the sanitizer must be the first library")
def test_answer_is_logged_if_the_worker_dies_in_send(gcorn, app, tmp_path):
    """The client has its answer, and the worker did nothing more."""
    server = gcorn("hello", "--access-logfile", "access", "--access-logformat", "%(U)s %(s)s",
                   env={"LD_PRELOAD": str(app("killsend"))})
    assert server.get("/before").status == 200
    with server.connect() as client:
        (tmp_path / "die").touch()
        assert client.get("/last").status == 200
    server.wait_log(r"was sent SIGKILL")
    (tmp_path / "die").unlink()
    assert wait_lines(tmp_path / "access", 2) == [b"/before 200\n", b"/last 200\n"]


# ---- readers ------------------------------------------------------------------------------------


@pytest.fixture
def piped(gcorn):
    """piped(app, *args): a gcorn whose standard output is a pipe in packet mode, where a read takes
    what one write brought; and the end to read."""
    ends = []

    def start(app, *args):
        read_end, write_end = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        ends.append(read_end)
        server = gcorn(app, "--access-logfile", "-", *args,
                       preexec=lambda: os.dup2(write_end, 1))
        ends.append(write_end)
        return server, read_end, write_end

    yield start
    for end in ends:
        os.close(end)


def packets_until(read_end, count):
    packets = []
    while b"".join(packets).count(b"\n") < count:
        assert select.select([read_end], [], [], PATIENCE)[0], f"after {packets}"
        packets.append(os.read(read_end, 65536))
    return packets


def test_lines_of_a_loop_pass_are_one_write(piped, probe):
    server, read_end, _ = piped(probe, "--access-logformat", "%(U)s %(q)s")
    clients = [server.connect() for _ in range(8)]
    for client in clients:
        assert client.get("/pid").status == 200
    packets_until(read_end, 8)
    held = Held(server)
    for i, client in enumerate(clients):
        client.send(request(f"/pid?{i}"))
    assert held.let_go().status == 200
    for client in clients:
        client.response()
    packets = packets_until(read_end, 9)
    assert packets[0].startswith(b"/hold ")
    assert sorted(packets[-1].splitlines()) == sorted(f"/pid {i}".encode() for i in range(8))


def test_writes_are_of_whole_lines(piped):
    server, read_end, _ = piped("hello", "--access-logformat", "%(q)s",
                                "--limit-request-line", "8190")
    rng = random.Random(3)
    queries = ["x" * rng.choice([1, 50, 900, 2500, 4095, 5000]) + str(i) for i in range(300)]
    seen = []
    for at in range(0, len(queries), 10):  # a pipe takes 16 writes
        with server.connect() as client:
            client.send("".join(request(f"/?{query}") for query in queries[at:at + 10]))
            for _ in range(10):
                client.response()
        seen += packets_until(read_end, 10)
    assert all(len(packet) <= 4096 and packet.endswith(b"\n") for packet in seen)
    assert b"".join(seen).decode().splitlines() == [query[:4095] for query in queries]
    assert len(seen) < len(queries)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_full_pipe_costs_lines_and_nothing_else(piped, workers):
    server, read_end, write_end = piped("hello", "--workers", str(workers),
                                        "--access-logformat", "json")
    for _ in range(20):
        send_pipelined(server, [request("/").encode()] * 100)
    server.wait_log(r"\[WARNING\] access log: dropped \d+ lines: pipe full, reader too slow \(logged at most every")
    assert not fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK  # it is everybody's
    server.stop()  # tells the rest
    lost = sum(int(count) for count in re.findall(r"access log: dropped (\d+) lines", server.log()))
    os.set_blocking(read_end, False)
    lines = []
    try:
        while packet := os.read(read_end, 65536):
            lines += packet.splitlines(keepends=True)
    except BlockingIOError:
        pass
    for line in lines:
        check_line(line)
    assert lost > 0 and lines
    assert lost + len(lines) == 2000


def test_a_reader_that_comes_back_gets_lines(piped):
    server, read_end, _ = piped("hello", "--access-logformat", "%(U)s")
    for _ in range(40):
        send_pipelined(server, [request("/" + "x" * 400).encode()] * 10)
    server.wait_log(r"dropped \d+ lines: pipe full, reader too slow")
    os.set_blocking(read_end, False)
    try:
        while os.read(read_end, 65536):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(read_end, True)
    server.get("/after")
    while (packet := packets_until(read_end, 1)[0]) != b"/after\n":
        assert packet.startswith(b"/xxx")  # the last that were sent before


def test_a_closed_pipe_costs_lines_and_nothing_else(gcorn):
    read_end, write_end = os.pipe()
    server = gcorn("hello", "--access-logfile", "-", preexec=lambda: os.dup2(write_end, 1))
    os.close(write_end)
    os.close(read_end)
    for _ in range(3):
        assert server.get().status == 200
    server.wait_log(r"access log: dropped 1 lines: Broken pipe")
