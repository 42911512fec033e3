# SPDX-License-Identifier: MIT
"""Several addresses of one server: those that can be served together, and those that cannot."""
import re
import socket

import pytest

from harness import Client, free_port, hup, run, upgrade, write_config


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


def ask(host, port):
    with Client((host, port)) as client:
        return client.get().status


@pytest.mark.parametrize("binds", ["0.0.0.0:{0},[::]:{0}", "[::]:{0},0.0.0.0:{0}", ":{0},[0::0]:{0}",
                                   "[::ffff:0.0.0.0]:{0},[::]:{0}"])
def test_both_wildcard_addresses_are_served(gcorn, binds):
    port = free_port()
    server = gcorn("hello", bind=binds.format(port))
    assert re.findall(r"Listening at: (\S+)", server.log()).count(f"http://[::]:{port}") == 1
    assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)


def test_ipv6_wildcard_alone_takes_ipv4_too(gcorn):
    port = free_port()
    gcorn("hello", bind=f"[::]:{port}")
    assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)


def test_reload_adds_the_ipv6_wildcard(gcorn, tmp_path):
    port = free_port()
    write_config(tmp_path, bind=f'["0.0.0.0:{port}"]', workers=1)
    server = gcorn("hello", bare=True)
    write_config(tmp_path, bind=f'["0.0.0.0:{port}", "[::]:{port}"]', workers=1)
    for _ in range(2):  # and the next one keeps both sockets
        hup(server)
        assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)


def test_reload_that_makes_sockets_overlap_names_them(gcorn, tmp_path):
    port = free_port()
    write_config(tmp_path, bind=f'["[::]:{port}"]', workers=1)
    server = gcorn("hello", bare=True)
    write_config(tmp_path, bind=f'["0.0.0.0:{port}", "[::]:{port}"]', workers=1)
    said = hup(server, r"Reload failed: (.*)\. Generation 1 goes on").group(1)
    assert said == (f"cannot bind 0.0.0.0:{port}: this server itself listens at http://[::]:{port}, "
                    "which a reload cannot change: restart it")
    assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)


def test_reload_to_the_ipv6_wildcard_alone_keeps_no_half(gcorn, tmp_path):
    """Its socket took IPv6 connections only, and alone it is to take both kinds."""
    port = free_port()
    write_config(tmp_path, bind=f'["0.0.0.0:{port}", "[::]:{port}"]', workers=1)
    server = gcorn("hello", bare=True)
    write_config(tmp_path, bind=f'["[::]:{port}"]', workers=1)
    assert "this server itself listens at" in hup(server, r"Reload failed: (.*)").group(1)
    assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)


@pytest.mark.parametrize("one, other", [
    ("127.0.0.1:{0}", "0.0.0.0:{0}"), ("127.0.0.1:{0}", "[::]:{0}"), ("[::1]:{0}", "[::]:{0}"),
    ("0.0.0.0:{0}", "127.0.0.2:{0}"), ("127.0.0.1:{0}", "[::ffff:127.0.0.1]:{0}"),
    ("[::ffff:127.0.0.1]:{0}", "0.0.0.0:{0}")])
def test_addresses_that_overlap_are_named_together(tmp_path, one, other):
    port = free_port()
    one, other = one.format(port), other.format(port)
    for args in (["--check-config"], []):
        done = run("-b", one, "-b", other, *args, "app.so:handler", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.endswith(f"bind: {one} and {other} overlap: leave one of them out\n")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("admin", ["127.0.0.1:{0}", "[::]:{0}"])
def test_admin_address_that_overlaps_is_named(tmp_path, admin):
    port = free_port()
    done = run("-b", f"0.0.0.0:{port}", "--admin-bind", admin.format(port), "app.so:handler",
               cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(f"admin_bind: the workers listen at 0.0.0.0:{port}\n")


@pytest.mark.parametrize("one, other, name", [
    ("localhost:{0}", "127.0.0.1:{0}", "http://127.0.0.1:{0}"),
    ("127.0.0.1:{0}", "localhost:{0}", "http://127.0.0.1:{0}"),
    ("unix:app.sock", "unix:./app.sock", "unix:app.sock")])
def test_own_address_in_other_words_is_named(gcorn, one, other, name):
    """What only opening shows."""
    port = free_port()
    one, other, name = (text.format(port) for text in (one, other, name))
    server = gcorn("hello", "-b", one, "-b", other, bare=True, ready=0)
    assert server.wait_exit() == 4
    assert f"cannot bind {other}: this server itself listens at {name}\n" in server.log()


def test_another_servers_address_is_not_called_own(gcorn):
    first = gcorn("hello")
    second = gcorn("hello", "-b", f"127.0.0.1:{free_port()}", "-b", f"127.0.0.1:{first.port}",
                   bare=True, ready=0)
    assert second.wait_exit() == 4
    assert f"cannot bind 127.0.0.1:{first.port}: Address already in use\n" in second.log()


def test_both_wildcards_survive_an_upgrade(gcorn):
    port = free_port()
    server = gcorn("hello", "--control-socket", "ctl", bind=f"0.0.0.0:{port},[::]:{port}")
    answer = upgrade(server)
    assert answer["ok"], answer
    assert server.wait_exit() == 0
    server.is_succeeded_by(answer["pid"])
    assert (ask("127.0.0.1", port), ask("::1", port)) == (200, 200)
