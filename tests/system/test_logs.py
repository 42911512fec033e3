# SPDX-License-Identifier: MIT
"""What the logs say, line by line."""
import base64
import re
import time

import pytest

from server import wait_for

TIME = r"\[\d\d/(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


@pytest.fixture
def logged(gcorn, tmp_path):
    """logged(format=None, app=..., *args)(request bytes, ...) is the access log's lines."""

    def start(form=None, app="environ", *args):
        access = tmp_path / "access.log"
        server = gcorn(app, "--access-logfile", access,
                       *(["--access-logformat", form] if form else []), *args)

        def send(*requests):
            for request in requests:
                with server.connect() as client:
                    client.send(request).response("HEAD" if request[:4] in ("HEAD", b"HEAD")
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
    lines = logged("%(s)s %(r)s %(m)s")("garbage\r\n\r\n", "BREW /pot HTTP/1.1\r\nHost: t\r\n\r\n",
                                        GET + "X : y\r\n\r\n")
    assert [line.split()[0] for line in lines] == ["400", "501", "400"]
    assert lines[1].startswith("501 BREW /pot HTTP/1.1")


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
