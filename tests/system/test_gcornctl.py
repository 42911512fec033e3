# SPDX-License-Identifier: MIT
"""The control socket and gcornctl: what they tell, what they do, and to whom."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from server import BUILD, PATIENCE, clean_environment, run, wait_for
from test_master import ROOT_ONLY, Held, install, write_config

GCORNCTL = str(BUILD / "gcornctl")


def start_ctl(directory, *args, env=None):
    """gcornctl, without waiting for it."""
    return subprocess.Popen([GCORNCTL, *map(str, args)], cwd=directory, text=True,
                            env=clean_environment(env), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ctl(directory, *args, env=None):
    """gcornctl run to its end: status, output, errors."""
    with start_ctl(directory, *args, env=env) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def done(directory, *args, env=None):
    status, out, err = ctl(directory, *args, env=env)
    assert (status, err) == (0, ""), f"{status}: {out}{err}"
    return out


def status_of(directory, name="ctl"):
    return json.loads(done(directory, "-s", name, "--json", "status"))


def ask(path, line):
    """The raw protocol."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(line)
        answer = b""
        while data := client.recv(65536):
            answer += data
    return json.loads(answer)


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


def test_status_in_words(server):
    held = Held(server)
    out = done(server.dir, "-s", "ctl", "status")
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
    client.send("GET /hold?name=held HTTP/1.1\r\nHost: t\r\n\r\n")
    wait_for((server.dir / "held.running").exists, "the request to run")
    for args in (["--json", "status"], ["status"]):
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
    assert done(server.dir, "-s", "ctl", "reload") == "reloaded: generation 2 serves\n"
    status = status_of(server.dir)
    ready = [w for w in status["workers"] if w["phase"] == "ready"]
    assert [w["number"] for w in ready] == [0, 1]
    assert all(w["generation"] == 2 and w["pid"] not in old for w in ready)
    assert all(w["generation"] == 2 or w["phase"] == "retiring" for w in status["workers"])
    assert status["state"] == "serving" and status["build_id"] != before
    assert status["last_reload"]["ok"] is True and status["last_reload"]["generation"] == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["last_reload"]["at"])
    assert {server.get("/version").text for _ in range(10)} == {"two"}
    assert json.loads(done(server.dir, "-s", "ctl", "--json", "reload")) == {
        "ok": True, "generation": 3}


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
                     done(server.dir, "-s", "ctl", "status"), re.M)


def test_a_reload_with_broken_settings_tells_why(server):
    (server.dir / "gunicorn-c.yaml").write_text("wokers: 1\n")
    status, _, err = ctl(server.dir, "-s", "ctl", "reload")
    assert status == 1 and 'did you mean "workers"' in err
    (server.dir / "gunicorn-c.yaml").unlink()
    done(server.dir, "-s", "ctl", "reload")


def test_each_reload_gets_its_own_outcome(gcorn, app, tmp_path):
    """One that is asked for while another is under way waits for a later one, whose files are those
    of the moment; also when the first one fails."""
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler", "--control-socket", "ctl", "--boot-timeout", "1s")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    with start_ctl(tmp_path, "-s", "ctl", "reload") as first:
        wait_for(lambda: status_of(tmp_path)["state"] == "reloading", "the reload to begin")
        install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
        with start_ctl(tmp_path, "-s", "ctl", "reload") as second, \
             start_ctl(tmp_path, "-s", "ctl", "reload") as third:
            assert "boot_timeout" in first.communicate(timeout=PATIENCE)[1]
            outs = [p.communicate(timeout=PATIENCE)[0] for p in (second, third)]
    assert [p.returncode for p in (first, second, third)] == [1, 0, 0]
    assert outs[0] == "reloaded: generation 3 serves\n"
    assert server.get("/version").text == "two"


def test_a_worker_that_does_not_boot_after_the_first_fails_the_reload(gcorn, app, tmp_path):
    """The new generation serves, but nobody waits for ever for all of it."""
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


def test_who_does_not_wait_for_the_reload_harms_nothing(server):
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.dir / "ctl"))
            client.sendall(b"reload\n")
    done(server.dir, "-s", "ctl", "reload")
    assert server.get().status == 200


# ---- stop ---------------------------------------------------------------------------------------


def test_stop(server):
    held = Held(server)
    assert done(server.dir, "-s", "ctl", "stop") == "the server is stopping\n"
    wait_for(lambda: status_of(server.dir)["state"] == "stopping", "the state")
    status, _, err = ctl(server.dir, "-s", "ctl", "reload")
    assert status == 1 and "the server is stopping" in err
    assert held.let_go().status == 200
    assert server.wait_exit() == 0
    assert not (server.dir / "ctl").exists()


def test_stop_observes_drain_delay(gcorn, tmp_path):
    server = gcorn("hello", "--control-socket", "ctl", "--drain-delay", "1h")
    done(tmp_path, "-s", "ctl", "stop")
    assert status_of(tmp_path)["state"] == "stopping"
    assert server.get().closes
    done(tmp_path, "-s", "ctl", "stop")  # as a second TERM
    assert server.wait_exit() == 0


def test_a_waiting_reload_is_told_of_the_stop(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe"))
    server = gcorn("app.so:handler", "--control-socket", "ctl")
    install(tmp_path / "app.so", app("hooks", "-DSTUCK"))
    with start_ctl(tmp_path, "-s", "ctl", "reload") as waiting:
        wait_for(lambda: status_of(tmp_path)["state"] == "reloading", "the reload to begin")
        server.kill(signal.SIGINT)
        assert "the server is stopping" in waiting.communicate(timeout=PATIENCE)[1]
    assert waiting.returncode == 1
    assert server.wait_exit() == 0


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
def test_a_socket_that_cannot_be_had_is_exit_4(tmp_path, path):
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
    done(server.dir, "-s", "ctl", "reload")
    assert os.stat(server.dir / "ctl").st_ino == inode


def test_a_reload_changes_the_socket(gcorn, tmp_path):
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="one")
    server = gcorn("hello", bare=True)
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="two")
    assert done(tmp_path, "-s", "one", "reload") == "reloaded: generation 2 serves\n"
    assert not (tmp_path / "one").exists()
    assert stat.S_IMODE(os.stat(tmp_path / "two").st_mode) == 0o600
    assert status_of(tmp_path, "two")["generation"] == 2
    write_config(tmp_path, workers=1, bind="127.0.0.1:0", control_socket="/nonexistent/three")
    status, _, err = ctl(tmp_path, "-s", "two", "reload")
    assert status == 1 and "control_socket: cannot bind unix:/nonexistent/three" in err
    assert status_of(tmp_path, "two")["generation"] == 2
    write_config(tmp_path, workers=1, bind="127.0.0.1:0")
    done(tmp_path, "-s", "two", "reload")
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
    assert json.loads(done(tmp_path, "--json", "status", env=env))["pid"] == server.pid
    other = gcorn("hello", env=env)  # the second of the same directory goes without
    assert len(other.wait_log(r"\[WARNING\] control_socket: .*already in use.*", count=1).group()) > 0
    assert other.log().count("control_socket") == 1
    assert json.loads(done(tmp_path, "--json", "status", env=env))["pid"] == server.pid
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
    assert ask(server.dir / "ctl", b"status\n")["pid"] == server.pid
    assert ask(server.dir / "ctl", b"stats\n") == {"ok": False,
                                                   "error": "no such command: stats"}
    assert ask(server.dir / "ctl", b"status all\n")["ok"] is False
    assert ask(server.dir / "ctl", b"\n")["ok"] is False
    with pytest.raises((ConnectionError, json.JSONDecodeError)):
        # more than is read: the answer may be lost, as in any such quarrel
        assert ask(server.dir / "ctl", b"x" * 100000)["ok"] is False
        raise ConnectionResetError
    assert ask(server.dir / "ctl", b"status\n")["state"] == "serving"


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


@pytest.mark.parametrize("answer, status", [
    (b"nonsense", 4), (b"[]", 1), (b'{"ok": true, "workers": [1, null, {"pid": "x"}]}', 0),
    (b'{"ok": false}', 1), (b'{"ok": false, "error": 3}', 1),
])
def test_an_answer_of_another_kind(tmp_path, answer, status):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        with start_ctl(tmp_path, "-s", "ctl", "status") as process:
            peer = other.accept()[0]
            peer.recv(100)
            peer.sendall(answer)
            peer.close()
            process.communicate(timeout=PATIENCE)
        assert process.returncode == status


def test_help_and_version(tmp_path):
    for flag in ("-h", "--help"):
        assert "usage: gcornctl" in done(tmp_path, flag)
    for flag in ("-v", "--version"):
        assert re.fullmatch(r"gcornctl \d+\.\d+\.\d+\n", done(tmp_path, flag))


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
    assert json.loads(done(tmp_path, *words, "--json", "status", env=env))["pid"] == server.pid
