"""What the log says about a worker that crashes, hangs or is slow: where it stands, by its stacks,
taken from outside."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import BUILD, REPO, missing, pace, request

FAULTY = Path(REPO) / "examples/faulty/faulty.c"


@pytest.fixture(autouse=True, scope="module")
def with_libdw():
    if "libdw" not in subprocess.run(["ldd", f"{BUILD}/gcorn"], text=True, capture_output=True,
                                     check=False).stdout:
        missing("gcorn is built without libdw")


def line_of(text):
    """The number of the line of faulty.c that has this text."""
    lines = FAULTY.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


# ---- crashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path, place", [
    ("/segv", "*(volatile int *)nowhere = 1"), ("/abort", "        abort();"),
    ("/exit", "        exit(0); /*")])
def test_a_crash_report_names_the_function_and_the_line(gcorn, path, place):
    server = gcorn("faulty")
    assert server.get(path).status == 500
    server.wait_log(r"\[CRITICAL\] Worker \(pid:\d+\) \|\s+#\d+ handler\S* at \S*faulty\.c:\d+")
    lines = [int(line) for line in re.findall(r" at \S*faulty\.c:(\d+)", server.log())]
    assert min(abs(line - line_of(place)) for line in lines) <= 1  # a call returns behind it
    server.wait_log(r"\| +#\d+ main\S* at \S*main\.c:\d+")


def test_a_stripped_application_is_named_by_offsets(gcorn, tmp_path):
    shutil.copy(f"{BUILD}/examples/faulty.so", tmp_path / "app.so")
    shutil.copy(tmp_path / "app.so", tmp_path / "whole.so")
    subprocess.run(["strip", tmp_path / "app.so"], check=True)
    server = gcorn("app.so:handler")
    assert server.get("/segv").status == 500
    offset = server.wait_log(r"\| +#\d+ .*\(app\.so\+(0x[0-9a-f]+)\)").group(1)
    place = subprocess.run(["addr2line", "-e", tmp_path / "whole.so", offset], check=True, text=True,
                           capture_output=True).stdout
    assert re.search(r"faulty\.c:\d+", place), place


def test_the_replacement_does_not_wait_for_the_stacks(gcorn):
    server = gcorn("faulty")
    for _ in range(5):
        assert server.get("/segv").status == 500
        assert server.get("/").status == 200


# ---- calls that take too long -------------------------------------------------------------------


@pytest.mark.parametrize("path, place", [("/spin", "            continue;"),
                                         ("/hang", "            pause();")])
def test_a_hung_call_is_explained_before_it_is_killed(gcorn, path, place):
    server = gcorn("faulty", "--timeout", "1")
    assert server.get(path).status == 504
    found = server.wait_log(r"\| +#\d+ handler\S* at \S*faulty\.c:(\d+)")
    assert abs(int(found.group(1)) - line_of(place)) <= 2
    server.wait_log(r"\[ERROR\] Worker \(pid:\d+\) was killed; the client was answered 504$")
    log = server.log()
    assert log.index("WORKER TIMEOUT") < log.index("#0 ") < log.index("was killed; ")


def test_call_that_blocks_signals_is_killed_unanswered(gcorn):
    server = gcorn("faulty", "--timeout", "1")
    with server.connect() as client:
        client.send(request("/block-signals"))
        client.assert_closed()
    server.wait_log(r"was killed; its client could not be answered")
    assert server.get("/").status == 200


def test_idle_client_of_a_hung_worker_gets_no_answer(gcorn, app):
    """The loop dies between two calls: the connection of the last one is idle."""
    server = gcorn(f"{app('crasher')}:handler", "--heartbeat", "2s")
    with server.connect() as client:
        assert client.get("/hang-later").status == 200
        assert client.rest() == b""
    server.wait_log(r"WORKER UNRESPONSIVE")
    server.wait_log(r"Worker \(pid:\d+\) was killed$")


def test_clients_of_a_stopped_worker_get_503(gcorn):
    server = gcorn("faulty", "--heartbeat", "2s")
    with server.connect() as client:
        assert client.get("/").status == 200
        os.kill(min(server.worker_pids), signal.SIGSTOP)
        assert client.get("/").status == 503
        client.assert_closed()
    server.wait_log(r"WORKER UNRESPONSIVE")
    assert server.get("/").status == 200


def test_answers_before_a_hung_call_come_first(gcorn):
    """The master cannot know what is unsent in a worker that takes no signal, so it says nothing."""
    server = gcorn("faulty", "--timeout", "1")
    with server.connect() as client:
        client.send(request("/") + request("/block-signals"))
        data = b""
        try:
            while more := client.socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
    assert b" 504 " not in data.split(b"/segv")[0]


@pytest.mark.needs("strace")
def test_a_debugged_worker_is_left_alone(gcorn):
    server = gcorn("faulty", "--timeout", "1")
    pid = min(server.worker_pids)
    with subprocess.Popen(["strace", "-f", "-p", str(pid), "-o", "/dev/null"],
                          stderr=subprocess.PIPE, text=True) as strace:
        try:
            if "attached" not in (strace.stderr.readline() or ""):
                pytest.skip("strace cannot attach")
            with server.connect() as client:
                client.send(request("/sleep?ms=2500"))
                server.wait_log(rf"Worker \(pid:{pid}\) would be killed, but process {strace.pid} traces it")
                assert client.response().status == 200
        finally:
            strace.send_signal(signal.SIGINT)
    assert "WORKER TIMEOUT" not in server.log()
    assert server.get("/").status == 200


# ---- slow calls ---------------------------------------------------------------------------------


def test_a_slow_request_is_shown_and_not_disturbed(gcorn, app):
    server = gcorn(f"{app('patient')}:handler", "--slow-request", "300ms")
    with server.connect() as client:
        client.send(request("/poll?ms=1500"))
        server.wait_log(r"\[WARNING\] Slow request: worker \(pid:\d+\) has spent \d\.\d s so far in "
                        r"GET /poll of 127\.0\.0\.1")
        server.wait_log(r"\[WARNING\] Worker \(pid:\d+\) \| +#\d+ wait_poll\S* at \S*patient\.c:\d+")
        assert client.response().text == "no EINTR"
        assert client.get("/sleep?ms=1000").text == "no EINTR"
    assert server.log().count("Slow request") == 2


def test_a_quick_request_is_not_shown(gcorn):
    server = gcorn("faulty", "--slow-request", "10s")
    assert server.get("/sleep?ms=100").status == 200
    pace(0.1)
    assert "Slow request" not in server.log()


def test_faults_of_threads_are_shown_by_thread(gcorn, app):
    server = gcorn(f"{app('crasher')}:handler")
    assert server.get("/thread").status == 500
    server.wait_log(r"\| +#\d+ crash_now\S* at \S*crasher\.c:\d+")
    server.wait_log(r"\| +#\d+ (run|handler)\S* at \S*crasher\.c:\d+")


def test_many_crashes_at_once_are_all_explained(gcorn):
    """More than helpers run at once: the others wait for their turn."""
    server = gcorn("faulty", "--workers", "12")
    pids = server.worker_pids
    for pid in pids:
        os.kill(pid, signal.SIGSEGV)
    for pid in pids:
        server.wait_log(rf"Worker \(pid:{pid}\) was sent SIGSEGV!")
        server.wait_log(rf"Worker \(pid:{pid}\) \| stack of thread")
    assert "cannot be taken" not in server.log()
