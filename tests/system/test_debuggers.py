# SPDX-License-Identifier: MIT
"""Debuggers and profilers on a worker that serves: each shows the application's functions and
lines. The worker runs a private copy of the application: in memory, which gdb finds by the loader's
name for it, or in app_copy_dir, for tools that read the file of a mapping."""
import ctypes
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import (GCORN, PRELOAD_OR_NOT, ROOT_ONLY, SANITIZED, Client, Process,
                     clean_environment, install, run, wait_for)

PATIENCE = 60  # seconds; a tool reads the symbols of every library
SLOW_WHEN_SANITIZED = pytest.mark.skipif(SANITIZED, reason="the tools are slow on such programs")


@pytest.fixture
def forker(app):
    return app("forker")


def gdb(pid, *commands):
    """What gdb prints, attached to the process."""
    words = ["gdb", "-nx", "-batch", "-p", str(pid)]
    for command in ("set debuginfod enabled off", "set pagination off"):
        words[2:2] = ["-iex", command]
    for command in commands:
        words += ["-ex", command]
    done = subprocess.run(words, text=True, capture_output=True, stdin=subprocess.DEVNULL,
                          check=False, timeout=PATIENCE)
    return done.stdout + done.stderr


def spinning(server):
    """A client whose request turns in spin(), and the worker."""
    client = server.ask("/spin")
    worker, = server.workers
    cpu_s = worker.cpu_s
    wait_for(lambda: Process(worker.pid).cpu_s > cpu_s + 0.1, "the worker to spin")
    return client, worker


def assert_has_symbols(text):
    assert re.search(r"^#\d+ .*spin \(\) at \S*forker\.c:\d+", text, re.M), text
    assert re.search(r"^#\d+ .*handler \(env=0x\w+.* at \S*forker\.c:\d+", text, re.M), text


@SLOW_WHEN_SANITIZED
@pytest.mark.needs("gdb")
@PRELOAD_OR_NOT
def test_gdb_on_a_worker_shows_functions_and_lines(gcorn, forker, flags):
    server = gcorn(f"{forker}:handler", "-t", "300", *flags)
    client, worker = spinning(server)
    text = gdb(worker.pid, "bt")
    (server.dir / "go").touch()
    assert client.response().status == 200
    assert_has_symbols(text)


@SLOW_WHEN_SANITIZED
@pytest.mark.needs("gdb")
def test_gdb_on_a_worker_whose_template_is_gone_shows_lines(gcorn, forker):
    server = gcorn(f"{forker}:handler", "-t", "300", "--preload")
    template, = server.templates
    os.kill(template.pid, signal.SIGKILL)
    server.wait_log(r"the template process was killed by SIGKILL")
    client, worker = spinning(server)
    text = gdb(worker.pid, "bt")
    (server.dir / "go").touch()
    assert client.response().status == 200
    assert_has_symbols(text)


@SLOW_WHEN_SANITIZED
@pytest.mark.needs("gdb")
@PRELOAD_OR_NOT
def test_gdb_follows_a_child_of_the_application(gcorn, forker, flags):
    server = gcorn(f"{forker}:handler", "-t", "300", *flags)
    worker, = server.workers
    words = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(worker.pid),
             "-ex", "set follow-fork-mode child", "-ex", "break in_child", "-ex", "continue",
             "-ex", "bt", "-ex", "detach"]
    with subprocess.Popen(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as debugger:
        wait_for(lambda: worker.status("TracerPid") == str(debugger.pid), "gdb", PATIENCE)
        client = server.connect(timeout=PATIENCE)
        assert client.get("/").text == f"status {7 << 8}\n"
        text = debugger.communicate(timeout=PATIENCE)[0]
    assert re.search(r"^#0 .*in_child \(\) at \S*forker\.c:\d+", text, re.M), text
    assert re.search(r"^#\d+ .*handler \(env=0x\w+.* at \S*forker\.c:\d+", text, re.M), text


@SLOW_WHEN_SANITIZED
@pytest.mark.needs("perf")
@PRELOAD_OR_NOT
def test_perf_with_app_copy_dir_shows_functions(gcorn, forker, tmp_path, flags):
    (tmp_path / "copies").mkdir()
    server = gcorn(f"{forker}:handler", "-t", "300", "--app-copy-dir", "copies", *flags)
    client, worker = spinning(server)
    data = tmp_path / "perf.data"
    with subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-o", data, "-p",
                           str(worker.pid)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as perf:
        wait_for(lambda: data.exists() and Process(perf.pid).state == "S", "perf", PATIENCE)
        cpu_s = Process(worker.pid).cpu_s
        wait_for(lambda: Process(worker.pid).cpu_s > cpu_s + 0.5, "samples", PATIENCE)
        perf.send_signal(signal.SIGINT)
        said = perf.communicate(timeout=PATIENCE)[0]
    (server.dir / "go").touch()
    assert client.response().status == 200
    done = subprocess.run(["perf", "report", "--stdio", "-i", data, "--sort", "symbol"], text=True,
                          capture_output=True, check=False, timeout=PATIENCE)
    assert re.search(r"\d\d\.\d+%.* spin\b", done.stdout, re.M), (done.stdout, done.stderr, said)


@SLOW_WHEN_SANITIZED
@pytest.mark.needs("valgrind")
def test_valgrind_with_app_copy_dir_shows_lines(gcorn, forker, tmp_path):
    (tmp_path / "copies").mkdir()
    server = gcorn(f"{forker}:handler", "--app-copy-dir", "copies", "--boot-timeout", "300", ready=0,
                   wrapper=["valgrind", "--log-file=valgrind.%p"])
    wait_for(lambda: re.search(r"Booting worker", server.log()), "a worker", PATIENCE)
    server.wait_log(r"Listening at: .*\n")
    server._find_address()  # pylint: disable=protected-access
    client = server.connect(timeout=PATIENCE)
    assert client.get("/overrun").status == 200
    assert server.stop() == 0
    text = "".join(path.read_text() for path in tmp_path.glob("valgrind.*"))
    assert re.search(r"Invalid read of size 1\n.*at 0x\w+: overrun \(forker\.c:\d+\)\n"
                     r".*by 0x\w+: handler \(forker\.c:\d+\)", text), text


# ---- app_copy_dir -------------------------------------------------------------------------------


def copies(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*.so*"))


def test_copies_live_as_long_as_their_generation(gcorn, app, tmp_path):
    (tmp_path / "copies").mkdir()
    install(tmp_path / "app.so", app("table"))
    server = gcorn("app.so:handler", "--app-copy-dir", "copies")
    old = server.worker_pids
    assert copies(tmp_path / "copies") == [f"{server.pid}-1/app.so"]
    copy = tmp_path / "copies" / f"{server.pid}-1" / "app.so"
    assert copy.stat().st_mode & 0o7777 == 0o444
    install(tmp_path / "app.so", app("probe"))
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=old)
    wait_for(lambda: copies(tmp_path / "copies") == [f"{server.pid}-2/app.so"], "the old copy to go")
    worker, = server.workers
    maps = Path(f"/proc/{worker.pid}/maps").read_text()
    assert f"{tmp_path}/copies/{server.pid}-2/app.so\n" in maps
    assert server.stop() == 0
    assert os.listdir(tmp_path / "copies") == []


def test_copies_of_a_killed_server_are_removed(gcorn, app, tmp_path):
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "keep-me").touch()
    application = f"{app('table')}:handler"
    first = gcorn(application, "--app-copy-dir", tmp_path / "copies")
    worker, = first.workers
    first.kill(signal.SIGKILL)
    first.wait_exit()
    wait_for(lambda: not Process(worker.pid).is_alive, "the worker of the killed master to end")
    assert copies(tmp_path / "copies") == [f"{first.pid}-1/table.so"]
    second = gcorn(application, "--app-copy-dir", tmp_path / "copies")
    third = gcorn(application, "--app-copy-dir", tmp_path / "copies")
    assert copies(tmp_path / "copies") == sorted(
        f"{server.pid}-1/table.so" for server in (second, third))
    assert (tmp_path / "copies" / "keep-me").exists()


@pytest.mark.parametrize("flags", [(), ("--check-config",)])
def test_a_missing_copy_dir_is_named(app, tmp_path, flags):
    done = run(*flags, "-b", "127.0.0.1:0", "--app-copy-dir", "nowhere",
               f"{app('table')}:handler", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "app_copy_dir: cannot open the directory nowhere: No such file" in done.stderr


@ROOT_ONLY
def test_the_workers_user_reads_the_copies(public_dir, gcorn, app):
    (public_dir / "copies").mkdir(mode=0o755)
    install(public_dir / "app.so", app("table"))
    server = gcorn("app.so:handler", "--app-copy-dir", "copies", "--user", "nobody",
                   "--umask", "0077", directory=public_dir)
    assert server.get("/").status == 200


# ---- systems without memfd_create, without /proc ------------------------------------------------

WARNING = "the application is loaded from its file, not from a private copy"


class _Filter(ctypes.Structure):  # pylint: disable=too-few-public-methods
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):  # pylint: disable=too-few-public-methods
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Filter))]


def forbid_memfd_create():
    """As a seccomp profile of a container does: EPERM."""
    number = {"x86_64": 319, "aarch64": 279}[os.uname().machine]
    code = (_Filter * 4)(_Filter(0x20, 0, 0, 0),         # the system call's number
                         _Filter(0x15, 0, 1, number),    # is it this one?
                         _Filter(0x06, 0, 0, 0x50001),   # EPERM
                         _Filter(0x06, 0, 0, 0x7fff0000))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(4, code)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()


def test_without_memfd_create_the_file_is_loaded(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("table"))
    server = gcorn("app.so:handler", preexec=forbid_memfd_create)
    server.wait_log(rf"\[WARNING\] memfd_create: Operation not permitted: {WARNING}")
    before = server.worker_pids
    assert server.get("/").status == 200
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=before)
    assert server.get("/").status == 200
    assert server.log().count(WARNING) == 1


def test_without_memfd_create_an_upgrade_works(gcorn, app):
    server = gcorn(f"{app('table')}:handler", "--control-socket", "ctl", preexec=forbid_memfd_create)
    server.kill(signal.SIGUSR2)
    found = server.wait_log(r"the new master \(pid:(\d+)\) serves as well")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    server.is_succeeded_by(int(found.group(1)))
    assert server.get("/").status == 200


@ROOT_ONLY
@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer needs /proc")
@pytest.mark.needs("unshare")
@PRELOAD_OR_NOT
def test_without_proc_the_file_is_loaded(gcorn, app, tmp_path, flags):
    install(tmp_path / "app.so", app("table"))
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    server = gcorn("app.so:handler", *flags, wrapper=hide)
    assert server.get("/").status == 200
    server.wait_log(rf"\[WARNING\] /proc/self/fd: No such file or directory: {WARNING}")
    assert server.log().count(WARNING) == 1


@ROOT_ONLY
def test_pid_namespace_with_the_outer_proc_is_served(app, tmp_path):
    install(tmp_path / "app.so", app("table"))
    words = ["unshare", "--pid", "--fork", "--kill-child", GCORN, "-w", "1", "-b", "unix:sock",
             "app.so:handler"]
    with open(tmp_path / "log", "ab") as log, subprocess.Popen(
            words, cwd=tmp_path, stdout=log, stderr=log, env=clean_environment()) as process:
        try:
            wait_for(lambda: "Booting worker" in (tmp_path / "log").read_text(), "a worker")
            with Client(str(tmp_path / "sock")) as client:
                assert client.get("/").status == 200
        finally:
            process.kill()
    assert WARNING not in (tmp_path / "log").read_text()


# ---- missing libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--check-config",), ("--preload",)])
def test_a_missing_library_is_named(tmp_path, flags):
    for name, source, options in (("libgone.so.1", "int gone(void) { return 1; }\n", []),
                                  ("app.so", "int gone(void); void *handler(void)"
                                   "{ return gone() ? (void *)0 : (void *)1; }\n", ["libgone.so.1"])):
        (tmp_path / "x.c").write_text(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", name, "x.c", *options,
                        f"-Wl,-soname,{name}"], cwd=tmp_path, check=True)
    shutil.move(tmp_path / "libgone.so.1", tmp_path / "elsewhere")
    done = run(*flags, "-b", "127.0.0.1:0", "app.so:handler", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "./app.so needs the library libgone.so.1, which is not found" in done.stderr
