# SPDX-License-Identifier: MIT
"""What the tests need beside gcorn: programs, compilers, parts of the build that need libraries.

A test that lacks one is skipped on a machine of a developer. In CI (the variable CI is set, as
.ci/run and the usual services do) it fails: CI installs all of them (DEPS_TEST in the Makefile), and
a test that silently stops to run protects nothing. So only this file looks for programs; test_tools.py
holds the others to that.
"""
import os
import shutil

import pytest

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
