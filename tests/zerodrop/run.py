#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make zerodrop: the proof that no deploy, restart, recycle or upgrade drops a request.

    run.py [--short] [--seed N] [SCENARIO...]

Each scenario starts a gcorn of its own with four workers, puts client.c's load on it, and does to it
what operators do. What the client saw is judged afterwards, by the versions that answered: a
generation of code answers from the moment its HUP is sent and not before; requests sent a second
after the next one's HUP reach only the new. (A connection that was idle across a reload may have its
next request answered by the old worker that kept it, with Connection: close; those are counted as
"kept".) Exit 1 on any failure; the scenario's directory with the server's log is then kept.
"""
import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

from harness import (BUILD, GCORN, REPO, SANITIZER_REPORT,  # noqa: E402
                    Process, Stranger, all_processes, children, clean_environment,
                    default_signals, wait_for)

CLIENT = BUILD / "tests/zerodrop/client"
WORK = BUILD / "zerodrop"
SECOND = 10**9
WORKERS = 4
DRAIN_MS = 500  # keepalive_drain
GRACE_S = 10  # graceful_timeout
BOOT_MS = 500  # boot_timeout where applications hang
NEAR_LOST_MAX = 0.02

now = time.monotonic_ns  # CLOCK_MONOTONIC, as the client's



# No scenario makes a worker die of anything but SIGKILL.
UNEXPECTED = re.compile(r"did not finish within|WORKER TIMEOUT|WORKER UNRESPONSIVE|Worker \(pid:\d+\) "
                        r"(?:was killed by SIG|was sent SIG(?!KILL|\w+! .*Before it was ready)|exited with code [1-9])")


class Failed(Exception):
    """The scenario cannot go on."""


# ---- builds ---------------------------------------------------------------------------------------


class Builds:
    """Compiles app.c ahead of time: by_version[n] is a path. Version numbers are never used twice."""

    def __init__(self, directory):
        self.dir = directory
        self.last = 0

    def make(self, wanted):
        """Paths for a list of tuples of flags, each a version of its own; [(version, path)]."""
        jobs = []
        for flags in wanted:
            self.last += 1
            jobs.append((self.last, flags, self.dir / f"app-{self.last}.so"))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._compile, jobs))
        return [(version, path) for version, _, path in jobs]

    def good(self, count):
        return self.make([()] * count)

    @staticmethod
    def _compile(job):
        version, flags, path = job
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC",
                        "-O1", "-Wall", "-Wextra", "-Werror", f"-I{REPO}/include",
                        f"-DVERSION={version}", f"-Wl,--build-id=0x{version:08x}", *flags,
                        "-o", path, HERE / "app.c"], check=True)


# ---- the server ------------------------------------------------------------------------------------


def install(source, target):
    """As `install` and `mv` do: a new file under the old name."""
    fresh = target.with_suffix(".new")
    shutil.copyfile(source, fresh)
    os.rename(fresh, target)


def overwrite(source, target):
    """As `cp` does: new bytes in the old file."""
    with open(target, "r+b") as out:
        out.truncate(0)
        out.write(source.read_bytes())


def known_settings():
    text = subprocess.run([GCORN, "--print-config"], env=clean_environment(), cwd="/", text=True,
                          capture_output=True, check=False).stdout
    return set(re.findall(r"^#? ?(\w+):", text, re.M))


class Server:
    """A gcorn in its directory, with app.so and gunicorn-c.yaml there. program: what is run instead
    of the built one."""

    def __init__(self, directory, listener=None, log="log", program=GCORN, **settings):
        self.dir = directory
        self.former = []  # masters that have been succeeded
        self.log_path = directory / log
        self.settings = {"bind": f"fd://{listener.fileno()}" if listener else "127.0.0.1:0",
                         "wsgi_app": "app.so:handler", "workers": WORKERS,
                         "keepalive_drain": f"{DRAIN_MS}ms", "graceful_timeout": f"{GRACE_S}s",
                         # with it, slow calls would end most of the kept connections first
                         "fair_close": "false", **settings}
        self.write_settings()
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [program, "-c", "gunicorn-c.yaml"],
                cwd=directory, env=clean_environment(),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                pass_fds=[listener.fileno()] if listener else [])
        self.pid = self.session = self.process.pid

    def is_succeeded_by(self, pid):
        self.former.append(self.process)
        self.process, self.pid = Stranger(pid), pid

    def write_settings(self, text=None, **changes):
        """Renamed into place, so that no process reads half of it."""
        if text is None:
            text = "".join(f"{key}: {value}\n" for key, value in {**self.settings, **changes}.items())
        fresh = self.dir / "gunicorn-c.new"
        fresh.write_text(text)
        os.rename(fresh, self.dir / "gunicorn-c.yaml")

    def log(self):
        return self.log_path.read_text(errors="backslashreplace")

    def mark(self):
        return self.log_path.stat().st_size

    def port(self):
        found = wait_for(lambda: re.search(r"Listening at: http://127.0.0.1:(\d+)", self.log()),
                         "the port in the log")
        return int(found.group(1))

    def ready_workers(self):
        if self.process.poll() is not None:
            raise Failed(f"gcorn has ended with status {self.process.returncode}")
        return [p.pid for p in children(self.pid) if p.is_ready_worker]

    def templates(self):
        return [p.pid for p in children(self.pid) if p.title.startswith("gcorn: template")]

    def wait_ready(self, count=WORKERS):
        wait_for(lambda: len(self.ready_workers()) >= count, f"{count} workers to be ready")
        return self

    def wait_log(self, pattern, after, timeout=None):
        def look():
            if self.process.poll() is not None:
                raise Failed(f"gcorn has ended with status {self.process.returncode}")
            with open(self.log_path, "rb") as log:
                log.seek(after)
                return re.search(pattern, log.read().decode(errors="backslashreplace"))
        return wait_for(look, f"{pattern!r} in {self.log_path}", timeout)

    def kill(self, number):
        at = now()
        os.kill(self.pid, number)
        return at

    def hup(self, outcome):
        """Sends HUP, waits for its outcome in the log; when it was sent."""
        mark = self.mark()
        at = self.kill(signal.SIGHUP)
        if outcome:
            found = self.wait_log(r"Reloaded: |Reload failed", mark)
            if found.group(0) != outcome:
                raise Failed(f"after HUP the log says {found.group(0)!r}, not {outcome!r}")
        return at

    def stop(self):
        """Its problems at the end, as texts."""
        wrong = []
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            for process in [*self.former, self.process]:
                status = process.wait(GRACE_S + 5)
                if status != 0:
                    wrong.append(f"gcorn ended with status {status}")
        except (subprocess.TimeoutExpired, AssertionError):
            wrong.append("gcorn did not end on TERM")
            for pid in [*[p.pid for p in children(self.pid)], self.pid]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait(GRACE_S)
        log = self.log()
        if SANITIZER_REPORT.search(log):
            wrong.append("a sanitizer's report is in the log")
        wrong += [f"the log says: {line}" for line in log.splitlines() if UNEXPECTED.search(line)]
        left = [p for p in all_processes() if p.session == self.session and p.is_alive]
        for p in left:
            wrong.append(f"left over: {p.pid} {p.title}")
            os.kill(p.pid, signal.SIGKILL)
        return wrong


class Client:
    """client.c at work on a port."""

    def __init__(self, port, seed, idle=20, busy=20, fresh=20, pause_us=4000, drain_ms=DRAIN_MS):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [str(arg) for arg in (CLIENT, port, idle, busy, fresh, drain_ms, pause_us, seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _say(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the client has ended with status {self.process.wait()}")
        return json.loads(line)

    def report(self):
        return self._say("report")

    def count(self, version):
        return self.report()["versions"].get(str(version), {"count": 0})["count"]

    def wait_version(self, version, timeout=5):
        wait_for(lambda: self.count(version) > 0, f"answers of version {version}", timeout)

    def stop(self):
        report = self._say("stop")
        self.process.stdin.close()
        self.process.wait()
        return report

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# ---- judging ---------------------------------------------------------------------------------------


class Timeline:
    """Which version may answer when."""

    def __init__(self):
        self.spans = {}  # version: [from, to]; to None: to the end
        self.current = None

    def switch(self, version, at):
        """From the HUP at `at` on it is version's turn."""
        if self.current is not None:
            self.spans[self.current][1] = at
        self.spans[version] = [at, None]
        self.current = version

    def judge(self, versions, all_must_serve=True):
        wrong = []
        for name, seen in versions.items():
            if int(name) not in self.spans:
                wrong.append(f"version {name} answered {seen['count']} requests and never should")
                continue
            first, last = self.spans[int(name)]
            if seen["first_received"] < first:
                wrong.append(f"version {name} answered {(first - seen['first_received']) / 1e6:.1f}"
                             " ms before its HUP")
            if last is not None and seen["last_sent"] > last + SECOND:
                wrong.append(f"version {name} answered a request sent "
                             f"{(seen['last_sent'] - last) / 1e6:.1f} ms after the next one's HUP")
            if last is not None and seen["last_sent_kept"] > last + GRACE_S * SECOND:
                wrong.append(f"version {name} kept a connection for longer than graceful_timeout")
        if all_must_serve:
            wrong += [f"version {version} never answered" for version in self.spans
                      if str(version) not in versions]
        return wrong


class Scenario:
    """One scenario's run: its directory, builds, server and client, and what went wrong."""

    def __init__(self, name, seed, short):
        self.name = name
        self.dir = WORK / name
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.app = self.dir / "app.so"
        self.builds = Builds(self.dir)
        self.random = random.Random(seed)
        self.short = short
        self.timeline = Timeline()
        self.servers, self.clients = [], []
        self.server = self.client = None
        self.wrong, self.notes = [], []
        self.excused = lambda failed: False  # failures that the scenario itself causes
        self.reports = []
        self.all_must_serve = True

    def times(self, count, least=1):
        return max(least, count // 10) if self.short else count

    def start(self, build, listener=None, client=None, **settings):
        version, path = build
        shutil.copyfile(path, self.app)
        self.timeline.switch(version, now())
        self.server = Server(self.dir, listener, **settings)
        self.servers.append(self.server)
        self.server.wait_ready(settings.get("workers", WORKERS))
        port = listener.getsockname()[1] if listener else self.server.port()
        self.client = self.new_client(port, **(client or {}))
        self.client.wait_version(version)
        return version

    def new_client(self, port, **options):
        client = Client(port, self.random.randrange(1 << 30), **options)
        self.clients.append(client)
        return client

    def prove_serving(self, version, seconds=0.1):
        """Answers come, and all of them are version's."""
        before = self.client.report()["versions"]
        time.sleep(seconds)
        after = self.client.report()["versions"]
        grown = {int(name) for name, seen in after.items()
                 if seen["count"] > before.get(name, {"count": 0})["count"]}
        if version not in grown:
            self.wrong.append(f"version {version} does not serve")

    def note(self, text):
        self.notes.append(text)

    def finish(self):
        """The client's last report is judged, the server stopped."""
        for client in self.clients:
            if client.process.poll() is None:
                self.reports.append(client.stop())
        for server in self.servers:
            self.wrong += server.stop()
        for report in self.reports:
            self.wrong += self.timeline.judge(report["versions"], self.all_must_serve)
            bad = [f for f in report["failed"] if not self.excused(f) and f["failure"] != "near"]
            self.wrong += [f"failed: {json.dumps(f)}" for f in bad[:20]]
            if len(bad) > 20:
                self.wrong.append(f"and {len(bad) - 20} more")
            if report["kinds"]["reset idle"]:
                self.wrong.append(f"{report['kinds']['reset idle']} idle connections were reset")

    def abandon(self):
        for client in self.clients:
            client.kill()
        for server in self.servers:
            server.stop()

    def total(self, key):
        return sum(report[key] for report in self.reports)


# ---- scenarios -------------------------------------------------------------------------------------


def scenario_hup(s):
    """100 HUPs, each with a different build."""
    builds = s.builds.good(s.times(100) + 1)
    s.start(builds[0])
    time.sleep(0.3)
    for version, path in builds[1:]:
        install(path, s.app)
        time.sleep(s.random.uniform(0, 0.05))
        s.timeline.switch(version, s.server.hup(None))
        s.client.wait_version(version)
        left = s.timeline.spans[version][0] + 1.15 * SECOND - now()
        time.sleep(max(left, 0) / SECOND)
    s.note(f"{len(builds) - 1} reloads")


def scenario_storm(s):
    """HUPs faster than they finish: the last one's build serves, and processes do not pile up."""
    builds = s.builds.good(s.times(40) + 1)
    s.start(builds[0])
    begun, most = now(), 0
    for version, path in builds[1:]:
        install(path, s.app)
        s.timeline.switch(version, s.server.hup(None))
        until = time.monotonic() + s.random.uniform(0, 0.06)
        while time.monotonic() < until:
            most = max(most, len(children(s.server.pid)))
            time.sleep(0.005)
    last = now()
    s.client.wait_version(builds[-1][0])
    for version, _ in builds[:-1]:
        s.timeline.spans[version][1] = last + 2 * SECOND  # a reload may wait for those that leave
    time.sleep(2)
    s.all_must_serve = False
    s.prove_serving(builds[-1][0])
    if most > 3 * WORKERS:
        s.wrong.append(f"{most} workers at once")
    s.note(f"{len(builds) - 1} reloads in {(last - begun) / 1e9:.1f} s, {most} workers at most")


def scenario_slow_boot(s):
    """HUPs with an application that takes more than a second to boot."""
    boot_ms, count = 1200, s.times(5)
    builds = s.builds.make([(f"-DBOOT_MS={boot_ms}",)] * (count + 1))
    s.start(builds[0], workers=2)
    for version, path in builds[1:]:
        install(path, s.app)
        at = s.server.hup("Reloaded: ")
        s.timeline.switch(version, at)
        s.timeline.spans[version - 1][1] = at + 2 * boot_ms * 10**6  # one after the other
        wait_for(lambda at=at: now() > at + 2 * boot_ms * 10**6 + 1.2 * SECOND, "the time")
    s.note(f"{count} reloads")


def try_broken(s, good, rest):
    """A HUP that must fail, then one that must not. `rest` puts things right."""
    old = s.timeline.current
    s.server.hup("Reload failed")
    s.prove_serving(old)
    rest()
    version, path = good
    install(path, s.app)
    s.timeline.switch(version, s.server.hup("Reloaded: "))
    s.client.wait_version(version)
    s.prove_serving(version, 0.05)


def scenario_broken_app(s):
    """20 HUPs with a broken application, each followed by a good one."""
    broken = [("-DUNRESOLVED",), ("-DCRASHES",), ("-DHANGS",), ("-DSICK",), ("-DNAMELESS",),
              ("-DLEAVES",), ("-DREFUSES",)]
    settings = {"boot_timeout": f"{BOOT_MS}ms"}
    if "reload_check_path" in known_settings():
        settings["reload_check_path"] = "/health"
    else:
        broken.remove(("-DSICK",))
        s.note("no reload_check_path yet: canary left out")
    count = s.times(20, least=4)
    bad = s.builds.make([broken[i % len(broken)] for i in range(count)])
    good = s.builds.good(count + 1)
    s.start(good[0], **settings)
    for (_, path), after in zip(bad, good[1:]):
        install(path, s.app)
        try_broken(s, after, lambda: None)
    s.note(f"{count} broken applications")


def scenario_broken_settings(s):
    """20 HUPs with a broken settings file, each followed by a good one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        broken = [{"workers": "many"}, {"no_such_setting": 1}, {"wsgi_app": "missing.so:handler"},
                  {"bind": busy}, {"bind": "'no address'"}, {"user": "nobody-of-that-name"},
                  {"text": "workers: [1\n"}, {"text": ""}, {"workers": 1000},
                  {"errorlog": "/no/such/directory/log"}]
        count = s.times(20, least=4)
        good = s.builds.good(count + 1)
        s.start(good[0])
        for i in range(count):
            s.server.write_settings(**broken[i % len(broken)])
            try_broken(s, good[i + 1], s.server.write_settings)
    s.note(f"{count} broken files")


def scenario_max_requests(s):
    """max_requests 500 with jitter, for 200,000 requests."""
    if "max_requests" not in known_settings():
        s.note("skipped: no max_requests yet")
        return
    # A worker that has had its 500 serves on while it drains, and no more drain than serve: a load
    # that is much quicker than 4 x 550 requests in DRAIN_MS has them live by time, not by requests.
    s.start(s.builds.good(1)[0], max_requests=500, max_requests_jitter=100,
            client={"pause_us": 6000})
    wanted = s.times(200000)
    deadline = time.monotonic() + 300
    while (report := s.client.report())["requests"] < wanted:
        if time.monotonic() > deadline:
            raise Failed(f"only {report['requests']} requests in 300 s")
        time.sleep(0.2)
    report = s.client.report()
    s.note(f"{report['pids']} workers, the busiest answered {report['busiest']}")
    if report["pids"] < wanted / 1000:
        s.wrong.append(f"only {report['pids']} workers for {wanted} requests of 500 to 600 each")


def scenario_ttin_ttou(s):
    """TTIN and TTOU, up and down 50 times."""
    s.start(s.builds.good(1)[0])
    for _ in range(s.times(50)):
        steps = s.random.randint(1, 3)
        for number, way in ((signal.SIGTTIN, 1), (signal.SIGTTOU, -1)):
            for _ in range(steps):
                s.server.kill(number)
                time.sleep(s.random.uniform(0.02, 0.1))  # two signals at once are one
            if way > 0:
                s.server.wait_ready(WORKERS + steps)
    s.note(f"{s.times(50)} times up and down")
    wait_for(lambda: len(s.server.ready_workers()) == WORKERS, "4 workers again")


def scenario_cp(s):
    """A different build copied over the .so in place; the old code goes on until the HUP."""
    builds = s.builds.good(s.times(50) + 1)
    old = s.start(builds[0], fair_close="true")
    for i, (version, path) in enumerate(builds[1:]):
        overwrite(path, s.app)
        if i % 5 == 0:  # a worker that is replaced runs the old code, too
            wait_for(lambda: len(children(s.server.pid)) == WORKERS, "the old workers to be gone")
            before = set(s.server.ready_workers())
            os.kill(s.random.choice(sorted(before)), signal.SIGTERM)
            wait_for(lambda b=before: set(s.server.ready_workers()) - b, "a replacement")
        s.prove_serving(old, 0.15)
        s.timeline.switch(version, s.server.hup("Reloaded: "))
        s.client.wait_version(version)
        time.sleep(s.random.uniform(0.2, 0.8))
        old = version
    s.note(f"{len(builds) - 1} copies")


# 200 SIGKILLs: whose connections a worker holds is asked of the kernel, with the worker stopped.


def established():
    """inode: the peer's "address:port", of the IPv4 TCP sockets that are not in TIME_WAIT."""
    found = {}
    states = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9  # ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK
    request = struct.pack("=BBBBI48s", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, states, b"")
    header = struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0)  # SOCK_DIAG_BY_FAMILY, DUMP
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as netlink:
        netlink.send(header + request)
        while True:
            data = netlink.recv(1 << 18)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (2, 3):  # ERROR, DONE
                    return found
                port, = struct.unpack_from("!H", data, 16 + 6)
                address = socket.inet_ntoa(data[16 + 24 : 16 + 28])
                inode, = struct.unpack_from("=I", data, 16 + 68)
                found[inode] = f"{address}:{port}"
                data = data[(length + 3) & ~3 :]


def peers_of(pid):
    """The peers of a stopped process's connections."""
    links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {int(link[8:-1]) for link in links if link.startswith("socket:[")}
    return {peer for inode, peer in established().items() if inode in inodes}


class Kills:
    """SIGKILLs, and which failures they explain."""

    def __init__(self):
        self.list = []  # (time, pid, peers or None)
        self.explained = []

    def kill(self, pid, exact):
        peers = None
        if exact:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: Process(pid).state in ("T", ""), "the worker to stop")
            peers = peers_of(pid)
        self.list.append((now(), pid, peers))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not Process(pid).is_alive, "a killed worker's end")

    def explain(self, failed):
        """The connection was the killed worker's, and ended with it. A connection that has no
        answer yet, of a worker killed without a look at its connections, is known by the moment."""
        if failed["failure"] not in ("closed", "reset", "cut", "near") or failed["sent"] == 0:
            return False
        for at, pid, peers in self.list:
            if not at <= failed["at"] <= at + SECOND // 2:
                continue
            if peers is not None:
                hit = failed["from"] in peers
            else:
                hit = failed["pid"] == pid or (failed["pid"] == 0 and
                                               failed["at"] <= at + SECOND // 10)
            if hit:
                self.explained.append((at, failed["from"]))
                return self.explained.count((at, failed["from"])) == 1
        return False


def kill_workers(s, kills, count, exact):
    for i in range(count):
        time.sleep(s.random.uniform(0.02, 0.15))
        ready = wait_for(lambda: len(r := s.server.ready_workers()) >= 3 and r, "three workers")
        kills.kill(s.random.choice(ready), exact and i % 2 == 0)


def judge_kills(s, kills):
    """In place of finish's rule: "near" needs an explanation as well."""
    s.excused = kills.explain
    for client in s.clients:
        report = client.stop()
        report["near_lost"], nears = 0, [f for f in report["failed"] if f["failure"] == "near"]
        s.wrong += [f"failed: {json.dumps(f)}" for f in nears if not kills.explain(f)]
        report["failures"] = sum(1 for f in report["failed"]
                                 if f["failure"] != "near" and not kills.explain(f))
        s.reports.append(report)


def scenario_kill(s):
    """200 random SIGKILLs of workers."""
    kills = Kills()
    s.start(s.builds.good(1)[0])
    kill_workers(s, kills, s.times(200), True)
    wait_for(lambda: len(s.server.ready_workers()) == WORKERS, "4 workers again")
    time.sleep(0.3)
    judge_kills(s, kills)
    kills.explained, s.excused = [], lambda f: True  # judged
    s.note(f"{len(kills.list)} kills, {sum(len(r['failed']) for r in s.reports)} requests were in "
           "the killed workers")


def scenario_kill_fresh(s):
    """SIGKILLs under a connection per request, with a free sibling."""
    kills = Kills()
    s.start(s.builds.good(1)[0], client={"idle": 0, "busy": 0, "fresh": 4, "pause_us": 2000})
    kill_workers(s, kills, s.times(100), False)
    wait_for(lambda: len(s.server.ready_workers()) == WORKERS, "4 workers again")
    time.sleep(0.3)
    judge_kills(s, kills)
    kills.explained, s.excused = [], lambda f: True
    lost = sum(len(r["failed"]) for r in s.reports)
    s.note(f"{len(kills.list)} kills, {lost} requests were in the killed workers")
    if lost > len(kills.list):
        s.wrong.append(f"{lost} requests failed by {len(kills.list)} kills: more than one a kill")


def scenario_successor(s):
    """TERM, and a successor on the same inherited socket, 20 times."""
    count = s.times(20, least=3)
    builds = s.builds.good(count + 1)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    with listener:
        settings = {"keepalive_drain": "300ms"}
        s.start(builds[0], listener=listener, client={"idle": 100}, **settings)
        for i, (version, path) in enumerate(builds[1:]):
            time.sleep(s.random.uniform(0.1, 0.4))
            old = s.server
            install(path, s.app)
            begun = now()
            if i % 2 == 0 and "drain_delay" in known_settings():
                settings["drain_delay"] = "200ms"
            else:
                settings.pop("drain_delay", None)

            def succeed(i=i):
                s.server = Server(s.dir, listener, log=f"log{i + 1}", **settings)
                s.servers.append(s.server)

            def term(old=old):
                old.kill(signal.SIGTERM)

            def leave(old=old):
                status = old.process.wait(GRACE_S)
                if status != 0:
                    s.wrong.append(f"gcorn ended with status {status}")

            order = [(term, succeed, leave),
                     (succeed, lambda: s.server.wait_ready(), term, leave),
                     (term, leave, succeed)][i % 3]
            for step in order:
                step()
            s.timeline.switch(version, begun)
            s.timeline.spans[version - 1][1] = now()  # both may serve until the old has left
            s.client.wait_version(version)
    s.note(f"{count} successors")


# Upgrades of gcorn itself: the program in the scenario's directory is replaced.


def start_upgradable(s, build, **options):
    program = s.dir / "gcorn"
    shutil.copy(GCORN, program)
    s.start(build, program=program, **options)
    return program


def renew(program):
    shutil.copy(GCORN, f"{program}.new")
    os.rename(f"{program}.new", program)


def usr2(s):
    """When it was sent, and the new master's pid, once that serves."""
    mark = s.server.mark()
    at = s.server.kill(signal.SIGUSR2)
    found = s.server.wait_log(r"the new master \(pid:(\d+)\) serves as well|Upgrade failed.*", mark)
    if not found.group(1):
        raise Failed(found.group(0))
    return at, int(found.group(1))


def upgrade_and_leave(s, version):
    """The old master goes: by TERM, or its workers by WINCH before."""
    old = s.timeline.current
    at, new = usr2(s)
    s.timeline.switch(version, at)
    time.sleep(s.random.uniform(0, 0.2))
    if s.random.random() < 0.5:
        s.server.kill(signal.SIGWINCH)
        time.sleep(s.random.uniform(0, 0.2))
    mark = s.server.mark()
    s.timeline.spans[old][1] = s.server.kill(signal.SIGTERM)
    s.server.is_succeeded_by(new)  # before the old one's end can be seen
    s.server.wait_log("this one serves alone", mark)
    s.client.wait_version(version)


def upgrade_and_roll_back(s, version):
    """The new master goes, after some time beside the old one, whose workers may have left."""
    at, new = usr2(s)
    s.timeline.spans[version] = [at, None]
    s.client.wait_version(version)
    if s.random.random() < 0.5:
        s.server.kill(signal.SIGWINCH)
        time.sleep(s.random.uniform(0, 0.2))
        s.server.kill(signal.SIGHUP)
        s.server.wait_ready()
    mark = s.server.mark()
    s.timeline.spans[version][1] = now()
    os.kill(new, signal.SIGTERM)
    s.server.wait_log("Upgrade rolled back", mark)
    s.prove_serving(s.timeline.current)


def scenario_usr2(s):
    """20 upgrades by USR2 to a new master, and 20 that are rolled back."""
    count = s.times(20, least=2)
    builds = s.builds.good(2 * count + 1)
    program = start_upgradable(s, builds[0])
    for i, (version, path) in enumerate(builds[1:]):
        renew(program)
        install(path, s.app)
        (upgrade_and_roll_back if i % 2 else upgrade_and_leave)(s, version)
    s.note(f"{count} upgrades, {count} rolled back")


def try_broken_program(s, program, text):
    mark = s.server.mark()
    renew(program)
    program.write_text(text)
    s.server.kill(signal.SIGUSR2)
    s.server.wait_log("Upgrade failed", mark)
    s.prove_serving(s.timeline.current, 0.05)
    renew(program)


BROKEN_PROGRAMS = ["no program", "", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -SEGV $$\n",
                   "#!/no/such/interpreter\n"]


def scenario_usr2_broken(s):
    """10 upgrades to a program that does not boot: nothing happens."""
    count = s.times(10, least=len(BROKEN_PROGRAMS))
    program = start_upgradable(s, s.builds.good(1)[0])
    before = set(s.server.ready_workers())
    for i in range(count):
        try_broken_program(s, program, BROKEN_PROGRAMS[i % len(BROKEN_PROGRAMS)])
    if set(s.server.ready_workers()) != before:
        s.wrong.append("the workers are others")
    s.note(f"{count} broken programs")


def scenario_preload(s):
    """Workers that a template bears: 10 HUPs and 10 upgrades by USR2, and in between it is killed
    while workers are forked."""
    count = s.times(10, least=2)
    builds = s.builds.good(2 * count + 1)
    program = start_upgradable(s, builds[0], preload_app="true")
    for i, (version, path) in enumerate(builds[1:]):
        install(path, s.app)
        if i % 2:
            renew(program)
            upgrade_and_leave(s, version)
            continue
        before = set(s.server.ready_workers())
        s.timeline.switch(version, s.server.hup(None))
        wait_for(lambda b=before: not b & set(s.server.ready_workers()), "the old workers to leave")
        s.client.wait_version(version)
        s.server.kill(signal.SIGTTIN)
        for template in s.server.templates():
            with contextlib.suppress(ProcessLookupError):  # one that left, or is a worker by now
                os.kill(template, signal.SIGKILL)
        s.server.wait_ready(WORKERS + 1)
    s.note(f"{count} reloads, {count} upgrades")


SCENARIOS = {name[9:]: function for name, function in list(globals().items())
             if name.startswith("scenario_")}


# ---- running ---------------------------------------------------------------------------------------


def describe(s, seconds):
    if not s.reports:
        return f"{s.name:16} {'; '.join(s.notes)}"
    kinds = {}
    for report in s.reports:
        for f in report["failed"]:
            if f["failure"] != "near":
                kinds[f["failure"]] = kinds.get(f["failure"], 0) + 1
    kinds = "".join(f", {count} {kind}" for kind, count in sorted(kinds.items()))
    kept = sum(v["kept"] for r in s.reports for v in r["versions"].values())
    return (f"{s.name:16} {s.total('requests')} requests, {s.total('failures')} failed{kinds}; "
            f"{s.total('closed_idle')} closed idle; near a close {s.total('near_lost')} lost of "
            f"{s.total('near_idle')} idle, {s.total('near_all')} in all; {kept} last answers; "
            f"slowest {max(r['slowest_ms'] for r in s.reports)} ms; "
            f"{'; '.join(s.notes)} ({seconds:.0f} s, client {s.total('cpu_ms') / 1000:.0f} s CPU)")


def run(name, seed, short):
    s = Scenario(name, seed, short)
    begun = time.monotonic()
    try:
        SCENARIOS[name](s)
        s.finish()
    except (Failed, AssertionError) as error:
        s.wrong.append(str(error))
        try:
            s.finish()
        except (Failed, AssertionError, OSError) as another:
            s.wrong.append(str(another))
    finally:
        s.abandon()
    print(describe(s, time.monotonic() - begun), "FAILED" if s.wrong else "ok", flush=True)
    for text in s.wrong:
        print(f"    {text}", flush=True)
    if s.wrong:
        (s.dir / "report.json").write_text(json.dumps(s.reports))
        print(f"    log: {s.dir}/log", flush=True)
    else:
        shutil.rmtree(s.dir)
    return s


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--short", action="store_true", help="a tenth of everything")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    args = parser.parse_args()
    unknown = set(args.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    seed = args.seed if args.seed is not None else random.randrange(1 << 30)
    print(f"zerodrop: seed {seed}", flush=True)
    default_signals()
    begun = time.monotonic()
    runs = [run(name, seed, args.short) for name in args.scenarios or SCENARIOS]
    lost, idle = (sum(s.total(key) for s in runs) for key in ("near_lost", "near_idle"))
    failed = [s.name for s in runs if s.wrong]
    print(f"zerodrop: {sum(s.total('requests') for s in runs)} requests, "
          f"{sum(s.total('failures') for s in runs)} failed; near a close {lost} of {idle + lost} "
          f"lost; {time.monotonic() - begun:.0f} s")
    if lost > NEAR_LOST_MAX * (idle + lost):
        failed.append("more than 2 % lost near a close")
    if failed:
        print(f"zerodrop: FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
