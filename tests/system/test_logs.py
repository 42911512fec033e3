# SPDX-License-Identifier: MIT
"""What the logs say, line by line."""
import base64
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime

import pytest

from harness import PATIENCE, Process, example, metrics, request, run, wait_for

TIME = r"\[\d\d/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


@pytest.fixture
def logged(gcorn, tmp_path):
    """logged(format=None, app=..., *args)(request bytes, ...) is the access log's lines."""

    def start(form=None, app="environ", *args):
        access = tmp_path / "access.log"
        server = gcorn(app, "--access-logfile", access,
                       *(["--access-logformat", form] if form else []), *args)

        def send(*requests):
            for raw in requests:
                with server.connect() as client:
                    client.send(raw).response("HEAD" if raw[:4] in ("HEAD", b"HEAD")
                                                  else "GET")
            wait_for(lambda: access.read_bytes().count(b"\n") == len(requests), "the lines")
            return access.read_bytes().decode("ascii").splitlines()  # whatever came, it is ASCII

        send.server = server
        return send

    return start


GET = "GET /a/b?c=d HTTP/1.1\r\nHost: t\r\n"


# ---- the access log -----------------------------------------------------------------------------


def test_default_format(logged):
    line, = logged(None, "hello")(
        GET + "Referer: http://r/\r\nUser-Agent: ua/1 (x)\r\n\r\n")
    assert re.fullmatch(rf'127\.0\.0\.1 - - {TIME} "GET /a/b\?c=d HTTP/1\.1" 200 13 "http://r/" '
                        r'"ua/1 \(x\)"', line), line


def test_absent_fields_are_dashes(logged):
    line, = logged(None, "hello")("GET / HTTP/1.0\r\n\r\n")
    assert re.fullmatch(rf'127\.0\.0\.1 - - {TIME} "GET / HTTP/1\.0" 200 13 "-" "-"', line), line


def test_custom_atoms(logged):
    send = logged("%(h)s|%(l)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(p)s|%(a)s|%%")
    line, = send(GET + "\r\n")
    worker = send.server.workers[0].pid
    assert re.fullmatch(rf"127\.0\.0\.1\|-\|GET\|/a/b\|c=d\|HTTP/1\.1\|200\|\d+\|<{worker}>\|-\|%",
                        line), line


def test_atoms_of_fields(logged, probe):
    line, = logged('%({x-in}i)s|%({Content-Type}o)s|%({X-Probe}o)s|%({content-length}o)s|'
                   '%({RAW_URI}e)s|%({absent}i)s|%({absent}o)s', probe)(
        "GET /version HTTP/1.1\r\nHost: t\r\nX-In: yes\r\n\r\n")
    assert line == 'yes|text/plain|say \\x22hi\\x22|1|/version|-|-'


def test_request_id_is_the_errors_log_id(logged):
    send = logged("%({gcorn.request_id}e)s", "faulty")
    line, = send("GET /null HTTP/1.1\r\nHost: t\r\n\r\n")
    send.server.wait_log(rf"\[{line}\] .*answered 500")


def test_user_of_basic(logged):
    credentials = base64.b64encode(b"al ice:se:cret").decode()
    line, = logged("%(u)s")(GET + f"Authorization: Basic {credentials}\r\n\r\n")
    assert line == "al ice"


def test_durations(logged):
    line, = logged("%(T)s %(M)s %(D)s %(L)s", "faulty")(
        "GET /sleep?ms=30 HTTP/1.1\r\nHost: t\r\n\r\n")
    s, ms, us, decimal = line.split()
    assert int(us) >= 30000
    assert (int(s), int(ms)) == (int(us) // 1000000, int(us) // 1000)
    assert decimal == f"{int(us) // 1000000}.{int(us) % 1000000:06d}"


def test_time_is_now(logged):
    line, = logged("%(t)s")(GET + "\r\n")
    logged_at = time.mktime(time.strptime(line[1:21], "%d/%b/%Y:%H:%M:%S"))
    assert abs(logged_at - time.time()) < 30


def test_quotes_and_control_bytes_are_escaped(logged):
    line, = logged('"%(a)s" "%(f)s"')(
        GET.encode() + b'User-Agent: a"b\\c\td\xff\r\nReferer: \xc3\xa9\r\n\r\n')
    assert line == r'"a\x22b\x5cc\x09d\xff" "\xc3\xa9"'


def test_a_target_cannot_forge_a_line(logged):
    line, = logged("%(U)s %(q)s")('GET /%0a%0dx"y?q="\\ HTTP/1.1\r\nHost: t\r\n\r\n'.replace(
        "\\", "%5c"))
    assert line == r"/%0a%0dx\x22y q=\x22%5c"


def test_refused_requests_are_logged(logged):
    lines = logged("%(s)s %(r)s %(m)s")("garbage\r\n\r\n", "CONNECT /pot HTTP/1.1\r\nHost: t\r\n\r\n",
                                        GET + "X : y\r\n\r\n")
    assert [line.split()[0] for line in lines] == ["400", "501", "400"]
    assert lines[1].startswith("501 CONNECT /pot HTTP/1.1")


def test_head_logs_no_bytes(logged):
    line, = logged("%(m)s %(s)s %(b)s %(B)s", "hello")("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n")
    assert line == "HEAD 200 - 0"


def test_access_log_on_standard_output(gcorn):
    server = gcorn("hello", "--access-logfile", "-")
    server.get("/x")
    wait_for(lambda: '"GET /x HTTP/1.1" 200 13' in server.output.read_text(), "the line")
    assert "GET /x" not in server.log()


def test_no_access_log_by_default(gcorn):
    server = gcorn("hello")
    server.get("/x")
    server.stop()
    assert "/x" not in server.log() + server.output.read_text()


def test_lines_of_many_workers_stay_whole(gcorn, tmp_path):
    access = tmp_path / "access.log"
    server = gcorn("hello", "--workers", "3", "--access-logfile", access,
                   "--access-logformat", "<%(q)s>")
    clients = [server.connect() for _ in range(6)]
    for i in range(100):
        for n, client in enumerate(clients):
            client.send(f"GET /?{n}-{i}-{'x' * 300} HTTP/1.1\r\nHost: t\r\n\r\n")
    for client in clients:
        for _ in range(100):
            client.response()
    wait_for(lambda: access.read_text().count("\n") == 600, "the lines")
    lines = access.read_text().splitlines()
    assert len(set(lines)) == 600
    assert all(re.fullmatch(r"<\d-\d+-x{300}>", line) for line in lines)


# ---- the error log ------------------------------------------------------------------------------


def test_error_log_line_format(gcorn):
    server = gcorn("faulty", "--workers", "2")
    server.get("/null")
    server.stop()
    for line in server.log().splitlines():
        assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] "
                            r"\[(INFO|ERROR)\] .+", line), line


@pytest.mark.parametrize("level, has_info", [("info", True), ("error", False)])
def test_log_level(gcorn, level, has_info):
    server = gcorn("faulty", "--log-level", level, "--bind", "unix:app.sock", bind="unix:b.sock",
                   ready=0)
    server.wait_workers(1)
    server.address = str(server.dir / "app.sock")
    server.get("/null")
    server.wait_log(r"\[ERROR\]")
    assert ("[INFO]" in server.log()) == has_info


def test_debug_says_why_a_request_was_refused(gcorn):
    server = gcorn("hello", "--log-level", "debug")
    with server.connect() as client:
        client.send("GET / HTTP/1.1\r\n\r\n").response()
    server.wait_log(r"\[DEBUG\] refused a request of 127\.0\.0\.1: 400: no Host$")


def test_error_log_in_a_file(gcorn, tmp_path):
    server = gcorn("hello", "--error-logfile", "error.log", bind="unix:app.sock", ready=0)
    server.error_log = tmp_path / "error.log"
    wait_for(server.error_log.exists, "the file")
    server.wait_ready()
    server.stop()
    assert "Worker exiting" in server.log()
    assert (tmp_path / "stderr").read_text() == ""


@pytest.fixture
def talk(app):
    """apps/talk.c, as app.so:handler."""
    return f"{app('talk')}:handler"


def json_lines(server):
    lines = server.error_log.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # it is being written right now
    assert all(len(line) <= 4096 for line in lines)
    return [json.loads(line) for line in lines]  # which takes no bytes that are not UTF-8


def test_json_error_log(gcorn, talk):
    server = gcorn(talk, "--error-log-format", "json", "--workers", "2", "--bind", "unix:app.sock",
                   bind="unix:b.sock", ready=0)
    server.wait_workers(2)
    server.address = str(server.dir / "app.sock")
    pid = int(server.get("/log").text)
    server.get("/loglong")
    server.stop()
    for line in json_lines(server):
        assert list(line) in (["time", "pid", "level", "message"],
                              ["time", "pid", "level", "request_id", "message"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line["time"])
        assert abs(datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 60
        assert line["level"] in ("info", "error")
    every, quotes = [line for line in json_lines(server) if line["level"] == "error"]
    assert every["pid"] == pid
    assert re.fullmatch("[0-9a-f]{16}", every["request_id"])
    assert every["message"][:127] == "".join(map(chr, range(1, 128)))
    assert set(every["message"][127:]) == {"\ufffd"}
    assert set(quotes["message"]) == {'"'} and len(quotes["message"]) > 1900


def test_json_request_id_is_the_access_logs(gcorn, tmp_path):
    access = tmp_path / "access.log"
    server = gcorn("faulty", "--error-log-format", "json", "--access-logfile", access,
                   "--access-logformat", "%({gcorn.request_id}e)s", "--bind", "unix:app.sock",
                   bind="unix:b.sock", ready=0)
    server.wait_workers(1)
    server.address = str(server.dir / "app.sock")
    server.get("/null")
    wait_for(lambda: access.exists() and access.read_text().endswith("\n"), "the access log")
    ids = [line.get("request_id") for line in json_lines(server) if line["level"] == "error"]
    assert ids == [access.read_text().strip()]


@pytest.mark.parametrize("path, args, expected", [
    ("/segv", [], "was sent SIGSEGV"),
    ("/exit", [], "called exit"),
    ("/spin", ["--timeout", "1"], "WORKER TIMEOUT"),
    ("/spin", ["--slow-request", "100ms"], "Slow request"),
    ("/spin", [], "was sent SIGKILL"),
])
def test_json_lines_about_a_request_have_its_id(gcorn, path, args, expected):
    """Those of the master, too: the line itself, and each of the stacks'."""
    server = gcorn("faulty", "--error-log-format", "json", "--crash-dir", ".", "--bind",
                   "unix:app.sock", *args, bind="unix:b.sock", ready=0)
    server.wait_workers(1)
    server.address = str(server.dir / "app.sock")
    pid = server.workers[0].pid
    client = server.connect()
    client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\nX-Request-ID: its-own-id\r\n\r\n")
    if "KILL" in expected:
        wait_for(lambda: Process(pid).cpu_s > 0.1, "the call to begin")
        os.kill(pid, signal.SIGKILL)
    server.wait_log(expected)
    if "KILL" not in expected and "exit" not in expected:
        server.wait_log(r"\| +#\d+ ")
    lines = [line for line in json_lines(server)
             if expected in line["message"] or " | " in line["message"]]
    assert lines and {line.get("request_id") for line in lines} == {"its-own-id"}
    if "Slow" in expected:
        os.kill(pid, signal.SIGKILL)


def test_json_of_a_stalled_log_stays_json(gcorn, tmp_path):
    """The note about lost lines has the form of all others."""
    os.mkfifo(tmp_path / "error")
    reader = os.open(tmp_path / "error", os.O_RDONLY | os.O_NONBLOCK)
    server = gcorn("hello", "--error-log-format", "json", "--error-logfile", tmp_path / "error",
                   "--log-level", "debug", "--bind", "unix:app.sock", bind="unix:b.sock", ready=0)
    server.wait_workers(1)
    server.address = str(server.dir / "app.sock")

    def refused():
        with server.connect() as client:
            client.send("GET / HTTP/1.1\r\n\r\n").response()

    for _ in range(1200):  # more than the pipe holds
        refused()
    seen = b""

    def read_all():
        nonlocal seen
        try:
            while True:
                seen += os.read(reader, 65536)
        except BlockingIOError:
            pass

    def has_note():
        refused()
        read_all()
        return b"error log: dropped" in seen

    wait_for(has_note, "the note")
    messages = [json.loads(line)["message"] for line in seen.splitlines()]
    note, = [m for m in messages if "log: dropped" in m]
    count, = re.fullmatch(r"error log: dropped (\d+) lines?: reader too slow", note).groups()
    assert sum("refused a request" in m for m in messages[:messages.index(note)]) + int(count) >= 1200
    os.close(reader)


def test_a_full_disk_costs_lines_and_nothing_else(gcorn, tmp_path):
    """And no line remains torn, to spoil the first one that there is room for again."""
    most, access = 64 << 20, tmp_path / "access"
    with open(access, "wb") as file:
        file.truncate(most - 1000)  # room for a few lines, and for a part of one
    server = gcorn("hello", "--access-logfile", access, "--access-logformat", "json",
                   "--admin-bind", "127.0.0.1:0", ready=2,
                   preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    with server.connect() as client:
        for _ in range(20):
            assert client.send(request("/")).response().status == 200
    server.wait_log(r"access log: dropped \d+ lines: File too large")
    assert os.stat(access).st_size > most - 1000
    with open(access, "rb+") as file:
        file.seek(most - 1000)
        lines = file.read().splitlines()
    for line in lines:
        json.loads(line)

    def lost():
        return metrics(server)["gcorn_access_log_lines_lost_total"]
    # the last one is tried when its answer has left
    wait_for(lambda: len(lines) + lost() >= 20, "the last line to be lost")
    assert len(lines) + lost() == 20


# ---- a terminal ---------------------------------------------------------------------------------


class Terminal:
    """Standard error of a server is its other end. It shows what comes once it is running: in a
    process of its own, which waits for no thread of the tests, nor for its turn on a busy machine."""

    def __init__(self, directory):
        self.end, self.servers_end = os.openpty()
        self.shown, self.process = directory / "shown", None

    def run(self):
        with open(self.shown, "wb") as shown:
            self.process = subprocess.Popen(["nice", "-n", "-15", "cat"], stdin=self.end,
                                            stdout=shown)

    def count(self, text):
        return self.shown.read_bytes().count(text) if self.process else 0

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        os.close(self.end)
        os.close(self.servers_end)


@pytest.fixture
def terminal(tmp_path):
    shown = Terminal(tmp_path)
    yield shown
    shown.close()


def on_terminal(gcorn, terminal, app, *args):
    server = gcorn(app, "--bind", "unix:app.sock", *args, bind="unix:b.sock", ready=0,
                   preexec=lambda: os.dup2(terminal.servers_end, 2))
    server.wait_workers(2)
    server.address = str(server.dir / "app.sock")
    return server


def log_many(server, count):
    for _ in range(count):
        assert server.get("/loglong").status == 200


def shows_all(server, terminal):
    """Does the terminal show all lines that two workers log at once? Each is longer than what it
    takes in one piece."""
    before, lost = terminal.count(b"[ERROR]"), terminal.count(b"log: dropped")
    threads = [threading.Thread(target=log_many, args=(server, 12)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def is_over():
        log_many(server, 1)  # a worker tells what it has lost with its next line
        return (terminal.count(b"log: dropped") > lost or
                terminal.count(b"[ERROR]") - before > 48)
    wait_for(is_over, "all lines, or the number of lost ones")
    return terminal.count(b"log: dropped") == lost


def test_a_terminal_that_reads_loses_no_line(gcorn, talk, terminal):
    """In one round of a few: a machine that gives this reader no turn for long is a slow terminal."""
    terminal.run()
    server = on_terminal(gcorn, terminal, talk, "--workers", "2")
    assert any(shows_all(server, terminal) for _ in range(24))


def test_a_terminal_that_is_stopped_holds_no_request(gcorn, talk, terminal):
    server = on_terminal(gcorn, terminal, talk, "--workers", "2")
    begin = time.monotonic()
    log_many(server, 100)
    assert time.monotonic() - begin < PATIENCE
    terminal.run()
    wait_for(lambda: log_many(server, 1) or terminal.count(b"error log: dropped"),
             "the number of lost lines", timeout=3 * PATIENCE)


# ---- what the application prints ----------------------------------------------------------------


def test_output_goes_to_standard_output_by_default(gcorn, talk):
    server = gcorn(talk)
    server.get("/warn")
    server.wait_log("^warned caf")
    server.get("/print?n=2")
    wait_for(lambda: server.output.read_text() == "printed 0\nprinted 1\n", "both lines")


@pytest.mark.parametrize("args", [[], ["--preload"], ["-k", "gthread"]],
                         ids=["sync", "preload", "gthread"])
@pytest.mark.parametrize("path", ["/close", "/closelogs"])
def test_closed_output_sends_no_line_to_a_client(gcorn, talk, args, path):
    server = gcorn(talk, "--access-logfile", "-", *args)
    worker = server.workers[0]
    pid = server.get(path).text
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        for loud in ("/log", "/warn", "/print?n=1", "/fd"):
            client.send(request(loud))
            head = b"HTTP/1.1 200 OK\r\n"
            answer = client.response()
            assert answer.head.startswith(head) and answer.text == pid
    links = {fd: os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in (0, 1, 2)}
    assert not any(link.startswith("socket:") for link in links.values()), links
    for client in clients:
        client.half_close()
        assert client.rest() == b""


@pytest.mark.parametrize("form, start", [("text", r"\["), ("json", r'\{"time":')])
def test_lines_for_the_journal_have_their_priority(gcorn, tmp_path, form, start):
    """Standard error is a file here; systemd's is a socket, of which it says the same."""
    (tmp_path / "stderr").touch()
    st = (tmp_path / "stderr").stat()
    server = gcorn("faulty", "--error-log-format", form, "--preload", ready=0,
                   env={"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
    server.wait_log(rf"^<6>{start}.*Booting worker with pid")
    port = server.wait_log(r"Listening at: http://127.0.0.1:(\d+)")[1]
    server.address = ("127.0.0.1", int(port))
    server.get("/segv")
    server.wait_log(rf"^<2>{start}.*was sent SIGSEGV")
    server.wait_workers(1)
    assert re.fullmatch(rf"(?:<[0-7]>{start}.*\n)+", server.log())


def test_a_failed_start_tells_the_journal_its_priority(gcorn, tmp_path):
    (tmp_path / "stderr").touch()
    st = (tmp_path / "stderr").stat()
    server = gcorn("hello", "--bind", "nowhere:", ready=0,
                   env={"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}"})
    assert server.wait_exit() != 0
    assert re.fullmatch(r"(?:<[0-7]>.*\n)*<[23]>.*\n", server.log())


@pytest.mark.parametrize("stream", ["1:1", "", "nonsense"])
def test_lines_for_no_journal_have_no_priority(gcorn, stream):
    server = gcorn("hello", env={"JOURNAL_STREAM": stream})
    assert re.fullmatch(r"(?:\[\d{4}-.*\n)+", server.log())


def test_a_log_goes_on_when_standard_error_is_closed(gcorn, talk):
    server = gcorn(talk)
    server.get("/close")
    mark = server.mark()
    server.get("/loglong")
    server.wait_log(r'\[ERROR\] .*"""', after=mark)


def test_captured_output(gcorn, talk):
    server = gcorn(talk, "--capture-output", "--workers", "2", "--log-level", "critical",
                   "--bind", "unix:app.sock", bind="unix:b.sock", ready=0)
    server.wait_workers(2)
    server.address = str(server.dir / "app.sock")
    pid = server.get("/print?n=3").text
    other = server.get("/warn").text
    for i in range(3):
        server.wait_log(rf"^\[[^]]+\] \[{pid}\] \[OUTPUT\] printed {i}$")
    server.wait_log(rf"^\[[^]]+\] \[{other}\] \[OUTPUT\] warned café$")
    server.get("/bytes")
    server.wait_log(r"\[OUTPUT\] \\x00\\x01.*\\x7f")
    assert server.output.read_text() == ""


def test_captured_output_as_json(gcorn, talk):
    server = gcorn(talk, "--capture-output", "--error-log-format", "json",
                   "--bind", "unix:app.sock", bind="unix:b.sock", ready=0)
    server.wait_workers(1)
    server.address = str(server.dir / "app.sock")
    server.get("/bytes")
    pid = int(server.get("/long").text)
    server.get("/warn")
    server.wait_log("warned")
    printed = [line for line in json_lines(server) if line["level"] == "output"]
    assert {line["pid"] for line in printed} == {pid}
    assert printed[0]["message"][:127] == "".join(chr(c) for c in range(128) if c != 10)
    letters = "".join(line["message"] for line in printed[1:-1])
    assert letters == "".join(chr(97 + i % 26) for i in range(10000))
    assert printed[-1]["message"] == "warned caf\u00e9"


def test_logs_on_the_captured_descriptors_stay_there(gcorn, talk):
    """The error log on standard error and the access log on standard output are the server's own."""
    server = gcorn(talk, "--capture-output", "--access-logfile", "-")
    pid = server.get("/print").text
    server.wait_log(rf"\[{pid}\] \[OUTPUT\] printed 0$")
    wait_for(lambda: '"GET /print HTTP/1.1" 200' in server.output.read_text(), "the access log")
    server.wait_log(rf"^\[[^]]+\] \[{pid}\] \[INFO\] Booting worker")
    assert "printed" not in server.output.read_text()


def test_last_output_comes_before_the_death(gcorn, talk):
    server = gcorn(talk, "--capture-output")
    pid = server.worker_pids.pop()
    with server.connect() as client:
        client.send(request("/last"))
        server.wait_log(rf"\[{pid}\] \[OUTPUT\] last words\n(.*\n)*.*Worker \(pid:{pid}\) was sent "
                        "SIGABRT")
    server.wait_workers(1, other_than={pid})


def test_children_of_the_application_hold_no_pipe(gcorn, talk):
    server = gcorn(talk, "--capture-output")
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    children = []
    for _ in range(3):
        worker = server.worker_pids.pop()
        children.append(int(server.get("/fork").text))
        os.kill(worker, signal.SIGKILL)
        server.wait_workers(1, other_than={worker, *children})
    try:
        wait_for(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) == before, "the dead's to go")
        assert all(Process(pid).is_alive for pid in children)
        server.get("/print")
        server.wait_log(r"\[OUTPUT\] printed 0")
        assert server.stop() == 0
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def test_a_worker_may_close_its_output(gcorn, talk):
    server = gcorn(talk, "--capture-output")
    pid = server.get("/close").text
    assert server.get("/x").text == pid
    before = Process(server.pid).cpu_s
    with server.connect() as client:
        assert client.is_silent_for(1)
    assert Process(server.pid).cpu_s - before < 0.1, "the master spins"


def test_flood_of_output_blocks_no_worker(gcorn, talk, tmp_path):
    """Neither a worker that never stops printing nor a log that is not read holds the master."""
    os.mkfifo(tmp_path / "error")
    reader = os.open(tmp_path / "error", os.O_RDONLY | os.O_NONBLOCK)
    server = gcorn(talk, "--capture-output", "--workers", "2", "--error-logfile",
                   tmp_path / "error", "--bind", "unix:app.sock", "--timeout", "2s",
                   bind="unix:b.sock", ready=0)
    workers = {p.pid for p in server.wait_workers(2)}
    server.address = str(server.dir / "app.sock")
    with server.connect() as client:
        client.send(request("/flood"))
        # the flood is ended by timeout and its worker replaced, so the master has its wits
        wait_for(lambda: len(server.worker_pids & workers) == 1, "the timeout")
    server.wait_workers(2)
    assert server.get("/x").status == 200
    assert server.stop() == 0
    os.close(reader)


def test_capture_output_begins_and_ends_with_hup(gcorn, talk, tmp_path):
    def settings(capture):
        (tmp_path / "gunicorn-c.yaml").write_text(
            f"bind: unix:app.sock\nworkers: 1\ncapture_output: {capture}\n")

    settings("false")
    server = gcorn(talk, bare=True)
    for capture, pattern in (("true", r"\[OUTPUT\] warned"), ("false", "^warned")):
        settings(capture)
        old, mark = server.worker_pids, server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log("Reloaded:.*capture_output", after=mark)
        server.wait_workers(1, other_than=old)
        server.get("/warn")
        server.wait_log(pattern, after=mark)


# ---- syslog -------------------------------------------------------------------------------------


class Daemon:
    """A syslog daemon that keeps what it is sent."""

    def __init__(self, path):
        self.path, self.lines = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def read(self):
        try:
            while True:
                self.lines.append(self.socket.recv(65536))
        except BlockingIOError:
            return self.lines

    def wait(self, pattern):
        def found():
            return next((m for m in (re.search(pattern, line) for line in self.read()) if m), None)
        return wait_for(found, f"{pattern} in syslog")

    def end(self):
        self.socket.close()
        os.unlink(self.path)


@pytest.fixture
def daemon(tmp_path):
    daemons = []

    def start():
        daemons.append(Daemon(tmp_path / "log.sock"))
        return daemons[-1]

    yield start
    for each in daemons:
        each.socket.close()


SYSLOG = ("--log-syslog", "--log-syslog-to", "unix://log.sock")


def test_syslog_rfc5424(gcorn, daemon, talk):
    syslog = daemon()
    server = gcorn(talk, *SYSLOG, "--capture-output", "--log-syslog-facility", "local3",
                   "--log-syslog-prefix", "my app")
    pid = server.get("/log").text
    server.get("/loglong")
    server.get("/print")
    syslog.wait(rb"<158>1 .* printed 0$")
    server.stop()
    host = socket.gethostname().encode()
    head = (rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d " + re.escape(host) +
            rb" gcorn\.my\.app (\d+) error - [^\x00-\x1f\x7f]+")
    lines = [re.fullmatch(head, line) for line in syslog.read()]
    assert all(lines), syslog.lines
    assert all(len(line) <= 4096 for line in syslog.lines)
    assert any(m[1] == b"155" and m[2] == pid.encode() for m in lines)  # local3, error
    assert {m[1] for m in lines} == {b"158", b"155"}
    assert any(b"Booting worker" in line for line in syslog.lines)
    assert "Booting worker" in server.log()  # the error log has it all, too


def test_syslog_bsd(gcorn, daemon):
    syslog = daemon()
    gcorn("hello", *SYSLOG, "--log-syslog-format", "bsd", "--name", "shop")
    line = syslog.wait(rb"^.*Booting worker.*$")[0]
    assert re.fullmatch(rb"<14>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d gcorn\.shop\[\d+\]: Booting .*",
                        line), line


@pytest.mark.parametrize("address", ["udp://localhost:514", "tcp://h", "/dev/log", "unix:",
                                     "unix:///dev/log#stream", "unix:" + "x" * 200])
def test_syslog_addresses_that_are_refused(tmp_path, address):
    for check in ([], ["--check-config"]):
        ended = run("--log-syslog-to", address, *check, example("hello"), cwd=tmp_path)
        assert ended.returncode == 2
        assert re.search("command line.*syslog_addr: ", ended.stderr)
        assert ended.stderr.count("\n") == 1


def test_syslog_that_starts_late_is_retried(gcorn, daemon):
    server = gcorn("hello", *SYSLOG)
    server.wait_log(r"\[WARNING\] syslog: cannot connect to .*log\.sock: No such file or directory \(retrying every second\)")
    assert server.get().status == 200
    for _ in range(2):
        mark = server.mark()
        syslog = daemon()
        server.wait_log("syslog: connected to .*log.sock", after=mark)
        assert re.search(rb"<12>1 .* syslog: dropped \d+ lines?: daemon away or too slow$",
                         syslog.wait(rb".*syslog: dropped.*")[0])
        for i in range(3):  # something to say; a send that finds no reader; to say that
            killed = server.wait_workers(1)[0].pid
            os.kill(killed, signal.SIGKILL)
            server.wait_log(rf"pid:{killed}\) was sent SIGKILL", after=mark)
            if i == 0:
                syslog.wait(rb"was sent SIGKILL")
                syslog.end()
        server.wait_log("syslog: cannot connect to", after=mark)
    assert server.log().count("syslog: cannot connect to") == 3  # once each time


def test_a_restart_of_syslog_costs_no_line(gcorn, daemon, talk):
    """A process that finds that syslog has restarted sends its line again."""
    syslog = daemon()
    server = gcorn(talk, *SYSLOG)
    for _ in range(3):
        syslog.wait(rb"Booting worker|\[[0-9a-f]{16}\]")
        syslog.end()
        syslog = daemon()
        server.get("/log")
    syslog.wait(rb"\[[0-9a-f]{16}\]")
    assert not any(b"log: dropped" in line for line in syslog.read())
    assert "syslog" not in server.log()


def test_full_syslog_blocks_no_worker(gcorn, daemon):
    syslog = daemon()
    server = gcorn("hello", *SYSLOG, "--log-level", "debug")

    def refused():
        with server.connect() as client:
            client.send("GET / HTTP/1.1\r\n\r\n").response()

    for _ in range(700):  # more than net.unix.max_dgram_qlen
        refused()
    worker = server.worker_pids.pop()
    syslog.read()
    refused()
    note = syslog.wait(rf".* {worker} error - syslog: dropped (\d+) lines?".encode())
    assert len(syslog.read()) + int(note[1]) >= 700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_syslog_of_workers_that_may_not_open_it(gcorn, app, tmp_path):
    """The master's socket is theirs, and its connection too when the daemon restarts."""
    os.mkdir(tmp_path / "secret", 0o700)
    shutil.copy(app("talk"), tmp_path / "app.so")
    for directory in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(directory, os.stat(directory).st_mode | 0o055)
    path = tmp_path / "secret" / "log.sock"
    syslog = Daemon(path)
    server = gcorn("app.so:handler", "--log-syslog", "--log-syslog-to", f"unix:{path}", "--user",
                   "nobody", "--group", "65534")
    pid = server.get("/log").text.encode()
    syslog.wait(rb" " + pid + rb" error - \[")
    syslog.end()
    server.get("/log")  # lost
    syslog = Daemon(path)

    def arrives():
        server.get("/log")
        return any(b" " + pid + b" error - [" in line for line in syslog.read())

    wait_for(arrives, "lines of the worker")
    syslog.socket.close()


# ---- other settings at HUP ----------------------------------------------------------------------


def test_hup_applies_the_log_settings(gcorn, talk, tmp_path):
    def settings(**more):
        (tmp_path / "gunicorn-c.yaml").write_text("".join(
            f"{key}: {value}\n" for key, value in
            {"bind": "unix:app.sock", "workers": 2, **more}.items()))

    def hup(pattern):
        mark = server.mark()
        server.kill(signal.SIGHUP)
        server.wait_log(pattern, after=mark)

    syslog = Daemon(tmp_path / "log.sock")
    settings()
    server = gcorn(talk, bare=True, ready=2)
    settings(errorlog="two.log", error_log_format="json", accesslog="access.log",
             access_log_format="'%(m)s %(U)s'", loglevel="error", syslog="true",
             syslog_addr="unix:log.sock")
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_workers(2, other_than=old)
    server.get("/log")
    second = tmp_path / "two.log"
    wait_for(lambda: second.read_bytes().endswith(b"}\n"), "the new log")
    line, = second.read_bytes().splitlines()  # nothing below error
    assert json.loads(line)["level"] == "error"
    syslog.wait(rb"error - \[[0-9a-f]{16}\] ")
    wait_for(lambda: (tmp_path / "access.log").read_text() == "GET /log\n", "the access log")

    # what cannot be opened, or cannot be, changes nothing
    first = server.error_log
    server.error_log = second
    for wrong, why in ((("errorlog", "nowhere/x"), "errorlog: cannot open nowhere/x"),
                       (("accesslog", "nowhere/x"), "accesslog: cannot open nowhere/x"),
                       (("syslog_addr", "udp://h"), "syslog_addr: udp://h"),
                       (("error_log_format", "xml"), "error_log_format")):
        settings(**{"loglevel": "debug", wrong[0]: wrong[1]})
        hup(f"Reload failed: .*{why}")
    server.get("/log")
    wait_for(lambda: server.log().count('"request_id"') == 2, "the old log")
    assert all(line["level"] == "error" for line in json_lines(server))
    wait_for(lambda: (tmp_path / "access.log").read_text().count("\n") == 2, "the access log")

    settings()
    server.error_log = first
    hup("Reloaded: generation")
    server.wait_log(r"\[INFO\] Booting worker")
    syslog.socket.close()


# ---- logrotate ----------------------------------------------------------------------------------


@pytest.mark.needs("logrotate")
def test_logrotate(gcorn, app, tmp_path):
    """Rotated thrice under load: every request is in exactly one of the files."""
    logs = tmp_path / "logs"
    logs.mkdir(0o755)
    shutil.copy(app("talk"), tmp_path / "app.so")
    for directory in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(directory, os.stat(directory).st_mode | (0o055 if os.geteuid() == 0 else 0))
    user = ["--user", "nobody", "--group", "65534"] if os.geteuid() == 0 else []
    server = gcorn("app.so:handler", "--workers", "2", "--error-logfile", logs / "error.log",
                   "--access-logfile", logs / "access.log", "--access-logformat", "%(q)s",
                   "--pid", tmp_path / "gcorn.pid", "--bind", f"unix:{tmp_path}/app.sock", *user,
                   bind="unix:b.sock", ready=0)
    server.wait_workers(2)
    server.address = f"{tmp_path}/app.sock"
    (tmp_path / "rotate.conf").write_text(f"""
{logs}/*.log {{
    rotate 9
    create 0640
    sharedscripts
    postrotate
        kill -USR1 $(cat {tmp_path}/gcorn.pid)
    endscript
}}
""")
    os.chmod(tmp_path / "rotate.conf", 0o644)
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    sent = 0
    for turn in range(3):
        rotate = subprocess.Popen(  # pylint: disable=consider-using-with
            ["logrotate", "--force", "--state", tmp_path / "state", tmp_path / "rotate.conf"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while rotate.poll() is None or sent < 200 * (turn + 1):
            server.get(f"/log?{sent}")
            sent += 1
        assert rotate.returncode == 0, rotate.stdout.read()
        assert rotate.stdout.read() == ""
        wait_for(lambda: all(
            {os.path.realpath(logs / name) for name in ("error.log", "access.log")} <= set(p.links)
            for p in [Process(server.pid), *server.workers]), "everybody to follow")

    def all_of(name):
        return b"".join(path.read_bytes() for path in logs.glob(f"{name}.log*")).splitlines()

    assert len(list(logs.glob("*.log*"))) == 8
    wait_for(lambda: sorted(map(int, all_of("access"))) == list(range(sent)), "every access line")
    assert sum(b"] [ERROR] [" in line for line in all_of("error")) == sent
    assert os.stat(logs / "error.log").st_mode & 0o777 == 0o640
    assert (logs / "error.log.1").stat().st_size > 0
