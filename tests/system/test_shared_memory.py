# SPDX-License-Identifier: MIT
"""The memory that the master shares with its processes: which of them can write it, and what happens to the
server when one of them writes everywhere. GCORN_LONG=1 lets it write for 30 s."""
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness import REPO, SLOWER, Client, Process, ctl_output, wait_for

WILD_S = 30 if os.environ.get("GCORN_LONG") else 3
PAGE = os.sysconf("SC_PAGESIZE")


def mappings(pid):
    """[(name, mode, size, may become writable)] of the memory that is shared."""
    found = []
    text = Path(f"/proc/{pid}/smaps").read_text()
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) .*memfd:gcorn-(scoreboard|stats) ", part)
        if head:
            flags = re.search(r"^VmFlags: (.*)$", part, re.M)[1].split()
            found.append((head[4], head[3], int(head[2], 16) - int(head[1], 16), "mw" in flags))
    return found


def memfds(pid):
    return [link for link in Process(pid).links if "gcorn-scoreboard" in link or "gcorn-stats" in link]


def admin_of(server):
    return next(p.pid for p in server.workers if p.title.startswith("gcorn: admin"))


def workers_of(server):
    return {p.pid for p in server.workers if p.title.startswith("gcorn: worker")}


def writable(pid):
    return sorted(size for _, mode, size, _ in mappings(pid) if "w" in mode)


def test_admin_process_can_only_read(gcorn):
    server = gcorn("hello", "--admin-bind", "127.0.0.1:0", ready=2)
    found = mappings(admin_of(server))
    assert {name for name, *_ in found} == {"scoreboard", "stats"}
    assert all(mode == "r--s" and not may_write for _, mode, _, may_write in found), found
    assert memfds(admin_of(server)) == []


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_worker_can_write_its_slot_and_the_hints(gcorn, preload):
    server = gcorn("hello", "--workers", "2", *preload)
    for worker in workers_of(server):
        assert {name for name, *_ in mappings(worker)} == {"scoreboard"}
        hints, slot = writable(worker)
        assert hints == PAGE and slot % PAGE == 0 and slot < sum(s for _, _, s, _ in mappings(worker)) / 2
        assert memfds(worker) == []
    for template in server.templates:
        assert {name for name, *_ in mappings(template.pid)} == {"scoreboard"}
        assert writable(template.pid) == [] and memfds(template.pid) == []


def test_stray_write_ends_its_worker_alone(gcorn, app):
    server = gcorn(f"{app('scribble', f'-I{REPO}/src')}:handler", "--workers", "3")
    before = workers_of(server)
    assert server.get("/stray").status == 500
    server.wait_log(r"Worker \(pid:\d+\) was sent SIGSEGV! No access to address")
    server.wait_workers(3)
    assert len(before & workers_of(server)) == 2
    assert server.get().status == 200


def ask_all(server, directory):
    assert json.loads(ctl_output(directory, "-s", "ctl", "status", "--json"))["workers_wanted"] == 4
    ctl_output(directory, "-s", "ctl", "top", "--once")
    for path in ("/livez", "/readyz", "/metrics"):
        with Client(str(directory / "admin.sock")) as admin:
            assert admin.get(path).text.isascii()


@pytest.mark.parametrize("threads", [(), ("-k", "gthread", "--threads", "4")])
def test_wild_writer_condemns_no_worker(gcorn, app, tmp_path, threads):
    """One worker overwrites every slot, the hints and the header. No worker is ended for what is
    read there, and master and admin process go on."""
    server = gcorn(f"{app('scribble', f'-I{REPO}/src')}:handler", "--workers", "4", "--timeout", "2s",
                   "--heartbeat", "20s", "--slow-request", "1s", "--control-socket", "ctl",
                   "--access-logfile", "access", "--admin-bind", "unix:admin.sock", *threads, ready=5)
    before, admin = workers_of(server), admin_of(server)
    mad = int(server.get("/all").text)
    deadline = time.monotonic() + WILD_S * SLOWER
    answered = 0
    while time.monotonic() < deadline:
        ask_all(server, tmp_path)
        answered += sum(server.get().status == 200 for _ in range(50))
    assert answered >= 50
    assert workers_of(server) == before and admin_of(server) == admin
    assert not re.search("WORKER TIMEOUT|WORKER UNRESPONSIVE|Slow request|was sent|was killed|is killed", server.log())
    os.kill(mad, signal.SIGKILL)
    server.wait_workers(5, other_than=[mad])
    assert before - {mad} < workers_of(server) and admin_of(server) == admin

    # and what is true is still seen
    wait_for(lambda: b"gcorn_workers" in Client(str(tmp_path / "admin.sock")).get("/metrics").body
             and Client(str(tmp_path / "admin.sock")).get("/readyz").status == 200, "the truth")
    server.ask("/hold")
    server.wait_log("WORKER TIMEOUT")
    server.wait_log("was killed")
