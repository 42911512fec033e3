# SPDX-License-Identifier: MIT
"""Names that the server takes: of its unix sockets, when they listen; of addresses that another
server still has; of its pid file. What a start or a reload leaves behind when it fails: nothing."""
import errno
import os
import signal
import socket

import pytest

from harness import (ROOT_ONLY, SANITIZED, Client, Held, Holding, fails_to_start, wait_for,
                     write_config)

NEEDS_REFUSER = pytest.mark.skipif(SANITIZED,
                                   reason="a sanitizer's runtime is to be loaded first")


def sockets_in(directory):
    return sorted(p.name for p in directory.iterdir() if p.is_socket())


# ---- unix sockets -------------------------------------------------------------------------------


@NEEDS_REFUSER
@pytest.mark.parametrize("bind, control", [("unix:app.sock", "ctl"), ("127.0.0.1:0", "ctl")])
def test_unix_name_appears_when_the_socket_listens(gcorn, refuser, tmp_path, bind, control):
    listening = Holding(refuser, "listen")
    server = gcorn("hello", "--control-socket", control, bind=bind, ready=0, env=refuser.env)
    listening.wait()
    for name in ("app.sock", control):
        assert not (tmp_path / name).exists()
    listening.let_go()
    server.wait_ready()
    assert server.get().status == 200
    assert sockets_in(tmp_path) == sorted([control] + ["app.sock"] * bind.startswith("unix"))


@NEEDS_REFUSER
def test_unix_name_of_a_reload_appears_when_it_listens(gcorn, refuser, tmp_path):
    write_config(tmp_path, bind="unix:old.sock", workers=1)
    server = gcorn("hello", bare=True, env=refuser.env)
    write_config(tmp_path, bind="unix:new.sock", workers=1)
    listening = Holding(refuser, "listen")
    server.kill(signal.SIGHUP)
    listening.wait()
    assert not (tmp_path / "new.sock").exists()
    listening.let_go()
    wait_for((tmp_path / "new.sock").exists, "the new socket")
    with Client(str(tmp_path / "new.sock")) as client:
        assert client.get().status == 200
    wait_for(lambda: sockets_in(tmp_path) == ["new.sock"], "the old socket's end")


@pytest.mark.parametrize("length", [100, 107])
def test_unix_name_that_leaves_no_room_for_another(gcorn, tmp_path, length):
    """The socket is bound beside it first, by a name that may be longer than an address holds."""
    directory = tmp_path / "d"
    directory.mkdir()
    directory = directory / ("x" * (length - len(str(directory)) - 3))
    directory.mkdir()
    path = f"{directory}/s"
    assert len(path) == length
    server = gcorn("hello", bind=f"unix:{path}")
    assert server.get().status == 200
    assert sockets_in(directory) == ["s"]
    assert os.readlink(f"/proc/{server.pid}/cwd") == str(tmp_path)


@NEEDS_REFUSER
@pytest.mark.parametrize("control", [False, True])
def test_socket_that_cannot_listen_leaves_no_file(gcorn, refuser, tmp_path, control):
    refuser.refuse(listen=errno.ENOBUFS)
    if control:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            fails_to_start(gcorn, "hello", 4, "control_socket: cannot bind unix:ctl: No buffer space",
                           "--control-socket", "ctl", bind=f"fd://{other.fileno()}",
                           pass_fds=[other.fileno()], env=refuser.env)
    else:
        fails_to_start(gcorn, "hello", 4, "cannot bind unix:app.sock: No buffer space",
                       bind="unix:app.sock", env=refuser.env)
    assert sockets_in(tmp_path) == []


@NEEDS_REFUSER
@ROOT_ONLY
def test_socket_that_cannot_be_given_away_leaves_no_file(gcorn, refuser, tmp_path):
    refuser.refuse(fchownat=errno.EPERM)
    fails_to_start(gcorn, "hello", 4, "cannot bind unix:app.sock: Operation not permitted",
                   "--user", "nobody", bind="unix:app.sock", env=refuser.env)
    assert sockets_in(tmp_path) == []


# ---- addresses that are in use ------------------------------------------------------------------


def test_start_waits_for_an_old_server_that_drains(gcorn, probe):
    old = gcorn(probe)
    held = Held(old)
    old.kill(signal.SIGTERM)
    new = gcorn(probe, bind=f"127.0.0.1:{old.port}", ready=0)
    new.wait_log(rf"\[ERROR\] cannot bind 127.0.0.1:{old.port}: Address already in use; trying again")
    assert held.let_go().status == 200
    assert new.wait_ready().get("/version").status == 200


def test_start_waits_for_a_unix_socket_in_use(gcorn, tmp_path):
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        server = gcorn("hello", bind="unix:app.sock", ready=0)
        server.wait_log("cannot bind unix:app.sock: already in use by another server; trying again")
    server.wait_ready()
    assert server.get().status == 200 and sockets_in(tmp_path) == ["app.sock"]


def test_start_waits_for_a_control_socket_in_use(gcorn, tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "ctl"))
        other.listen()
        server = gcorn("hello", "--control-socket", "ctl", ready=0)
        server.wait_log("control_socket: cannot bind unix:ctl: already in use .*; trying again")
    server.wait_ready()
    with Client(str(tmp_path / "ctl")) as client:
        assert b'"ok": true' in client.send("config\n").rest() or client.unread


def test_start_gives_up_after_five_tries(gcorn):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = fails_to_start(gcorn, "hello", 4, f"cannot bind 127.0.0.1:{port}: Address already",
                                bind=f"127.0.0.1:0,127.0.0.1:{port}")
    assert server.log().count("trying again in 1 s") == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_that_waits_for_an_address_can_be_stopped(gcorn, number):
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = gcorn("hello", bind=f"127.0.0.1:{other.getsockname()[1]}", ready=0)
        server.wait_log("trying again")
        assert server.stop(number) == 0
    assert "CRITICAL" not in server.log()


def test_reload_does_not_wait_for_an_address(gcorn, tmp_path):
    """The old generation serves on meanwhile, and the operator is told at once."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        write_config(tmp_path, bind="127.0.0.1:0", workers=1)
        server = gcorn("hello", bare=True)
        write_config(tmp_path, bind=f"127.0.0.1:{other.getsockname()[1]}", workers=1)
        server.kill(signal.SIGHUP)
        server.wait_log("Reload failed: cannot bind .*: Address already in use")
    assert server.get().status == 200 and "trying again" not in server.log()


# ---- the pid file -------------------------------------------------------------------------------


@NEEDS_REFUSER
@pytest.mark.parametrize("call, number", [("lock", errno.ENOLCK), ("fstat", errno.EIO),
                                          ("stat", errno.EIO), ("pread", errno.EIO),
                                          ("pwrite", errno.ENOSPC), ("ftruncate", errno.EIO)])
def test_pid_file_that_cannot_be_made_is_removed(gcorn, refuser, tmp_path, call, number):
    """Nor does a stat() that fails for good keep the start in a loop."""
    refuser.refuse(**{call: number})
    fails_to_start(gcorn, "hello", 1, rf"pid file {tmp_path}/pid: {os.strerror(number)}",
                   "--pid", "pid", env={**refuser.env, "REFUSE_AFTER": str(tmp_path / "pid")})
    assert not (tmp_path / "pid").exists()


@NEEDS_REFUSER
def test_pid_file_that_a_reload_cannot_make_is_removed(gcorn, refuser, tmp_path):
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, pidfile="old.pid")
    server = gcorn("hello", bare=True, env=refuser.env)
    write_config(tmp_path, bind="127.0.0.1:0", workers=1, pidfile="new.pid")
    refuser.refuse(lock=errno.ENOLCK)
    server.kill(signal.SIGHUP)
    server.wait_log("Reload failed: pid file .*: No locks available")
    assert not (tmp_path / "new.pid").exists() and (tmp_path / "old.pid").exists()
