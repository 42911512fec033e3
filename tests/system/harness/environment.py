# SPDX-License-Identifier: MIT
"""What is tested, and what the machine has for the tests."""
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
APPS = REPO / "tests/system/apps"
BUILD = Path(os.environ.get("GCORN_BUILD") or REPO / "build").resolve()
GCORN = str(BUILD / "gcorn")
GCORNCTL = str(BUILD / "gcornctl")
SANITIZED = bool(os.environ.get("SANITIZE")) or "sanitize" in BUILD.name
SLOWER = 4 if SANITIZED else 1
THREADS = os.environ.get("GCORN_THREADS_OF_TESTS")  # every server is a gthread one, with so many
PATIENCE = 10 * SLOWER  # seconds; no passing test ever waits so long
NOBODY = 65534  # a user and group without rights
MIB = 1 << 20


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
    """The environment without what gcorn, or a make that a test runs, would take from it."""
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
    """The application's name of examples/NAME."""
    return f"{BUILD}/examples/{name}.so:handler"


# A test that lacks a program or a library is skipped on a developer's machine. In CI (the variable CI
# is set, as .ci/run and the usual services do) it fails: CI installs all of them (DEPS_TEST in the
# Makefile), and a test that is silently skipped protects nothing. So only this file looks for programs;
# test_tools.py holds the others to that.
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def find(name):
    """The program's path, also where only root's PATH leads; or None."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def missing(what):
    """Ends the test, because of what is not there."""
    if IN_CI:
        pytest.fail(f"{what}, and CI installs it: see DEPS_TEST in the Makefile", pytrace=False)
    pytest.skip(what)


def tool(name):
    """The program's path; without the program the test ends."""
    return find(name) or missing(f"{name} is not installed")


def may_unshare():
    """Can a server be process 1 of a pid namespace here?"""
    unshare = find("unshare")
    return os.geteuid() == 0 and unshare is not None and subprocess.run(
        [unshare, "--pid", "--fork", "--mount-proc", "true"], stderr=subprocess.DEVNULL,
        check=False).returncode == 0


ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
PROCESS_ONE = pytest.mark.skipif(not may_unshare(), reason="no pid namespace can be made here")
PLAIN_ONLY = pytest.mark.skipif(SANITIZED, reason="this gcorn is built with the sanitizers")
SANITIZED_ONLY = pytest.mark.skipif(not SANITIZED, reason="this gcorn is built without sanitizers")
# Both classes of workers: the test takes worker_class, and passes *worker_class to the server.
WORKER_CLASSES = pytest.mark.parametrize("worker_class", [(), ("-k", "gthread", "--threads", "2")],
                                         ids=["sync", "gthread"])
PRELOAD_OR_NOT = pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["direct", "preloaded"])
