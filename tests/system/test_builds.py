# SPDX-License-Identifier: MIT
"""What `make` makes of the source: hardened, without a word of the compiler, and the same everywhere."""
import os
import re
import shutil
import subprocess

import pytest

from harness import GCORN, PATIENCE, REPO, SANITIZED, clean_environment, tool

MADE = ["build/gcorn", "build/gcornctl", "build/libgcorn-test.a"]
HARDENING = ["-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection=return",
             "-D_FORTIFY_SOURCE=3"]

pytestmark = pytest.mark.skipif(SANITIZED, reason="builds are tested once, without the sanitizers")


def make(directory, *words, **env):
    """make's output, which must be all of the build's."""
    return subprocess.run(["make", "-s", *words], cwd=directory, text=True, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * PATIENCE,
                          env={**clean_environment(), "CCACHE_DISABLE": "1", **env}).stdout


def copy_source(directory):
    directory.mkdir(parents=True)
    for name in ("src", "include", "examples"):
        shutil.copytree(REPO / name, directory / name)
    shutil.copy(REPO / "Makefile", directory)
    return directory


def compile_command(*words, **env):
    """The command that would compile one file, whatever has been built."""
    text = make(REPO, "-n", "-B", "V=1", "build/base/arena.o", *words, **env)
    line, = [line for line in text.splitlines() if "-o build/base/arena.o" in line]
    return line.split()


def test_two_directories_give_the_same_bytes(tmp_path):
    """One is reached by a link, which a shell's PWD names."""
    one = copy_source(tmp_path / "one")
    copy_source(tmp_path / "other" / "deeper")
    (tmp_path / "link").symlink_to("other")
    other = tmp_path / "link" / "deeper"
    for directory in (one, other):
        said = make(directory, "CFLAGS=-O0 -g", *MADE, PWD=str(directory))
        assert not re.search("(?:warning|note|error): ", said), said
    for name in MADE:
        made = (one / name).read_bytes()
        assert made == (other / name).read_bytes(), name
        assert str(tmp_path).encode() not in made


@pytest.mark.parametrize("compiler", [pytest.param(name, marks=pytest.mark.needs(name))
                                      for name in ("gcc", "clang")])
def test_this_compiler_has_all_of_the_hardening(compiler):
    command = compile_command(f"CC={compiler}")
    assert [flag for flag in HARDENING if flag not in command] == []


def test_flags_that_a_compiler_lacks_are_left_out_quietly(tmp_path):
    """As gcc 7 or a compiler for another machine would refuse them."""
    old = tmp_path / "old-gcc"
    old.write_text("#!/bin/sh\nfor word; do case $word in -fcf-protection*|-fstack-clash*|-flto*|"
                   "-Wa,*|-D_FORTIFY_SOURCE=3) echo \"$word?\" >&2; exit 1;; esac; done\n"
                   f"exec {tool('gcc')} \"$@\"\n")
    old.chmod(0o755)
    command = compile_command(f"CC={old}")
    assert "-D_FORTIFY_SOURCE=2" in command and "-fstack-protector-strong" in command
    assert not [word for word in command if re.match("-fcf|-fstack-clash|-flto|-Wa,", word)]
    said = make(copy_source(tmp_path / "source"), f"CC={old}", "CFLAGS=-O1", "build/base/arena.o")
    assert said.strip() == "CC build/base/arena.o"


def test_a_distribution_may_fortify_by_itself():
    command = compile_command("CPPFLAGS=-Wdate-time -D_FORTIFY_SOURCE=2")
    assert [word for word in command if "FORTIFY" in word] == ["-D_FORTIFY_SOURCE=2"]


def test_the_program_is_hardened():
    def readelf(*words):
        return subprocess.run(["readelf", "-W", *words, GCORN], text=True, check=True,
                              capture_output=True).stdout
    assert re.search(r"FLAGS_1\).*NOW.*PIE|FLAGS_1\).*PIE.*NOW", readelf("-d"))
    assert "GNU_RELRO" in readelf("-l") and not re.search(r"GNU_STACK.* RWE ", readelf("-l"))
    symbols = readelf("-s", "--dyn-syms")
    assert "__stack_chk_fail" in symbols and re.search(r"__\w+_chk@", symbols)


def test_version_names_the_hardening():
    options = subprocess.run([GCORN, "--version"], text=True, check=True,
                             capture_output=True).stdout.splitlines()[-1].split()
    command = compile_command()
    wanted = [flag for flag in HARDENING if flag in command and "FORTIFY" not in flag]
    assert wanted and [flag for flag in [*wanted, "-fPIE", "-pie", "-Wl,-z,relro,-z,now"] if flag not in options] == []
    assert [flag for flag in options if re.fullmatch(r"-D_FORTIFY_SOURCE=[23]", flag)]


@pytest.mark.needs("musl-gcc")
def test_musl_and_old_glibc_compile():
    """All objects, with warnings as errors, against musl's headers."""
    said = make(REPO, "DEV=1", "musl")
    assert not re.search("(?:warning|error): ", said), said
    names = {os.path.relpath(os.path.join(path, name), REPO / "src") for path, _, names in
             os.walk(REPO / "src") for name in names if name.endswith(".c")}
    missing = [name for name in names if name != "system/code/sanitizer.c"
               and not (REPO / "build/musl" / name).with_suffix(".o").exists()]
    assert not missing
