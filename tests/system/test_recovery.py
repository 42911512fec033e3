# SPDX-License-Identifier: MIT
"""Applications that go on after a crash (apps/recover.c): a worker that has been reported as crashed
never serves again. With crash_handler off its faults are the application's own business."""
import signal

import pytest

from harness import PRELOAD_OR_NOT, SANITIZED, WORKER_CLASSES, Process, wait_for

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has the signals")

@pytest.fixture
def recover(app):
    return f"{app('recover')}:handler"


@WORKER_CLASSES
@pytest.mark.parametrize("how, status", [("call", 500), ("thread", None), ("stays", 500)])
def test_a_worker_that_recovers_serves_no_more(gcorn, recover, how, status, worker_class):
    server = gcorn(recover, *worker_class)
    old, = server.worker_pids
    idle = server.connect()
    assert idle.get("/count").status == 200
    with server.connect() as client:
        # a thread is not known to belong to the call that waits for it, but in a worker of one
        expected = status or (503 if worker_class else 500)
        assert client.get(f"/{how}").status == expected
        client.assert_closed()
    server.wait_log(rf"Worker \(pid:{old}\) was sent SIGSEGV!")
    assert idle.rest() == b""
    assert server.get("/count").text.split()[2] != str(old)
    wait_for(lambda: not Process(old).is_alive, "the old worker to end")
    server.wait_workers(1, other_than={old})
    assert "graceful_timeout" not in server.log()


def test_a_callback_that_recovers_ends_the_worker(gcorn, recover):
    server = gcorn(recover)
    old, = server.worker_pids
    assert server.get("/timer").status == 200
    server.wait_log(rf"Worker \(pid:{old}\) was sent SIGSEGV!")
    server.wait_log(rf"Worker \(pid:{old}\): the application has recovered from a crash, but its "
                    "clients have been answered already; this worker ends")
    assert server.get("/count").text.split()[2] != str(old)


def test_a_worker_in_a_handler_of_its_own_is_killed_soon(gcorn, recover):
    server = gcorn(recover)
    old, = server.worker_pids
    assert server.get("/stays").status == 500
    server.wait_log(rf"Worker \(pid:{old}\) survived its crash: a signal handler of its "
                    "application handled the signal; killing it")
    wait_for(lambda: not Process(old).is_alive, "the old worker to end")


@WORKER_CLASSES
def test_requests_behind_a_recovered_one_are_not_run(gcorn, recover, worker_class):
    server = gcorn(recover, *worker_class)
    with server.connect() as client:
        client.send("GET /call HTTP/1.1\r\nHost: test\r\n\r\n" +
                    3 * "GET /count HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.response().status == 500
        client.assert_closed()
    assert server.get("/count").text.split()[0] == "1"


def without_handler(gcorn, app, *flags):
    """A server, and its worker's pid: which catches no fatal signal, so the fixture cannot wait."""
    server = gcorn(app, "--no-crash-handler", *flags, ready=0)
    server.wait_log(r"Listening at: .*\n")
    server._find_address()  # pylint: disable=protected-access
    worker = Process(server.wait_log(r"Booting worker with pid: (\d+)").group(1))
    wait_for(lambda: worker.catches(signal.SIGTERM), "it to be ready")
    return server, worker


@PRELOAD_OR_NOT
def test_without_crash_handler_faults_are_the_applications(gcorn, recover, flags):
    server, worker = without_handler(gcorn, recover, *flags)
    assert server.get("/call").text == f"1 1 {worker.pid}"
    assert server.get("/thread").text == f"2 2 {worker.pid}"
    assert server.get("/timer").status == 200
    wait_for(lambda: server.get("/count").text.split()[1] == "3", "the timer")
    assert "SIGSEGV" not in server.log()


def test_without_crash_handler_the_master_reports(gcorn):
    server, worker = without_handler(gcorn, "faulty")
    assert not worker.catches(signal.SIGSEGV)
    with server.connect() as client:
        with pytest.raises((AssertionError, ConnectionResetError)):
            client.get("/segv")
    server.wait_log(rf"Worker \(pid:{worker.pid}\) was killed by SIGSEGV \(Segmentation fault\) while it ran "
                    "GET /segv of 127.0.0.1")
    assert server.get("/").status == 200
