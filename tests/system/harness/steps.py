# SPDX-License-Identifier: MIT
"""Steps that many tests take: install an application, write settings, hold a request, reload."""
import os
import re
import shutil
import signal

from .waiting import wait_for


def write_config(directory, **settings):
    """gunicorn-c.yaml in a directory, as by an editor that renames."""
    text = "".join(f"{key}: {value}\n" for key, value in settings.items())
    (directory / "new.yaml").write_text(text)
    os.rename(directory / "new.yaml", directory / "gunicorn-c.yaml")


def install(path, app_file):
    """Puts an application in place, the way it should be done: by rename."""
    shutil.copy(app_file, f"{path}.new")
    os.rename(f"{path}.new", path)


class Held:
    """A request that runs until let_go() is called: /hold of apps/probe.c."""

    def __init__(self, server, name="held", method="GET"):
        self.go = server.dir / f"{name}.go"
        self.client = server.connect()
        self.client.send(f"{method} /hold?name={name} HTTP/1.1\r\nHost: t\r\n\r\n")
        wait_for((server.dir / f"{name}.running").exists, "the request to run")

    def let_go(self):
        self.go.touch()
        return self.client.response()


def pid_of(server):
    return int(server.get("/pid").text)


def critical_lines(server):
    return re.findall(r"\[CRITICAL\] (.*)", server.log())


def fails_to_start(gcorn, app_text, status, why, *args, **options):
    server = gcorn(app_text, *args, ready=0, **options)
    assert server.wait_exit() == status
    lines = critical_lines(server)
    assert len(lines) == 1, lines
    assert re.search(why, lines[0]), lines
    return server


def hup(server, pattern=r"Reloaded: generation \d+ -> \d+", count=1):
    mark = server.mark()
    server.kill(signal.SIGHUP)
    return server.wait_log(pattern, after=mark, count=count)


def fails_to_reload(server, why):
    old = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_log(rf"\[ERROR\] Reload failed: .*{why}.*Generation 1 goes on unchanged")
    assert server.get().status == 200
    assert server.worker_pids & old == old
    server.wait_workers(len(old))  # the one that was tried is gone
