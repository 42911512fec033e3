# SPDX-License-Identifier: MIT
"""The examples do what their first comments say."""
import ctypes
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import time
import zlib

import pytest

from harness import (BUILD, PRELOAD_OR_NOT, REPO, ROOT_ONLY, SANITIZED, SLOWER, WORKER_CLASSES, Process,
                     best_of, missing, request, status_of, tool, wait_for)

EXAMPLES = sorted(path.parent.name for pattern in ("*/*.c", "*/*.cc")
                  for path in (REPO / "examples").glob(pattern))


@pytest.fixture
def served(gcorn):
    """An example, served; skipped where the build has left it out."""
    def start(name, *args, **options):
        if not (BUILD / "examples" / f"{name}.so").exists():
            missing(f"{name} was left out of the build: a library is not installed")
        return gcorn(name, *args, **options)
    return start


def exchange(server, method, target, body=b"", fields=""):
    with server.connect() as client:
        client.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}"
                    f"Content-Length: {len(body)}\r\n\r\n")
        return client.send(body).response(method)


FLAGS = {"hash": "libcrypto", "middleware": "zlib", "notes": "jansson sqlite3",
         "upload": "libcrypto", "upstream": "libcurl"}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_compiles_against_the_installed_header_alone(name, compiler, tmp_path):
    compiler = tool(compiler)
    if not (BUILD / "examples" / f"{name}.so").exists():
        missing(f"{name} was left out of the build: a library is not installed")
    subprocess.run(["cp", REPO / "include" / "gcorn.h", tmp_path], check=True)
    flags = []
    if name in FLAGS:
        flags = subprocess.run(["pkg-config", "--cflags", *FLAGS[name].split()], text=True,
                               capture_output=True, check=True).stdout.split()
    source = next((REPO / "examples" / name).glob("*.c*"))
    language = (["-x", "c++", "-std=c++17"] if source.suffix == ".cc"
                else ["-std=c11", "-D_GNU_SOURCE"])
    subprocess.run([compiler, *language, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
                    "-fsyntax-only", f"-I{tmp_path}", *flags, source], check=True)


# ---- report -------------------------------------------------------------------------------------

CLASSES = [("-k", "sync"), ("--threads", "2")]
ROW = re.compile(rb"(\d+),(\d+),(\d+),(\d+)\n")


def read_rows(client, count):
    """Reads until so many rows have come; all bytes, framed, are returned."""
    got = client.unread
    while len(ROW.findall(got)) < count:
        data = client.socket.recv(1 << 18)
        assert data, got[-200:]
        got += data
    client.unread = b""
    return got


@pytest.mark.parametrize("args", CLASSES)
def test_report_is_whole_and_right(served, args):
    server = served("report", *args)
    with server.connect() as client:
        for _ in range(2):
            answer = client.get("/primes.csv?rows=10&step=100")
            rows = [[int(n) for n in row] for row in ROW.findall(answer.body)]
            assert [row[2] for row in rows] == [25, 21, 16, 16, 17, 14, 16, 14, 15, 14]
            assert rows[-1] == [900, 999, 14, 168]
        assert client.get("/?rows=0").status == 400


@pytest.mark.parametrize("args", CLASSES)
def test_first_rows_are_there_while_others_are_computed(served, args):
    """The whole report would take minutes."""
    server = served("report", *args, "--timeout", f"{10 * SLOWER}s")
    client = server.ask("/?rows=100000&step=20000")
    assert read_rows(client, 3).startswith(b"HTTP/1.1 200 OK\r\n")
    client.close()
    server.wait_log(r"the report ends after \d+ rows: its client has left")
    assert server.get("/?rows=1").status == 200


@pytest.mark.parametrize("args", CLASSES)
def test_slow_reader_gets_the_whole_report(served, args):
    """It takes nothing before the last row is computed: the rows wait in memory and in a file."""
    server = served("report", *args, "--access-logfile", "access", "--access-logformat", "%(s)s %(B)s")
    client = server.ask("/?rows=400000&step=1", fields="Connection: close\r\n")
    client.wait_readable()
    got, last = [], b""
    while data := client.socket.recv(1 << 20):
        got.append(data)
        last = (last + data)[-100:]
    assert last.endswith(b"399999,399999,0,33860\n\r\n0\r\n\r\n")
    rows = ROW.findall(b"".join(got))
    assert [int(row[0]) for row in rows] == list(range(400000))
    sent = sum(len(b",".join(row)) + 1 for row in rows) + len("from,to,primes,total\n")
    wait_for(lambda: (server.dir / "access").read_text() == f"200 {sent}\n", "its line")


def test_slow_and_leaving_readers_do_not_hold_others(served):
    server = served("report", "--threads", "4", "--stream-spool", "64KiB")
    slow = [server.ask("/?rows=1000000&step=1") for _ in range(2)]
    leaving = server.ask("/?rows=1000000&step=1")
    for client in (*slow, leaving):
        client.wait_readable()
    leaving.close()
    server.wait_log("its client has left")
    for _ in range(3):
        assert server.get("/?rows=10").status == 200
    for client in slow:
        client.close()
    server.wait_log("its client has left", count=3)


# ---- clock --------------------------------------------------------------------------------------


def next_event(client):
    while b"\n\n" not in client.unread:
        data = client.socket.recv(4096)
        assert data
        client.unread += data
    event, client.unread = client.unread.split(b"\n\n", 1)
    return re.search(rb"data: (\S+)$", event)[1]


@pytest.mark.parametrize("args", [(), ("-k", "gthread", "--threads", "1"), ("--threads", "3")])
def test_clock_ticks_for_each_client(served, args):
    server = served("clock", *args)
    assert "EventSource" in server.get("/").text
    clients = [server.ask("/events") for _ in range(20)]
    first = [next_event(client) for client in clients]
    assert server.get("/").status == 200
    second = [next_event(client) for client in clients]
    third = [next_event(client) for client in clients]
    for times in zip(first, second, third):
        assert list(times) == sorted(times) and times[0] < times[2]


def test_clock_holds_5000_streams_and_serves_requests(served):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 6000:
        pytest.skip("too few open files")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = served("clock", "--worker-connections", "6000")
    worker, = server.workers
    server.get("/")
    empty_kib = int(worker.status("VmRSS").split()[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 6000) if hard > 0 else 6000, hard))
    try:
        clients = [server.ask("/events")
                   for _ in range(5000)]
        for client in clients:
            next_event(client)
        for _ in range(100):
            assert server.get("/").status == 200
        for client in clients:
            next_event(client)
        grown_kib = int(Process(worker.pid).status("VmRSS").split()[0]) - empty_kib
        assert SANITIZED or grown_kib < 8 * len(clients)
        assert server.worker_pids == {worker.pid}
    finally:
        for client in server.clients:
            client.close()
        server.clients.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_clock_ends_when_it_is_told(served):
    server = served("clock")
    client = server.ask("/events")
    next_event(client)
    server.process.terminate()
    assert client.rest().endswith(b"0\r\n\r\n")
    assert server.wait_exit() == 0


# ---- files --------------------------------------------------------------------------------------


@pytest.fixture
def files(served, tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "page.html").write_text("0123456789")
    (root / "sub" / "index.html").write_text("index")
    (root / "empty").write_text("")
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "in").symlink_to("page.html")
    os.mkfifo(root / "fifo")
    return served("files", "--env", f"FILES_ROOT={root}")


def test_files_whole(files):
    answer = files.get("/page.html")
    assert (answer.status, answer.text) == (200, "0123456789")
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert files.get("/in").text == "0123456789"
    assert files.get("/sub/").text == "index"
    assert files.get("/empty").body == b""
    moved = files.get("/sub")
    assert (moved.status, moved.header("Location")) == (301, "/sub/")
    assert files.get("/page.html", method="HEAD").header("Content-Length") == "10"
    assert exchange(files, "POST", "/page.html").status == 405


@pytest.mark.parametrize("path", [
    "/nothing", "/../secret", "/sub/../../secret", "/%2e%2e/secret", "/out", "/up/secret", "/fifo",
    "//etc/passwd", "/sub/%2e%2e%2f%2e%2e%2fsecret", "/page.html/", "/page.html/x"])
def test_files_no_path_leaves_the_directory(files, path):
    answer = files.get(path)
    assert answer.status in (400, 404) and "secret" not in answer.text


@pytest.mark.parametrize("wanted, part", [
    ("bytes=0-3", "0123"), ("bytes=3-3", "3"), ("bytes=7-", "789"), ("bytes=-2", "89"),
    ("bytes=5-100", "56789"), ("bytes=-100", "0123456789"), ("bytes=0-", "0123456789"),
    ("BYTES=002-0003", "23"), ("bytes=0-9223372036854775807", "0123456789")])
def test_files_range(files, wanted, part):
    answer = files.get("/page.html", fields=f"Range: {wanted}\r\n")
    start = "0123456789".index(part)
    assert (answer.status, answer.text) == (206, part)
    assert answer.header("Content-Range") == f"bytes {start}-{start + len(part) - 1}/10"


@pytest.mark.parametrize("wanted", ["bytes=3-1", "bytes=", "bytes=-", "items=0-1", "bytes=0-1,3-4",
                                    "bytes=a-b", "bytes=99999999999999999999-",
                                    "bytes=99999999999999999999-5", "bytes=0-99999999999999999999",
                                    "bytes=18446744073709551616-18446744073709551617",
                                    "bytes=-99999999999999999999", "bytes=0-3x", "bytes=0 -3",
                                    "bytes=+0-3", "bytes=0x0-3", "bytes=--3", "bytes=0-3-", "0-3",
                                    "bytes 0-3", "bytes=3-01"])
def test_files_bad_range_is_ignored(files, wanted):
    answer = files.get("/page.html", fields=f"Range: {wanted}\r\n")
    assert (answer.status, answer.text) == (200, "0123456789")


@pytest.mark.parametrize("wanted, status", [("bytes=-5", 200), ("bytes=0-", 416), ("bytes=-0", 416)])
def test_files_range_of_an_empty_file(files, wanted, status):
    (files.dir / "root" / "empty.txt").touch()
    assert files.get("/empty.txt", fields=f"Range: {wanted}\r\n").status == status


def test_files_range_of_head_is_ignored(files):
    """RFC 9110 14.2: only GET has ranges."""
    answer = files.get("/page.html", fields="Range: bytes=0-3\r\n", method="HEAD")
    assert (answer.status, answer.header("Content-Length")) == (200, "10")


def test_files_a_directory_is_redirected_as_it_was_asked_for(files):
    (files.dir / "root" / "a b").mkdir()
    assert files.get("/a%20b?x=/y").header("Location") == "/a%20b/?x=/y"
    assert files.get("http://test/sub").header("Location") == "http://test/sub/"


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_files_unsatisfiable_range_is_416(files, wanted):
    answer = files.get("/page.html", fields=f"Range: {wanted}\r\n")
    assert (answer.status, answer.header("Content-Range")) == (416, "bytes */10")


def test_files_that_the_client_has(files):
    tag = files.get("/page.html").header("ETag")
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = files.get("/page.html", fields=f"If-None-Match: {given}\r\n")
        assert (answer.status, answer.header("ETag")) == (304, tag)
    assert files.get("/page.html", fields='If-None-Match: "other"\r\n').status == 200
    ranged = f"Range: bytes=0-1\r\nIf-Range: {tag}\r\n"
    assert files.get("/page.html", fields=ranged).text == "01"
    assert files.get("/page.html", fields='Range: bytes=0-1\r\nIf-Range: "x"\r\n').status == 200
    path = files.dir / "root" / "page.html"
    path.write_text("other")
    assert files.get("/page.html", fields=f"If-None-Match: {tag}\r\n").text == "other"


# ---- upload -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 3_000_000])
def test_upload(served, size, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    server = served("upload", "--env", f"UPLOAD_DIR={kept}")
    body = os.urandom(size)
    digest = hashlib.sha256(body).hexdigest()
    answer = exchange(server, "PUT", "/any/name", body)
    assert (answer.status, answer.text) == (201, f"{size} {digest}\n")
    assert [path.name for path in kept.iterdir()] == [digest]
    assert (kept / digest).read_bytes() == body
    assert server.get("/").status == 405


def test_upload_in_several_threads(served, tmp_path):
    """Each keeps what it was sent, and not what another thread was."""
    kept = tmp_path / "kept"
    kept.mkdir()
    server = served("upload", "--threads", "4", "--env", f"UPLOAD_DIR={kept}")
    bodies = [bytes([i]) * 3_000_000 for i in range(8)]
    clients = [server.connect() for _ in bodies]
    for client, body in zip(clients, bodies):
        client.send(f"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n")
        client.send(body[:-1])
    for client, body in zip(clients, bodies):
        client.send(body[-1:])
    for client, body in zip(clients, bodies):
        digest = hashlib.sha256(body).hexdigest()
        assert client.response().text == f"{len(body)} {digest}\n"
        assert (kept / digest).read_bytes() == body


def test_upload_into_nothing(served, tmp_path):
    server = served("upload", "--env", f"UPLOAD_DIR={tmp_path}/nothing")
    assert exchange(server, "POST", "/", b"x").status == 500
    server.wait_log("cannot make a file in .*/nothing: No such file")


def mount_small(directory):
    """For a child process: its own view of the directory, which has room for 256 KiB."""
    def mount():
        clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 1 << 18
        libc = ctypes.CDLL(None, use_errno=True)
        for result in (libc.unshare(clone_newns),
                       libc.mount(None, b"/", None, ms_rec | ms_private, None),
                       libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"size=256k")):
            if result != 0:
                raise OSError(ctypes.get_errno(), "mount")
    return mount


@ROOT_ONLY
def test_upload_to_a_full_disk(served, tmp_path):
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    kept = tmp_path / "kept"
    kept.mkdir()
    server = served("upload", "--env", f"UPLOAD_DIR={kept}", preexec=mount_small(kept))
    assert exchange(server, "PUT", "/", b"x" * (1 << 20)).status == 507
    server.wait_log("cannot keep a body in .*/kept: No space left on device")
    assert exchange(server, "PUT", "/", b"small").status == 201, "nothing is left of the other"


# ---- upstream -----------------------------------------------------------------------------------


def test_upstream_asks_in_many_threads_at_once(served, gcorn):
    """Slow answers of the other server, side by side in one worker."""
    other = gcorn("faulty", "--workers", "4")
    server = served("upstream", "--threads", "4", "--env", f"UPSTREAM=http://127.0.0.1:{other.port}")
    clients = [server.connect() for _ in range(4)]

    def seconds():
        began = time.monotonic()
        for client in clients:
            client.send(request("/sleep?ms=500"))
        for client in clients:
            answer = client.response()
            assert (answer.status, answer.text) == (200, "slept 500 ms\n")
            assert answer.header("Content-Type") == "text/plain"
        return time.monotonic() - began
    assert best_of(3, seconds) < 4 * 0.5 * SLOWER
    assert server.get("/nothing/here").status == 404
    assert exchange(server, "POST", "/").status == 405


def test_upstream_that_refuses_is_502(served):
    server = served("upstream", "--threads", "2", "--env", "UPSTREAM=http://127.0.0.1:1")
    assert server.get("/").status == 502


def test_upstream_is_watched_from_a_thread(served, gcorn):
    other = gcorn("hello")
    server = served("upstream", "--threads", "2", "--env", f"UPSTREAM=http://127.0.0.1:{other.port}")
    assert server.get("/").status == 200
    other.stop()
    server.wait_log(f"http://127.0.0.1:{other.port} is down")
    assert server.stop() == 0
    assert "have not ended" not in server.log(), "its thread was told to stop, and was joined"


# ---- bridge -------------------------------------------------------------------------------------


@WORKER_CLASSES
@PRELOAD_OR_NOT
def test_bridge_runs_and_interrupts_programs(served, worker_class, flags):
    server = served("bridge", "--timeout", 1 * SLOWER, *worker_class, *flags)
    assert server.get("/?run=3+square+4+square+add").text == "25\n"
    assert server.get("/?run=2+cube+double").text == "16\n"
    assert server.get("/?run=mul").status == 422
    assert server.get("/?run=nonsense").status == 400
    answer = server.get("/?run=1+again")
    assert (answer.status, answer.text) == (422, "interrupted: it took too long\n")
    assert server.get("/?run=1+2+add").text == "3\n", "its interpreter goes on"
    assert server.log().count("Booting worker") == 1


def test_bridge_has_a_machine_for_each_thread(served):
    server = served("bridge", "--threads", "3", "--log-level", "debug")
    assert server.stop() == 0
    for number in range(3):
        server.wait_log(f"machine {number} is made")
        server.wait_log(f"machine {number} is freed")


# ---- chat ---------------------------------------------------------------------------------------


def test_chat_wakes_waiting_clients(served):
    server = served("chat")
    waiting = [server.ask("/?after=0")
               for _ in range(5)]
    gone = server.ask("/?after=0")
    assert waiting[-1].is_silent_for(0.05)
    gone.close()
    assert exchange(server, "POST", "/", b"hello").status == 201
    for client in waiting:
        assert client.response().text == "1 hello\n"
    exchange(server, "POST", "/", b"there")
    assert server.get("/?after=0").text == "1 hello\n2 there\n"
    assert server.get("/?after=1").text == "2 there\n"
    assert exchange(server, "POST", "/", b"two\nlines").status == 422
    assert exchange(server, "PUT", "/", b"x").status == 405


def test_chat_lets_go_when_it_stops(served):
    server = served("chat")
    client = server.ask("/")
    assert client.is_silent_for(0.05)
    server.process.terminate()
    assert client.response().status == 204
    assert server.wait_exit() == 0


def test_chat_goes_on_after_a_restart(served):
    """A client that was further than the new worker is gets all messages."""
    server = served("chat")
    client = server.ask("/?after=1000")
    assert client.is_silent_for(0.05)
    exchange(server, "POST", "/", b"hello")
    assert client.response().text == "1 hello\n"


@pytest.mark.parametrize("name", ["chat", "notes"])
def test_unsafe_examples_refuse_threads(served, name):
    server = served(name, "--threads", "2", ready=0)
    server.wait_log("--threads 1")
    assert server.wait_exit() == 3


def test_chat_reaches_clients_of_all_workers(served):
    server = served("chat", "--workers", "4", "--control-socket", "ctl")
    waiting = [server.ask("/?after=0") for _ in range(40)]
    wait_for(lambda: sum(w["connections"] for w in status_of(server.dir)["workers"]) == 40, "40 connections")
    assert waiting[-1].is_silent_for(0.05)
    assert all(w["connections"] > 0 for w in status_of(server.dir)["workers"])
    assert exchange(server, "POST", "/", b"hello").status == 201
    for client in waiting:
        assert client.response().text == "1 hello\n"
    speakers = [server.connect() for _ in range(20)]
    for i, speaker in enumerate(speakers):
        speaker.send(f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{i:02}")
    said = sorted(int(speaker.response().text) for speaker in speakers)
    assert said == list(range(2, 22)), "each has a number of its own"
    for client in waiting:
        client.send(request("/?after=1"))
    everywhere = {client.response().text for client in waiting}
    assert len(everywhere) == 1 and len(everywhere.pop().splitlines()) == 20


def test_chat_survives_the_death_of_workers(served):
    """What was said stays, whoever held it; others hear of what is said next."""
    server = served("chat", "--workers", "4")
    for round_ in range(3):
        assert exchange(server, "POST", "/", b"hello").text == f"{round_ + 1}\n"
        pids = server.worker_pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        server.wait_workers(4, other_than=pids)
    waiting = [server.ask("/?after=3") for _ in range(20)]
    assert waiting[-1].is_silent_for(0.05)
    exchange(server, "POST", "/", b"there")
    for client in waiting:
        assert client.response().text == "4 there\n"
    assert len(server.get("/?after=0").text.splitlines()) == 4


# ---- middleware ---------------------------------------------------------------------------------


def test_middleware_compresses_once(served):
    server = served("middleware")
    plain = server.get("/")
    assert plain.header("Content-Encoding") is None
    timings = [value for name, value in plain.headers if name == "Server-Timing"]
    assert [t.partition(";")[0] for t in timings] == ["application", "all"]
    for path in ("/", "/numbers"):
        packed = server.get(path, fields="Accept-Encoding: gzip\r\n")
        assert packed.header("Content-Encoding") == "gzip"
        unpacked = zlib.decompress(packed.body, 31)
        assert unpacked == server.get(path).body
    assert unpacked == "".join(f"{n}\n" for n in range(1, 10001)).encode()
    assert len(packed.body) < len(unpacked) / 2
    assert plain.header("Vary") == packed.header("Vary") == "Accept-Encoding"
    missing = server.get("/nothing", fields="Accept-Encoding: gzip\r\n")
    assert (missing.status, missing.header("Content-Encoding")) == (404, None)
    head = server.get("/numbers", fields="Accept-Encoding: gzip\r\n", method="HEAD")
    assert head.header("Content-Encoding") == "gzip"


@pytest.mark.parametrize("accepted, encoding", [
    ("gzip;q=0", None), ("gzip; q=0.000, br", None), ("identity", None), ("xgzip", None),
    ("br, gzip", "gzip"), ("GZIP;q=0.1", "gzip"), ("deflate,gzip;q=1.0,*;q=0.5", "gzip")])
def test_middleware_asks_what_the_client_takes(served, accepted, encoding):
    answer = served("middleware").get("/", fields=f"Accept-Encoding: {accepted}\r\n")
    assert answer.header("Content-Encoding") == encoding


@pytest.mark.parametrize("path", ["/", "/numbers", "/nothing"])
@pytest.mark.parametrize("coding", ["", "Accept-Encoding: gzip\r\n"], ids=["plain", "gzip"])
def test_middleware_adds_checksum_for_who_asks(served, path, coding):
    server = served("middleware")
    summed = server.get(path, fields=f"TE: trailers\r\n{coding}")
    assert summed.trailers == [("X-CRC32", f"{zlib.crc32(summed.body):08x}")]
    other = server.get(path, fields=coding)
    assert (other.body, other.trailers) == (summed.body, [])


# ---- notes --------------------------------------------------------------------------------------


def test_notes(served):
    server = served("notes", "--workers", "2")
    assert server.get("/notes").text == "[]"
    made = exchange(server, "POST", "/notes", b'{"text": "buy milk"}')
    assert (made.status, json.loads(made.body)) == (201, {"id": 1, "text": "buy milk"})
    several = exchange(server, "POST", "/notes", '[{"text": "a"}, {"text": "café"}]'.encode())
    assert [note["id"] for note in json.loads(several.body)] == [2, 3]
    assert json.loads(server.get("/notes/3").body)["text"] == "café"
    assert json.loads(exchange(server, "PUT", "/notes/2", b'{"text": "b"}').body)["text"] == "b"
    assert exchange(server, "DELETE", "/notes/1").status == 200
    assert [note["text"] for note in json.loads(server.get("/notes").body)] == ["b", "café"]
    assert server.get("/notes/2", method="HEAD").status == 200


def test_notes_while_a_client_reads_slowly(served):
    """Its request is not over, and the next one uses the same statement."""
    server = served("notes", "--limit-request-body", "32MiB")
    text = b"x" * (16 << 20)
    assert exchange(server, "POST", "/notes", b'{"text": "%s"}' % text).status == 201
    assert exchange(server, "POST", "/notes", b'{"text": "small"}').status == 201
    slow = server.ask("/notes/1")
    slow.wait_readable()
    assert json.loads(server.get("/notes/2").body) == {"id": 2, "text": "small"}
    assert json.loads(slow.response().body)["text"].encode() == text
    assert json.loads(server.get("/notes/1").body)["id"] == 1


def test_notes_that_are_wrong(served):
    server = served("notes")
    for body in (b"", b"{", b"{}", b'{"text": 1}', b'{"text": ""}', b'[{"text": "a"}, {}]', b"[1]"):
        assert exchange(server, "POST", "/notes", body).status == 422, body
    assert server.get("/notes").text == "[]"  # nothing of a list that is partly wrong
    for path in ("/", "/notes/", "/notes/x", "/notes/1x", "/notes/7", "/other"):
        assert server.get(path).status == 404, path
    assert exchange(server, "PUT", "/notes/7", b'{"text": "x"}').status == 404
    refused = exchange(server, "DELETE", "/notes")
    assert (refused.status, refused.header("Allow")) == (405, "GET, HEAD, POST")
    assert exchange(server, "PATCH", "/notes/1").header("Allow") == "GET, HEAD, PUT, DELETE"


def test_notes_without_a_database_do_not_boot(served):
    server = served("notes", "--env", "NOTES_DB=/nothing/notes.db", ready=0)
    server.wait_log("/nothing/notes.db: unable to open database file")


# ---- cxx ----------------------------------------------------------------------------------------


def test_cxx(served):
    server = served("cxx")
    assert server.get("/").text == "C++\n"
    assert server.get("/sum?of=1,2,3.5").text == "6.5\n"
    assert server.get("/sum?of=1,x").status == 400
    assert server.get("/throw").status == 500
    server.wait_log("something was thrown")
    assert server.get("/countdown?from=3").text == "3\n2\n1\n"
    assert server.get("/countdown?from=x").status == 400
    assert server.get("/countdown?from=-1").text == ""
    client = server.ask("/countdown?from=15")
    assert client.rest().endswith(b"15\n\r\n3\r\n14\n\r\n")  # and cut there
    assert server.get("/countdown?from=13").status == 500
    assert server.get("/").status == 200


# ---- the library for authors' tests -------------------------------------------------------------


def run_authors_test(directory, app, test):
    """What an author does: an application and its test, with what pkg-config says."""
    (directory / "app.c").write_text(app)
    (directory / "test.c").write_text(test)
    sanitize = os.environ.get("SANITIZE")
    subprocess.run(["make", "-s", "-C", REPO, "install", f"DESTDIR={directory}/root", "PREFIX=/usr",
                    *([f"SANITIZE={sanitize}"] if sanitize else [])],
                   check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "PKG_CONFIG_PATH": f"{directory}/root/usr/lib/pkgconfig",
                   "PKG_CONFIG_SYSROOT_DIR": f"{directory}/root"}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gcorn-test"], env=environment,
                           capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["cc", *([f"-fsanitize={sanitize}"] if sanitize else []), "-o", "test", "test.c",
                    "app.c", *flags], cwd=directory, check=True)
    subprocess.run(["./test"], cwd=directory, check=True, timeout=10)


def test_the_test_library_is_installed(tmp_path):
    """Names of the application's own meet none of gcorn's."""
    run_authors_test(tmp_path, """
#include <gcorn.h>
int arena_alloc, log_error, strbuf_add, request_feed, llhttp_execute;
GCORN_EXPORT struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    gcorn_start(start, "200 OK", 0);
    return gcorn_body_text(env, gcorn_printf(env, "%s %s", gcorn_get(env, "REQUEST_METHOD"),
                                             gcorn_input_all(env, 0)));
}
""", """
#include <assert.h>
#include <gcorn_test.h>
gcorn_app handler;
int main(void)
{
    struct gcorn_test *t = gcorn_test_request(handler, "PUT / HTTP/1.1", "text", 4);
    assert(t->status == 200 && t->complete && strcmp(t->body, "PUT text") == 0);
    assert(strcmp(gcorn_headers_get(t->headers, "Content-Length"), "8") == 0);
    gcorn_test_close(t);
    return 0;
}
""")


def test_a_client_of_the_test_library_leaves(tmp_path):
    """The application sees what it sees in a worker."""
    run_authors_test(tmp_path, """
#include <gcorn.h>
#include <errno.h>
#include <stdlib.h>
char end[64];
static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    return gcorn_query(env, "late") ? GCORN_AGAIN : 0;
}
static void close_body(struct gcorn_environ *env, void *state)
{
    const char *status = gcorn_get(env, "gcorn.status");
    int again = gcorn_start(state, "200 OK", 0) < 0 ? errno : 0;
    strcpy(end, gcorn_printf(env, "%d %s %d", gcorn_client_gone(env), status, again == EALREADY));
}
GCORN_EXPORT struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    gcorn_start(start, "200 OK", 0);
    return gcorn_body_iter(env, next, close_body, start);
}
""", """
#include <assert.h>
#include <gcorn_test.h>
gcorn_app handler;
extern char end[];
int main(void)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET / HTTP/1.1", NULL, 0);
    assert(t->complete && strcmp(end, "0 200 1") == 0);
    gcorn_test_close(t);
    t = gcorn_test_request(handler, "GET /?late HTTP/1.1", NULL, 0);
    assert(t->waits);
    gcorn_test_close(t);
    assert(strcmp(end, "1 499 1") == 0);
    return 0;
}
""")
