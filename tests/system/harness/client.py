# SPDX-License-Identifier: MIT
"""A strict HTTP/1.1 client, and addresses."""
import random
import re
import select
import socket
import struct

from .environment import PATIENCE


class Response:
    def __init__(self, status, reason, headers, body, head):
        self.status, self.reason, self.headers, self.body, self.head = (
            status, reason, headers, body, head)
        self.trailers = []

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


def fields_of(lines):
    headers = []
    for line in lines:
        field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)", line)
        assert field, f"field line {line!r}"
        headers.append(field.groups())
    return headers


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
            if size == 0:
                return body
            data = self._take(size + 2)
            assert data.endswith(b"\r\n"), f"a chunk ends in {data[-2:]!r}"
            body += data[:-2]

    def _trailers(self):
        lines = []
        while line := self._take_until(b"\r\n")[:-2]:
            lines.append(line.decode("latin-1"))
        return fields_of(lines)

    def response(self, method="GET"):
        head = self._take_until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        status_line = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) ([ -~]*)", lines[0])
        assert status_line, f"status line {lines[0]!r}"
        status = int(status_line.group(1))
        answer = Response(status, status_line.group(2), fields_of(lines[1:]), b"", head)
        length, coding = answer.header("Content-Length"), answer.header("Transfer-Encoding")
        assert length is None or (length.isdigit() and coding is None), f"framing of {answer}"
        assert coding in (None, "chunked"), f"framing of {answer}"
        if method == "HEAD" or status < 200 or status in (204, 304):
            return answer
        if coding:
            answer.body = self._chunks()
            answer.trailers = self._trailers()
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


def request(target="/", fields="", method="GET", version="1.1"):
    """The text of a request without a body."""
    return f"{method} {target} HTTP/{version}\r\nHost: test\r\n{fields}\r\n"


def reset(client):
    """Closes the connection with RST, as a client does that crashes."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


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


def free_port():
    """A port outside the range of which the kernel gives out port 0: other tests ask for many of those."""
    while True:
        port = random.randrange(10000, 32768)
        if can_bind(port):
            return port
