# SPDX-License-Identifier: MIT
"""The two headers, as compilers and languages other than C meet them."""
import re
import subprocess

import pytest

from harness import BUILD, GCORN, REPO, SANITIZED, tool

HEADERS = ["gcorn.h", "gcorn_test.h"]
COMPILERS = [("gcc", "-std=c11", "c"), ("clang", "-std=c11", "c"), ("gcc", "-std=c17", "c"),
             ("g++", "-std=c++17", "c++"), ("clang++", "-std=c++17", "c++")]
HOOK = re.compile(r"gcorn_on_\w+")

pytestmark = pytest.mark.skipif(SANITIZED, reason="headers are tested once, without the sanitizers")


def run(*words):
    return subprocess.run([str(word) for word in words], text=True, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout


@pytest.mark.parametrize("compiler, standard, language", [
    pytest.param(*row, marks=pytest.mark.needs(row[0])) for row in COMPILERS])
@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone_without_a_warning(header, compiler, standard, language):
    """Not with the names that _GNU_SOURCE has: the application may not define it."""
    assert run(compiler, standard, "-x", language, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic",
               "-Wshadow", "-Wconversion", "-Werror", f"-I{REPO}/include",
               REPO / "include" / header) == ""


def functions(header, tmp_path):
    """The names of the functions that the header declares, and of those that it defines."""
    found = tmp_path / "declared"
    run("gcc", "-std=c11", "-aux-info", found, "-fsyntax-only", f"-I{REPO}/include", "-x", "c",
        REPO / "include" / header)
    rows = re.findall(rf"^/\* \S*/include/{re.escape(header)}:\d+:\w(\w) \*/ .*?\b(\w+) \(",
                      found.read_text(), re.M)
    assert len(rows) > 8
    return {name for kind, name in rows if kind == "C"}, {name for kind, name in rows if kind == "F"}


def defined(path, *options):
    """The functions and the constants that others may link with."""
    lines = run("nm", "--defined-only", *options, path).splitlines()
    return {line.split()[2].split("@")[0] for line in lines
            if re.fullmatch(r"[0-9a-f]+ [TRBDW] \S+", line)}


@pytest.mark.needs("gcc")
def test_each_function_is_a_symbol(tmp_path):
    """Those of other languages call by name: there is nothing inline, and nothing but the interface.
    Hooks are the application's."""
    declared, inline = functions("gcorn.h", tmp_path)
    assert not inline
    interface = {name for name in declared if not HOOK.fullmatch(name)}
    of_server = {name for name in defined(GCORN, "-D") if name.startswith("gcorn_")}
    assert of_server == interface | {"gcorn_abi_2"}
    of_tests, inline = functions("gcorn_test.h", tmp_path)
    assert not inline
    assert defined(BUILD / "libgcorn-test.a", "-g") == of_server | of_tests


@pytest.mark.needs("bindgen")
@pytest.mark.parametrize("header", HEADERS)
def test_bindgen_finds_each_function(header, tmp_path):
    declared, _ = functions(header, tmp_path)
    rust = run(tool("bindgen"), REPO / "include" / header, "--", f"-I{REPO}/include")
    missing = [name for name in declared if not re.search(rf"\bpub fn {name}\b", rust)]
    assert not missing
    assert "pub struct gcorn_header {" in rust
    assert re.search(r"pub const gcorn_result_GCORN_AGAIN: gcorn_result = -2;", rust)
