#!/usr/bin/python3
"""`make bench`: gcorn beside its peers, in one run, as Markdown on standard output.

    tests/bench/bench.py BUILD_DIR [PART,...]          (make bench LOAD=PART,... PEERS=gcorn,... ROUNDS=3)

A part is a load or another thing to measure (a wrong word lists them); without one, all. In each round of a
load every peer has its turn, in the reverse order every other time, so that what else the machine does
hits all of them. One worker, which has the first core, and the client the second. Figures of loads are
the median of the rounds (least to most); ratios are the median of the rounds' own ratios. With several
rounds of SECONDS (0.7) each, requests a second are mostly the client's limit and the kernel's: look at
the server's processor time, and at what is counted.
"""
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import count
import fair
import figures
import peers
from harness import median

HERE = os.path.dirname(os.path.abspath(__file__))
STARTS, WORKERS, SETTLE_S, FAIR_ROUNDS = 20, 5, 5, 5
CAME_AND_WENT = 10000
BODY = 1 << 20
FILE_SIZE = 100 << 20

H2LOAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nuser-agent: h2load nghttp2/1.52.0\r\n\r\n"
# the browser's of count.py
BROWSER = "\r\n".join([*H2LOAD.decode().split("\r\n")[:2], *count.BROWSER, "", ""]).encode()


class Load:
    def __init__(self, name, title, request=H2LOAD, connections=32, pipeline=1, closes=False, idle=0,
                 bodies=False, answer_size=0, rounds=1, tool=None):
        self.name, self.title, self.request, self.connections = name, title, request, connections
        self.pipeline, self.closes, self.idle, self.bodies = pipeline, closes, idle, bodies
        self.answer_size = answer_size  # of long ones
        self.rounds = rounds  # for each of the others': few answers fit in one
        self.tool = tool      # instead of load.c


def get(path, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


LOADS = {load.name: load for load in (
    Load("keepalive", "keep-alive"),
    Load("connection", "connection per request", get("/", "Connection: close"), closes=True),
    Load("pipelined", "16 requests a write", pipeline=16),
    Load("pipelined_wrk", "the same, by wrk", pipeline=16, tool="wrk"),
    Load("browser", f"a browser's head ({len(BROWSER)} bytes)", BROWSER),
    Load("body_out", "100 KiB out", get("/body"), connections=8, bodies=True),
    Load("body_in", "1 MiB in", b"POST /in HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
         b"Content-Length: %d\r\n\r\n" % BODY + b"b" * BODY, connections=4, bodies=True),
    Load("sendfile", "100 MiB by sendfile", get("/file/big"), connections=4, bodies=True,
         answer_size=FILE_SIZE, rounds=3),
    Load("idle", "beside 10,000 idle connections", idle=10000),
)}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def cores():
    usable = sorted(os.sched_getaffinity(0))
    return ([usable[0]], [usable[1]]) if len(usable) > 1 else (None, None)


# ---- measuring -----------------------------------------------------------------------------------

def measure_round(peer, server, load, seconds):
    """One round; with a server of its own when none is given. PeerFails."""
    server_cores, client_cores = cores()
    with contextlib.nullcontext(server) if server else \
            peers.Running(peer, load, cores=server_cores) as running:
        one = figures.run_load(running, load, seconds, client_cores)
    if one["lost"] or (one["answered"] < one["sent"] / 2 and not load.answer_size):
        raise peers.PeerFails(f"answers {one['answered']} of {one['sent']} requests")
    return one


def measure_load(there, load, rounds, seconds):
    """By peer: its rounds, or what went wrong."""
    results = {peer.name: [] for peer in there if load.name not in peer.cannot}
    servers = {}
    with contextlib.ExitStack() as stack:
        for turn in range(rounds * load.rounds):
            for peer in there[::-1] if turn % 2 else there:
                if not isinstance(results.get(peer.name), list):
                    continue
                say(f"{load.name}, round {turn + 1}: {peer.name}")
                try:
                    # what idle connections leave behind is in the way of the next round
                    if not load.idle and peer.name not in servers:
                        servers[peer.name] = stack.enter_context(
                            peers.Running(peer, load, cores=cores()[0]))
                    results[peer.name].append(
                        measure_round(peer, servers.get(peer.name), load, seconds))
                except peers.PeerFails as error:
                    results[peer.name] = str(error)
    return results


def measure_counts(peer, out):
    if peer.valgrind and shutil.which("valgrind"):
        out["instructions"][peer.name] = figures.instructions(peer, LOADS["keepalive"])
        out["browser instructions"][peer.name] = figures.instructions(peer, LOADS["browser"])
    if not shutil.which("strace"):
        return
    one = figures.system_calls(peer, LOADS["keepalive"], 1)
    out["reads and writes"][peer.name] = sum(one.get(name, 0)
                                             for name in figures.READS + figures.WRITES)
    eight = figures.system_calls(peer, LOADS["keepalive"], 8)
    out["system calls"][peer.name] = sum(eight.values()) / (figures.STRACE_LONG -
                                                            figures.STRACE_SHORT)


def measure_memory(peer, out):
    load = Load("came", "", idle=CAME_AND_WENT)
    with peers.Running(peer, load, WORKERS) as server:
        out["PSS fresh"][peer.name], out["private fresh"][peer.name] = \
            figures.worker_memory_kb(server)
        if "idle" in peer.cannot:
            return
        figures.Client(server, load, ["-i", load.idle, "-n", 1]).result()
        time.sleep(SETTLE_S)
        out["PSS after"][peer.name], out["private after"][peer.name] = \
            figures.worker_memory_kb(server)


def measure_start(peer, out):
    starts = 5 if isinstance(peer, peers.Gunicorn) else STARTS
    out["first answer"][peer.name] = median(
        [figures.first_answer_ms(peer, LOADS["keepalive"], WORKERS) for _ in range(starts)])
    if isinstance(peer, peers.Gcorn):
        out["all ready"][peer.name] = median(
            [figures.all_ready_ms(peer, LOADS["keepalive"], WORKERS) for _ in range(STARTS)])


def measure_hup(peer, out):
    with peers.Running(peer, LOADS["keepalive"], WORKERS) as server:
        out["HUP"][peer.name] = median([figures.hup_ms(server) for _ in range(3)])


PARTS = {"counts": measure_counts, "memory": measure_memory, "start": measure_start,
         "hup": measure_hup}


# what cannot be measured without them
TOOLS = {"valgrind": ["instructions"], "strace": ["system calls"],
         "wrk": ["accesslog", "pipelined_wrk"]}


def measure_parts(there, parts, out):
    for name, measure in PARTS.items():
        for peer in there:
            if name in parts and name not in peer.cannot:
                say(f"{name}: {peer.name}")
                try:
                    measure(peer, out)
                except peers.PeerFails as error:
                    say(f"{name}: {peer.name}: {error}")


# ---- tables --------------------------------------------------------------------------------------

def spread(rounds, key):
    values = [one[key] for one in rounds]
    form = ",.0f" if min(values) >= 100 else ",.1f" if min(values) >= 20 else ".2f"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def print_loads(loads):
    if not loads:
        return
    print("\n| load | server | requests/s | MiB/s | CPU us a request | user + system "
          "| p50, p99, p99.9 us |\n|---|---|---|---|---|---|---|")
    for name, results in loads.items():
        for peer, rounds in results.items():
            print(f"| {LOADS[name].title} | {peer} |", end=" ")
            if isinstance(rounds, str):
                print(f"{rounds} | | | | |")
                continue
            middle = {key: median([one[key] for one in rounds]) for key in ("mib_s", "cpu_us")}
            waits = ", ".join(f"{median([one[key] for one in rounds]):,.0f}" for key in
                              ("p50_us", "p99_us", "p999_us") if key in rounds[0])
            # ticks are few in one round
            user, system = (sum(one[key] for one in rounds) for key in ("user_s", "system_s"))
            user_us = middle["cpu_us"] * user / ((user + system) or 1)
            print(f"{spread(rounds, 'rate')} | {middle['mib_s']:,.0f} "
                  f"| {spread(rounds, 'cpu_us')} "
                  f"| {user_us:,.2f} + {middle['cpu_us'] - user_us:,.2f} | {waits} |")


# the figures of a server as such: title, form
PROCESS = {
    "instructions": ("user instructions a request", ",.0f"),
    "browser instructions": ("the same, a browser's head", ",.0f"),
    "system calls": ("system calls a request, 8 connections", ".2f"),
    "PSS fresh": ("PSS a worker of five, kB", ",.0f"),
    "private fresh": ("private", ",.0f"),
    "PSS after": ("PSS 5 s after 10,000 connections", ",.0f"),
    "private after": ("private", ",.0f"),
    "idle bytes": ("bytes an idle connection", ",.0f"),
    "first answer": ("exec to first answer, 5 workers, ms", ".1f"),
    "HUP": ("HUP, 5 workers, ms", ",.0f"),
}


def print_process(there, out):
    shown = [key for key in PROCESS if out[key]]
    if not shown:
        return
    print("\n| server | " + " | ".join(PROCESS[key][0] for key in shown) + " |")
    print("|---" * (len(shown) + 1) + "|")
    for peer in there:
        values = [out[key].get(peer.name) for key in shown]
        print(f"| {peer.name} | " + " | ".join(
            "" if value is None else f"{value:{PROCESS[key][1]}}"
            for key, value in zip(shown, values)) + " |")


class Verdicts:
    """The table of what must hold, for gcorn as shipped and with everything on."""

    def __init__(self, loads, out):
        self.loads, self.out = loads, out
        self.lines = []

    def line(self, title, values, limit, form, most=True):
        """values: (as shipped, all on); None: not measured. Limit: the most, or the least."""
        if all(value is None for value in values):
            return
        cells = []
        for value in values:
            good = value is not None and (value <= limit if most else value >= limit)
            cells.append("-" if value is None else f"{value:{form}} {'holds' if good else '**fails**'}")
        self.lines.append(f"| {title} | {'at most' if most else 'at least'} {limit:{form}} "
                          f"| {' | '.join(cells)} |")

    def process(self, key, title, limit, form=",.0f"):
        self.line(title, [self.out[key].get(cls.name) for cls in
                          (peers.Gcorn, peers.GcornObserved)], limit, form)

    def ratio(self, name, key, peer, title, limit, most=False):
        """gcorn's figure in a load by that peer's, round by round."""
        results = self.loads.get(name, {})
        others = results.get(peer.name)
        values = []
        for cls in (peers.Gcorn, peers.GcornObserved):
            mine = results.get(cls.name)
            usable = isinstance(mine, list) and isinstance(others, list)
            values.append(median([a[key] / b[key] for a, b in zip(mine, others)]) if usable else None)
        self.line(f"{title} by {peer.name}'s", values, limit, ".2f", most)


def print_verdicts(loads, out):
    v = Verdicts(loads, out)
    nginx, limit = peers.Nginx, peers.Limit
    requests = figures.STRACE_LONG - figures.STRACE_SHORT
    v.process("instructions", "user instructions a request, h2load's", 2600)
    v.process("reads and writes", f"reads and writes in {requests} requests of one connection",
              2 * requests + 10)
    v.process("system calls", "system calls a request at 8 connections", 2.25, ".2f")
    for name, client in (("pipelined_wrk", "wrk"), ("pipelined", "load.c")):
        v.ratio(name, "rate", nginx, f"pipelined throughput, {client},", 4.5)
        v.ratio(name, "rate", limit, f"pipelined throughput, {client},", 0.85)
    v.ratio("keepalive", "cpu_us", nginx, "server CPU a request", 1, most=True)
    v.ratio("keepalive", "cpu_us", limit, "server CPU a request", 1.15, most=True)
    v.ratio("connection", "rate", nginx, "connection per request, throughput", 1)
    v.process("PSS fresh", "PSS a worker of five, kB, fresh", 400)
    v.process("PSS after", f"PSS {SETTLE_S} s after 10,000 connections", 640)
    v.process("idle bytes", "an idle keep-alive connection, bytes", 256)
    v.process("first answer", f"exec to first answer, {WORKERS} workers, ms", 8, ".1f")
    v.process("all ready", "exec to all READY, ms", 15, ".1f")
    v.process("browser instructions", "user instructions, a browser's head", 11000)
    for name in ("sendfile", "body_out", "body_in"):
        v.ratio(name, "rate", nginx, f"{LOADS[name].title}, throughput", 1)
    v.ratio("body_in", "cpu_us", peers.H2o, "1 MiB in, server CPU a request", 1, most=True)
    v.ratio("body_in", "cpu_us", limit, "1 MiB in, server CPU a request", 1.25, most=True)
    v.line("fairness: 300 slow calls, 8 workers: the most, in shares",
           [out["shares"].get("gcorn"), None], 2, ".2f")
    v.line("fairness: fair_close, p95 kept by new connections",
           [out["fair_close"].get("gcorn"), None], 2, ".2f")
    if v.lines:
        print("\n| must hold | aim | gcorn | gcorn, all on |\n|---|---|---|---|")
        print("\n".join(v.lines))


# ---- the run -------------------------------------------------------------------------------------

def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def print_machine(there, missing, rounds, seconds):
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if "model name" in line), "?")
    version = output_of("git", "-C", HERE, "describe", "--always", "--dirty")
    print("# gcorn and its peers\n")
    print(f"`make bench` of {version}: {os.cpu_count()} cores of {model}, "
          f"Linux {platform.release()}, {' '.join(platform.libc_ver())}, "
          f"{output_of('gcc', '--version').splitlines()[0]}. "
          f"Load average at the start: {os.getloadavg()[0]:.2f}. "
          f"{rounds} rounds of {seconds} s.\n")
    for peer in there:
        if isinstance(peer, peers.GcornObserved):
            print(f"- {peer.name}: JSON access log, request ids in answers, metrics (admin_bind)")
    for name, reason in missing.items():
        print(f"- left out: {name}: {reason}")


def run_script(name, build, *arguments):
    say(name)
    out = output_of(sys.executable, "-B", os.path.join(HERE, f"{name}.py"), build, *arguments)
    print(f"\n```\n{out}\n```")


def measure_fair(build, out):
    say("fair")
    print("\n```")
    out["shares"]["gcorn"] = fair.shares(build, FAIR_ROUNDS)
    out["fair_close"]["gcorn"] = fair.fair_close(build, 5, FAIR_ROUNDS)
    print("```")


def choose(words):
    parts = [part for word in words for part in word.split(",") if part]
    everything = [*LOADS, *PARTS, "fair", "slow", "forks", "accesslog"]
    unknown = [part for part in parts if part not in everything]
    if unknown:
        raise SystemExit(f"bench: no part is called {', '.join(unknown)}; there are: "
                         f"{', '.join(everything)}")
    return parts or everything


def main():
    build = os.path.abspath(sys.argv[1])
    rounds, seconds = int(os.environ.get("ROUNDS", 3)), float(os.environ.get("SECONDS", 0.7))
    parts = choose(sys.argv[2:])
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(f"{directory}/files")
        for name, size in (("big", FILE_SIZE), ("body", 100 * 1024)):
            with open(f"{directory}/files/{name}", "wb") as file:
                file.write(b"x" * size)
        everybody = [cls(build, directory) for cls in peers.ALL]
        wanted = [name for name in os.environ.get("PEERS", "").split(",") if name]
        everybody = [peer for peer in everybody if not wanted or peer.name.split(",")[0] in wanted]
        missing = {peer.name: peer.missing() for peer in everybody if peer.missing()}
        there = [peer for peer in everybody if peer.name not in missing]
        for tool, without in TOOLS.items():
            if not shutil.which(tool):
                missing.update({part: f"{tool} is not installed" for part in without})
        print_machine(there, missing, rounds, seconds)
        loads = {name: measure_load(there, LOADS[name], rounds, seconds)
                 for name in LOADS if name in parts and name not in missing}
        out = {key: {} for key in (*PROCESS, "reads and writes", "all ready", "shares", "fair_close")}
        for name, results in loads.get("idle", {}).items():
            if isinstance(results, list):
                out["idle bytes"][name] = median([one["idle_bytes"] for one in results])
        measure_parts(there, parts, out)
        print_loads(loads)
        print_process(there, out)
        if "fair" in parts:
            measure_fair(build, out)
        for name in ("slow", "forks", "accesslog"):
            if name in parts and name not in missing:
                run_script(name, build)
        print_verdicts(loads, out)
        print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}.")


if __name__ == "__main__":
    main()
