"""The commands of README.md, run as a newcomer would: in an empty directory, against an installed
gcorn. Only the address is another, so that runs beside each other do not meet."""
import contextlib
import re
import shlex
import subprocess

import pytest

from harness import PATIENCE, REPO, wait_for

README = (REPO / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands():
    """Each command line of the sh blocks, without its remark."""
    lines = "".join(blocks("sh")).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def newcomer(installed):
    """An empty directory with hello.c in it, and the environment after an installation of gcorn."""
    root, environment = installed
    work = root.parent / "work"
    work.mkdir()
    (work / "hello.c").write_text(blocks("c")[0])
    (work / "request.http").write_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return work, environment


def test_every_command_is_known():
    """A new command in README needs a place here."""
    known = ("cc ", "gcorn ", "curl ", "gcornctl ")
    assert commands()
    for command in commands():
        assert command.startswith(known), command


def test_every_make_goal_exists():
    """Those in the text, and those in the table at the end."""
    makefile = (REPO / "Makefile").read_text()
    said = re.findall(r"`make ([^`]*)`", README) + re.findall(r"^    make (.*?)(?:  #|$)", README, re.M)
    goals = {word for words in said for word in words.split() if "=" not in word}
    for row in re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", README[README.index("| target |"):], re.M):
        goals |= set(re.findall(r"`([a-z-]+)`", row))
    assert {"check", "lint", "figures", "deps"} <= goals
    for goal in goals:
        assert re.search(rf"^(?:[\w-]+ )*{goal}(?: [\w-]+)*(?: &)?:", makefile, re.M), goal


def test_every_named_file_exists():
    """Paths in code marks, of the repository or of src/."""
    part = README[README.index("## Working on gcorn"):README.index("## Changes")]
    names = re.findall(r"`([\w./-]+/[\w.-]*|\.[a-z-]+|[\w-]+\.def)`", part)
    assert len(names) > 20
    for name in names:
        places = [REPO, REPO / "src", *(REPO / "src").iterdir()]
        assert any((place / name).exists() for place in places), name


def serves(command):
    return command.startswith("gcorn ") and not re.search(r"--(help|version|check|print|replay)", command)


@pytest.fixture
def hello(newcomer):
    """What the first commands leave behind: hello.so."""
    work, environment = newcomer
    subprocess.run(commands()[0], shell=True, check=True, cwd=work, env=environment)
    return work, environment


@contextlib.contextmanager
def running(command, work, environment):
    """The server of a command, and its address."""
    with open(work / "log", "w") as log:
        server = subprocess.Popen(shlex.split(command), cwd=work, env=environment, stderr=log)
    try:
        found = wait_for(lambda: re.search(r"Listening at: http://(127\.0\.0\.1:\d+)",
                                           (work / "log").read_text()), "the address")
        yield server, found[1]
    finally:
        server.terminate()
        assert server.wait(timeout=PATIENCE) == 0, (work / "log").read_text()


def finishes(command, work, environment):
    return subprocess.run(shlex.split(command), cwd=work, env=environment, capture_output=True,
                          text=True, timeout=PATIENCE, check=True).stdout


def test_hello_from_empty_directory_to_curl(hello):
    work, environment = hello
    serve, ask = commands()[1:3]
    with running(serve, work, environment) as (_, address):
        answer = finishes(ask.replace("127.0.0.1:8000", address), work, environment)
        assert answer.endswith("Hello, World!")


@pytest.mark.parametrize("command", [c for c in commands()[3:]
                                     if c.startswith("gcorn ") and not serves(c)])
def test_commands_that_end_succeed(hello, command):
    assert finishes(command, *hello) or "--check-config" in command


def test_gcornctl(hello):
    work, environment = hello
    serve = next(c for c in commands()[3:] if serves(c))
    asked = [c for c in commands() if c.startswith("gcornctl ")]
    with running(serve, work, environment) as (server, _):
        for command in asked:
            finishes(command, work, environment)
        assert "stop" in asked[-1]
        assert server.wait(timeout=PATIENCE) == 0


@pytest.mark.needs("help2man", "groff")
def test_manual_pages(newcomer):
    """Made of --help and of the header, installed, and shown by groff without a warning."""
    pages = sorted((newcomer[0].parent / "root/usr/share/man").rglob("*.[13]"))
    names = [page.name for page in pages]
    assert "gcorn.h.3" in names
    assert {"gcorn.1", "gcornctl.1"} <= set(names)
    settings = re.findall(r"^# (\w+): ", (REPO / "gunicorn-c.yaml").read_text(), re.M)
    text = next(page for page in pages if page.name == "gcorn.1").read_text().replace("\\-", "-")
    assert "--worker-connections" in text and len(settings) > 60
    header = (REPO / "include/gcorn.h").read_text()
    text = next(page for page in pages if page.name == "gcorn.h.3").read_text()
    for function in set(re.findall(r"\b(gcorn_\w+)\(", header)):
        assert function in text, function
    for page in pages:
        done = subprocess.run(["groff", "-man", "-Tutf8", "-w", "all", page], text=True,
                              capture_output=True, check=False)
        assert done.stderr == ""
        assert len(done.stdout) > 1000
