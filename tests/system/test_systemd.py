# SPDX-License-Identifier: MIT
"""The service manager's side: what gcorn tells by NOTIFY_SOCKET, and sockets that it is passed."""
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import BUILD, PATIENCE, REPO, Client, Manager, example, passing, run, wait_for


# ---- what it is told ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_ready_when_the_first_worker_serves(gcorn, app, tmp_path, form):
    manager = Manager(str(tmp_path / "n") if form == "path" else f"@gcorn-test-{os.getpid()}")
    slow = f"{app('hooks', '-DSLOW')}:handler"
    server = gcorn(slow, "--timeout", "400ms", ready=0, env=manager.env)
    start = manager.wait(STATUS="Starting: 0 of 1 workers serve, generation 1")
    # the tick is short because of the timeout; the boot takes a second
    boot = manager.wait(start, EXTEND_TIMEOUT_USEC="15000000")
    assert manager.all("READY") == []
    manager.wait(boot, READY="1", STATUS="1 of 1 workers serve, generation 1")
    assert len(server.wait_workers(1)) == 1
    server.stop()
    assert manager.all("READY") == ["1"]
    manager.wait(STOPPING="1")
    manager.socket.close()


def test_the_status_follows_the_workers(gcorn, manager):
    server = gcorn("hello", env=manager.env)
    ready = manager.wait(READY="1")
    server.kill(signal.SIGTTIN)
    manager.wait(ready, STATUS="2 of 2 workers serve, generation 1")


def test_reload_is_announced(gcorn, manager):
    server = gcorn("hello", env=manager.env)
    ready = manager.wait(READY="1")
    before_us = time.monotonic_ns() // 1000
    server.kill(signal.SIGHUP)
    begun = manager.wait(ready, RELOADING="1", MONOTONIC_USEC=r"\d+")
    told_us = int(manager.messages[begun - 1]["MONOTONIC_USEC"])
    assert before_us <= told_us <= time.monotonic_ns() // 1000
    manager.wait(begun, READY="1", STATUS="1 of 1 workers serve, generation 2")


def test_failed_reload_is_announced_as_over(gcorn, manager, tmp_path):
    """Also one that fails at once: systemctl waits for both messages."""
    (tmp_path / "gunicorn-c.yaml").write_text("timeout: 30s\n")
    server = gcorn("hello", env=manager.env)
    seen = manager.wait(READY="1")
    (tmp_path / "gunicorn-c.yaml").write_text("timeout: nonsense\n")
    for _ in range(2):
        server.kill(signal.SIGHUP)
        begun = manager.wait(seen, RELOADING="1", MONOTONIC_USEC=r"\d+")
        seen = manager.wait(begun, READY="1", STATUS=r".*generation 1; reload failed: .*timeout.*")
    assert server.get().text == "Hello, World!"


def test_why_a_reload_failed_is_one_line(gcorn, manager, tmp_path):
    """What a file or an application says cannot become a separate assignment."""
    settings = tmp_path / "gunicorn-c.yaml"
    settings.write_text(f"wsgi_app: {BUILD}/examples/hello.so:handler\n")
    server = gcorn(None, env=manager.env)
    seen = manager.wait(READY="1")
    settings.write_text('wsgi_app: "./a\\nSTOPPING=1\\nb.so"\n')
    server.kill(signal.SIGHUP)
    manager.wait(seen, READY="1", STATUS=r".*; reload failed: .*a STOPPING=1 b\.so.*")
    assert manager.all("STOPPING") == []


def test_stopping_is_announced_when_drain_delay_begins(gcorn, manager):
    server = gcorn("hello", "--drain-delay", "1h", env=manager.env)
    seen = manager.wait(READY="1")
    server.kill(signal.SIGTERM)
    manager.wait(seen, STOPPING="1", STATUS="Draining: 1 of 1 workers serve, generation 1")
    manager.wait(seen, EXTEND_TIMEOUT_USEC=r"\d+")
    assert server.get().status == 200
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_a_start_that_fails_is_never_ready(gcorn, manager, app):
    server = gcorn(f"{app('hooks', '-DREFUSES')}:handler", ready=0, env=manager.env)
    assert server.wait_exit() == 3
    assert manager.all("READY") == []


def test_the_watchdog_is_fed(gcorn, manager):
    """Twice as often as asked for at least, by the documentation; the pid is checked below."""
    gcorn("hello", env={**manager.env, "WATCHDOG_USEC": "2000000"})
    wait_for(lambda: len(manager.all("WATCHDOG")) >= 3, "three signs of life")


def test_watchdog_of_another_pid_is_not_fed(gcorn, manager):
    server = gcorn("hello", "--timeout", "400ms",
                   env={**manager.env, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"})
    seen = manager.wait(READY="1")
    server.kill(signal.SIGHUP)  # takes some ticks
    manager.wait(seen, READY="1")
    server.stop()
    assert manager.all("WATCHDOG") == []


def test_hung_master_feeds_no_watchdog(gcorn, manager):
    server = gcorn("hello", env={**manager.env, "WATCHDOG_USEC": "400000"})
    wait_for(lambda: manager.all("WATCHDOG"), "a sign of life")
    server.kill(signal.SIGSTOP)
    wait_for(lambda: "T" in open(f"/proc/{server.pid}/stat", encoding="ascii").read().split()[2],
             "the master to stand still")
    count = len(manager.all("WATCHDOG"))
    assert server.get().status == 200  # the worker is well, and that does not count
    time.sleep(0.4)  # an assertion of silence takes its time
    assert len(manager.all("WATCHDOG")) == count
    server.kill(signal.SIGCONT)
    wait_for(lambda: len(manager.all("WATCHDOG")) > count, "a sign of life")


def test_missing_or_stalled_manager_harms_nothing(gcorn, tmp_path):
    server = gcorn("hello", env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert server.get().status == 200
    server.stop()
    deaf = Manager(str(tmp_path / "deaf"))
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sender.sendto(b"X=1", str(tmp_path / "deaf"))
    server = gcorn("hello", env=deaf.env)
    assert server.get().status == 200
    deaf.wait(READY="1")  # once there is room
    sender.close()
    deaf.socket.close()


def test_notify_socket_of_another_kind_is_logged(gcorn):
    server = gcorn("hello", env={"NOTIFY_SOCKET": "vsock:2:1234"})
    server.wait_log(r"\[WARNING\] NOTIFY_SOCKET: 'vsock:2:1234' is neither a path nor @NAME")


def test_workers_have_no_notify_socket(gcorn, manager, probe):
    server = gcorn(probe, env={**manager.env, "WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1",
                               "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"})
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS",
                 "LISTEN_FDNAMES"):
        assert server.get(f"/env?name={name}").text == server.get("/env?name=GCORN_NONE").text
    server.stop()


# ---- sockets that it is passed ------------------------------------------------------------------


def test_passed_sockets_replace_bind(gcorn, listening):
    one, two = listening(), listening()
    server = gcorn("hello", bind="127.0.0.1:1", **passing([one, two]))
    assert re.findall(r"Listening at: (\S+)", server.log()) == ["fd://3", "fd://4"]
    for address in (one.getsockname(), two.getsockname()):
        with Client(address) as client:
            assert client.get().text == "Hello, World!"


def test_bind_may_ask_for_some_by_name(gcorn, listening):
    one, two = listening(), listening()
    server = gcorn("hello", bind="127.0.0.1:0,fd://web", **passing([one, two], "other:web"))
    names = re.findall(r"Listening at: (\S+)", server.log())
    assert names[1] == "fd://4" and names[0].startswith("http://127.0.0.1:")
    with Client(two.getsockname()) as client:
        assert client.get().status == 200
    left = {os.readlink(f"/proc/{p.pid}/fd/3") for p in server.workers
            if os.path.exists(f"/proc/{p.pid}/fd/3")}
    assert f"socket:[{os.fstat(one.fileno()).st_ino}]" not in left
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    with Client(two.getsockname()) as client:
        assert client.get().status == 200


def test_passed_socket_outlives_a_failed_reload(gcorn, app, listening, tmp_path):
    """Also when the reload fails late, by an application that does not boot."""
    one, two = listening(), listening()
    broken = app("badboot", "-DIN_INIT", "-DLEAVES")

    def settings(program, bind):
        (tmp_path / "gunicorn-c.yaml").write_text(
            f"wsgi_app: {program}\nbind: {bind}\nworkers: 1\n")

    settings(example("hello"), "fd://one")
    server = gcorn(None, bare=True, **passing([one, two], "one:two"))
    settings(f"{broken}:handler", "[fd://one, fd://two]")
    for failures in range(1, 3):
        server.kill(signal.SIGHUP)
        server.wait_log("Reload failed: .*exit.* Generation 1 goes on unchanged", count=failures)
    settings(example("hello"), "[fd://one, fd://two]")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reloaded: generation 1 -> \d+")
    for address in (one.getsockname(), two.getsockname()):
        with Client(address) as client:
            assert client.get().text == "Hello, World!"


def test_a_name_that_was_not_passed(gcorn, listening):
    server = gcorn("hello", bind="fd://web", ready=0, **passing([listening()], "admin"))
    assert server.wait_exit() == 2
    assert "bind: 'fd://web': no socket of this name was passed, only admin" in server.log()


def test_sockets_for_another_pid_are_ignored(gcorn, listening):
    one = listening()
    server = gcorn("hello", pass_fds=[one.fileno()],
                   env={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert "Listening at: http://127.0.0.1:" in server.log()


def test_print_config_says_where_bind_came_from(tmp_path, listening):
    one = listening()
    words = passing([one])
    done = subprocess.run([*words["wrapper"], f"{BUILD}/gcorn", "--print-config", "hello.so"],
                          cwd=tmp_path, pass_fds=words["pass_fds"], text=True, check=True,
                          capture_output=True, timeout=PATIENCE)
    assert re.search(r"^bind:.*fd://3.*LISTEN_FDS$", done.stdout, re.M), done.stdout


def answered(address, outcomes, stop):
    """A client with a new connection for each request, until stop is set."""
    while not stop.is_set():
        try:
            with Client(address) as client:
                outcomes.append(client.get(fields="Connection: close\r\n").status)
        except (OSError, AssertionError) as error:
            outcomes.append(error)


def test_no_connection_is_lost_in_a_restart(gcorn, listening):
    """The manager holds the socket: a client that connects before the first start, between two runs
    or during a stop is served by the next run."""
    one = listening()
    early = Client(one.getsockname())
    early.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    outcomes, stop = [], threading.Event()
    clients = [threading.Thread(target=answered, args=(one.getsockname(), outcomes, stop))
               for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            server = gcorn("hello", "--workers", "2", **passing([one]))
            served = len(outcomes)
            wait_for(lambda: len(outcomes) > served + 20, "some requests")  # pylint: disable=cell-var-from-loop
            assert server.stop() == 0
        server = gcorn("hello", **passing([one]))
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert early.response().status == 200
    assert set(outcomes) == {200}, [outcome for outcome in outcomes if outcome != 200]


@pytest.mark.needs("systemd-socket-activate")
def test_systemd_socket_activate(gcorn, tmp_path, listening):
    """The real thing: it starts gcorn when the first connection comes, which gcorn then serves."""
    path = tmp_path / "web.sock"
    server = gcorn("hello", bind="fd://web", ready=0,
                   wrapper=["systemd-socket-activate", f"--listen={path}", "--fdname=web"])
    server.wait_log("Listening on ")
    with Client(str(path)) as client:
        assert client.get().text == "Hello, World!"
    assert "Listening at: fd://3" in server.log()
    assert server.stop() == 0
    assert path.exists()  # it is not ours


# ---- the units ----------------------------------------------------------------------------------


def verify(directory):
    """What systemd says of the units: its status is 0 whatever it says."""
    done = subprocess.run(["systemd-analyze", "--man=no", "verify", f"{directory}/hello.service",
                           f"{directory}/hello.socket"], text=True, capture_output=True,
                          check=False, timeout=PATIENCE)
    return done.returncode, done.stderr.strip()


@pytest.mark.needs("systemd-analyze")
def test_unit_files_pass_systemd_analyze(tmp_path):
    deploy = REPO / "examples" / "deploy"
    text = (deploy / "gcorn.service").read_text()
    text = text.replace("/usr/local/bin/", f"{BUILD}/").replace("/srv/hello", str(tmp_path))
    (tmp_path / "hello.service").write_text(text)
    shutil.copy(deploy / "gcorn.socket", tmp_path / "hello.socket")
    assert verify(tmp_path) == (0, "")
    shutil.copytree(deploy / "gcorn.service.d", tmp_path / "hello.service.d")
    version = int(subprocess.run(["systemd-analyze", "--version"], text=True, check=True,
                                 capture_output=True).stdout.split()[1])
    status, said = verify(tmp_path)
    assert status == 0
    if version >= 253:
        assert said == ""
    else:  # which is why it is a file of its own
        assert re.fullmatch(r"\S+/systemd-253.conf:\d+: Failed to parse service type, ignoring: "
                            r"notify-reload", said)


def test_fd_that_was_not_passed_fails(tmp_path):
    for number in range(3, 12):
        done = run("-w", "1", "-b", f"127.0.0.1:0,fd://{number}", "--error-logfile", "log",
                   example("hello"), cwd=tmp_path)
        assert done.returncode == 4
        assert "no such descriptor was passed" in done.stderr
