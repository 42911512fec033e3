#!/usr/bin/python3
"""Checks the direction of includes: a room under src/ knows only the rooms below it.

Also the few headers that one file alone may know, and what http/ must not touch. Prints a line for
each breach and exits 1, or says how many files are in order.
"""
import pathlib
import re
import sys

# ctl/ is no room of the server but gcornctl's, which knows no more of it than its settings; nor is
# testlib/, which puts a test in the server's place around http/.
ROOMS = ["base", "settings", "init", "system", "http", "worker", "master", "ctl", "testlib"]
# A room knows those before it in the list, except:
FORBIDDEN = {("system", "settings"), ("http", "settings"), ("http", "system"),
             ("ctl", "system"), ("ctl", "http"), ("ctl", "worker"), ("ctl", "master"),
             ("testlib", "settings"), ("testlib", "system"), ("testlib", "worker"),
             ("testlib", "master"), ("testlib", "ctl")}
ONLY = {"yaml.h": ["src/settings/config_yaml.c", "src/version.c"], "llhttp.h": ["src/version.c", "src/http/request/request.c", "src/http/request/request_body.c"],
        "jansson.h": ["src/ctl/show.c", "src/gcornctl.c"], "elfutils/libdwfl.h": ["src/system/trace/stacks.c", "src/version.c"]}
NOT_IN_HTTP = ["ev.h", "sys/socket.h", "sys/epoll.h", "netinet/in.h"]
ONLY_MASTER = re.compile(r"\b(?:fork|waitpid|kill)\(")
# What of a worker the test library runs, too: its application's hooks and metrics.
TESTLIB_KNOWS = {"worker/call/app.h", "worker/call/app_metrics.h", "system/ipc/scoreboard.h"}
# Headers of a room in levels: one includes those of its own level and of the levels before it. A .c
# file may include all of them.
LEVELS = [["src/http/request/", "src/http/answer/", "src/http/"]]
# Programs, and what include/gcorn.h declares. (Files of testlib/ may have include/gcorn_test.h.)
HEADERLESS = {"src/main.c", "src/gcornctl.c", "src/worker/call/api.c", "src/http/layer.c",
              "src/http/answer/header_list.c", "src/http/answer/trailer.c"}
# A class of workers has no other function than the one that call.h declares for its row.
IS_WORKER_CLASS = re.compile(r"src/worker/call/call_\w+\.c")
# Becoming a daemon is a fork too; a process that traces threads waits for their stops.
FORKS = {"src/system/process/daemon.c", "src/system/trace/ptrace.c"}

# In master/: the files of master/ itself and of workers/ act, and know the master's state. Any other
# subfolder owns its structs and gets the rest by parameter: it knows the types, and never what acts.
# The types of proc/ know those of generation/ alone.
MASTER_ACTS = {"", "workers"}


def part_of_master(name):
    """plan.h: "", proc/plan.h: "proc"."""
    return name.rpartition("/")[0]


def master_breaches(path, header):
    name = path.as_posix()
    own, other = part_of_master(name[len("src/master/"):]), part_of_master(header[len("master/"):])
    if own in MASTER_ACTS or own == other:
        return
    if own == "proc" and other != "generation":
        yield f"{name} includes {header}: the types of a process know generation/ alone"
    if other in MASTER_ACTS:
        yield f"{name} includes {header}: a subfolder of master/ knows only its types"


# In worker/: a file knows its own floor and those below it; call/,
# callback/ and messages/ are one, accept/ and conn/ too. What a floor
# tells one above it is declared in loop/upward.h.
FLOORS = {"wire": 0, "loop": 1, "call": 2, "callback": 2, "messages": 2, "conn": 3, "accept": 3, "crash": 4}
TOP = 5  # the files of worker/ itself, but for these, which need no floor above the loop:
FLOOR_OF = {"worker/access_log_writer.h": 1, "worker/notify_master.h": 1}
# struct worker is made of a part of each floor.
KNOWS_ALL_FLOORS = "src/worker/loop/state.h"


def floor_of(name):
    """The floor of worker/foo/bar.h."""
    return FLOOR_OF.get(name, FLOORS.get(name.split("/")[1], TOP))


def worker_breaches(path, header):
    name = path.as_posix()
    if not name.startswith("src/worker/") or not header.startswith("worker/"):
        return
    floor = floor_of(name[len("src/"):])
    if header == "worker/worker.h" and len(path.parts) > 3:
        yield f"{name} includes {header}: only the files of worker/ itself may"
    elif floor_of(header) > floor and name != KNOWS_ALL_FLOORS:
        yield f"{name} includes {header}: a floor of worker/ knows those below it alone (loop/upward.h)"


def level_of(name):
    """Which list of LEVELS a header is in, and where in it; None for others."""
    for levels in LEVELS:
        for i, folder in enumerate(levels):
            if name.startswith(folder) and name.endswith(".h") and "/" not in name[len(folder):]:
                return levels, i
    return None


def breaches(path):
    name = path.as_posix()
    room = path.parts[1] if len(path.parts) > 2 else None
    text = path.read_text()
    for header in re.findall(r'^#include "([^"]+)"', text, re.M):
        if header in ("gcorn.h", "gcorn_test.h", "settings/settings.def"):
            continue
        target = header.split("/")[0]
        if header == "version.h" and name.startswith("src/") and len(path.parts) == 2:
            continue
        if room == "testlib" and header in TESTLIB_KNOWS:
            continue
        if target not in ROOMS:
            yield f"{name} includes {header}, which is in no room"
        elif room and (ROOMS.index(target) > ROOMS.index(room) or (room, target) in FORBIDDEN):
            yield f"{name} includes {header}: {room}/ may not know {target}/"
        elif room == "master" == target:
            yield from master_breaches(path, header)
        yield from worker_breaches(path, header)
        own, other = level_of(name), level_of(f"src/{header}")
        if own and other and own[0] is other[0] and own[1] < other[1]:
            yield f"{name} includes {header}, a header of a level above its own"
    for header in re.findall(r"^#include <([^>]+)>", text, re.M):
        if name not in ONLY.get(header, [name]):
            yield f"{name} includes <{header}>: only {' and '.join(ONLY[header])} may"
        if room == "http" and header in NOT_IN_HTTP:
            yield f"{name} includes <{header}>: http/ is bytes in, bytes out"
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    if room in ROOMS and room != "master" and name not in FORKS and ONLY_MASTER.search(code):
        yield f"{name}: only master/ forks, waits and kills"


def main():
    files = sorted(pathlib.Path("src").rglob("*.[ch]"))
    found = [line for path in files for line in breaches(path)]
    for path in files:
        headers = [path.with_suffix(".h"), pathlib.Path("include", path.stem + ".h")]
        if path.parts[1] == "testlib":
            headers.append(pathlib.Path("include/gcorn_test.h"))
        if path.suffix == ".c" and path.as_posix() not in HEADERLESS and not IS_WORKER_CLASS.fullmatch(path.as_posix()) and not any(h.exists() for h in headers):
            found.append(f"{path.as_posix()} has no header of its own")
    print("\n".join(found) if found else f"includes: {len(files)} files in order")
    sys.exit(bool(found))


main()
