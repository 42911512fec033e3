# SPDX-License-Identifier: MIT
"""What a server has around it: a proxy, a service manager, a kernel that refuses."""
import os
import re
import signal
import socket
import subprocess
import sys

from .environment import SLOWER, find
from .processes import children
from .waiting import wait_for


NGINX = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
{user}
events {{ worker_connections 256; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size {body};
    keepalive_requests 100000;
    upstream app {{
        {servers}
        keepalive 16;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {fields}
        }}
    }}
}}
"""


class Nginx:
    """nginx in front of an address, or of several; its own socket is a unix one, so that its name is
    known."""

    def __init__(self, directory, upstream, fields="", body="8m"):
        self.dir = directory
        self.dir.mkdir()
        self.address = str(directory / "front.sock")
        servers = [f"unix:{one}" if isinstance(one, str) else "%s:%d" % one
                   for one in (upstream if isinstance(upstream, list) else [upstream])]
        user = "user root root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(NGINX.format(
            dir=directory, servers=" ".join(f"server {one};" for one in servers),
            listen=f"unix:{self.address}", user=user, fields=fields, body=body))
        with open(directory / "stderr", "wb") as err:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [find("nginx"), "-p", str(directory), "-c", str(directory / "nginx.conf"),
                 "-e", str(directory / "error.log")],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True)
        wait_for(self._answers, "nginx")

    def _answers(self):
        assert self.process.poll() is None, self.errors()
        try:
            socket.socket(socket.AF_UNIX).connect(self.address)
        except OSError:
            return False
        return children(self.process.pid)

    def errors(self):
        return "".join(path.read_text() for path in (self.dir / "stderr", self.dir / "error.log")
                       if path.exists())

    def complaints(self):
        return [line for line in self.errors().splitlines()
                if any(f"[{level}]" in line for level in ("warn", "error", "crit", "alert", "emerg"))]

    def statuses(self):
        return {line.split()[8] for line in (self.dir / "access.log").read_text().splitlines()}

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(3 * SLOWER)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()


# Passes its first arguments, sockets by number, on as descriptors 3, 4, ...: NUMBERS NAMES COMMAND
PASS = """
import os, sys
numbers = [int(n) for n in sys.argv[1].split(",")]
for i, number in enumerate(numbers):
    os.dup2(number, 100 + i)
for i in range(len(numbers)):
    os.dup2(100 + i, 3 + i)
    os.close(100 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(numbers)),
                  LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


class Manager:
    """The other end of NOTIFY_SOCKET. A message is a dict."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": address}
        self.messages = []

    def read(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def wait(self, after=0, **wanted):
        """The index behind the first message with these values, which are regular expressions."""
        def found():
            for i, message in enumerate(self.read()[after:], after):
                if all(re.fullmatch(value, message.get(key, "")) for key, value in wanted.items()):
                    return i + 1
            return 0
        try:
            return wait_for(found, wanted)
        except AssertionError as error:
            raise AssertionError(f"{error} among {self.messages}") from None

    def all(self, key):
        return [message[key] for message in self.read() if key in message]


def passing(sockets, names=""):
    """Options of a server that is passed these listening sockets (LISTEN_FDS)."""
    numbers = [one.fileno() for one in sockets]
    return {"wrapper": [sys.executable, "-c", PASS, ",".join(map(str, numbers)), names],
            "pass_fds": numbers}


class Refuser:
    """The calls that fail in servers which are started with its env."""

    def __init__(self, directory, library):
        self.file = directory / "refused"
        self.env = {"LD_PRELOAD": str(library), "REFUSE": str(self.file)}

    def refuse(self, **calls):
        """refuse(fork=errno.EAGAIN): the master's; child_fork: its children's. None: no call."""
        text = "".join(f" {name.replace('child_', 'child-')}={number}" for name, number in calls.items())
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def let_one_pass(self):
        one = self.file.with_suffix(".pass")
        one.touch()
        wait_for(lambda: not one.exists(), "the call that is let through")


class Holding:
    """Holds each such call of a server (listen, getaddrinfo, pread), from the next one on."""

    def __init__(self, refuser, call):
        self.call = call
        self.hold, self.held = (refuser.file.with_suffix(f".{end}-{call}") for end in ("hold", "held"))
        self.hold.touch()

    def wait(self):
        wait_for(self.held.exists, f"{self.call}()")
        self.held.unlink()

    def let_go(self):
        self.hold.unlink()
