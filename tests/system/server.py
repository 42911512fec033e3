# SPDX-License-Identifier: MIT
"""The harness of the system tests: the real gcorn, started in a directory of its own.

    server = gcorn("hello", "--workers", "2")     the fixture of conftest.py: started, and ready
    response = server.get("/")                    one request on a connection of its own
    client = server.connect()                     raw bytes: send, response, eof

Nothing here waits for luck: every wait is for a condition (wait_for), and the one for silence
(Client.is_silent_for) is an assertion. Processes are signalled by pid only; a server leads a
session, and whatever is left in it when the test is over is a leak and fails the test.
"""
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GCORN_BUILD") or REPO / "build").resolve()
GCORN = str(BUILD / "gcorn")
SANITIZED = bool(os.environ.get("SANITIZE")) or "sanitize" in BUILD.name
SLOWER = 4 if SANITIZED else 1
THREADS = os.environ.get("GCORN_THREADS_OF_TESTS")  # every server is a gthread one, with so many
PATIENCE = 10 * SLOWER  # seconds; no passing test ever waits so long

SANITIZER_REPORT = re.compile(r"(?:ERROR|WARNING): \w+Sanitizer|runtime error:|LeakSanitizer has encountered")


def wait_for(condition, what, timeout=None):
    """The condition's first true value."""
    timeout = PATIENCE if timeout is None else timeout
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)


def pace(seconds):
    """What a slow client does between two steps. Not for waiting."""
    time.sleep(seconds)


def best_of(tries, seconds_of):
    """The least of several measurements in seconds: the machine's other work makes each only longer."""
    return min(seconds_of() for _ in range(tries))


def can_bind(port):
    """Is an address of this machine free for a server?"""
    with socket.socket() as probing:
        probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probing.bind(("127.0.0.1", port))
            probing.listen()
        except OSError:
            return False
        return True


# ---- processes ----------------------------------------------------------------------------------


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


# ---- the client ---------------------------------------------------------------------------------


class Response:
    def __init__(self, status, reason, headers, body, head):
        self.status, self.reason, self.headers, self.body, self.head = (
            status, reason, headers, body, head)

    def header(self, name):
        """The one value of a field, None when it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()

    @property
    def closes(self):
        return self.header("Connection") == "close"

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.headers} {self.body[:200]!r}>"


class Client:
    """One connection. Answers are read strictly: any deviation from HTTP/1.1 is a failure."""

    def __init__(self, address, timeout=None):
        family = (socket.AF_UNIX if isinstance(address, str)
                  else socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout or PATIENCE)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def _more(self):
        data = self.socket.recv(1 << 18)
        self.unread += data
        return bool(data)

    def _take(self, count):
        parts, have = [self.unread], len(self.unread)
        while have < count:
            data = self.socket.recv(1 << 18)
            assert data, f"the connection ended {count - have} bytes before the end of the body"
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.unread = whole[count:]
        return whole[:count]

    def _take_until(self, mark):
        while mark not in self.unread:
            assert self._more(), f"the connection ended before {mark!r}: {self.unread!r}"
        end = self.unread.index(mark) + len(mark)
        data, self.unread = self.unread[:end], self.unread[end:]
        return data

    def _chunks(self):
        body = b""
        while True:
            line = self._take_until(b"\r\n")
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), f"chunk size line {line!r}"
            size = int(line, 16)
            data = self._take(size + 2)
            assert data.endswith(b"\r\n"), f"a chunk ends in {data[-2:]!r}"
            if size == 0:
                return body
            body += data[:-2]

    def response(self, method="GET"):
        head = self._take_until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        status_line = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) ([ -~]*)", lines[0])
        assert status_line, f"status line {lines[0]!r}"
        status = int(status_line.group(1))
        headers = []
        for line in lines[1:]:
            field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)",
                                 line)
            assert field, f"field line {line!r}"
            headers.append(field.groups())
        answer = Response(status, status_line.group(2), headers, b"", head)
        length, coding = answer.header("Content-Length"), answer.header("Transfer-Encoding")
        assert length is None or (length.isdigit() and coding is None), f"framing of {answer}"
        assert coding in (None, "chunked"), f"framing of {answer}"
        if method == "HEAD" or status < 200 or status in (204, 304):
            return answer
        if coding:
            answer.body = self._chunks()
        elif length is not None:
            answer.body = self._take(int(length))
        else:
            assert answer.closes, f"a body without length on a connection that stays: {answer}"
            answer.body = self.rest()
        return answer

    def get(self, target="/", version="1.1", fields="", method="GET", host="test"):
        self.send(f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n{fields}\r\n")
        return self.response(method)

    def rest(self):
        """All bytes up to the orderly end of the connection; ConnectionResetError if it is none."""
        while self._more():
            pass
        data, self.unread = self.unread, b""
        return data

    def assert_closed(self):
        """The server has closed, in an orderly way, and sent nothing more."""
        rest = self.rest()
        assert rest == b"", f"bytes after the answer: {rest!r}"

    def wait_readable(self):
        """Waits until bytes, or the end, have come; reads nothing."""
        assert self.unread or select.select([self.socket], [], [], PATIENCE)[0], "no byte has come"
        return self

    def is_silent_for(self, seconds):
        """An assertion that takes its time: nothing comes, neither bytes nor the end."""
        return not self.unread and not select.select([self.socket], [], [], seconds)[0]


# ---- the server ---------------------------------------------------------------------------------


def default_signals():
    """For a suite, once: what its own starter ignores or blocks (nohup HUP, a shell INT and QUIT of
    what it runs in the background), the programs that are tested would inherit (signal(7))."""
    pythons_own = {signal.SIGPIPE, signal.SIGXFSZ}  # subprocess resets them in children
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - pythons_own:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def clean_environment(extra=None):
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("GCORN_")
           and key not in ("WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS", "RUNTIME_DIRECTORY",
                           "NOTIFY_SOCKET", "PWD",
                           # of the make that runs the tests: one that a test runs is not its child
                           "MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    env.update(extra or {})
    return env


def run(*args, cwd, env=None, timeout=None):
    """gcorn run to its end: for what does not serve."""
    return subprocess.run([GCORN, *map(str, args)], cwd=cwd, env=clean_environment(env), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          start_new_session=True, timeout=timeout or PATIENCE)


def example(name):
    return f"{BUILD}/examples/{name}.so:handler"


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
        return [p for p in children(self.pid) if not p.title.startswith("gcorn: template")]

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
