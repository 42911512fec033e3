# SPDX-License-Identifier: MIT
"""Boots that crash or hang (apps/badboot.c) are explained as calls are: what ran, the address, the
stacks."""
import re
import signal

import pytest

from harness import PRELOAD_OR_NOT, SANITIZED, wait_for

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has the signals")

WHERE = [("IN_CONSTRUCTOR", r"while its application was loaded \(in a constructor\?\)"),
         ("IN_INIT", "in gcorn_on_worker_init")]


def assert_has_stacks(server, who, pid):
    assert re.search(rf"{who} \(pid:{pid}\) \|   #\d+ go_wrong\+0x[0-9a-f]+ at \S*badboot\.c:\d+",
                     server.log()), server.log()


def exit_status(server):
    return server.process.wait(20)


@pytest.mark.parametrize("where, words", WHERE)
def test_a_crash_in_boot_is_explained(gcorn, app, where, words):
    server = gcorn(f"{app('badboot', f'-D{where}')}:handler", ready=0)
    assert exit_status(server) == 3
    pid = server.wait_log(rf"Worker \(pid:(\d+)\) was sent SIGSEGV! Nothing is mapped at address 0x40; "
                          rf"Before it was ready, {words}").group(1)
    server.wait_log(rf"it was killed by SIGSEGV \(Segmentation fault\) before it was ready, {words}")
    assert_has_stacks(server, "Worker", pid)


@pytest.mark.parametrize("where, words", WHERE)
def test_an_exit_in_boot_is_explained(gcorn, app, where, words):
    server = gcorn(f"{app('badboot', f'-D{where}', '-DLEAVES')}:handler", ready=0)
    assert exit_status(server) == 3
    pid = server.wait_log(r"Worker \(pid:(\d+)\) exited with code 7: the application called exit\(\). "
                          rf"Before it was ready, {words}").group(1)
    server.wait_log(rf"it exited with code 7 before it was ready, {words}")
    assert_has_stacks(server, "Worker", pid)


@pytest.mark.parametrize("where, words", WHERE)
def test_a_hang_in_boot_is_explained(gcorn, app, where, words):
    server = gcorn(f"{app('badboot', f'-D{where}', '-DHANGS')}:handler", "--boot-timeout", "1s", ready=0)
    assert exit_status(server) == 3
    pid = server.wait_log(rf"Worker \(pid:(\d+)\) is not ready within boot_timeout, {words}").group(1)
    server.wait_log(rf"it was not ready within boot_timeout, {words}")
    assert_has_stacks(server, "Worker", pid)


@PRELOAD_OR_NOT
@pytest.mark.parametrize("kind, words", [
    ("CRASHES", r"Worker \(pid:(\d+)\) was sent SIGSEGV! .* Before it was ready, "),
    ("HANGS", r"Worker \(pid:(\d+)\) is not ready within boot_timeout, ")])
def test_a_canary_that_fails_its_request_is_explained(gcorn, app, kind, words, flags):
    where = r"in the request of reload_check_path \(GET /ready\)"
    server = gcorn(f"{app('badboot', '-DIN_HANDLER', f'-D{kind}')}:handler", "--boot-timeout", "2s", "--reload-check-path", "/ready?secret",
                   *flags)
    before = server.worker_pids
    server.kill(signal.SIGHUP)
    pid = server.wait_log(words + where).group(1)
    server.wait_log(rf"Reload failed: .*before it was ready, {where}" if kind == "CRASHES"
                    else rf"Reload failed: it was not ready within boot_timeout, {where}")
    assert_has_stacks(server, "Worker", pid)
    assert "secret" not in server.log()
    wait_for(lambda: server.worker_pids == before, "the failed worker to be gone")


@pytest.mark.parametrize("kind, words", [
    ("CRASHES", r"Template \(pid:(\d+)\) was sent SIGSEGV! Nothing is mapped at address 0x40; Before it was ready"),
    ("HANGS", r"Template \(pid:(\d+)\) is not ready within boot_timeout")])
def test_a_template_that_fails_is_explained(gcorn, app, kind, words):
    server = gcorn(f"{app('badboot', '-DIN_CONSTRUCTOR', f'-D{kind}')}:handler", "--preload",
                   "--boot-timeout", "1s", ready=0)
    assert exit_status(server) == 3
    pid = server.wait_log(words + r", while it loaded the application").group(1)
    assert_has_stacks(server, "Template", pid)
