# SPDX-License-Identifier: MIT
"""Workers that die of SIGKILL: the kernel's out-of-memory killer is told from anybody else."""
import os
import signal
import time
from pathlib import Path

import pytest

from harness import SLOWER, may_unshare, wait_for

LIMIT_MIB = 256
NOT_OOM = (r"not by gcorn; (the kernel counts no out-of-memory kill"
           r"|no cgroup counts out-of-memory kills)$")


class Cgroup:
    """A new cgroup with a limit of memory. OSError where none can be made."""

    def __init__(self):
        name = f"gcorn-test-{os.getpid()}-{time.monotonic_ns()}"
        self.dir = Path("/sys/fs/cgroup", name)
        self.dir.mkdir()
        try:
            if not (self.dir / "memory.max").exists():  # it would be made, anywhere but in a cgroup
                raise OSError("the memory controller of version 2 is not enabled")
            (self.dir / "memory.max").write_text(str(LIMIT_MIB << 20))
            if (self.dir / "memory.swap.max").exists():
                (self.dir / "memory.swap.max").write_text("0")
        except OSError:
            self.dir.rmdir()
            raise

    def enter(self):
        (self.dir / "cgroup.procs").write_text("0")

    def remove(self):
        def is_removed():
            try:
                self.dir.rmdir()
            except OSError:
                return False
            return True

        wait_for(is_removed, "the cgroup to be empty")


@pytest.fixture(scope="module")
def cgroup():
    try:
        made = Cgroup()
    except OSError as error:
        pytest.skip(f"no cgroup with a limit of memory can be made: {error}")
    yield made
    made.remove()


def test_the_kernels_kill_is_recognised(cgroup, gcorn):
    server = gcorn("faulty", "--workers", "2", "--admin-bind", "unix:admin.sock", preexec=cgroup.enter, ready=3)
    before = server.worker_pids
    client = server.connect(timeout=60 * SLOWER)
    client.send(f"GET /leak?mb={2 * LIMIT_MIB} HTTP/1.1\r\nHost: test\r\n\r\n")
    line = server.wait_log(r"\[ERROR\] Worker \(pid:(\d+)\) was killed by the kernel while it ran "
                           rf"GET /leak of 127\.0\.0\.1, request \w+: out of memory "
                           rf"\(cgroup {cgroup.dir}: oom_kill (\d+) -> (\d+)\)$")
    assert int(line[1]) in before
    assert int(line[3]) == int(line[2]) + 1
    server.wait_workers(3, other_than={int(line[1])})
    assert server.get("/").status == 200
    with server.connect(str(server.dir / "admin.sock")) as admin:
        text = admin.get("/metrics").text
    assert 'gcorn_worker_restarts_total{reason="oom"} 1\n' in text
    assert 'gcorn_worker_restarts_total{reason="killed"} 0\n' in text


def test_another_kill_soon_after_it_is_not(cgroup, gcorn):
    server = gcorn("faulty", "--workers", "2", preexec=cgroup.enter)
    server.connect().send(f"GET /leak?mb={2 * LIMIT_MIB} HTTP/1.1\r\nHost: test\r\n\r\n")
    server.wait_log("out of memory")
    victim = min(p.pid for p in server.wait_workers(2))
    os.kill(victim, signal.SIGKILL)
    server.wait_log(rf"\(pid:{victim}\) was sent SIGKILL, {NOT_OOM}")


# Executes what follows in a mount namespace where it is in a cgroup /app of version 2, which counts
# what stands in the file events of the present directory.
IN_CGROUP = ("mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/app && "
             "touch /sys/fs/cgroup/app/memory.events && "
             "mount --bind events /sys/fs/cgroup/app/memory.events && "
             "mount --bind membership /proc/$$/cgroup && exec \"$@\"")


class Kernel:
    """What a kernel says that kills workers for want of memory."""

    def __init__(self, directory):
        self.events = directory / "events"
        self.count(3)
        (directory / "membership").write_text("0::/app\n")

    def count(self, kills):
        self.events.write_text(f"low 0\nhigh 0\nmax 9\noom 9\noom_kill {kills}\noom_group_kill 0\n")

    def kill(self, pid, kills):
        self.count(kills)
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not may_unshare(), reason="no namespaces can be made here")
def test_each_counted_kill_explains_one_death(gcorn, tmp_path):
    kernel = Kernel(tmp_path)
    server = gcorn("hello", "--admin-bind", "unix:admin.sock", ready=2,
                   wrapper=["unshare", "--mount", "sh", "-c", IN_CGROUP, "sh"])
    admin, = [p.pid for p in server.workers if "admin" in p.title]
    worker, = server.worker_pids - {admin}
    kernel.kill(worker, 4)
    server.wait_log(rf"\[ERROR\] Worker \(pid:{worker}\) was killed by the kernel: out of memory "
                    r"\(cgroup /sys/fs/cgroup/app: oom_kill 3 -> 4\)$")
    other, = {p.pid for p in server.wait_workers(2, other_than={worker})} - {admin}
    os.kill(other, signal.SIGKILL)
    server.wait_log(rf"Worker \(pid:{other}\) was sent SIGKILL, not by gcorn; the kernel counts no "
                    "out-of-memory kill$")
    server.wait_workers(2, other_than={worker, other})
    with server.connect(str(server.dir / "admin.sock")) as asking:
        text = asking.get("/metrics").text
    assert 'gcorn_worker_restarts_total{reason="oom"} 1\n' in text
    assert 'gcorn_worker_restarts_total{reason="killed"} 1\n' in text


def test_what_gcorn_kills_itself_is_never_blamed_on_memory(gcorn):
    server = gcorn("faulty", "-t", "1")
    old = server.workers[0].pid
    server.ask("/block-signals")
    server.wait_log("WORKER TIMEOUT")
    server.wait_workers(1, other_than={old})
    assert "out-of-memory" not in server.log() and "out of memory" not in server.log()
    assert "not by gcorn" not in server.log()


@pytest.mark.parametrize("score, wanted", [(0, 50), (970, 1000)])
def test_workers_are_chosen_before_the_master(gcorn, score, wanted):
    def score_of(pid):
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    def set_score():
        Path("/proc/self/oom_score_adj").write_text(str(max(score, now)))

    now = score_of("self")
    server = gcorn("hello", preexec=set_score)
    assert score_of(server.pid) == max(score, now)
    assert score_of(server.workers[0].pid) == min(max(score, now) + 50, 1000) >= wanted
