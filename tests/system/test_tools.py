# SPDX-License-Identifier: MIT
"""A tool that is not there skips tests, but in CI, which installs it, it fails them."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PATIENCE, SANITIZED

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def bare_path(tmp_path_factory):
    """A PATH with what building and starting need, and no tool of a single test."""
    path = tmp_path_factory.mktemp("bin")
    for name in ("cc", "gcc", "as", "ld", "ldd", "bash", "sh", "cat", "sleep"):
        (path / name).symlink_to(f"/usr/bin/{name}")
    return path


def run_test(name, **env):
    """The exit status and the output of pytest with one test, in a new process."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "PATH")}
    done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs",
                           HERE / name], env={**kept, **env}, text=True, capture_output=True,
                          check=False, timeout=6 * PATIENCE)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name, tool", [
    ("test_clients.py::test_curl_waits_for_continue_and_reuses_its_connection", "curl"),
    ("test_stack_log.py::test_a_debugged_worker_is_left_alone", "strace"),
    ("test_nginx.py::test_wrk", "wrk"),
    ("test_sanitizers.py::test_sanitized_application_is_refused_in_one_line"
     "[address-AddressSanitizer-clang]", "clang"),
    ("test_replay.py::test_a_debugger_finds_function_and_line", "gdb"),
    ("test_examples.py::test_each_compiles_against_the_installed_header_alone[hello-clang]", "clang"),
])
def test_a_missing_tool_skips_and_fails_in_ci(bare_path, name, tool):
    if SANITIZED and ("sanitizer" in name or tool == "gdb"):
        pytest.skip("that test is for a plain gcorn")
    for env, status in (({}, 0), ({"CI": "false"}, 0), ({"CI": "true"}, 1)):
        found, said = run_test(name, PATH=str(bare_path), **env)
        assert found == status, said
        assert f"{tool} is not installed" in said
        assert ("1 skipped" in said) == (status == 0), said


def test_only_the_harness_looks_for_programs():
    looks = re.compile(r"shutil\.which|importorskip|[\"']which[\"']|[\"']/usr/s?bin/(?!python3)|"
                       r"skip.*not installed|libdw.*skip")
    found = [f"{path.name}: {line.strip()}" for path in sorted(HERE.rglob("*.py"))
             for line in path.read_text().splitlines()
             if looks.search(line) and path.name not in ("environment.py", Path(__file__).name)]
    assert not found
