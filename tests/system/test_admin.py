# SPDX-License-Identifier: MIT
"""The admin process: /livez, /readyz, /metrics, whatever the workers do."""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import (PATIENCE, SLOWER, WORKER_CLASSES, Client, Process, admin_address, ask_admin,
                     find, metrics, request, reset, wait_for)


def answers(samples):
    return sum(value for key, value in samples.items() if key.startswith("gcorn_requests_total{"))


def admin_pid(server):
    pids = [p.pid for p in server.workers if p.title.startswith("gcorn: admin")]
    return pids[0] if len(pids) == 1 else None


def worker_pids(server):
    return {p.pid for p in server.workers if p.title.startswith("gcorn: worker") and p.is_ready_worker}


@pytest.fixture
def start(gcorn):
    def start_with_admin(app="hello", *args, workers=2, bind="127.0.0.1:0", **options):
        server = gcorn(app, "-w", workers, "--admin-bind", bind, *args, ready=workers + 1, **options)
        wait_for(lambda: ask_admin(server, "/readyz").status == 200, "the master to know")
        return server
    return start_with_admin


def test_endpoints(start):
    server = start()
    assert ask_admin(server, "/livez").text == "alive\n"
    ready = ask_admin(server, "/readyz")
    assert (ready.status, ready.text) == (200, "ready\n")
    assert ask_admin(server, "/livez?x=1").status == 200
    assert ask_admin(server, "/").status == 404
    for method in ("POST", "DELETE"):
        refused = ask_admin(server, "/metrics", method=method, fields="Content-Length: 0\r\n")
        assert (refused.status, refused.header("Allow")) == (405, "GET, HEAD")
    head = ask_admin(server, "/readyz", method="HEAD")
    assert (head.status, head.header("Content-Length")) == (200, "6")


def test_on_a_unix_socket(start, tmp_path):
    server = start(bind="unix:admin.sock")
    assert ask_admin(server, "/livez").status == 200
    assert server.stop() == 0
    assert not (tmp_path / "admin.sock").exists()


def test_without_admin_bind_there_is_no_admin_process(gcorn):
    server = gcorn("hello")
    assert "dmin process" not in server.log() and admin_pid(server) is None


@pytest.mark.parametrize("args, message", [
    (("--admin-bind", "nowhere:99999"), "admin_bind: .*no valid port"),
    (("--admin-bind", "127.0.0.1:8123", "-b", "127.0.0.1:8123"), "admin_bind: the workers listen at"),
    (("--ready-workers", "3"), "ready_workers: 3 are more than there are workers"),
])
def test_settings_are_checked(gcorn, args, message):
    server = gcorn("hello", "-w", "2", *args, bare=True, ready=0)
    assert server.wait_exit() == 2
    assert re.search(message, server.log())


def test_admin_process_serves_no_requests(start, tmp_path):
    """Neither the application, nor its sockets, nor its access log; no worker has its socket."""
    server = start("hello", "--access-logfile", "access", "--control-socket", "ctl",
                   "--max-requests", "3", "--env", "SECRET=1")
    pid = admin_pid(server)
    for _ in range(10):
        assert ask_admin(server, "/metrics").status == 200
    assert admin_pid(server) == pid
    assert (tmp_path / "access").read_text() == ""
    maps = open(f"/proc/{pid}/maps").read()
    assert "hello" not in maps
    assert b"SECRET" not in open(f"/proc/{pid}/environ", "rb").read()
    assert metrics(server)['gcorn_workers{state="idle"}'] == 2
    status = subprocess.run([os.path.join(os.path.dirname(server.command[0]), "gcornctl"), "-s", "ctl",
                             "--json", "status"], cwd=tmp_path, capture_output=True, text=True,
                            check=True, timeout=PATIENCE).stdout
    assert str(pid) not in re.findall(r'"pid": (\d+)', status)

    def inodes(of, port):
        lines = [line.split() for line in open(f"/proc/{of}/net/tcp").readlines()[1:]]
        listening = {x[9] for x in lines if x[3] == "0A" and int(x[1].split(":")[1], 16) == port}
        links = Process(of).links
        return {i for i in listening if f"socket:[{i}]" in links}
    port = admin_address(server)[1]
    assert inodes(pid, port) and not inodes(pid, server.port)
    for worker in worker_pids(server):
        assert inodes(worker, server.port) and not inodes(worker, port)


def test_what_is_served_is_counted(start):
    server = start("faulty")
    with server.connect() as client:
        for path in ("/", "/", "/nothing"):
            client.get(path)
        now = metrics(server)
        assert now["gcorn_connections_open"] == 1
    assert now['gcorn_requests_total{code="200"}'] == 2
    assert now['gcorn_requests_total{code="404"}'] == 1
    assert now["gcorn_request_seconds_count"] == 3
    assert now['gcorn_request_seconds_bucket{le="+Inf"}'] == 3
    assert now["gcorn_queue_seconds_count"] == 3
    assert now["gcorn_connections_total"] == 1
    assert now["gcorn_requests_in_flight"] == 0
    assert now["gcorn_sent_bytes_total"] > now["gcorn_received_bytes_total"] > 0
    assert now['gcorn_worker_resident_memory_bytes{worker="1"}'] > 100000
    assert now['gcorn_worker_cpu_seconds_total{worker="0"}'] > 0
    assert abs(now["gcorn_start_time_seconds"] - time.time()) < 60 * SLOWER
    listener = f'{{listener="http://127.0.0.1:{server.port}"}}'
    wait_for(lambda: metrics(server).get("gcorn_listen_backlog_limit" + listener), "a sampled queue")


def total(samples, **labels):
    """The requests with all of these labels, however they ended."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(value for key, value in samples.items() if key.startswith("gcorn_requests_total{")
               and all(label in re.findall(r'[a-z]+="[^"]*"', key) for label in wanted))


@WORKER_CLASSES
def test_request_is_counted_once_however_it_ends(start, worker_class):
    server = start("faulty", "--timeout", "1s", "--header-timeout", "1s", *worker_class, workers=1)
    began = 0

    def ends(what, replaces=False, **labels):
        """One more request begins, and ends so; with its worker."""
        nonlocal began
        before = metrics(server)
        known = worker_pids(server)
        what()
        began += 1
        now = wait_for(lambda: total(metrics(server)) == began and metrics(server), f"{labels} to be counted")
        assert total(now, **labels) == total(before, **labels) + 1, (labels, now)
        assert now["gcorn_request_seconds_count"] == began, labels
        wait_for(lambda: len(worker_pids(server)) == 1 and replaces != (worker_pids(server) == known), "the worker")
        wait_for(lambda: metrics(server)["gcorn_requests_in_flight"] == 0, "nothing in flight")

    def send(text):
        return server.connect().send(text)

    def run(path):
        send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").rest()

    def hang_and(what):
        send("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: metrics(server)["gcorn_calls_running"] == 1, "the call")
        what()

    ends(lambda: server.get("/"), code=200)
    ends(lambda: server.get("/nothing"), code=404)
    ends(lambda: server.get("/null"), code=500)
    ends(lambda: send("NONSENSE\r\n\r\n").rest(), code=400)
    ends(lambda: send("GET / HT").rest(), code=408)
    ends(lambda: reset(send("GET / HT")), code=499, ended="client gone")
    ends(lambda: reset(send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")),
         code=499, ended="client gone")
    ends(lambda: run("/segv"), replaces=True, code=500, ended="crash")
    ends(lambda: run("/exit"), replaces=True, code=500, ended="crash")
    ends(lambda: run("/_exit"), replaces=True, code=0, ended="crash")
    ends(lambda: run("/steals-sigsegv"), replaces=True, code=0, ended="crash")
    ends(lambda: run("/crash-midstream?framing=chunked"), replaces=True, code=200, ended="crash")
    ends(lambda: run("/hang"), replaces=True, code=504, ended="timeout")
    ends(lambda: hang_and(lambda: os.kill(*worker_pids(server), signal.SIGKILL)), replaces=True, code=0, ended="killed")
    assert total(metrics(server)) == began


def test_queued_requests_of_a_killed_worker_are_counted(start):
    """Two run, and are timed; of the three that wait for a thread it is only known that they were."""
    server = start("faulty", "--timeout", "0", "-k", "gthread", "--threads", "2", workers=1)
    for _ in range(5):
        server.ask("/hang")
    wait_for(lambda: metrics(server)["gcorn_requests_in_flight"] == 5, "all five")
    wait_for(lambda: metrics(server)["gcorn_calls_running"] == 2, "two calls")
    os.kill(*worker_pids(server), signal.SIGKILL)
    now = wait_for(lambda: total(metrics(server)) == 5 and metrics(server), "them to be counted")
    assert total(now, code=0, ended="killed") == 5 and now["gcorn_request_seconds_count"] == 2


@WORKER_CLASSES
def test_requests_cut_by_a_reload_are_counted(start, worker_class):
    server = start("faulty", "--timeout", "0", "--graceful-timeout", "500ms", *worker_class, workers=1)
    server.ask("/sleep?ms=60000")
    wait_for(lambda: metrics(server)["gcorn_calls_running"] == 1, "the call")
    server.kill(signal.SIGHUP)
    now = wait_for(lambda: total(metrics(server)) == 1 and metrics(server), "it to be counted")
    assert total(now, code=0, ended="killed") == 1 and now["gcorn_request_seconds_count"] == 1


def test_running_calls_and_their_limit_are_shown(start):
    server = start("faulty", "--timeout", "0", "-k", "gthread", "--threads", "4", workers=2)
    now = metrics(server)
    assert (now["gcorn_calls_running"], now["gcorn_calls_limit"]) == (0, 8)
    for _ in range(3):
        server.ask("/hang")
    now = wait_for(lambda: metrics(server)["gcorn_calls_running"] == 3 and metrics(server), "the calls")
    assert now["gcorn_calls_limit"] == 8
    assert now['gcorn_workers{state="busy"}'] >= 1
    server.kill(signal.SIGINT)


def test_full_worker_shows_the_backlog_of_tcp_sockets(start, tmp_path):
    """The worker hangs, so it accepts no connection. A unix socket's queue is not known."""
    server = start("faulty", "-b", "unix:app.sock", "--timeout", "0", workers=1)
    server.connect((tmp_path / "app.sock").as_posix()).send(request("/hang"))
    wait_for(lambda: metrics(server)['gcorn_workers{state="busy"}'], "the call")
    tcp = ("127.0.0.1", int(re.search(r"Listening at: http://127.0.0.1:(\d+)", server.log())[1]))
    for _ in range(3):
        server.connect(tcp)
    wait_for(lambda: metrics(server).get(f'gcorn_listen_backlog{{listener="http://127.0.0.1:{tcp[1]}"}}') == 3,
             "three in the queue")
    assert not [name for name in metrics(server) if "backlog" in name and "unix:" in name]
    server.kill(signal.SIGINT)


def test_promtool(start, app, tmp_path):
    promtool = find("promtool") or os.environ.get("PROMTOOL")
    if not promtool:  # which CI does not install
        pytest.skip("no promtool: it comes with prometheus, of 100 MB; samples_of parses too")
    server = start(f"{app('metered')}:handler")
    for _ in range(4):
        server.get()
    text = ask_admin(server, "/metrics").text
    result = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True,
                            check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_metrics_of_the_application(start, app):
    """Summed over workers, and over those that have gone."""
    server = start(f"{app('metered')}:handler")
    for count in range(1, 7):
        server.get("/?size=3")
        now = metrics(server)
        assert now['visits_total{kind="get"}'] == count
        assert now['visit_bytes_bucket{le="1"}'] == 0 and now['visit_bytes_bucket{le="10"}'] == count
        assert now["visit_bytes_sum"] == 3 * count
        assert now["visitors"] == 2  # a gauge of 1 in each worker
        victim = sorted(worker_pids(server))[count % 2]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in worker_pids(server) and len(worker_pids(server)) == 2,
                 "another worker")


@pytest.mark.parametrize("path", ["/spin", "/hang"])
def test_probes_are_answered_while_all_workers_hang(start, path):
    server = start("faulty", "--timeout", "0", "--ready-fresh", "2s", "--graceful-timeout", "1s",
                   workers=5)
    for count in range(1, 6):
        server.ask(path)
        wait_for(lambda: metrics(server)['gcorn_workers{state="busy"}'] >= count, "the call")
    times = []
    for _ in range(20):
        begin = time.monotonic()
        assert ask_admin(server, "/metrics").status == 200
        times.append(time.monotonic() - begin)
    assert min(times) < 0.25 * SLOWER, times
    wait_for(lambda: ask_admin(server, "/readyz").status == 503, "the workers to be stale")
    assert ask_admin(server, "/readyz").text == "0 of 5 workers can serve, and 1 should\n"
    assert ask_admin(server, "/livez").status == 200
    server.kill(signal.SIGINT)


def test_silent_clients_keep_no_probe_waiting(start):
    server = start("hello", "--header-timeout", "10m")
    silent = [server.connect(admin_address(server)) for _ in range(200)]
    for client in silent[:100]:
        client.send("GET /livez HTTP/1.1\r\nX:")
    assert ask_admin(server, "/livez").status == 200


def probe_times(server, count=20):
    times = []
    for _ in range(count):
        begin = time.monotonic()
        assert ask_admin(server, "/livez").status == 200
        times.append(time.monotonic() - begin)
    return sorted(times)


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:admin.sock"])  # which holds less of an answer
@pytest.mark.parametrize("request_text", [
    "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Unfinished: ",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "",
], ids=["body", "chunked", "head", "unread", "silent"])
def test_probe_is_answered_beside_stuck_clients(start, app, request_text, bind):
    """Many more than the admin process takes, none of which goes on, or reads what it is answered."""
    server = start(f"{app('metered', '-DMANY=60')}:handler", "--body-timeout", "10m",
                   "--write-timeout", "10m", "--header-timeout", "10m", workers=4, bind=bind)
    stuck = []
    for _ in range(300):
        raw = socket.socket(socket.AF_UNIX if bind.startswith("unix") else socket.AF_INET)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.connect(admin_address(server))
        raw.sendall(request_text.encode())
        stuck.append(raw)
        if len(stuck) % 60 == 0:
            assert ask_admin(server, "/livez").status == 200
    times = probe_times(server)
    assert times[10] < 0.1 * SLOWER, times
    for raw in stuck:
        raw.close()


def test_request_body_is_refused_unread(start):
    server = start()
    for field in ("Content-Length: 1", "Content-Length: 1000000", "Transfer-Encoding: chunked"):
        client = server.connect(admin_address(server))
        client.send(f"POST /livez HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n")
        answer = client.response()
        assert (answer.status, answer.closes) == (413, True)


def test_pipelined_request_is_not_answered(start):
    server = start()
    client = server.connect(admin_address(server))
    client.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    answer = client.response()
    assert (answer.status, answer.closes) == (200, True)
    client.assert_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9090", "[::1]", "[::1]:80", "10.1.2.3", "localhost",
                                  "LOCALHOST:1", "probes.example", "Probes.Example:9090", "b.example"])
def test_known_host_is_answered(start, host):
    server = start("hello", "--admin-hosts", "probes.example, b.example")
    assert ask_admin(server, "/livez", host=host).status == 200
    assert ask_admin(server, "/metrics", host="evil.example", version="1.0").status == 421


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example",
                                  "xlocalhost", "127.0.0.1x", "1.2.3", "[::1].evil.example", "probes.example.evil"])
def test_foreign_host_is_refused(start, host):
    """DNS rebinding: a page whose name resolves to the admin address."""
    server = start("hello", "--admin-hosts", "probes.example")
    for path in ("/livez", "/readyz", "/metrics", "/"):
        answer = ask_admin(server, path, host=host)
        assert answer.status in (400, 421) and "gcorn_" not in answer.text
    client = server.connect(admin_address(server)).send("GET /livez HTTP/1.0\r\n\r\n")
    assert client.response().status == 200  # a probe without Host


def test_hung_master_is_not_alive(start):
    server = start()
    assert ask_admin(server, "/livez").status == 200
    server.kill(signal.SIGSTOP)
    begin = time.monotonic()
    wait_for(lambda: ask_admin(server, "/livez").status == 503, "the silence to be noticed", 12 * SLOWER)
    assert time.monotonic() - begin < 10 * SLOWER
    assert re.fullmatch(r"the master hangs: its event loop has not run for \d+ s\n", ask_admin(server, "/livez").text)
    server.kill(signal.SIGCONT)
    wait_for(lambda: ask_admin(server, "/livez").status == 200, "it to go on")


def test_readyz_is_503_before_ready_and_during_stop(gcorn, app):
    """503 while no worker is there yet, and from the TERM on; the admin process leaves last."""
    server = gcorn(f"{app('hooks', '-DSTUCK')}:handler", "-w", "1", "--admin-bind", "127.0.0.1:0", ready=0)
    server.wait_log("Booting admin")
    assert "starting: no worker has been ready yet" in ask_admin(server, "/readyz").text
    assert ask_admin(server, "/livez").status == 200
    server.kill(signal.SIGINT)
    assert server.wait_exit() == 0


def test_readyz_is_503_during_drain_delay(start, probe, tmp_path):
    server = start(probe, "--drain-delay", "1h")
    held = server.ask("/hold?name=one")
    wait_for((tmp_path / "one.running").exists, "the call")
    server.kill(signal.SIGTERM)
    wait_for(lambda: ask_admin(server, "/readyz").status == 503, "the drain")
    assert ask_admin(server, "/readyz").text == "draining\n"
    server.kill(signal.SIGTERM)
    wait_for(lambda: ask_admin(server, "/readyz").text.startswith("stopping\n"), "the stop")
    assert ask_admin(server, "/livez").status == 200
    (tmp_path / "one.go").touch()
    assert held.response().status == 200
    assert server.wait_exit() == 0


def test_ready_workers(start):
    server = start("hello", "--ready-workers", "2", "--ready-fresh", "2s")
    wait_for(lambda: ask_admin(server, "/readyz").status == 200, "both")
    victim = sorted(worker_pids(server))[0]
    os.kill(victim, signal.SIGSTOP)
    wait_for(lambda: ask_admin(server, "/readyz").status == 503, "the silence to be noticed")
    os.kill(victim, signal.SIGCONT)
    wait_for(lambda: ask_admin(server, "/readyz").status == 200, "it to be back")


def test_leaving_worker_is_not_ready(start, app, tmp_path):
    """It is in its exit hook, without an order of the master."""
    server = start(f"{app('threaded')}:handler", workers=1)
    (tmp_path / "exit.hold").touch()
    server.ask("/leave")
    wait_for((tmp_path / "exit.running").exists, "the hook")
    assert ask_admin(server, "/readyz").text == "0 of 1 workers can serve, and 1 should\n"
    (tmp_path / "exit.hold").unlink()
    wait_for(lambda: ask_admin(server, "/readyz").status == 200, "its replacement")


def test_readyz_counts_only_wanted_workers(start):
    server = start("hello", "--ready-workers", "2", "--ready-fresh", "2s")
    server.kill(signal.SIGTTOU)
    wait_for(lambda: len(worker_pids(server)) == 1, "the second one's end")
    # the master may not have come to its books when the worker has already gone
    wait_for(lambda: ask_admin(server, "/readyz").text == "ready\n", "the server to be ready with one")
    os.kill(sorted(worker_pids(server))[0], signal.SIGSTOP)
    wait_for(lambda: ask_admin(server, "/readyz").status == 503, "the silence to be noticed")
    assert ask_admin(server, "/readyz").text.endswith("0 of 1 workers can serve, and 1 should\n")
    os.kill(sorted(worker_pids(server))[0], signal.SIGCONT)


def test_killed_admin_process_is_replaced(start):
    server = start()
    first = admin_pid(server)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: admin_pid(server) not in (None, first), "another")
    wait_for(lambda: ask_admin(server, "/readyz").status == 200, "it to answer")
    now = metrics(server)
    assert now['gcorn_worker_restarts_total{reason="killed"}'] == 0  # it is no worker


def test_reload_moves_the_admin_address(start, tmp_path):
    settings = tmp_path / "gunicorn-c.yaml"
    settings.write_text("workers: 2\n")
    server = start(workers=2)
    first, address = admin_pid(server), admin_address(server)
    server.kill(signal.SIGHUP)
    wait_for(lambda: metrics(server)['gcorn_reloads_total{result="ok"}'] == 1, "the reload")
    assert admin_address(server) == address
    wait_for(lambda: admin_pid(server) not in (None, first), "the new one alone")
    now = metrics(server)
    assert now["gcorn_generation"] == 2
    wait_for(lambda: metrics(server)['gcorn_worker_restarts_total{reason="reload"}'] == 2, "both")
    settings.write_text("workers: [\n")
    server.kill(signal.SIGHUP)
    wait_for(lambda: metrics(server)['gcorn_reloads_total{result="failed"}'] == 1, "the failure")
    assert ask_admin(server, "/readyz").status == 200


def test_each_reason_for_a_replacement_is_counted(start):
    server = start("faulty", "--timeout", "500ms", "--max-requests", "4", workers=1)

    def restarts(reason):
        return metrics(server)[f'gcorn_worker_restarts_total{{reason="{reason}"}}']

    def happens(reason, what):
        before = worker_pids(server)
        what()
        wait_for(lambda: restarts(reason) == 1, reason)
        wait_for(lambda: len(worker_pids(server) - before) == 1 and len(worker_pids(server)) == 1,
                 "the next worker")

    def send(path):
        server.ask(path)

    happens("crash", lambda: send("/segv"))
    happens("exit", lambda: send("/_exit"))
    happens("timeout", lambda: send("/hang"))
    happens("killed", lambda: os.kill(*worker_pids(server), signal.SIGKILL))
    happens("sigterm", lambda: os.kill(*worker_pids(server), signal.SIGTERM))
    happens("max_requests", lambda: [server.get() for _ in range(4)])


class Load(threading.Thread):
    """Requests, one after the other: how many were answered, and how many not."""

    def __init__(self, address):
        super().__init__()
        self.address, self.answered, self.lost, self.over = address, 0, 0, False
        self.start()

    def run(self):
        while not self.over:
            try:
                with Client(self.address) as client:
                    while not self.over:
                        closes = client.get().closes
                        self.answered += 1
                        if closes:
                            break
            except (AssertionError, OSError):
                self.lost += 1


KILLS, RELOADS = (100, 20) if os.environ.get("GCORN_LONG") else (8, 3)


def test_no_answer_is_lost_or_counted_twice(start):
    """Over kills and reloads under load; GCORN_LONG=1 for 100 and 20."""
    server = start("hello", "--keepalive-drain", "200ms", "--graceful-timeout", "5s")
    load = [Load(server.address) for _ in range(2)]
    last, kills = 0, 0

    def look():
        nonlocal last
        now = answers(metrics(server))
        assert now >= last, "the sum fell"
        last = now
        return now

    for i in range(KILLS):
        seen = look()
        wait_for(lambda s=seen: look() > s + 20, "requests to be answered")
        victim = min(wait_for(lambda: worker_pids(server), "a worker"))
        os.kill(victim, signal.SIGKILL)
        kills += 1
        wait_for(lambda v=victim: look() and not Process(v).is_alive, "its end")
        if i % (KILLS // RELOADS) == 0 and i // (KILLS // RELOADS) < RELOADS:
            done = metrics(server)['gcorn_reloads_total{result="ok"}']
            server.kill(signal.SIGHUP)
            wait_for(lambda d=done: look() and metrics(server)['gcorn_reloads_total{result="ok"}'] > d,
                     "the reload")
    for thread in load:
        thread.over = True
    for thread in load:
        thread.join(PATIENCE)
    answered, lost = sum(t.answered for t in load), sum(t.lost for t in load)
    # a worker killed between sending and counting had at most one request a kill
    wait_for(lambda: answered - kills <= look() <= answered + lost, f"{answered} answers, {lost} lost")
    assert kills == KILLS
    wait_for(lambda: metrics(server)['gcorn_worker_restarts_total{reason="killed"}'] >= kills,
             "all of them to be reaped")
    now = metrics(server)
    assert now['gcorn_reloads_total{result="ok"}'] == RELOADS and lost <= kills * len(load)
