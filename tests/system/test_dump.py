# SPDX-License-Identifier: MIT
"""gcornctl dump: what workers do, seen from outside, and that they do not notice."""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import (APPS, PATIENCE, ROOT_ONLY, Process, children, ctl, ctl_output, install,
                     missing, request, start_ctl, wait_for)


@pytest.fixture(scope="module")
def stuck(app):
    return app("stuck", "-pthread")


@pytest.fixture
def server(gcorn, stuck, tmp_path):
    """Two workers of apps/stuck.c."""
    install(tmp_path / "app.so", stuck)
    return gcorn("app.so:handler", "--workers", "2", "--control-socket", "ctl")


def dumps_of(directory, *args):
    answer = json.loads(ctl_output(directory, "-s", "ctl", "--json", "dump", *args))
    assert answer["ok"] is True
    return answer["dumps"]


def dump_of(directory, pid):
    dumps = dumps_of(directory, pid)
    assert [d["pid"] for d in dumps] == [pid]
    return dumps[0]["text"]


@pytest.fixture
def stacks(server):
    """Skips where gcorn was built without libdw; the server."""
    if "built without libdw" in dumps_of(server.dir)[0]["text"]:
        missing("gcorn is built without libdw")
    return server


class Stuck:
    """A request that a worker of the server hangs in, until the file "go" is there."""

    def __init__(self, server, path, shows):
        self.server = server
        self.client = server.connect()
        self.client.send(request(path))
        self.pid, self.text = wait_for(lambda: self._find(shows), f"{shows} in a dump")

    def _find(self, shows):
        return next(((d["pid"], d["text"]) for d in dumps_of(self.server.dir)
                     if re.search(shows, d["text"])), None)

    def let_go(self):
        (self.server.dir / "go").touch()
        assert self.client.response().status == 200


def frame_of(text, function):
    """The module, and the offset in it, of a function's frame."""
    found = re.search(rf"^  #\d+ {function}\+0x[0-9a-f]+(?: at \S+:\d+)? \((\S+)\+0x([0-9a-f]+)\)$",
                      text, re.M)
    assert found, text
    return found[1], int(found[2], 16)


def addr2line(path, offset):
    return subprocess.run(["addr2line", "-f", "-e", path, hex(offset)], text=True,
                          capture_output=True, check=True).stdout


# ---- what it shows ------------------------------------------------------------------------------


def test_every_thread_of_every_worker(server):
    dumps = dumps_of(server.dir)
    assert [d["number"] for d in sorted(dumps, key=lambda d: d["number"])] == [0, 1]
    assert {d["pid"] for d in dumps} == server.worker_pids
    for d in dumps:
        pid, text = d["pid"], d["text"]
        assert text.startswith(f'process {pid} "gcorn", 3 threads\n'), text
        assert re.search(rf'^thread {pid} "gcorn": .*; user \d+ ms, system \d+ ms$', text, re.M)
        assert len(re.findall(r"^thread \d+ ", text, re.M)) == 3
        assert re.search(r"^stopped for \d+ ms$", text, re.M)
        assert re.search(r"^  #\d+ .*\(libc.so.6\+0x[0-9a-f]+\)$", text, re.M)


def test_stacks_of_the_threads(stacks):
    for d in dumps_of(stacks.dir):
        for function in ("sit_in_poll", "sit_in_nanosleep"):
            assert re.search(rf" {function}\+0x[0-9a-f]+ at \S*apps/stuck.c:\d+ \(app.so\+0x",
                             d["text"]), d["text"]
        assert re.search(r" main\+0x.*\(gcorn\+0x", d["text"])


def test_dump_disturbs_no_request(server):
    """The threads' poll and nanosleep are not interrupted, and requests are answered."""
    pids = server.worker_pids
    for _ in range(10):
        dumps_of(server.dir)
        assert server.get("/others").text == "0"
    for pid in pids:
        wait_for(lambda pid=pid: Process(pid).state != "t", "it to go on")
        assert Process(pid).status("TracerPid") == "0"
    answers = [server.get("/others").text for _ in range(20)]
    assert set(answers) == {"0"} and server.worker_pids == pids
    assert not re.search(r"WARNING|ERROR|CRITICAL", server.log())


def test_hung_in_a_loop(stacks):
    hung = Stuck(stacks, "/loop", r" spin\+0x")
    text = wait_for(lambda: (t := dump_of(stacks.dir, hung.pid))
                    and re.search(rf"^thread {hung.pid} .*: running; user [1-9]", t, re.M) and t,
                    "it to be seen running")
    assert re.search(r" spin\+0x[0-9a-f]+ at \S*apps/stuck.c:\d+ ", text)
    assert re.search(r" handler\+0x[0-9a-f]+ at \S*apps/stuck.c:\d+ ", text)
    hung.let_go()


def test_hung_in_read(stacks):
    os.mkfifo(stacks.dir / "fifo")
    writer = os.open(stacks.dir / "fifo", os.O_RDWR)  # the worker's open returns
    hung = Stuck(stacks, "/read", r" read_fifo\+0x")
    assert re.search(rf'^thread {hung.pid} "gcorn": sleeping.*; user', hung.text, re.M)
    os.write(writer, b"x")
    hung.let_go()
    os.close(writer)


def test_a_stripped_application(gcorn, stuck, tmp_path):
    """Module and offset are enough to find the line with a file that is not stripped."""
    subprocess.run(["strip", "-o", tmp_path / "app.so", stuck], check=True)
    server = gcorn("app.so:handler", "--control-socket", "ctl")
    hung = Stuck(server, "/loop", r"(?s)(?=.*( handler\+0x|without libdw)).*: running; user .*\(app.so\+0x")
    if "built without libdw" not in hung.text:
        assert " at " not in frame_line(hung.text, "handler")
        module, offset = frame_of(hung.text, "handler")
        assert module == "app.so"
        assert re.match(r"handler\n\S*apps/stuck.c:\d+", addr2line(stuck, offset - 1))
    offsets = [int(o, 16) for o in re.findall(r"\(app.so\+0x([0-9a-f]+)\)", hung.text)]
    assert any(addr2line(stuck, o).startswith(("spin\n", "read_fifo\n", "handler\n"))
               for o in offsets)
    hung.let_go()


def frame_line(text, function):
    return next(line for line in text.splitlines() if f" {function}+0x" in line)


def test_private_libraries_and_replaced_files(gcorn, tmp_path):
    """What was loaded is shown, wherever it came from and whatever lies there now."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "wait.c").write_text(
        "#include <unistd.h>\n"
        "const char *private_text(void);\n"
        "const char *private_text(void)\n"
        "{\n"
        '    while (access("go", F_OK) < 0)\n'
        "        usleep(1000);\n"
        '    return "done";\n'
        "}\n")
    library = tmp_path / "lib" / "libprivate.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-g", "-O1", "-Wl,-soname,libprivate.so.1", "-o", library,
                    tmp_path / "wait.c"], check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-g", "-O1", f"-I{APPS.parents[2]}/include", "-o",
                    tmp_path / "app.so", APPS / "withlib.c", "-L", tmp_path / "lib",
                    "-l:libprivate.so.1", "-Wl,-rpath,$ORIGIN/lib"], check=True)
    server = gcorn("app.so:handler", "--control-socket", "ctl")
    library.write_bytes(b"no ELF file")
    (tmp_path / "app.so").unlink()
    hung = Stuck(server, "/", r"\(libprivate.so.1\+0x")
    if "built without libdw" not in hung.text:
        assert re.search(r" private_text\+0x[0-9a-f]+ at \S*wait.c:[56] \(libprivate", hung.text)
        assert re.search(r" handler\+0x[0-9a-f]+ at \S*withlib.c:\d+ \(app.so", hung.text)
    hung.let_go()


# ---- gcornctl -----------------------------------------------------------------------------------


def test_dump_in_words(server):
    pid = min(server.worker_pids)
    out = ctl_output(server.dir, "-s", "ctl", "dump", pid)
    assert re.match(rf'worker [01], generation 1\nprocess {pid} "gcorn", 3 threads\nthread ', out)
    assert len(re.findall("^worker ", ctl_output(server.dir, "-s", "ctl", "dump"), re.M)) == 2


@pytest.mark.parametrize("word, error", [
    ("1", "no worker has this pid"), ("0", "dump takes the pid of a worker"),
])
def test_dump_of_an_unknown_pid_is_refused(server, word, error):
    assert ctl(server.dir, "-s", "ctl", "dump", word) == (1, "", f"gcornctl: dump: {error}\n")


def test_dump_of_the_master_is_refused(server):
    assert ctl(server.dir, "-s", "ctl", "dump", server.pid)[0] == 1


def test_dump_with_bad_arguments_is_refused(server):
    assert ctl(server.dir, "-s", "ctl", "dump", "x")[0] == 2
    assert ctl(server.dir, "-s", "ctl", "dump", "1", "2")[0] == 2
    assert ctl(server.dir, "-s", "ctl", "status", "1")[0] == 2


def test_many_dumps_at_once_are_answered(server):
    """Each is answered: with stacks, or that there are too many."""
    asked = [start_ctl(server.dir, "-s", "ctl", "dump") for _ in range(12)]
    answers = [(process.communicate(timeout=PATIENCE), process.returncode) for process in asked]
    for (out, err), status in answers:
        assert (status == 0 and "stopped for" in out) or "too many" in err
    assert any(status == 0 for _, status in answers)
    assert server.get("/others").text == "0"
    wait_for(lambda: len(children(server.pid)) == 2, "the helpers to be gone")


def test_workers_that_die_meanwhile(server):
    """The answer comes all the same."""
    for _ in range(5):
        before = server.wait_workers(2)
        with start_ctl(server.dir, "-s", "ctl", "--json", "dump") as process:
            os.kill(before[0].pid, signal.SIGKILL)
            out, _ = process.communicate(timeout=PATIENCE)
        answer = json.loads(out)
        assert answer["ok"] is True
        assert before[1].pid in [d["pid"] for d in answer["dumps"]]
        wait_for(lambda: before[0].pid not in server.worker_pids, "it to be gone")


def test_a_server_that_stops_meanwhile(server):
    with start_ctl(server.dir, "-s", "ctl", "dump") as process:
        server.kill(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    # answered, cut off, or asked when the workers had left already
    assert process.returncode in (0, 4) or (process.returncode == 1 and "no worker" in err)
    assert server.wait_exit() == 0


# ---- users --------------------------------------------------------------------------------------


@pytest.fixture
def public_app(stuck):
    """A directory with app.so in it that everybody may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    install(directory / "app.so", stuck)
    (directory / "app.so").chmod(0o644)
    yield directory
    shutil.rmtree(directory)


@ROOT_ONLY
def test_workers_of_another_user(public_app, gcorn):
    server = gcorn("app.so:handler", "--user", "nobody", "--control-socket", public_app / "ctl",
                   directory=public_app)
    text = dumps_of(public_app)[0]["text"]
    assert "stopped for" in text
    if "built without libdw" not in text:
        assert re.search(r" sit_in_poll\+0x[0-9a-f]+ at \S*apps/stuck.c:\d+ ", text), text
        assert " main+0x" in text
    server.stop()


@ROOT_ONLY
def test_root_without_ptrace_is_told_why(public_app, gcorn):
    """As in a container without CAP_SYS_PTRACE: it says so, and tells what it can."""
    cap_sys_ptrace, pr_capbset_drop = 19, 24
    server = gcorn("app.so:handler", "--user", "nobody", "--control-socket", public_app / "ctl",
                   directory=public_app,
                   preexec=lambda: ctypes.CDLL(None).prctl(pr_capbset_drop, cap_sys_ptrace, 0, 0, 0))
    text = dumps_of(public_app)[0]["text"]
    assert re.match(r'process \d+ "gcorn", 3 threads\nthread \d+ ', text)
    assert re.search(r"^no stack of thread \d+: it cannot be traced: .*CAP_SYS_PTRACE", text, re.M)
    assert server.get("/others").text == "0"
    server.stop()
