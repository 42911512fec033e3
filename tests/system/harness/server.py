# SPDX-License-Identifier: MIT
"""One running gcorn, and its end."""
import os
import re
import signal
import subprocess
from pathlib import Path

from .client import Client, request
from .environment import (GCORN, PATIENCE, SLOWER, THREADS, clean_environment, example)
from .processes import Stranger, all_processes, children
from .waiting import wait_for


SANITIZER_REPORT = re.compile(r"(?:ERROR|WARNING): \w+Sanitizer|runtime error:|LeakSanitizer has encountered")


class Server:
    """A gcorn. args are the command line's; app is an example's name or app.so:handler. Unless
    bare, it binds a free port of 127.0.0.1, runs one worker, and fair_close is off: it would close
    keep-alive connections of a machine that is merely slow. wrapper: a command that executes
    another, in front; program: another gcorn than the built one; is_process_one: in a pid namespace
    of its own."""

    def __init__(self, directory, app, *args, bare=False, bind="127.0.0.1:0", env=None,
                 preexec=None, pass_fds=(), wrapper=(), program=GCORN, is_process_one=False):
        self.dir = Path(directory)
        words = [*wrapper, str(program)]
        if is_process_one:
            words = ["unshare", "--pid", "--fork", "--mount-proc", *words]
        if not bare:
            if "-w" not in args and "--workers" not in args:
                words += ["--workers", "1"]
            words += ["--bind", bind, "--no-fair-close"]
            if THREADS and "--threads" not in args:
                words += ["-k", "gthread", "--threads", THREADS]
        words += [str(arg) for arg in args]
        if app:
            words.append(app if ":" in app or "." in app else example(app))
        self.command = words
        self.clients = []
        self.expects_report = False  # of a sanitizer
        self.sessions = set()
        self.error_log, self.output = self.dir / "stderr", self.dir / "stdout"
        self.address = None  # of the last "Listening at" when it was ready
        with open(self.error_log, "ab") as err, open(self.output, "ab") as out:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                words, cwd=self.dir, env=clean_environment(env), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True, preexec_fn=preexec,
                pass_fds=pass_fds)
        self.pid = self.process.pid
        self.sessions.add(self.pid)
        if is_process_one:
            self.pid = wait_for(lambda: [p.pid for p in children(self.pid)], "process 1")[0]

    def is_succeeded_by(self, pid):
        """Its master's place is taken by another process."""
        self.process, self.pid = Stranger(pid), pid

    # what it says

    def log(self, start=0):
        return self.error_log.read_bytes()[start:].decode("utf-8", "backslashreplace")

    def mark(self):
        """Where the log ends now, for wait_log(after=...)."""
        return self.error_log.stat().st_size

    def wait_log(self, pattern, after=0, count=1):
        """The match of a pattern in the log; a list of them with count > 1."""
        found = wait_for(lambda: self._enough(pattern, after, count), f"{pattern!r} in the log")
        return found[0] if count == 1 else found

    def _enough(self, pattern, after, count):
        found = list(re.finditer(pattern, self.log(after), re.M))
        return found if len(found) >= count else None

    # where it is

    def _find_address(self):
        name = re.findall(r"Listening at: (\S+) \(", self.log())[-1]
        if name.startswith("unix:@"):
            self.address = "\0" + name[6:]
        elif name.startswith("unix:"):
            self.address = str(self.dir / name[5:])
        elif name.startswith("http:"):
            host, port = re.fullmatch(r"http://\[?([^\]]*)\]?:(\d+)", name).groups()
            self.address = host, int(port)

    @property
    def port(self):
        return self.address[1]

    # its processes

    @property
    def workers(self):
        """A successor is among them, and so is any child that has no title of its own yet."""
        return [p for p in children(self.pid)
                if not p.title.startswith(("gcorn: template", "gcorn: reload"))]

    @property
    def templates(self):
        return [p for p in children(self.pid) if p.title.startswith("gcorn: template")]

    @property
    def worker_pids(self):
        return {p.pid for p in self.workers}

    def wait_workers(self, count, other_than=()):
        """Exactly so many workers, all ready; none of them one of those."""
        def ready():
            self.assert_running()
            workers = self.workers
            return (workers if len(workers) == count and all(p.is_ready_worker for p in workers)
                    and not {p.pid for p in workers} & set(other_than) else None)
        return wait_for(ready, f"{count} workers")

    def assert_running(self):
        assert self.process.poll() is None, f"gcorn has ended with status {self.process.returncode}"

    def wait_ready(self, workers=1):
        self.wait_log(r"Listening at: .*\n")
        self._find_address()
        self.wait_workers(workers)
        return self

    def kill(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, hang_up=True):
        """Its exit status. Answered clients hang up, as clients do: until then the server lingers
        (RFC 9112 9.6)."""
        for client in self.clients if hang_up else []:
            client.close()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("gcorn does not end") from None

    # talking to it

    def connect(self, address=None, **options):
        client = Client(address or self.address, **options)
        self.clients.append(client)
        return client

    def ask(self, target="/", *args, **options):
        """A client whose request is sent and whose answer is not read yet; options as request()'s."""
        return self.connect().send(request(target, *args, **options))

    def get(self, target="/", **options):
        with Client(self.address) as client:
            return client.get(target, **options)

    # its end

    def left_over(self):
        return [p for p in all_processes() if p.session in self.sessions and p.is_alive]

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.kill(number)
        return self.wait_exit()

    def finish(self):
        """The fixture's end: what went wrong, as a list of texts."""
        wrong = []
        try:
            self.stop()
        except AssertionError as error:
            wrong.append(str(error))
        try:
            wait_for(lambda: not self.left_over(), "all processes to end", 3 * SLOWER)
        except AssertionError:
            for p in self.left_over():
                wrong.append(f"left over: {p.pid} {p.title}")
                os.kill(p.pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.wait_exit()
        if SANITIZER_REPORT.search(self.log()) and not self.expects_report:
            wrong.append("a sanitizer's report is in the log")
        return wrong
