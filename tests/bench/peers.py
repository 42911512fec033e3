"""The servers that `make bench` compares, each with the plainest configuration that says hello.

A peer knows its command line for a load. What is not installed, or could not be built, says so by
missing(). Running is such a server while it serves.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

from harness import children

PATIENCE_S = 20
# more than the 10,000 idle connections of a load, or one worker's share of them
CONNECTIONS = 10100
HELLO = "Hello, World!"


class PeerFails(Exception):
    """A peer did not do what was asked of it. The others go on."""


class Peer:
    """A server: name, command line, what it cannot do (a set of loads and figures)."""
    name = ""
    cannot = ()
    valgrind = True
    environment = {}

    def __init__(self, build, directory):
        self.build, self.directory = build, directory

    def path(self, name):
        return os.path.join(self.directory, f"{self.name.replace(' ', '-')}.{name}")

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def missing(self):
        """Why it is left out, or None."""
        raise NotImplementedError

    def command(self, load, workers, port):
        raise NotImplementedError

    def probe(self, load):
        """A request that is answered when the server is there."""
        return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def forget(self):
        """Called between rounds: what it has written is not needed."""


class Gcorn(Peer):
    name = "gcorn"

    def missing(self):
        return None

    def application(self, load):
        return f"{self.build}/bench/bodies.so" if load.bodies else f"{self.build}/examples/hello.so"

    def command(self, load, workers, port):
        # the default for connections is in the way of one load alone
        many = ["--worker-connections", str(CONNECTIONS)] if load.idle else []
        return [f"{self.build}/gcorn", "-w", str(workers), "-b", f"127.0.0.1:{port}", *many,
                *self.extra(), f"{self.application(load)}:handler"]

    def extra(self):
        return []


class GcornObserved(Gcorn):
    """With what an operator switches on: a JSON access log, request ids in answers, metrics."""
    name = "gcorn, all on"

    def extra(self):
        return ["--access-logfile", self.path("access"), "--access-logformat", "json",
                "--request-id-response", "--admin-bind", f"unix:{self.path('admin')}"]

    def forget(self):
        if os.path.exists(self.path("access")):
            os.truncate(self.path("access"), 0)


class Limit(Peer):
    name = "limit"
    cannot = ("hup",)

    def missing(self):
        return None

    def probe(self, load):
        return load.request  # it answers once for so many bytes

    def command(self, load, workers, port):
        body = {"body_out": ["-b", str(100 * 1024)],
                "sendfile": ["-f", f"{self.directory}/files/big"]}.get(load.name, [])
        return [f"{self.build}/bench/limit", "-p", str(port), "-w", str(workers),
                "-r", str(len(load.request)), *body, *(["-1"] if load.closes else [])]


class Nginx(Peer):
    name = "nginx"
    ECHO = "/usr/lib/nginx/modules/ngx_http_echo_module.so"

    def missing(self):
        return None if shutil.which("nginx") else "nginx (nginx-light) is not installed"

    def command(self, load, workers, port):
        # `return 200` would throw a body away unread; an application server keeps it
        echo = os.path.exists(self.ECHO)
        body_in = "echo_read_request_body; echo_exec /;" if echo else f'return 200 "{HELLO}";'
        return ["nginx", "-p", self.directory, "-e", "stderr", "-c", self.write("conf", f"""
{f'load_module {self.ECHO};' if echo else ''}
user root; worker_processes {workers}; daemon off; pid {self.path('pid')}; error_log stderr error;
worker_rlimit_nofile {CONNECTIONS + 100};
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off; default_type text/plain; sendfile on; client_max_body_size 16m;
    keepalive_requests 1000000000; keepalive_timeout 75s;
    client_body_temp_path {self.path('body')}; proxy_temp_path {self.path('proxy')};
    fastcgi_temp_path {self.path('fastcgi')}; uwsgi_temp_path {self.path('uwsgi')};
    scgi_temp_path {self.path('scgi')};
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location = / {{ return 200 "{HELLO}"; }}
        location = /body {{ alias {self.directory}/files/body; }}
        location = /in {{ {body_in} }}
        location /file/ {{ alias {self.directory}/files/; }}
    }}
}}
""")]


class Kore(Peer):
    name = "kore"
    # its workers forbid themselves what valgrind does; a HUP loads the code in place, without an
    # end that could be seen
    valgrind = False
    cannot = ("hup",)

    def missing(self):
        if not shutil.which("kore"):
            return "kore is not installed"
        if os.geteuid() != 0:
            return "kore needs root"
        return None if os.path.exists(f"{self.build}/bench/peer_kore.so") else "peer_kore was not built"

    def command(self, load, workers, port):
        conf = self.write("conf", f"""
server plain {{
    bind 127.0.0.1 {port}
    tls no
}}
load {self.build}/bench/peer_kore.so
workers {workers}
worker_set_affinity 0
worker_max_connections {CONNECTIONS}
worker_rlimit_nofiles {CONNECTIONS + 100}
socket_backlog 2048
pidfile {self.path('pid')}
http_keepalive_time 75
http_body_max 2097152
domain * {{
    attach plain
    route / hello_page
    route /in hello_page
    restrict /in post
    route /body body_page
    filemap /file/ {self.directory}/files
}}
""")
        return ["kore", "-nrf", "-c", conf]


class H2o(Peer):
    name = "libh2o"
    cannot = ("hup",)

    def missing(self):
        return None if os.path.exists(f"{self.build}/bench/peer_h2o") \
            else "peer_h2o was not built (libh2o-evloop-dev)"

    def command(self, load, workers, port):
        return [f"{self.build}/bench/peer_h2o", str(port), str(workers),
                f"{self.directory}/files/big"]


class Gunicorn(Peer):
    """Its default worker, sync: it closes after each answer, so that the idle load has nothing to
    hold."""
    name = "gunicorn"
    valgrind = False
    cannot = ("idle", "instructions", "calls")

    def missing(self):
        return None if shutil.which("gunicorn") else "gunicorn is not installed"

    def command(self, load, workers, port):
        return ["gunicorn", "-w", str(workers), "-b", f"127.0.0.1:{port}", "--log-level", "error",
                "--pythonpath", os.path.dirname(os.path.abspath(__file__)), "peer_gunicorn:application"]


ALL = (Gcorn, GcornObserved, Limit, Nginx, Kore, H2o, Gunicorn)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read()
    except OSError:
        return b""


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Running:
    """A peer that serves a load: from the constructor's return until the with block ends."""

    def __init__(self, peer, load, workers=1, prefix=(), cores=None, waits=True):
        self.peer, self.load, self.workers_wanted = peer, load, workers
        self.port = free_port()
        self.errors = peer.path("errors")
        self.traced = bool(prefix) and prefix[0] == "strace"
        environment = {**os.environ, "BENCH_FILE": f"{peer.directory}/files/big",
                       "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*prefix, *peer.command(load, workers, self.port)]
        with open(self.errors, "w") as errors:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL,
                stdout=errors, stderr=errors, env=environment, cwd=peer.directory,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None)
        if waits:
            self.wait_for(lambda: self.answers() and len(self.workers()) >= workers)

    def wait_for(self, condition):
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                with open(self.errors) as errors:
                    said = errors.read()[-2000:]
                self.stop()
                raise PeerFails(f"{self.peer.name} did not start, or not in time: {said}")
            time.sleep(0.01)

    def answers(self):
        """Whether a GET / is answered: by any worker."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as client:
                client.sendall(self.peer.probe(self.load))
                return bool(client.recv(100))
        except OSError:
            return False

    def master(self):
        return children(self.process.pid)[0] if self.traced else self.process.pid

    def children(self):
        try:
            return children(self.master())
        except IndexError:
            return []

    def workers(self):
        """Without gcorn's admin process."""
        return [pid for pid in self.children() if b": admin" not in command_line(pid)]

    def processes(self):
        return [self.master(), *self.children()]

    def stop(self):
        """Ends when the workers have, too: tools write their results then."""
        left = self.children()
        try:
            os.kill(self.master(), signal.SIGTERM)
        except (IndexError, ProcessLookupError):
            pass
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in [*left, self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        until = time.monotonic() + PATIENCE_S
        while any(map(lives, left)) and time.monotonic() < until:
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()
