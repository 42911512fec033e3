"""What `make bench` measures of a server that runs: loads, processor time, memory, counts, starts."""
import glob
import json
import math
import os
import re
import signal
import socket
import subprocess
import time

import peers
from harness import median

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SHORT, LONG = 2000, 12000              # requests under callgrind, of which the difference counts
STRACE_SHORT, STRACE_LONG = 100, 1100  # under strace
READS = ("read", "recvfrom", "recvmsg", "readv")
WRITES = ("write", "writev", "sendto", "sendmsg", "sendfile")


def cpu_s(pids):
    """Seconds that these processes have run, in the program and in the kernel.

    The sum is the scheduler's, exact; its division is what the clock's ticks say."""
    user = system = total = 0
    for pid in pids:
        for task in glob.glob(f"/proc/{pid}/task/*"):
            with open(f"{task}/schedstat") as stat:
                total += int(stat.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
            user += int(fields[11]) * TICK_S
            system += int(fields[12]) * TICK_S
    return user, system, total


def memory_kb(pid):
    """PSS and private memory."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", rollup.read(), re.M))
    return int(sizes["Pss"]), int(sizes["Private_Clean"]) + int(sizes["Private_Dirty"])


def worker_memory_kb(server):
    """The median worker's."""
    sizes = [memory_kb(pid) for pid in server.workers()]
    return median([size[0] for size in sizes]), median([size[1] for size in sizes])


class Client:
    """load (load.c) against a server, from its start on."""

    def __init__(self, server, load, how, cores=None):
        peer = server.peer
        request = os.path.join(peer.directory, f"request.{load.name}")
        with open(request, "wb") as file:
            file.write(load.request)
        self.process = subprocess.Popen(
            [f"{peer.build}/bench/load", "-p", str(server.port), "-r", request,
             "-P", str(load.pipeline), *(["-1"] if load.closes else []), *map(str, how)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)

    def idle_made(self):
        self.process.stdout.readline()

    def result(self):
        out, errors = self.process.communicate("\n")
        if self.process.returncode != 0:
            raise peers.PeerFails(errors.strip())
        return json.loads(out.splitlines()[-1])


WRK_SCRIPT = """
local file = io.open("%s", "rb")
local requests = file:read("*a"):rep(%d)
request = function() return requests end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"answered": %%d, "sent": %%d, "lost": %%d, "bytes": %%d, "seconds": %%f}\\n',
                         summary.requests, summary.requests,
                         e.connect + e.read + e.write + e.status + e.timeout, summary.bytes,
                         summary.duration / 1e6))
end
"""


class Wrk:
    """wrk against a server, in place of a Client: what peers are mostly measured with. It takes no
    times of pipelined requests that mean anything, so none are read."""

    def __init__(self, server, load, seconds, cores):
        request = server.peer.path(f"request.{load.name}")
        script = server.peer.path("wrk.lua")
        with open(request, "wb") as file:
            file.write(load.request)
        with open(script, "w") as file:
            file.write(WRK_SCRIPT % (request, load.pipeline))
        self.process = subprocess.Popen(
            ["wrk", "-t1", f"-c{load.connections}", f"-d{math.ceil(seconds)}s", "-s", script,
             f"http://127.0.0.1:{server.port}/"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)

    def result(self):
        out, errors = self.process.communicate()
        if self.process.returncode != 0:
            raise peers.PeerFails(errors.strip())
        return json.loads(out.splitlines()[-1])


def run_load(server, load, seconds, cores=None):
    """One round: what the client saw, and the server's processor time, of which idle_bytes."""
    before_kb = worker_memory_kb(server)[1]
    idle_bytes = None
    if load.tool:
        client = Wrk(server, load, seconds, cores)
    else:
        client = Client(server, load, ["-c", load.connections, "-d", seconds,
                                       *(["-i", load.idle] if load.idle else [])], cores)
    if load.idle:
        client.idle_made()
        idle_bytes = 1024 * (worker_memory_kb(server)[1] - before_kb) / load.idle
    pids = server.processes()
    before = cpu_s(pids)
    result = client.result()
    user, system, total = (b - a for a, b in zip(before, cpu_s(pids)))
    # of long answers the last ones are not complete
    done = result["bytes"] / load.answer_size if load.answer_size else result["answered"]
    done = max(1e-3, done)
    moved = result["bytes"] + result["answered"] * len(load.request)
    server.peer.forget()
    return {**result, "rate": done / result["seconds"], "cpu_us": 1e6 * total / done,
            "user_s": user, "system_s": system, "idle_bytes": idle_bytes,
            "mib_s": moved / result["seconds"] / (1 << 20)}


def count_run(peer, load, requests, connections, prefix):
    """The pids under the master, the worker's among them."""
    with peers.Running(peer, load, prefix=prefix) as server:
        Client(server, load, ["-c", connections, "-n", requests]).result()
        return server.children()


def total_of(path):
    with open(path) as profile:
        return int(re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)[1])


def instructions(peer, load):
    """User instructions a request: the difference of two runs under callgrind."""
    totals = []
    for requests in (SHORT, LONG):
        out = peer.path(f"callgrind.{load.name}.{requests}")
        pids = count_run(peer, load, requests, 8, ["valgrind", "-q", "--tool=callgrind",
                                                   f"--callgrind-out-file={out}.%p"])
        totals.append(max(total_of(f"{out}.{pid}") for pid in pids))
    return (totals[1] - totals[0]) / (LONG - SHORT)


def system_calls(peer, load, connections):
    """System calls by name in STRACE_LONG - STRACE_SHORT requests, starts and ends left out."""
    counts = []
    for requests in (STRACE_SHORT, STRACE_LONG):
        out = peer.path(f"strace.{requests}")
        count_run(peer, load, requests, connections, ["strace", "-f", "-c", "-o", out])
        calls = {}
        with open(out) as table:
            for fields in map(str.split, table):
                if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                    calls[fields[-1]] = int(fields[3])
        counts.append(calls)
    return {name: count - counts[0].get(name, 0) for name, count in counts[1].items()}


def first_answer_ms(peer, load, workers):
    """exec to the first answer. The client tries to connect all the time."""
    with peers.Running(peer, load, workers, waits=False) as server:
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", server.port)) == 0:
                    client.sendall(load.request)
                    if client.recv(1000):
                        return 1000 * (time.monotonic() - server.began)
            if time.monotonic() - server.began > peers.PATIENCE_S:
                raise peers.PeerFails("did not start")
            time.sleep(0.0002)


def all_ready_ms(peer, load, workers):
    """gcorn alone: exec to all workers READY, as its control socket says."""
    path = peer.path("ctl")
    command = peer.command(load, workers, peers.free_port())
    began = time.monotonic()
    process = subprocess.Popen([command[0], "--control-socket", path, *command[1:]],
                               stderr=subprocess.DEVNULL, cwd=peer.directory)
    try:
        while time.monotonic() - began < peers.PATIENCE_S:
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(path) == 0:
                    client.sendall(b"status\n")
                    if client.makefile().read().count('"phase": "ready"') >= workers:
                        return 1000 * (time.monotonic() - began)
            time.sleep(0.0002)
        raise peers.PeerFails("the workers are not ready")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def hup_ms(server):
    """HUP until none of the workers is an old one, and all new ones are there."""
    old = set(server.workers())
    began = time.monotonic()
    os.kill(server.master(), signal.SIGHUP)
    while time.monotonic() - began < peers.PATIENCE_S:
        now = set(server.workers())
        if not now & old and len(now) >= len(old):
            return 1000 * (time.monotonic() - began)
        time.sleep(0.001)
    raise peers.PeerFails("a HUP does not replace the workers")
