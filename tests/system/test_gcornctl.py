# SPDX-License-Identifier: MIT
"""The control socket and gcornctl: what they tell, what they do, and to whom."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

import pytest

from harness import (BUILD, GCORNCTL, PATIENCE, ROOT_ONLY, SLOWER, Held, Process, ask_control,
                     clean_environment, ctl, ctl_output, install, request, run, start_ctl,
                     status_of, wait_for, write_config)


@pytest.fixture
def server(gcorn, app, tmp_path):
    """Two workers of VERSION one, with a control socket."""
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    return gcorn("app.so:handler", "--workers", "2", "--control-socket", "ctl")


# ---- status -------------------------------------------------------------------------------------


def test_status_while_serving(server):
    for _ in range(3):
        server.get("/a?secret=1")
    status = status_of(server.dir)
    assert status["ok"] is True and status["state"] == "serving"
    assert status["pid"] == server.pid and status["generation"] == 1
    assert status["application"] == "app.so:handler"
    assert re.fullmatch("[0-9a-f]{40}", status["build_id"])
    assert status["listeners"] == [f"http://127.0.0.1:{server.port}"]
    assert status["last_reload"] is None and status["workers_wanted"] == 2
    assert 0 < status["uptime_ms"] < 1000 * PATIENCE
    workers = status["workers"]
    assert [w["number"] for w in workers] == [0, 1]
    assert {w["pid"] for w in workers} == server.worker_pids
    assert sum(w["requests"] for w in workers) == 3
    assert all(w["generation"] == 1 and w["phase"] == "ready" and w["state"] == "idle"
               and w["request"] is None for w in workers)
    assert "secret" not in json.dumps(status)


def test_status_counts_connections(server):
    with server.connect() as client:
        client.get()
        assert sum(w["connections"] for w in status_of(server.dir)["workers"]) == 1


def test_status_while_a_worker_hangs(server):
    held = Held(server)
    calling = [w for w in status_of(server.dir)["workers"] if w["state"] == "calling"]
    assert len(calling) == 1
    assert calling[0]["request"]["method"] == "GET"
    assert calling[0]["request"]["target"] == "/hold"  # the query may be secret
    before = calling[0]["request"]["ms"]
    wait_for(lambda: any(w["request"] and w["request"]["ms"] > before
                         for w in status_of(server.dir)["workers"]), "the call to last longer")
    held.let_go()


def test_status_shows_the_longest_method(server):
    method = "UPDATEREDIRECTREF".ljust(32, "X")
    held = Held(server, method=method)
    assert method in [w["request"]["method"] for w in status_of(server.dir)["workers"] if w["request"]]
    held.let_go()


def test_status_in_words(server):
    held = Held(server)
    out = ctl_output(server.dir, "-s", "ctl", "status")
    assert re.search(rf"^gcorn +\S+, serving, pid {server.pid}, up ", out, re.M)
    assert re.search(r"^application +app.so:handler, generation 1, build-id [0-9a-f]{40}$", out, re.M)
    assert re.search(rf"^listening at http://127.0.0.1:{server.port}$", out, re.M)
    assert re.search(r"^workers +2, wanted 2$", out, re.M)
    table = out[out.index("WORKER"):].splitlines()
    assert len(table) == 3
    assert table[0].split() == ["WORKER", "PID", "GENERATION", "PHASE", "STATE", "REQUESTS",
                                "CONNECTIONS", "REQUEST"]
    column = table[0].index("PHASE")
    assert {line[column:].split()[0] for line in table[1:]} == {"ready"}
    assert re.search(r"calling .* GET /hold for \d+ m?s$", out, re.M)
    held.let_go()


def test_what_a_client_sent_is_shown_harmlessly(server):
    """Bytes that are no UTF-8, and none that a terminal obeys."""
    held = server.connect()
    held.send(b"GET /hold\xff\xc2\x9b?name=x HTTP/1.1\r\nHost: t\r\n\r\n")
    held.close()
    client = server.connect()
    client.send(request("/hold?name=held"))
    wait_for((server.dir / "held.running").exists, "the request to run")
    for args in (["--json", "status"], ["status"], ["top", "--once"]):
        with subprocess.Popen([GCORNCTL, "-s", "ctl", *args], cwd=server.dir,
                              stdout=subprocess.PIPE) as process:
            out = process.stdout.read().decode("utf-8")
        assert all(c == "\n" or c.isprintable() for c in out)
    (server.dir / "held.go").touch()


def test_status_of_a_starting_server(gcorn, app, tmp_path):
    server = gcorn(f"{app('hooks', '-DSTUCK')}:handler", "--control-socket", "ctl",
                   "--boot-timeout", "1s", ready=0)
    wait_for((tmp_path / "ctl").exists, "the socket")
    status = wait_for(lambda: ctl(tmp_path, "-s", "ctl", "--json", "status")[1], "an answer")
    assert json.loads(status)["state"] == "starting"
    assert server.wait_exit() == 3


# ---- reload -------------------------------------------------------------------------------------


def test_reload_answers_when_all_workers_run_the_new_code(server, app):
    old = server.worker_pids
    before = status_of(server.dir)["build_id"]
    install(server.dir / "app.so", app("probe", '-DVERSION="two"'))
    assert ctl_output(server.dir, "-s", "ctl", "reload") == "reloaded: generation 2 serves\n"
    status = status_of(server.dir)
    ready = [w for w in status["workers"] if w["phase"] == "ready"]
    assert [w["number"] for w in ready] == [0, 1]
    assert all(w["generation"] == 2 and w["pid"] not in old for w in ready)
    assert all(w["generation"] == 2 or w["phase"] == "retiring" for w in status["workers"])
    assert status["state"] == "serving" and status["build_id"] != before
    assert status["last_reload"]["ok"] is True and status["last_reload"]["generation"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["last_reload"]["at"])
    assert {server.get("/version").text for _ in range(10)} == {"two"}
    assert json.loads(ctl_output(server.dir, "-s", "ctl", "--json", "reload")) == {
        "ok": True, "generation": 3}


@pytest.mark.parametrize("threads", [None, 2])
def test_reload_waits_until_old_workers_accept_no_more(gcorn, probe, tmp_path, threads):
    """A worker that does not run keeps its listening sockets open: its next connection would be
    answered by the old code."""
    kind = ["-k", "gthread", "--threads", threads] if threads else []
    server = gcorn(probe, "--workers", "2", "--control-socket", "ctl", *kind)
    stopped = min(server.worker_pids)
    os.kill(stopped, signal.SIGSTOP)
    with start_ctl(tmp_path, "-s", "ctl", "reload") as reload:
        wait_for(lambda: [w["pid"] for w in status_of(tmp_path)["workers"]
                          if w["phase"] == "retiring"] == [stopped], "the others to be gone")
        assert status_of(tmp_path)["state"] == "reloading"
        assert status_of(tmp_path)["last_reload"] is None and reload.poll() is None
        os.kill(stopped, signal.SIGCONT)
        assert reload.communicate(timeout=PATIENCE)[0] == "reloaded: generation 2 serves\n"
    assert status_of(tmp_path)["state"] == "serving"


def test_reload_does_not_wait_for_running_calls(server):
    held = Held(server)
    before = server.worker_pids
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert {server.get("/pid").text for _ in range(10)}.isdisjoint(map(str, before))
    assert held.let_go().status == 200


def test_reload_of_stopped_old_worker_ends_with_it(gcorn, probe, tmp_path):
    server = gcorn(probe, "--control-socket", "ctl", "--graceful-timeout", "1s")
    os.kill(min(server.worker_pids), signal.SIGSTOP)
    ctl_output(tmp_path, "-s", "ctl", "reload")
    server.wait_log("did not finish within graceful_timeout")


@pytest.mark.parametrize("threads", [None, 2])
def test_request_after_reload_meets_new_code_under_load(gcorn, probe, tmp_path, threads):
    kind = ["-k", "gthread", "--threads", threads] if threads else []
    server = gcorn(probe, "--workers", "2", "--control-socket", "ctl", *kind)
    is_over = threading.Event()

    def load():
        while not is_over.is_set():
            assert server.get("/big?kb=64").status == 200

    clients = [threading.Thread(target=load) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        for _ in range(5):
            before = set(map(str, server.worker_pids))
            ctl_output(tmp_path, "-s", "ctl", "reload")
            assert before.isdisjoint(server.get("/pid").text for _ in range(20))
    finally:
        is_over.set()
        for client in clients:
            client.join()


def test_a_failing_reload_tells_why(server, app):
    old = server.worker_pids
    install(server.dir / "app.so", app("hooks", "-DREFUSES"))
    status, out, err = ctl(server.dir, "-s", "ctl", "reload")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"gcornctl: reload: .*gcorn_on_worker_init.*\n", err)
    assert server.worker_pids & old == old
    assert server.get("/version").text == "one"
    status, out, err = ctl(server.dir, "-s", "ctl", "reload", "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["ok"] is False and "gcorn_on_worker_init" in json.loads(out)["error"]
    last = status_of(server.dir)["last_reload"]
    assert last["ok"] is False and "gcorn_on_worker_init" in last["error"] and last["generation"] == 1
    assert re.search(r"^last reload +\S+, FAILED, generation 1 serves: .*gcorn_on_worker_init",
                     ctl_output(server.dir, "-s", "ctl", "status"), re.M)


def test_a_reload_with_broken_settings_tells_why(server):
    (server.dir / "gunicorn-c.yaml").write_text("wokers: 1\n")
    status, _, err = ctl(server.dir, "-s", "ctl", "reload")
    assert status == 1 and 'did you mean "workers"' in err
    (server.dir / "gunicorn-c.yaml").unlink()
    ctl_output(server.dir, "-s", "ctl", "reload")


def test_each_reload_gets_its_own_outcome(gcorn, app, tmp_path):
    """One that is asked for while another is under way waits for a later one, whose files are those
    of the moment; also when the first one fails."""
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--control-socket", "ctl", "--boot-timeout", "1s")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    with start_ctl(tmp_path, "-s", "ctl", "reload") as first:
        wait_for(lambda: status_of(tmp_path)["state"] == "reloading", "the reload to begin")
        server.wait_log("Booting worker", count=2)
        install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
        with start_ctl(tmp_path, "-s", "ctl", "reload") as second, \
             start_ctl(tmp_path, "-s", "ctl", "reload") as third:
            assert "boot_timeout" in first.communicate(timeout=PATIENCE)[1]
            outs = [p.communicate(timeout=PATIENCE)[0] for p in (second, third)]
    assert [p.returncode for p in (first, second, third)] == [1, 0, 0]
    assert outs[0] == "reloaded: generation 3 serves\n"
    assert server.get("/version").text == "two"


def test_second_worker_that_fails_to_boot_fails_the_reload(gcorn, app, tmp_path):
    """The new generation serves, but the command does not wait for ever for all of it."""
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--workers", "2", "--control-socket", "ctl")
    install(tmp_path / "app.so", app("picky"))
    (tmp_path / "picky").touch()
    status, _, err = ctl(tmp_path, "-s", "ctl", "reload")
    assert status == 1
    assert "generation 2 serves, but not all of its workers booted: " in err
    (tmp_path / "picky").unlink()
    wait_for(lambda: {w["generation"] for w in status_of(tmp_path)["workers"]
                      if w["phase"] == "ready"} == {2}, "the rest to be replaced")
    assert server.get().text == "picky"


def test_client_that_leaves_during_a_reload_harms_nothing(server):
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.dir / "ctl"))
            client.sendall(b"reload\n")
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert server.get().status == 200


# ---- stop ---------------------------------------------------------------------------------------


def test_stop_lets_requests_finish(server):
    held = Held(server)
    assert ctl_output(server.dir, "-s", "ctl", "stop") == "the server is stopping\n"
    wait_for(lambda: status_of(server.dir)["state"] == "stopping", "the state")
    status, _, err = ctl(server.dir, "-s", "ctl", "reload")
    assert status == 1 and "the server is stopping" in err
    assert held.let_go().status == 200
    assert server.wait_exit() == 0
    assert not (server.dir / "ctl").exists()


def test_stop_observes_drain_delay(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl", "--drain-delay", "1h")
    ctl_output(tmp_path, "-s", "ctl", "stop")
    assert status_of(tmp_path)["state"] == "stopping"
    assert server.get().closes
    ctl_output(tmp_path, "-s", "ctl", "stop")  # as a second TERM
    assert server.wait_exit() == 0


def test_a_waiting_reload_is_told_of_the_stop(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--control-socket", "ctl")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    with start_ctl(tmp_path, "-s", "ctl", "reload") as waiting:
        wait_for(lambda: status_of(tmp_path)["state"] == "reloading", "the reload to begin")
        server.wait_log("Booting worker", count=2)
        server.kill(signal.SIGINT)
        assert "the server is stopping" in waiting.communicate(timeout=PATIENCE)[1]
    assert waiting.returncode == 1
    assert server.wait_exit() == 0


# ---- rates --------------------------------------------------------------------------------------


def test_rates(server):
    def busy():
        for _ in range(20):
            server.get()
        status = status_of(server.dir)
        return status if status["requests_per_s"] > 0 else None

    assert all(w["p50_ms"] is None for w in status_of(server.dir)["workers"])
    status = wait_for(busy, "a rate")
    assert 0 < status["p50_ms"] <= status["p99_ms"] < 1000 * PATIENCE
    workers = status["workers"]
    total = sum(w["requests_per_s"] for w in workers)
    # all requests over the longest of their times; rounded
    assert total / 10 < status["requests_per_s"] <= total + 0.2
    for w in workers:
        assert (w["requests_per_s"] > 0) == (w["p99_ms"] is not None)
        assert w["rss_bytes"] > 100_000 and 0 <= w["cpu_percent"] < 1000
    wait_for(lambda: status_of(server.dir)["requests_per_s"] == 0, "the rate to fall again")
    assert status_of(server.dir)["p99_ms"] is None
    assert sum(w["requests"] for w in status_of(server.dir)["workers"]) >= 20


def test_rates_of_a_spinning_worker(gcorn, tmp_path):
    server = gcorn("faulty", "--control-socket", "ctl", "--timeout", "0")
    server.ask("/spin")
    wait_for(lambda: status_of(tmp_path)["workers"][0]["cpu_percent"] > 10, "its CPU time")
    worker = status_of(tmp_path)["workers"][0]
    assert worker["in_flight"] == 1 and worker["request"]["target"] == "/spin"
    server.kill(signal.SIGINT)


def test_top_while_all_workers_spin(gcorn, tmp_path):
    server = gcorn("faulty", "--workers", "5", "--control-socket", "ctl", "--timeout", "0")

    def all_spin():
        client = server.connect()
        client.send(request("/spin"))
        return all(w["state"] == "calling" for w in status_of(tmp_path)["workers"])

    wait_for(all_spin, "all workers to spin")

    def seconds():
        start = time.monotonic()
        status = json.loads(ctl_output(tmp_path, "-s", "ctl", "top", "--once", "--json"))
        assert len(status["workers"]) == 5
        return time.monotonic() - start
    # 7 ms on an idle machine of two cores, where 50 are promised
    wait_for(lambda: seconds() < 0.05 * SLOWER, "an answer within 50 ms")
    server.kill(signal.SIGINT)


def test_top_once_in_words(server):
    held = Held(server)
    out = ctl_output(server.dir, "-s", "ctl", "top", "--once")
    assert "\x1b" not in out
    assert re.search(rf"^gcorn +\S+, serving, pid {server.pid}, up ", out, re.M)
    assert re.search(r"^requests +[\d.]+/s, p50 \S+ ms, p99 \S+ ms, 1 in flight$", out, re.M)
    assert re.search(r"^workers +2, wanted 2$", out, re.M)
    table = out[out.index("WORKER"):].splitlines()
    assert re.split("  +", table[0]) == ["WORKER", "PID", "GEN", "PHASE", "STATE", "REQ/S", "P50 MS",
                                         "P99 MS", "CPU %", "RSS MIB", "REQUEST"]
    assert len(table) == 3
    assert re.search(r"calling .* GET /hold for \d+ m?s$", out, re.M)
    held.let_go()
    assert ctl(server.dir, "-s", "ctl", "top")[1].startswith("gcorn ")  # no terminal: once
    assert json.loads(ctl_output(server.dir, "-s", "ctl", "top", "--json"))["pid"] == server.pid


# ---- workers, reopen, config --------------------------------------------------------------------


def test_workers_changes_how_many_are_wanted(server):
    def change(*words):
        return json.loads(ctl_output(server.dir, "-s", "ctl", "--json", "workers", *words))

    assert ctl_output(server.dir, "-s", "ctl", "workers", "+1") == (
        "workers wanted: 3, until a reload (the setting is 2)\n")
    server.wait_workers(3)
    assert change("-2") == {"ok": True, "workers_wanted": 1, "workers_setting": 2}
    server.wait_workers(1)
    assert change("set", "4")["workers_wanted"] == 4
    server.wait_workers(4)
    assert change("+0")["workers_wanted"] == 4
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert status_of(server.dir)["workers_wanted"] == 2
    server.wait_workers(2)


@pytest.mark.parametrize("words, why", [
    (["-2"], "cannot go below 1"), (["set", "0"], "cannot go below 1"),
    (["+31"], "this master has room for 32 workers; after a change of the setting workers, gcornctl "
              "upgrade, or USR2 and then TERM, makes room for more"),
    (["set", "999999"], "this master has room for 32 workers"),
    (["+99999999999"], "needs +N, -N or set N"),
], ids=" ".join)
def test_workers_outside_the_range_are_refused(server, words, why):
    status, out, err = ctl(server.dir, "-s", "ctl", "workers", *words)
    assert (status, out) == (1, "") and why in err
    assert status_of(server.dir)["workers_wanted"] == 2


def test_workers_of_a_stopping_server(server):
    held = Held(server)
    ctl_output(server.dir, "-s", "ctl", "stop")
    status, _, err = ctl(server.dir, "-s", "ctl", "workers", "+1")
    assert status == 1 and "the server is stopping" in err
    held.let_go()
    assert server.wait_exit() == 0


def test_reopen(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl", "--access-logfile", "access")
    server.get("/before")
    wait_for(lambda: "/before" in (tmp_path / "access").read_text(), "the line")
    (tmp_path / "access").rename(tmp_path / "access.1")
    assert ctl_output(tmp_path, "-s", "ctl", "reopen") == "the log files are reopened\n"
    assert (tmp_path / "access").read_text() == ""
    wait_for(lambda: server.get("/after") and "/after" in (tmp_path / "access").read_text(),
             "a line in the new file")


def test_reopen_that_fails(gcorn, tmp_path):
    (tmp_path / "logs").mkdir()
    server = gcorn("hello", "--control-socket", "ctl", "--access-logfile", "logs/access")
    (tmp_path / "logs").rename(tmp_path / "moved")
    status, out, err = ctl(tmp_path, "-s", "ctl", "reopen")
    assert (status, out) == (1, "") and "logs/access" in err
    server.get("/kept")
    wait_for(lambda: "/kept" in (tmp_path / "moved/access").read_text(), "the line in the old file")


def test_config_names_source_and_former_value(gcorn, tmp_path):
    settings = {"workers": 1, "bind": "127.0.0.1:0", "control_socket": "ctl", "timeout": "7s"}
    write_config(tmp_path, raw_env="[PASSWORD=hunter2]", **settings)
    gcorn("hello", "--backlog", "99", bare=True)

    def rows():
        out = ctl_output(tmp_path, "-s", "ctl", "--json", "config")
        assert "hunter" not in out
        return {row["key"]: row for row in json.loads(out)["settings"]}

    first = rows()
    assert first["timeout"] == {"key": "timeout", "value": "7s", "origin": "gunicorn-c.yaml:5",
                                "is_secret": False, "is_changed": False, "was": None}
    assert first["backlog"]["value"] == 99 and first["backlog"]["origin"] == "command line"
    assert first["keepalive"]["origin"] == "default"
    assert first["raw_env"]["is_secret"] is True and first["raw_env"]["value"] is None
    assert not any(row["is_changed"] for row in first.values())
    settings["timeout"] = "9s"
    write_config(tmp_path, raw_env="[PASSWORD=hunter3]", **settings)
    ctl_output(tmp_path, "-s", "ctl", "reload")
    now = rows()
    assert (now["timeout"]["value"], now["timeout"]["was"]) == ("9s", "7s")
    assert {key for key, row in now.items() if row["is_changed"]} == {"timeout", "raw_env"}
    assert now["raw_env"]["was"] is None
    out = ctl_output(tmp_path, "-s", "ctl", "config")
    assert re.search(r"^timeout: 9s +# gunicorn-c.yaml:5; at the start 7s$", out, re.M)
    assert re.search(r"^# raw_env: not shown +# gunicorn-c.yaml:\d+; at the start another value$", out, re.M)
    assert "hunter" not in out
    (tmp_path / "shown.yaml").write_text(out)
    printed = run("-c", "shown.yaml", "--print-config", cwd=tmp_path)
    assert printed.returncode == 0 and re.search(r"^timeout: 9s ", printed.stdout, re.M)
    assert re.search(r"^backlog: 99 ", printed.stdout, re.M)


def test_config_values_are_json_values(gcorn, tmp_path):
    """As the file has them: numbers, booleans, texts, lists and null. As words, they make a file."""
    write_config(tmp_path, workers=1, bind="['127.0.0.1:0']", control_socket="ctl", keepalive=0,
                 timeout="1500ms", umask="022", worker_class="gthread", proc_name="'no \\ \"x\"'",
                 crash_redact="off", forwarded_allow_ips="[]", proxy_allow_ips="'10.0.0.1, ::1'",
                 limit_request_line=5000, limit_request_body="1MiB")
    gcorn("hello", bare=True)
    values = {row["key"]: row["value"] for row in
              json.loads(ctl_output(tmp_path, "-s", "ctl", "--json", "config"))["settings"]}
    wanted = {"workers": 1, "bind": ["127.0.0.1:0"], "keepalive": 0, "timeout": "1500ms",
              "umask": "022", "worker_class": "gthread", "proc_name": 'no \\ "x"',
              "crash_redact": False, "forwarded_allow_ips": [], "limit_request_line": 5000,
              "proxy_allow_ips": ["10.0.0.1", "::1"], "limit_request_body": "1MiB",
              "accesslog": None, "sendfile": True, "raw_env": None}
    assert {key: values[key] for key in wanted} == wanted
    (tmp_path / "shown.yaml").write_text(ctl_output(tmp_path, "-s", "ctl", "config"))
    (tmp_path / "json.yaml").write_text("".join(
        f"{key}: {json.dumps(value)}\n" for key, value in values.items() if key != "raw_env"))
    made = [[line.split("#")[0].rstrip() for line in
             run("-c", name, "--print-config", cwd=tmp_path).stdout.splitlines()]
            for name in ("gunicorn-c.yaml", "shown.yaml", "json.yaml")]
    assert all(any(line.startswith(f"{key}: ") for line in made[0]) for key in wanted)
    application = [line for line in made[1] if line.startswith("wsgi_app: ")]
    made[0] = application + made[0][1:]
    assert made[0] == made[1] == made[2]


# ---- json in every case -------------------------------------------------------------------------


@pytest.mark.parametrize("words, status, why", [
    (["-s", "absent"], 4, "cannot reach the server at absent: No such file or directory"),
    (["-s", "dead"], 4, "cannot reach the server at dead: Connection refused"),
    (["-s", "x" * 200], 4, "cannot reach the server at x+: File name too long"),
    ([], 2, "no control socket: give -s SOCKET, .*"),
    (["--timeout", "1s", "-s", "silent"], 4, "no answer from the server at silent: it does not respond"),
], ids=["absent", "dead", "too long", "unknown", "silent"])
@pytest.mark.parametrize("command", ["status", "top", "config", "reload", "dump", "stop"])
def test_json_is_the_answer_without_a_server(tmp_path, command, words, status, why):
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as dead:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        dead.bind(str(tmp_path / "dead"))
        found, out, err = ctl(tmp_path, *words, "--json", command)
    answer = json.loads(out)
    assert (found, err, out.count("\n")) == (status, "", 1)
    assert answer["ok"] is False and set(answer) == {"ok", "error"}
    why = why.replace("does not respond", "takes longer than --timeout") if command in ("reload", "dump") else why
    assert re.fullmatch(why, answer["error"])


@pytest.mark.parametrize("words", [["stats"], ["reload", "now"], [], ["status", "--once"]])
def test_json_is_the_answer_to_a_wrong_command(tmp_path, words):
    status, out, err = ctl(tmp_path, "--json", *words)
    assert (status, err, json.loads(out)["ok"]) == (2, "", False)


@pytest.mark.parametrize("part", [b"", b'{"ok": true, "workers": [{"pid": 1}', b"nonsense\n",
                                  b'{"ok": true}\n{"ok": true}\n'])
def test_json_of_an_answer_that_is_cut_off(tmp_path, part):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        with start_ctl(tmp_path, "-s", "ctl", "--json", "status") as process:
            peer = other.accept()[0]
            peer.recv(100)
            peer.sendall(part)
            peer.close()
            out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (4, "")
    assert json.loads(out)["ok"] is False


# ---- patience -----------------------------------------------------------------------------------


def test_a_reload_that_takes_longer_than_timeout(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--control-socket", "ctl")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    status, out, err = ctl(tmp_path, "-s", "ctl", "--timeout", "200ms", "reload")
    assert (status, out) == (4, "") and "it takes longer" in err
    assert status_of(tmp_path)["state"] == "reloading"
    server.kill(signal.SIGINT)


def test_a_server_that_is_stopped(server):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for command in ("status", "reload"):
            start = time.monotonic()
            status, out, err = ctl(server.dir, "-s", "ctl", command, "--timeout", "300ms")
            assert (status, out) == (4, "") and "no answer from the server at ctl" in err
            assert time.monotonic() - start >= 0.3
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert status_of(server.dir)["state"] in ("serving", "reloading")


def test_reload_of_a_stopped_server_times_out(server):
    """Without a timeout: a long reload is waited for, a dead master is not."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with start_ctl(server.dir, "-s", "ctl", "reload") as process:
            out, err = process.communicate(timeout=10 + PATIENCE)
        assert (process.returncode, out) == (4, "") and "it does not respond" in err
    finally:
        os.kill(server.pid, signal.SIGCONT)


# ---- the live screen ----------------------------------------------------------------------------


class Screen:
    """gcornctl on a pseudo-terminal."""

    ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"

    def __init__(self, directory, *args, rows=24, columns=100, env=None):
        self.rows = None
        self.terminal, self.tty = pty.openpty()
        self.resize(rows, columns)
        self.found = termios.tcgetattr(self.tty)
        self.text = ""

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [GCORNCTL, *map(str, args)], cwd=directory, preexec_fn=take_terminal,
            env=clean_environment({"TERM": "xterm", "NO_COLOR": "", **(env or {})}),
            stdin=self.tty, stdout=self.tty, stderr=self.tty)

    def resize(self, rows, columns):
        self.rows = max(rows, 2)  # it draws no less
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.terminal, keys.encode())

    def read(self):
        while select.select([self.terminal], [], [], 0)[0]:
            self.text += os.read(self.terminal, 65536).decode("utf-8", "replace")
        return self.text

    def wait(self, pattern, after=0):
        """A match in what has come since."""
        try:
            return wait_for(lambda: re.search(pattern, self.read()[after:]),
                            f"{pattern!r} on the screen")
        except AssertionError:
            print(repr(self.text[after:]), Process(self.process.pid).state)
            raise

    def frames(self, after=0):
        """The whole pictures, each a list of lines without what is no text."""
        pictures = self.read()[after:].split("\x1b[H")[1:]
        if pictures and not (pictures[-1].endswith("\x1b[K")
                             and pictures[-1].count("\n") == self.rows - 1):
            pictures.pop()  # it is still coming
        return [[re.sub(r"\x1b\[[\d?]*[A-Za-z]|\r", "", line) for line in picture.split("\n")]
                for picture in pictures]

    def wait_frame(self, is_it, what, after=0):
        return wait_for(lambda: next((f for f in self.frames(after) if is_it(f)), None), what)

    @property
    def is_raw(self):
        return not termios.tcgetattr(self.tty)[3] & termios.ICANON

    def assert_restored(self):
        assert termios.tcgetattr(self.tty) == self.found
        text = self.read()
        assert text.count(self.ENTERED) == text.count(self.LEFT)
        assert text.count("\x1b[?25l") == text.count("\x1b[?25h")
        assert text.count("\x1b[?7l") == text.count("\x1b[?7h")

    def end(self):
        status = self.process.wait(PATIENCE)
        self.assert_restored()
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)
        os.close(self.tty)


@pytest.fixture
def screen(server):
    """gcornctl top, when it has drawn its first picture."""
    made = []

    def show(*args, **options):
        made.append(Screen(server.dir, "-s", "ctl", "top", *args, **options))
        made[-1].wait("q quit")
        return made[-1]

    yield show
    for each in made:
        each.close()


def test_screen(server, screen):
    live = screen(rows=20, columns=100)
    assert live.is_raw and live.text.startswith(Screen.ENTERED)
    frame = live.wait_frame(lambda f: True, "a picture")
    assert len(frame) == 20 and all(len(line) <= 100 for line in frame)
    assert re.match(rf"gcorn +\S+, serving, pid {server.pid}, up ", frame[0])
    title = next(i for i, line in enumerate(frame) if line.startswith("WORKER"))
    assert [line.split()[1] for line in frame[title + 1:title + 3]] == [
        str(w["pid"]) for w in status_of(server.dir)["workers"]]
    assert frame[title + 3] == "" and frame[-1].startswith("q quit")
    held = Held(server)  # it is live
    live.wait_frame(lambda f: any(re.search(r"calling .* GET /hold for ", line) for line in f),
                    "the request")
    held.let_go()
    live.press("q")
    assert live.end() == 0


def test_screen_is_redrawn_when_resized(screen):
    live = screen(rows=24, columns=100)
    mark = len(live.read())
    live.resize(8, 30)
    frame = live.wait_frame(lambda f: len(f) == 8, "a small picture", after=mark)
    assert all(len(line) <= 30 for line in frame)
    assert re.match(r"\.\.\. and \d+ more", frame[6])
    live.resize(1, 1)
    live.wait_frame(lambda f: max(map(len, f)) <= 16 and len(f) == 2, "a tiny one", after=mark)
    live.resize(40, 200)
    frame = live.wait_frame(lambda f: len(f) == 40, "a great one", after=mark)
    assert any(line.startswith("WORKER") and line.endswith("REQUEST") for line in frame)
    live.press("q")
    assert live.end() == 0


def test_screen_sorts(server, screen):
    live = screen()
    held = Held(server)
    pid = next(w["pid"] for w in status_of(server.dir)["workers"] if w["request"])
    for key, name in ("r", "requests"), ("c", "CPU"), ("m", "memory"), ("t", "time of request"):
        mark = len(live.read())
        live.press(key)
        live.wait(f"by {name};", after=mark)
    # its number may be the first or the second
    live.wait_frame(lambda f: any(re.match(r"WORKER", a) and f" {pid} " in b
                                  for a, b in zip(f, f[1:])), "the longest request first",
                    after=mark)
    live.press("xyn")
    live.wait("by number;", after=mark)
    held.let_go()
    live.press("q")
    assert live.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_screen_ends_by_a_signal(screen, number):
    live = screen()
    assert live.is_raw
    os.kill(live.process.pid, number)
    assert live.end() == -number


def test_screen_ends_by_control_c(screen):
    live = screen()
    live.press("\x03")
    assert live.end() == -signal.SIGINT


def test_screen_is_suspended_and_resumed(screen):
    live = screen()
    live.press("\x1a")
    wait_for(lambda: Process(live.process.pid).state == "T", "it to stop")
    live.assert_restored()
    mark = len(live.read())
    os.kill(live.process.pid, signal.SIGCONT)
    live.wait("q quit", after=mark)
    assert live.is_raw and Screen.ENTERED in live.text[mark:]
    live.press("q")
    assert live.end() == 0


def test_screen_while_the_server_is_stopped(server, screen):
    live = screen()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        live.wait("it does not respond")
        live.press("c")
        live.press("q")
        assert live.end() == 0
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_screen_outlives_the_server(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl")
    live = Screen(tmp_path, "-s", "ctl", "top")
    try:
        live.wait("q quit")
        server.stop()
        live.wait("cannot reach the server at ctl: No such file")
        mark = len(live.read())
        again = gcorn("hello", "--control-socket", tmp_path / "ctl")
        live.wait(f"pid {again.pid}, ", after=mark)
        live.wait("q quit", after=mark)
        live.press("q")
        assert live.end() == 0
    finally:
        live.close()


def test_screen_escapes_control_bytes(tmp_path):
    request = {"method": "GET", "target": "/\x9b7m\x1b[31m\n\u20ac", "ms": 1}
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        live = Screen(tmp_path, "-s", "ctl", "top", columns=200)
        try:
            peer = other.accept()[0]
            peer.sendall(json.dumps({"ok": True, "workers": [{"request": request}]}).encode())
            peer.close()
            live.wait(r"GET /\\x9b7m\\x1b\[31m\\x0a\u20ac for 1 ms")
            assert "\x9b" not in live.text and "\x1b[31m" not in live.text
            live.press("q")
            assert live.end() == 0
        finally:
            live.close()


def test_screen_colours(screen):
    live = screen()
    assert "\x1b[7mWORKER" in live.text
    plain = screen(env={"NO_COLOR": "1"})
    plain.wait("WORKER")
    assert not re.search(r"\x1b\[[\d;]*m", plain.text)


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_terminal_without_screen(server, name):
    """It is printed once."""
    live = Screen(server.dir, "-s", "ctl", "top", env={"TERM": name})
    try:
        assert live.end() == 0
        assert live.text.startswith("gcorn ") and "\x1b" not in live.text
    finally:
        live.close()


def test_no_screen_without_a_server(tmp_path):
    live = Screen(tmp_path, "-s", "ctl", "top")
    try:
        assert live.end() == 4
        assert "cannot reach the server" in live.text and "\x1b" not in live.text
    finally:
        live.close()


# ---- the socket ---------------------------------------------------------------------------------


def test_no_file_by_default(gcorn, tmp_path):
    gcorn("hello")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stderr", "stdout"]


def test_the_mode_whatever_the_umask(gcorn, tmp_path):
    gcorn("hello", "--control-socket", "ctl", "--umask", "0")
    mode = os.stat(tmp_path / "ctl").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_a_stale_socket_is_replaced(gcorn, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "ctl"))
        dead.listen()
    server = gcorn("hello", "--control-socket", "ctl")
    assert status_of(tmp_path)["pid"] == server.pid
    server.stop()
    assert not (tmp_path / "ctl").exists()


def test_a_living_servers_socket_is_not_stolen(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl")
    other = run("-b", "127.0.0.1:0", "--control-socket", "ctl", server.command[-1], cwd=tmp_path)
    assert other.returncode == 4
    assert "control_socket: cannot bind unix:ctl: already in use by another server" in other.stderr
    assert status_of(tmp_path)["pid"] == server.pid


@pytest.mark.parametrize("path", ["/nonexistent/ctl", "stderr"], ids=["no directory", "a file"])
def test_control_socket_that_cannot_be_bound_is_exit_4(tmp_path, path):
    (tmp_path / "stderr").write_text("kept")
    failed = run("-b", "127.0.0.1:0", "--control-socket", path, "app.so:handler", cwd=tmp_path)
    assert failed.returncode in (3, 4)  # 3: there is no app.so, and it may be looked for first
    failed = run("-b", "127.0.0.1:0", "--control-socket", path,
                 f"{BUILD}/examples/hello.so:handler", cwd=tmp_path)
    assert failed.returncode == 4 and f"cannot bind unix:{path}" in failed.stderr
    assert (tmp_path / "stderr").read_text() == "kept"


def test_the_file_of_a_successor_stays(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl")
    (tmp_path / "ctl").unlink()
    (tmp_path / "ctl").write_text("another's")
    assert server.stop() == 0
    assert (tmp_path / "ctl").read_text() == "another's"


def test_workers_do_not_hold_the_socket(gcorn, probe, tmp_path):
    """With the master it ends at once, also while a worker still finishes."""
    server = gcorn(probe, "--control-socket", "ctl")
    held = Held(server)
    server.kill(signal.SIGKILL)
    server.process.wait(PATIENCE)
    status, _, err = ctl(tmp_path, "-s", "ctl", "status")
    assert status == 4 and "Connection refused" in err
    held.go.touch()


def test_the_socket_is_kept_over_a_reload(server):
    inode = os.stat(server.dir / "ctl").st_ino
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert os.stat(server.dir / "ctl").st_ino == inode


def test_a_reload_changes_the_socket(gcorn, tmp_path):
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="one")
    server = gcorn("hello", bare=True)
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="two")
    assert ctl_output(tmp_path, "-s", "one", "reload") == "reloaded: generation 2 serves\n"
    assert not (tmp_path / "one").exists()
    assert stat.S_IMODE(os.stat(tmp_path / "two").st_mode) == 0o600
    assert status_of(tmp_path, "two")["generation"] == 2
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="/nonexistent/three")
    status, _, err = ctl(tmp_path, "-s", "two", "reload")
    assert status == 1 and "control_socket: cannot bind unix:/nonexistent/three" in err
    assert status_of(tmp_path, "two")["generation"] == 2
    write_config(tmp_path, workers=1, bind="127.0.0.1:0")
    ctl_output(tmp_path, "-s", "two", "reload")
    assert not (tmp_path / "two").exists()
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="four")
    server.kill(signal.SIGHUP)
    wait_for((tmp_path / "four").exists, "a socket again")
    assert status_of(tmp_path, "four")["pid"] == server.pid


def test_a_reload_that_fails_opens_no_socket(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="one")
    gcorn("app.so:handler", bare=True)
    install(tmp_path / "app.so", app("hooks", "-DREFUSES"))
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="two")
    assert ctl(tmp_path, "-s", "one", "reload")[0] == 1
    assert not (tmp_path / "two").exists()
    assert status_of(tmp_path, "one")["generation"] == 1


def test_runtime_directory(gcorn, tmp_path):
    (tmp_path / "run").mkdir()
    env = {"RUNTIME_DIRECTORY": f"{tmp_path}/run:{tmp_path}/other"}
    server = gcorn("hello", env=env)
    assert stat.S_IMODE(os.stat(tmp_path / "run" / "gcorn.ctl").st_mode) == 0o600
    assert json.loads(ctl_output(tmp_path, "--json", "status", env=env))["pid"] == server.pid
    other = gcorn("hello", env=env)  # the second of the same directory goes without
    assert len(other.wait_log(r"\[WARNING\] control_socket: .*already in use.*", count=1).group()) > 0
    assert other.log().count("control_socket") == 1
    assert json.loads(ctl_output(tmp_path, "--json", "status", env=env))["pid"] == server.pid
    assert server.stop() == 0
    assert not list((tmp_path / "run").iterdir())


def test_runtime_directory_that_is_not_there(gcorn, tmp_path):
    server = gcorn("hello", env={"RUNTIME_DIRECTORY": f"{tmp_path}/none"})
    assert server.log().count("control_socket") == 1
    assert server.get().status == 200


def test_no_socket_in_spite_of_runtime_directory(gcorn, tmp_path):
    gcorn("hello", env={"RUNTIME_DIRECTORY": str(tmp_path), "GCORN_CONTROL_SOCKET": ""})
    assert not (tmp_path / "gcorn.ctl").exists()


@ROOT_ONLY
def test_another_user_is_refused(gcorn):
    """Even when the file's mode was opened to him."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        server = gcorn("hello", "--control-socket", directory / "ctl")

        def ask_as(user):
            script = ("import os, socket, sys\n"
                      "os.setuid(int(sys.argv[2]))\n"
                      "s = socket.socket(socket.AF_UNIX)\n"
                      "s.connect(sys.argv[1])\n"
                      "try: s.send(b'stop\\n')\n"
                      "except OSError: pass\n"
                      "print(s.recv(1000).decode())\n")
            return subprocess.run(["/usr/bin/python3", "-c", script, directory / "ctl", str(user)],
                                  capture_output=True, text=True, check=False, timeout=PATIENCE)

        assert "PermissionError" in ask_as(65534).stderr  # the mode
        (directory / "ctl").chmod(0o666)
        answer = json.loads(ask_as(65534).stdout)
        assert answer == {"ok": False,
                          "error": "only root and the user of the server may ask it"}
        server.wait_log(r"Control socket: pid \d+ of user 65534 was refused")
        assert status_of(directory)["state"] == "serving"
    finally:
        server.stop()
        shutil.rmtree(directory)


def test_the_protocol(server):
    assert ask_control(server.dir / "ctl", b"status\n")["pid"] == server.pid
    assert ask_control(server.dir / "ctl", b"stats\n") == {"ok": False,
                                                   "error": "no such command: stats"}
    assert ask_control(server.dir / "ctl", b"status all\n")["ok"] is False
    assert ask_control(server.dir / "ctl", b"\n")["ok"] is False
    with pytest.raises((ConnectionError, json.JSONDecodeError)):
        # more than is read: the answer may be lost, as in any such quarrel
        assert ask_control(server.dir / "ctl", b"x" * 100000)["ok"] is False
        raise ConnectionResetError
    assert ask_control(server.dir / "ctl", b"status\n")["state"] == "serving"


def test_many_clients_at_once(server):
    clients = []
    for _ in range(40):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(server.dir / "ctl"))  # waits while the backlog is full
        client.settimeout(PATIENCE)
        clients.append(client)
    refused = json.loads(clients[-1].recv(1000))
    assert refused["ok"] is False and "too many" in refused["error"]
    clients[0].sendall(b"status\n")
    assert clients[0].recv(1000).startswith(b'{"ok": true')
    assert server.get().status == 200
    for client in clients:
        client.close()
    wait_for(lambda: ctl(server.dir, "-s", "ctl", "status")[0] == 0, "room again")


# ---- gcornctl itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("args", [
    [], ["stauts"], ["status", "reload"], ["--what", "status"], ["-s"], ["-s", "ctl"],
    ["-s", "ctl", "workers"], ["-s", "ctl", "workers", "3"], ["-s", "ctl", "workers", "set"],
    ["-s", "ctl", "workers", "set", "-1"], ["-s", "ctl", "workers", "+1", "+1"],
    ["-s", "ctl", "workers", "set", "1", "2"], ["-s", "ctl", "status", "-1"],
    ["-s", "ctl", "--once", "status"], ["-s", "ctl", "--timeout", "0", "status"],
    ["-s", "ctl", "--timeout", "soon", "status"], ["-s", "ctl", "top", "--"] + ["--once"],
], ids=" ".join)
def test_bad_usage(tmp_path, args):
    status, out, err = ctl(tmp_path, *args)
    assert (status, out) == (2, "") and err


def test_no_socket_is_known(tmp_path):
    status, _, err = ctl(tmp_path, "status")
    assert status == 2 and "control_socket" in err


@pytest.mark.parametrize("name", ["ctl", "dead", "x" * 200])
def test_no_server(tmp_path, name):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    for command in ("status", "reload", "stop"):
        status, out, err = ctl(tmp_path, "-s", name, command)
        assert (status, out) == (4, "") and "cannot reach the server at" in err


def test_a_server_that_hangs_up(tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        with start_ctl(tmp_path, "-s", "ctl", "status") as process:
            other.accept()[0].close()
            assert "no answer" in process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 4


@pytest.mark.parametrize("command", ["status", "top", "config", "reload"])
@pytest.mark.parametrize("answer, status", [
    (b"nonsense", 4), (b"[]", 1), (b'{"ok": true, "workers": [1, null, {"pid": "x"}]}', 0),
    (b'{"ok": true, "workers": [{"rss_bytes": "x", "p50_ms": {}, "request": 1, "cpu_percent": -1}]}',
     0), (b'{"ok": true, "workers": 1, "settings": [2, {"key": 3, "is_changed": true}]}', 0),
    (b'{"ok": false}', 1), (b'{"ok": false, "error": 3}', 1),
])
def test_an_answer_of_another_kind(tmp_path, command, answer, status):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        with start_ctl(tmp_path, "-s", "ctl", command) as process:
            peer = other.accept()[0]
            peer.recv(100)
            peer.sendall(answer)
            peer.close()
            process.communicate(timeout=PATIENCE)
        assert process.returncode == status


def test_help_and_version(tmp_path):
    for flag in ("-h", "--help"):
        assert "usage: gcornctl" in ctl_output(tmp_path, flag)
    for flag in ("-v", "--version"):
        assert re.fullmatch(r"gcornctl \d+\.\d+\.\d+\n(libraries: jansson [\d.]+|left out: jansson .*)\n"
                            r"compiler: .* for \w+, running with .+\noptions: -O.*\n", ctl_output(tmp_path, flag))


@pytest.mark.parametrize("how", ["option", "variable", "file", "file and chdir"])
def test_where_the_socket_is_named(gcorn, tmp_path, how):
    (tmp_path / "sub").mkdir()
    path = "sub/ctl" if how != "file and chdir" else "ctl"
    settings = {"workers": 1, "bind": "127.0.0.1:0"}
    if how.startswith("file"):
        settings["control_socket"] = path
    if how == "file and chdir":
        settings["chdir"] = "sub"
    write_config(tmp_path, **settings)
    args = ["--control-socket", path] if how == "option" else []
    env = {"GCORN_CONTROL_SOCKET": path} if how == "variable" else None
    server = gcorn("hello", *args, bare=True, env=env)
    assert (tmp_path / "sub" / "ctl").exists()
    words = ["-s", path] if how == "option" else []
    assert json.loads(ctl_output(tmp_path, *words, "--json", "status", env=env))["pid"] == server.pid
