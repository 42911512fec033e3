# SPDX-License-Identifier: MIT
"""gcorn --init: the application that it writes, used as its author would; what it refuses."""
import os
import re
import resource
import signal
import subprocess
import urllib.request

import pytest

from harness import GCORN, PATIENCE, clean_environment, run, wait_for

FILES = {"handler.c", "test_handler.c", "Makefile", "gunicorn-c.yaml", "Dockerfile", ".gitignore"}


def make(goal, directory, environment):
    return subprocess.run(["make", goal], cwd=directory, env=environment, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=6 * PATIENCE)


@pytest.fixture(scope="module")
def application(installed):
    """The directory that an installed gcorn has written, and the environment for it."""
    root, environment = installed
    done = subprocess.run([f"{root}/usr/bin/gcorn", "--init", "notes"], cwd=root.parent, text=True,
                          env=environment, capture_output=True, check=True)
    assert re.search(r"^  make run .*\n  make test ", done.stdout, re.M)
    return root.parent / "notes", environment


def test_new_application_has_all_files(application):
    assert {path.name for path in application[0].iterdir()} >= FILES


def test_make_test_passes_in_it(application):
    done = make("test", *application)
    assert done.returncode == 0, done.stderr
    assert "all tests passed" in done.stdout
    assert "warning" not in done.stderr


def test_make_test_fails_when_the_handler_is_wrong(application, tmp_path):
    for name in FILES:
        text = (application[0] / name).read_text()
        (tmp_path / name).write_text(text.replace("Hello, %s", "Bye, %s"))
    done = make("test", tmp_path, application[1])
    assert done.returncode != 0
    assert "FAILED: GET /hello HTTP/1.1: 200" in done.stdout


def test_make_run_serves_it(application):
    directory, environment = application
    log = directory / "log"
    with open(log, "w") as errors:
        server = subprocess.Popen(["make", "run"], cwd=directory, env=environment, stderr=errors,
                                  stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        found = wait_for(lambda: re.search(r"Listening at: (http://[\d.:]+)", log.read_text()),
                         "the address", timeout=6 * PATIENCE)
        with urllib.request.urlopen(f"{found[1]}/hello?name=Ada", timeout=PATIENCE) as answer:
            assert answer.read() == b"Hello, Ada!\n"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=PATIENCE)


def test_empty_directory_is_used(tmp_path):
    (tmp_path / "here").mkdir()
    assert run("--init", "here", cwd=tmp_path).returncode == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == FILES


def test_directory_with_a_file_is_refused_untouched(tmp_path):
    (tmp_path / ".hidden").write_text("mine")
    done = run("--init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"gcorn: --init \S+: the directory is not empty: .*\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


@pytest.mark.parametrize("name, why", [("absent/new", "No such file"), ("file", "Not a directory")])
def test_directory_that_cannot_be_made_is_one_line(tmp_path, name, why):
    (tmp_path / "file").write_text("")
    done = run("--init", name, cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(rf"gcorn: --init \S+: cannot make the directory: {why}.*\n", done.stderr)


def test_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk: handler.c fits, Makefile does not."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    done = subprocess.run([GCORN, "--init", "new"], cwd=tmp_path, env=clean_environment(), text=True,
                          capture_output=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert re.fullmatch(r"gcorn: --init \S+: cannot write handler.c: File too large\n", done.stderr)
    assert not (tmp_path / "new").exists()


def test_init_reads_no_settings(tmp_path):
    (tmp_path / "gunicorn-c.yaml").write_text("nonsense: [")
    assert run("--init", "new", cwd=tmp_path, env={"GCORN_WORKERS": "x"}).returncode == 0


def test_init_with_another_argument_makes_nothing(tmp_path):
    done = run("--init", "my", "notes", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "gcorn: --init: takes one argument, DIR\n")
    assert not list(tmp_path.iterdir())


def test_init_takes_no_path_of_another_command(tmp_path):
    (tmp_path / "crash").write_text("x")
    assert run("--init", "new", "--replay", "crash", cwd=tmp_path).returncode == 0
    assert (tmp_path / "new" / "handler.c").exists()


# ---- the first steps -----------------------------------------------------------------------------


def test_gcorn_alone_says_what_to_type(tmp_path):
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 6
    assert lines[0] == "gcorn: no application given. What to type:"
    assert all(line.startswith("  ") and len(line) < 80 for line in lines[1:])


def test_short_help_fits_on_a_screen(tmp_path):
    done = run("-h", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) <= 30 and max(map(len, lines)) < 80
    for line in lines[2:]:  # the texts begin in one column
        assert not line or re.fullmatch(r"(?=.{30}\S).{29} \S.*", line), line
    for option in ("--workers COUNT", "--bind ADDRESS", "--init DIR", "--help"):
        assert option in done.stdout
