# SPDX-License-Identifier: MIT
"""Fixtures of the system tests; the harness itself is in harness/."""
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import (APPS, GCORN, REPO, Manager, Nginx, Refuser, Server, clean_environment,
                     default_signals, install, tool)


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(program, ...): skipped without them, failed in CI (tool())")
    default_signals()
    if not Path(GCORN).exists():
        raise pytest.UsageError(f"{GCORN} is not there: run make check-system")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            tool(name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps whether the test failed, for the fixture that prints the logs."""
    report = (yield).get_result()
    if call.when == "call":
        item.has_failed = report.failed


def pytest_runtest_logreport(report):
    """For `make durations`: adds what a test took to the file that GCORN_DURATIONS names."""
    if os.environ.get("GCORN_DURATIONS"):
        name = report.nodeid.split("::")[0].rsplit("/", 1)[-1]
        with open(os.environ["GCORN_DURATIONS"], "a", encoding="ascii") as file:
            file.write(f"{name} {report.duration:.3f}\n")


@pytest.fixture
def gcorn(request, tmp_path):
    """Starts servers in tmp_path: gcorn(app, *args, ready=<workers to wait for, 0 for none>,
    directory=<tmp_path>, ...) with Server's other options. Stops them all at the end."""
    servers = []

    def start(app="hello", *args, ready=None, directory=None, **options):
        directory = directory or (tmp_path if not servers else tmp_path / f"server{len(servers)}")
        directory.mkdir(exist_ok=True)
        server = Server(directory, app, *args, **options)
        servers.append(server)
        if ready is None:
            words = server.command
            ready = next((int(words[i + 1]) for i, word in enumerate(words)
                          if word in ("-w", "--workers")), 1)
        return server.wait_ready(ready) if ready else server

    yield start
    wrong = [text for server in servers for text in server.finish()]
    if wrong or getattr(request.node, "has_failed", True):
        for server in servers:
            print(f"--- {' '.join(server.command)}\n{server.log()}", end="")
    assert not wrong, "; ".join(wrong)


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """Compiles an application of tests/system/apps, once: app("probe", "-DNAME=1") is a path."""
    made = {}

    def compile_app(name, *flags, compiler="cc"):
        key = (name, *flags)
        if key not in made:
            source = next(APPS.glob(f"{name}.c*"))
            path = tmp_path_factory.mktemp("apps") / f"{name}.so"
            subprocess.run([compiler, "-shared", "-fPIC", "-g", "-O1", "-Wall", "-Wextra",
                            "-Werror", f"-I{REPO}/include", "-o", path, source, *flags],
                           check=True)
            made[key] = path
        return made[key]

    return compile_app


@pytest.fixture
def probe(app):  # pylint: disable=redefined-outer-name
    """apps/probe.c, as app.so:handler."""
    return f"{app('probe')}:handler"


@pytest.fixture
def public_dir(app):
    """A directory that any user can enter, with app.so in it."""
    with tempfile.TemporaryDirectory(prefix="gcorn-test-") as name:
        os.chmod(name, 0o755)
        install(Path(name) / "app.so", app("probe"))
        os.chmod(Path(name) / "app.so", 0o755)
        yield Path(name)


@pytest.fixture
def nginx(tmp_path):
    """Starts nginx in front of addresses: nginx(server.address, fields=..., body=...)."""
    started = []

    def start(upstream, **options):
        started.append(Nginx(tmp_path / f"nginx{len(started)}", upstream, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def manager(tmp_path):
    """The service manager at the other end of NOTIFY_SOCKET."""
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def listening():
    """Makes listening sockets, as systemd has them."""
    made = []

    def listen():
        one = socket.socket()
        made.append(one)
        one.bind(("127.0.0.1", 0))
        one.listen(128)
        return one

    yield listen
    for one in made:
        one.close()


@pytest.fixture
def refuser(app, tmp_path):
    """Makes chosen system calls of servers fail that are started with env=refuser.env."""
    return Refuser(tmp_path, app("refuse", "-ldl", "-Wno-nonnull-compare"))


@pytest.fixture
def waits(gcorn, app):
    """apps/waits.c, served."""
    def start(*args, **options):
        return gcorn(f"{app('waits', '-pthread')}:handler", *args, **options)
    return start


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The directory of an installation of gcorn, and the environment in which it is found."""
    root = tmp_path_factory.mktemp("installed") / "root"
    sanitize = os.environ.get("SANITIZE")
    subprocess.run(["make", "-s", "-C", REPO, "install", f"DESTDIR={root}", "PREFIX=/usr",
                    *([f"SANITIZE={sanitize}"] if sanitize else [])],
                   check=True, stdout=subprocess.DEVNULL)
    return root, clean_environment({
        "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
        "PKG_CONFIG_PATH": f"{root}/usr/lib/pkgconfig",
        "PKG_CONFIG_SYSROOT_DIR": str(root),
        "GCORN_BIND": "127.0.0.1:0",
    })
