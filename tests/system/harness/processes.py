# SPDX-License-Identifier: MIT
"""Processes as /proc shows them."""
import os
import re
import signal
from pathlib import Path

from .waiting import wait_for


class Process:
    """What /proc says about a pid right now; state "" when there is no such process."""

    def __init__(self, pid):
        self.pid = int(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
            fields = text[text.rindex(")") + 2 :].split()
            self.state, self.parent, self.session = fields[0], int(fields[1]), int(fields[3])
            self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            self.state, self.parent, self.session, self.cpu_s = "", 0, 0, 0.0

    @property
    def is_alive(self):
        return self.state not in ("", "Z", "X")

    @property
    def title(self):
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().rstrip(b"\0").decode()
        except OSError:
            return ""

    def status(self, key):
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return ""
        found = re.search(rf"^{key}:\s*(.*)$", text, re.M)
        return found.group(1) if found else ""

    def catches(self, number):
        return bool(int(self.status("SigCgt") or "0", 16) >> (number - 1) & 1)

    @property
    def sleeps(self):
        """Does its main thread sleep in nanosleep(2)? So a handler that sleeps is known to run."""
        try:
            call = Path(f"/proc/{self.pid}/syscall").read_text().split()[0]
        except OSError:
            return False
        return call in ("230", "35", "115", "101")  # clock_nanosleep, nanosleep: x86_64, arm64

    @property
    def is_ready_worker(self):
        """A worker installs its signal handlers last of all, and the master has none for ABRT, so
        this needs no request that would be seen in a log or a counter."""
        return (self.is_alive and self.catches(signal.SIGABRT) and
                self.catches(signal.SIGTERM))

    @property
    def links(self):
        """What its descriptors are. One that is closed while they are listed is left out; a process
        that ends has none."""
        found, directory = [], f"/proc/{self.pid}/fd"
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            names = []
        for name in names:
            try:
                found.append(os.readlink(f"{directory}/{name}"))
            except OSError:
                pass
        return found

    @property
    def sockets(self):
        return sum(link.startswith("socket:") for link in self.links)


def all_processes():
    return [Process(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = [Process(child) for child in pids]
    except OSError:
        if not Process(pid).is_alive:
            return []
        found = [p for p in all_processes() if p.parent == pid]
    return [p for p in found if p.is_alive]


class Stranger:
    """A process that is not ours, with what subprocess.Popen has: a master that has succeeded."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        self.returncode = None if Process(self.pid).is_alive else 0
        return self.returncode

    def wait(self, timeout):
        wait_for(lambda: self.poll() is not None, f"{self.pid} to end", timeout)
        return self.returncode
