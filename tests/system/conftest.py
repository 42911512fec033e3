# SPDX-License-Identifier: MIT
"""Fixtures of the system tests; the harness itself is server.py."""
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from server import GCORN, REPO, Server, default_signals  # noqa: E402  pylint: disable=wrong-import-position
from tools import tool  # noqa: E402  pylint: disable=wrong-import-position


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(program, ...): skipped without them, failed in CI (tools.py)")
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
            source = next((Path(__file__).parent / "apps").glob(f"{name}.c*"))
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
