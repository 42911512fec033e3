"""What replaces workers: recycling, reloads that are checked, stops that are announced; and that
nothing done to an application's files reaches a running worker."""
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from harness import (APPS, GCORN, PATIENCE, REPO, Held, can_bind, example, install, pid_of,
                     wait_for, write_config)


# ---- recycling ----------------------------------------------------------------------------------


def test_max_requests_replaces_a_worker_before_it_leaves(gcorn, probe):
    server = gcorn(probe, "--max-requests", "5")
    first = pid_of(server)
    client, answer = server.connect(), None
    while not answer or int(answer.text) == first:
        if answer and answer.closes:
            client = server.connect()
        answer = client.get("/pid")
    assert server.wait_log(r"is to be replaced: max_requests")
    assert "failed" not in server.log()
    wait_for(lambda: first not in server.worker_pids, "the first worker to leave")


def test_max_requests_jitter_spreads_the_ends(gcorn, probe):
    server = gcorn(probe, "--max-requests", "3", "--max-requests-jitter", "1000000")
    first = pid_of(server)
    for _ in range(20):
        assert pid_of(server) == first


def test_recycling_goes_one_worker_at_a_time(gcorn, probe):
    server = gcorn(probe, "--max-requests", "10", "--workers", "3")
    for _ in range(200):
        assert server.get("/pid").status == 200
        assert len(server.worker_pids) <= 3 + 3  # never more leave than serve
    wait_for(lambda: server.log().count("max_requests") >= 3, "three to be replaced")


def test_max_memory_replaces_a_worker_that_grows(gcorn, probe):
    server = gcorn("faulty", "--max-memory", "64MiB")
    first = server.worker_pids
    assert server.get("/leak?mb=100").status == 200
    server.wait_log(r"is to be replaced: max_memory \(\d+ MiB\)")
    wait_for(lambda: not server.worker_pids & first, "the worker to be replaced")
    assert server.get("/").status == 200


# ---- reloads ------------------------------------------------------------------------------------


def test_canary_with_a_bad_answer_fails_the_reload(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    write_config(tmp_path, reload_check_path="/version")
    server = gcorn("app.so:handler")
    workers = server.worker_pids
    shutil.copy(f"{os.environ['GCORN_BUILD']}/examples/faulty.so", tmp_path / "new.so")
    os.rename(tmp_path / "new.so", tmp_path / "app.so")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: reload_check_path /version was answered 404")
    assert server.get("/version").text == "one"
    wait_for(lambda: server.worker_pids == workers, "the canary to leave")

    install(tmp_path / "app.so", app("probe", '-DVERSION="two"'))
    mark = server.mark()
    server.kill(signal.SIGHUP)
    server.wait_log(r"Application: build-id \w+ -> \w+", after=mark)
    wait_for(lambda: server.get("/version").text == "two", "the new code")


def test_canary_that_crashes_fails_the_reload(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    write_config(tmp_path, reload_check_path="/segv")
    server = gcorn("app.so:handler")
    install(tmp_path / "app.so", f"{os.environ['GCORN_BUILD']}/examples/faulty.so")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: it was killed by SIG")
    assert server.get("/version").text == "one"


def test_reloads_in_a_row_do_not_pile_up_processes(gcorn, probe):
    server = gcorn(probe, "--workers", "2")
    idle = []
    for generation in range(2, 7):
        idle += [server.connect() for _ in range(4)]
        for client in idle[-4:]:
            assert client.get("/pid").status == 200
        server.kill(signal.SIGHUP)
        server.wait_log(rf"Reloaded: generation \d+ -> {generation},")
        assert len(server.worker_pids) <= 2 + 2 * 2
    wait_for(lambda: len(server.worker_pids) <= 2 + 2, "the hurried ones to leave")


def test_idle_connection_survives_a_reload_for_one_request(gcorn, probe):
    server = gcorn(probe)
    client = server.connect()
    old = client.get("/pid").text
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reloaded: generation 1 -> 2")
    wait_for(lambda: server.get("/pid").text != old, "the new worker")
    answers = []

    def says_close():
        answers.append(client.get("/pid"))  # the order may still be on its way to it
        return answers[-1].closes

    wait_for(says_close, "an answer that says close")
    assert {answer.text for answer in answers} == {old}
    client.assert_closed()
    wait_for(lambda: int(old) not in server.worker_pids, "the old worker to leave")


def test_a_queue_whose_address_is_dropped_is_served(gcorn, probe, tmp_path):
    """Connections that wait at an address which a reload gives up are answered before it goes."""
    write_config(tmp_path, bind=f'["127.0.0.1:0", "unix:{tmp_path}/side.sock"]')
    server = gcorn(probe, "--workers", "1", bare=True)
    held = Held(server)
    waiting = []
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{tmp_path}/side.sock")
        client.sendall(b"GET /pid HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        waiting.append(client)
    write_config(tmp_path, bind='["127.0.0.1:0"]')
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reloaded: generation 1 -> 2")
    assert held.let_go().status == 200
    for client in waiting:
        client.settimeout(5)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


# ---- stopping -----------------------------------------------------------------------------------


def test_drain_delay_goes_on_serving_and_says_close(gcorn, probe):
    server = gcorn(probe, "--drain-delay", "60s", "--workers", "2")
    client = server.connect()
    assert not client.get("/pid").closes
    server.kill(signal.SIGTERM)
    server.wait_log("Draining: stopping in 60000 ms")
    wait_for(lambda: server.get("/pid").closes, "answers to say close")
    wait_for(lambda: client.get("/pid").closes, "the other worker to hear of it, if it is that one")
    server.kill(signal.SIGTERM)  # a second one skips what is left of it
    assert server.wait_exit() == 0


def test_drain_delay_ends_by_itself(gcorn, probe):
    server = gcorn(probe, "--drain-delay", "100ms")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


# ---- orphans ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["idle", "in a call"])
def test_the_address_is_free_when_the_master_is_killed(gcorn, probe, state):
    """Also when a call hangs, and when a client keeps a connection."""
    server = gcorn(probe, "--keepalive-drain", "30s")
    kept = server.connect()
    kept.get("/pid")
    held = Held(server) if state == "in a call" else None
    port = server.port
    server.kill(signal.SIGKILL)
    server.process.wait()

    wait_for(lambda: can_bind(port), "the address to be free, long before keepalive_drain is over")
    if held:
        assert held.let_go().status == 200
        held.client.close()
    wait_for(lambda: not server.left_over(), "the worker to leave")


# ---- libraries that the application brings ------------------------------------------------------


def build_private(directory, text, soname=True):
    """app.so with libs/libprivate.so.1, found through $ORIGIN, answering text."""
    libs = directory / "libs"
    libs.mkdir(exist_ok=True)
    source = directory / "private.c"
    source.write_text(f'const char *private_text(void);\nconst char *private_text(void) '
                      f'{{ return "{text}"; }}\n')
    name = ["-Wl,-soname,libprivate.so.1"] if soname else []
    subprocess.run(["cc", "-shared", "-fPIC", *name, "-o", libs / "new.so", source], check=True)
    os.rename(libs / "new.so", libs / "libprivate.so.1")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{REPO}/include", "-o", directory / "new.so",
                    f"{APPS}/withlib.c", "-L", libs, "-l:libprivate.so.1",
                    "-Wl,-rpath,$ORIGIN/libs", "-Wl,--enable-new-dtags"], check=True)
    os.rename(directory / "new.so", directory / "app.so")


def test_private_libraries_are_copied_too(gcorn, tmp_path):
    build_private(tmp_path, "one")
    server = gcorn("app.so:handler")
    assert server.get().text == "one"
    # the library alone is overwritten in place: no worker sees it, not even a new one
    with open(tmp_path / "libs/libprivate.so.1", "r+b") as library:
        library.truncate()
        library.write(b"nonsense")
    assert server.get().text == "one"
    old = server.worker_pids
    os.kill(min(old), signal.SIGKILL)
    server.wait_workers(1, other_than=old)
    assert server.get().text == "one"
    # a reload sees it, and is called off
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: \S*libprivate\.so\.1 is not a shared object")
    assert server.get().text == "one"
    build_private(tmp_path, "two")
    server.kill(signal.SIGHUP)
    wait_for(lambda: server.get().text == "two", "the new library")


def test_private_library_without_soname_is_logged(gcorn, tmp_path):
    build_private(tmp_path, "one", soname=False)
    server = gcorn("app.so:handler")
    assert server.get().text == "one"
    assert "has no SONAME" in server.log()


def test_an_application_being_written_is_refused(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("probe", '-DVERSION="one"'))
    server = gcorn("app.so:handler")
    whole = (tmp_path / "app.so").read_bytes()
    (tmp_path / "half").write_bytes(whole[:len(whole) // 2])
    os.rename(tmp_path / "half", tmp_path / "app.so")
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reload failed: \./app\.so is not whole: is it being written\?")
    assert server.get("/version").text == "one"


# ---- release directories, containers ------------------------------------------------------------


def test_symlinked_release_directory_is_read_at_each_reload(gcorn, app, tmp_path):
    """current -> releases/1: the start's directory is remembered by its name, as $PWD has it."""
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        install(tmp_path / number / "app.so", app("probe", f'-DVERSION="{number}"'))
        write_config(tmp_path / number, keepalive=f"{number}0s")
    os.symlink("1", tmp_path / "current")
    server = gcorn("app.so:handler", directory=tmp_path / "current",
                   env={"PWD": f"{tmp_path}/current"})
    server.error_log, server.output = server.error_log.resolve(), server.output.resolve()
    assert server.get("/version").text == "1"
    os.symlink("2", tmp_path / "new")
    os.rename(tmp_path / "new", tmp_path / "current")
    mark = server.mark()
    server.kill(signal.SIGHUP)
    server.wait_log(r"Reloaded: generation 1 -> 2, keepalive 10s -> 20s", after=mark)
    wait_for(lambda: server.get("/version").text == "2", "the new release")


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_absolute_paths_outlive_the_start_directory(gcorn, app, tmp_path, how):
    release, shared = tmp_path / "release", tmp_path / "shared"
    release.mkdir()
    shared.mkdir()
    install(shared / "app.so", app("probe", '-DVERSION="1"'))
    server = gcorn(f"{shared}/app.so:handler", "--access-logfile", shared / "access",
                   "--pid", shared / "pid", "--control-socket", shared / "ctl", directory=release)
    os.rename(server.error_log, shared / "stderr")  # the server has it open
    server.error_log, server.output = shared / "stderr", shared / "stdout"
    os.rename(release / "stdout", server.output)
    if how == "removed":
        release.rmdir()
    else:
        os.rename(release, tmp_path / "old")
        write_config(tmp_path / "old", keepalive="1s")
    for version in ("2", "3"):
        install(shared / "app.so", app("probe", f'-DVERSION="{version}"'))
        mark, old = server.mark(), server.worker_pids
        server.kill(signal.SIGHUP)
        server.wait_log(rf"WARNING\] The directory of the start, {release}, is gone", after=mark)
        server.wait_log(r"Reloaded: generation \d -> \d, no setting changed", after=mark)
        server.wait_workers(1, other_than=old)
        assert server.get("/version").text == version
    server.kill(signal.SIGUSR1)
    assert server.get("/version").text == "3"
    assert server.stop() == 0


@pytest.mark.parametrize("args, why", [
    (["--access-logfile", "access"], "access"), (["--pid", "pid"], "pid"),
    (["-c", "conf.yaml"], "conf.yaml: cannot be read"), ([], "gunicorn-c.yaml: it was in")])
def test_relative_paths_fail_without_the_start_directory(gcorn, app, tmp_path, args, why):
    """Also the settings that a file there held: the defaults are not what anybody chose."""
    release = tmp_path / "release"
    release.mkdir()
    name = "conf.yaml" if "-c" in args else "gunicorn-c.yaml" if not args else "other.yaml"
    write_config(release, keepalive="33s")
    os.rename(release / "gunicorn-c.yaml", release / name)
    server = gcorn(f"{app('probe')}:handler", *args, directory=release)
    old = server.worker_pids
    os.rename(release, tmp_path / "old")
    server.error_log, server.output = tmp_path / "old/stderr", tmp_path / "old/stdout"
    server.kill(signal.SIGHUP)
    assert why in server.wait_log("Reload failed: (.*)").group(1)
    assert server.worker_pids == old and server.get().status == 200
    os.rename(tmp_path / "old", release)
    server.error_log, server.output = release / "stderr", release / "stdout"
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> ")


PID_1 = """
import os, re, signal, subprocess, sys, time
log = open("log", "w+")
early = os.fork()                         # ended before gcorn can have heard of it
if early == 0:
    os._exit(4)
os.waitid(os.P_PID, early, os.WEXITED | os.WNOWAIT)
pid = os.fork()
if pid:                                   # pid 1 becomes gcorn
    os.dup2(log.fileno(), 2)
    os.execv(sys.argv[1], sys.argv[1:])
stranger = os.fork()
if stranger == 0:                         # an orphan, which pid 1 must reap
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(3)
    open("orphan", "w").write(str(grandchild))
    os._exit(0)
os.waitpid(stranger, 0)
deadline = time.monotonic() + 20
def until(condition):
    while not condition():
        if time.monotonic() > deadline:
            os.kill(1, signal.SIGTERM)
            sys.exit("too late")
        os.sched_yield()
until(lambda: re.search(r"Booting worker", open("log").read()))
until(lambda: not os.path.exists("/proc/" + open("orphan").read()))
until(lambda: not os.path.exists(f"/proc/{early}"))
os.kill(1, signal.SIGTERM)
"""


def test_process_one_reaps_orphans_and_stops_on_term(tmp_path):
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.getuid() != 0 or subprocess.run([*namespace, "true"], check=False,
                                          capture_output=True).returncode != 0:
        pytest.skip("needs root and namespaces")
    (tmp_path / "driver.py").write_text(PID_1)
    done = subprocess.run([*namespace, sys.executable, "driver.py", GCORN, "-w", "1", "-b",
                           "127.0.0.1:0", example("hello")],
                          cwd=tmp_path, timeout=4 * PATIENCE, check=False, capture_output=True,
                          text=True)
    log = (tmp_path / "log").read_text()
    assert (done.returncode, done.stderr) == (0, ""), log
    assert "Shutting down: Master" in log
    assert "code 3" not in log  # the end of an orphan is not logged
    assert sorted(path.name for path in tmp_path.iterdir()) == ["driver.py", "log", "orphan"]
