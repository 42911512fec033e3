"""What happens under pressure: full queues at a stop, stalled log readers, slow neighbours."""
import os
import resource
import signal
import socket
import threading
import time

import pytest

from harness import PATIENCE, SLOWER, THREADS, Client, Held, critical_lines, pace, pid_of, request, wait_for


def test_a_stop_serves_the_queue_beyond_the_connection_cap(gcorn):
    server = gcorn("faulty", "--worker-connections", "2")
    clients = []
    for _ in range(6):
        client = server.connect()
        client.send(request("/sleep?ms=100"))
        clients.append(client)
    server.kill(signal.SIGTERM)
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert server.wait_exit() == 0


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:@gcorn-test-{pid}"])
def test_a_stop_serves_no_client_that_comes_after_it(gcorn, bind):
    """Clients that come back as soon as they are answered keep a full worker's queue from being empty."""
    server = gcorn("faulty", "--worker-connections", "2", "--backlog", "8", "--graceful-timeout", "20s",
                   bind=bind.format(pid=os.getpid()))
    answered, ends = [], []

    def come_again():
        try:
            while True:
                with Client(server.address) as client:
                    answered.append(client.get("/sleep?ms=20").status)
        except (OSError, AssertionError):  # refused, or reset with the queue
            ends.append(time.monotonic())

    threads = [threading.Thread(target=come_again) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answered) >= 20, "clients that come again")
    server.kill(signal.SIGTERM)
    begin = time.monotonic()
    assert server.wait_exit() == 0
    assert time.monotonic() - begin < 8 * SLOWER, "what waited is a second's work"
    for thread in threads:
        thread.join()
    assert set(answered) == {200} and len(ends) == len(threads)
    assert "did not finish" not in server.log()


def test_stop_in_a_call_at_the_cap_answers_its_client(gcorn, probe):
    """The worker learns of the stop when the call ends, and makes room for the client that waits:
    not the place of the client whose answer it is about to send."""
    server = gcorn(probe, "--worker-connections", "1")
    client = server.connect()
    assert client.get("/pid").status == 200
    client.send(request("/hold?name=last"))
    wait_for((server.dir / "last.running").exists, "the request to run")
    waiting = server.connect()
    waiting.send(request("/pid"))
    mark = server.mark()
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term", after=mark)
    (server.dir / "last.go").touch()
    answer = client.response()
    assert answer.status == 200 and answer.closes
    client.close()
    assert waiting.response().status == 200
    waiting.close()
    assert server.wait_exit() == 0
    assert not critical_lines(server)


def test_retirement_while_room_is_made_is_no_failure(gcorn, probe):
    """To make room the worker reads its idle client, and runs the request that it finds; during that
    call it is retired, and its listening socket closed."""
    server = gcorn(probe, "--worker-connections", "1")
    client = server.connect()

    def hold(name):
        client.send(request(f"/hold?name={name}"))

    def finish(name):
        wait_for((server.dir / f"{name}.running").exists, "the request to run")
        (server.dir / f"{name}.go").touch()
        assert client.response().status == 200

    hold("first")
    wait_for((server.dir / "first.running").exists, "the request to run")
    hold("second")
    waiting = server.connect()
    waiting.send(request("/pid"))
    finish("first")
    wait_for((server.dir / "second.running").exists, "the request to run")
    hold("third")
    finish("second")
    wait_for((server.dir / "third.running").exists, "the request to run")
    server.kill(signal.SIGHUP)
    assert waiting.response().status == 200, "by the new worker"
    finish("third")
    server.wait_log("Reloaded: generation")
    assert "cannot accept" not in server.log()


def test_a_draining_worker_keeps_no_address(gcorn, probe):
    """A client that connects while the last request runs is refused at once, and can try another server."""
    server = gcorn(probe)
    held = Held(server)
    server.kill(signal.SIGTERM)

    def is_refused():
        with socket.socket() as client:
            try:
                client.connect(("127.0.0.1", server.port))
            except ConnectionRefusedError:
                return True
            return False

    # the worker learns of it when its call ends; until then the kernel queues for it
    assert held.let_go().status == 200
    wait_for(is_refused, "connections to be refused")
    held.client.close()
    assert server.wait_exit() == 0


def stalled_reader(path):
    """A FIFO that is open for reading, full, and never read."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.close(writer)
    return reader


def test_stalled_access_log_blocks_no_worker(gcorn, tmp_path):
    reader = stalled_reader(tmp_path / "access")
    server = gcorn("hello", "--access-logfile", tmp_path / "access")
    for _ in range(50):
        assert server.get().status == 200
    os.set_blocking(reader, True)
    seen = b""
    while seen.count(b"x") < 65536:
        seen += os.read(reader, 65536)
    server.get("/after")
    while b"/after" not in seen:
        seen += os.read(reader, 65536)
    assert b"lost" not in seen  # the access log has access lines only
    server.wait_log(r"\[WARNING\] access log: dropped \d+ lines: pipe full, reader too slow")
    os.close(reader)


def test_a_stalled_error_log_does_not_stop_the_master(gcorn, tmp_path):
    reader = stalled_reader(tmp_path / "error")
    server = gcorn("faulty", "-b", f"unix:{tmp_path}/s.sock", "--error-logfile", tmp_path / "error",
                   ready=0)
    address = f"{tmp_path}/s.sock"

    def listens():
        with socket.socket(socket.AF_UNIX) as probing:
            return probing.connect_ex(address) == 0

    wait_for(listens, "the socket")  # its file is there a moment before
    for _ in range(20):
        with server.connect(address) as client:
            assert client.get("/null").status == 500  # each of them logs
    server.kill(signal.SIGTERM)
    server.process.wait(timeout=PATIENCE)
    assert server.process.returncode == 0
    os.close(reader)


def test_a_log_fifo_without_reader_is_refused(gcorn, tmp_path):
    os.mkfifo(tmp_path / "log")
    server = gcorn("hello", "--access-logfile", tmp_path / "log", ready=0)
    assert server.wait_exit() == 1
    assert "accesslog: cannot open" in server.log()


def test_term_to_a_worker_brings_its_replacement_first(gcorn, probe):
    server = gcorn(probe, "--graceful-timeout", "5s")
    upload = server.connect()
    old = int(upload.get("/pid").text)  # the worker that accepted it
    upload.send("POST /pid HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
    os.kill(old, signal.SIGTERM)
    wait_for(lambda: pid_of(server) != old, "another worker to answer")
    upload.send("67890")
    assert upload.response().text == str(old)
    upload.close()
    wait_for(lambda: old not in server.worker_pids, "the old worker to leave")
    assert "[ERROR]" not in server.log()


def test_an_answer_does_not_wait_for_the_next_call(gcorn, probe):
    server = gcorn(probe)
    client = server.connect()
    client.send("GET /hold?name=first HTTP/1.1\r\nHost: t\r\n\r\n"
                "GET /hold?name=next HTTP/1.1\r\nHost: t\r\n\r\n")
    wait_for((server.dir / "first.running").exists, "the first call")
    pace(0.05)  # so the next call is expected to be long, too
    (server.dir / "first.go").touch()
    assert client.response().status == 200
    wait_for((server.dir / "next.running").exists, "the next call")
    (server.dir / "next.go").touch()
    assert client.response().status == 200


def test_fair_close_needs_a_sibling(gcorn):
    server = gcorn("faulty", "--fair-close")
    slow, quick = server.connect(), server.connect()
    for _ in range(10):
        slow.send(request("/sleep?ms=30"))
        quick.send(request("/sleep?ms=1"))
        assert not slow.response().closes
        assert not quick.response().closes


def test_fair_close_closes_clients_that_waited(gcorn):
    server = gcorn("faulty", "--fair-close", "--workers", "2")
    closed = 0
    for _ in range(20):
        clients = [server.connect() for _ in range(6 * int(THREADS or 1))]
        for _ in range(2):
            for client in clients:
                client.send(request("/sleep?ms=20"))
            answers = [client.response() for client in clients]
            closed = sum(answer.closes for answer in answers)
            if closed:
                return
    assert closed


@pytest.fixture
def raised_files():
    """How many connections this process can have, as many as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 100000
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield most - 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def private_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        # dirty ones: clean pages of the program are shared, or not, as other servers come and go
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty"))


@pytest.mark.skipif(bool(os.environ.get("SANITIZE")), reason="the sanitizer keeps freed memory")
@pytest.mark.parametrize("stay_longer", [0, 50])
def test_a_burst_of_connections_leaves_no_memory_behind(gcorn, raised_files, stay_longer):
    """Also when the last of them, at the end of the table, outlast the worker's next heartbeats."""
    server = gcorn("hello", "--worker-connections", "3000")
    worker = next(iter(server.worker_pids))
    stays = server.connect()
    assert stays.get().status == 200
    before = private_kb(worker)
    clients = [server.connect() for _ in range(min(2500, raised_files))]
    for client in clients:
        assert client.get().status == 200
    # what a connection needs, and how many there are, is seen before it is given back
    assert private_kb(worker) > before + len(clients) * 200 // 1024
    for client in clients[:len(clients) - stay_longer]:
        client.close()
    if stay_longer:
        pace(2.5)
    for client in clients[len(clients) - stay_longer:]:
        client.close()
    wait_for(lambda: private_kb(worker) < before + 200, "the worker to give memory back")
    # whose place in the table was kept is served as before, and so are new ones
    assert stays.get().status == 200
    assert server.get().status == 200
