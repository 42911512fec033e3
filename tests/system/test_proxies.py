# SPDX-License-Identifier: MIT
"""What proxies say about requests, whom of them gcorn believes, and the PROXY protocol. The unit
test test_proxy.c has the details of every form; here each setting is seen to arrive."""
import re
import signal
import socket
import struct

import pytest

from harness import PATIENCE, SLOWER, Client, run

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.9 198.51.100.2 56324 443\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def v2(command=1, family=0x11, addresses=None, tlvs=b""):
    if addresses is None:
        addresses = (socket.inet_aton("203.0.113.9") + socket.inet_aton("198.51.100.2")
                     + struct.pack("!HH", 56324, 443))
    rest = addresses + tlvs
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(rest)) + rest


class ClientFrom(Client):
    """A client with a chosen source address."""

    def __init__(self, source, address):  # pylint: disable=super-init-not-called
        self.socket = socket.create_connection(address, PATIENCE, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""


@pytest.fixture
def connect():
    """A stranger's connection: from 127.0.0.2, which no default trusts."""
    clients = []

    def start(server, source="127.0.0.2"):
        clients.append(ClientFrom(source, server.address))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def seen(answer):
    """The environ example's lines."""
    assert answer.status == 200, answer
    lines = dict(line.split(" ", 1) for line in answer.text.splitlines()
                 if line and not line.startswith("HEADER"))
    fields = re.findall(r"^HEADER (\w+)=(.*)$", answer.text, re.M)
    return {**lines, **dict(fields)}


def see(client, target="/", fields=""):
    return seen(client.get(target, fields=fields))


def variable(client, key, prefix="", fields=""):
    """Of the probe's environ; the probe shows what is absent as nothing."""
    answer = client.get(f"{prefix}/get?key={key}", fields=fields)
    assert answer.status == 200, answer
    return answer.text


# ---- the scheme ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["X-Forwarded-Proto: https", "X-Forwarded-Proto: https, https",
                                   "X-Forwarded-Proto: HTTPS", "X-Forwarded-Protocol: ssl",
                                   "X-Forwarded-Ssl: on"])
def test_scheme_of_a_trusted_proxy(gcorn, field):
    client = gcorn("environ").connect()
    assert see(client, fields=f"{field}\r\n")["SCHEME"] == "https"
    assert see(client)["SCHEME"] == "http"
    assert see(client, fields=f"{field.split(':')[0]}: no\r\n")["SCHEME"] == "http"


def test_schemes_that_disagree_are_400(gcorn):
    client = gcorn("environ").connect()
    answer = client.get(fields="X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n")
    assert (answer.status, answer.closes) == (400, True)


def test_secure_scheme_headers(gcorn):
    client = gcorn("environ", "--secure-scheme-headers", "X-Scheme=tls").connect()
    assert see(client, fields="X-Scheme: tls\r\n")["SCHEME"] == "https"
    assert see(client, fields="X-Forwarded-Proto: https\r\n")["SCHEME"] == "http"


def test_untrusted_forwarded_fields_are_logged_once(gcorn, connect):
    server = gcorn("environ", "--forwarded-remote-addr")
    client = connect(server)
    for fields in ("X-Forwarded-Proto: https\r\n", "X-Forwarded-For: 203.0.113.9\r\n",
                   "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n"):
        view = see(client, fields=fields)
        assert (view["SCHEME"], view["REMOTE"]) == ("http", "127.0.0.2")
    see(connect(server, "127.0.0.3"), fields="X-Forwarded-Proto: https\r\n")
    assert re.findall(r"\[WARNING\] (.*ignored.*)", server.log()) == [
        "The X-FORWARDED-PROTO of 127.0.0.2 is ignored: forwarded_allow_ips does not name this "
        "peer (logged once per worker)"]


def test_nothing_is_logged_without_such_fields(gcorn, connect):
    server = gcorn("environ")
    see(connect(server), fields="X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n")
    assert "ignored" not in server.log()


@pytest.mark.parametrize("texts", [["127.0.0.2"], ["10.0.0.1,127.0.0.0/29"], ["*"],
                                   ["::1", "--forwarded-allow-ips", "127.0.0.2/32"]])
def test_forwarded_allow_ips(gcorn, connect, texts):
    server = gcorn("environ", "--forwarded-allow-ips", *texts)
    assert see(connect(server), fields="X-Forwarded-Proto: https\r\n")["SCHEME"] == "https"


def test_forwarded_allow_ips_of_the_environment(gcorn, connect):
    server = gcorn("environ", env={"FORWARDED_ALLOW_IPS": "127.0.0.2"})
    assert see(connect(server), fields="X-Forwarded-Proto: https\r\n")["SCHEME"] == "https"
    assert see(server.connect(), fields="X-Forwarded-Proto: https\r\n")["SCHEME"] == "http"


def test_a_unix_peer_is_trusted(gcorn):
    client = gcorn("environ", "--forwarded-remote-addr", "--forwarded-allow-ips", "10.9.9.9",
                   bind="unix:app.sock").connect()
    view = see(client, fields="X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\n")
    assert (view["SCHEME"], view["REMOTE"]) == ("https", "203.0.113.9")
    assert see(client)["REMOTE"] == ""


def test_ipv4_peer_of_an_ipv6_socket(gcorn):
    server = gcorn("environ", bind="[::]:0")
    client = server.connect(("127.0.0.1", server.port))
    view = see(client, fields="X-Forwarded-Proto: https\r\n")
    assert (view["SCHEME"], view["REMOTE"]) == ("https", "127.0.0.1")
    assert see(server.connect(("::1", server.port)),
               fields="X-Forwarded-Proto: https\r\n")["SCHEME"] == "https"


# ---- the client's address -----------------------------------------------------------------------


def test_forwarded_remote_addr(gcorn, probe):
    server = gcorn(probe, "--forwarded-remote-addr", "--forwarded-allow-ips",
                   "127.0.0.1,10.0.0.0/8", "--access-logfile", "-", "--access-logformat", "%(h)s")
    client = server.connect()
    fields = "X-Forwarded-For: 192.0.2.66, 203.0.113.9, 10.1.2.3\r\n"
    assert variable(client, "REMOTE_ADDR", fields=fields) == "203.0.113.9"
    assert variable(client, "REMOTE_PORT", fields=fields) == ""
    assert variable(client, "REMOTE_ADDR") == "127.0.0.1"
    assert variable(client, "REMOTE_PORT") == str(client.socket.getsockname()[1])
    server.stop()
    assert server.output.read_text().split() == ["203.0.113.9"] * 2 + ["127.0.0.1"] * 2


def test_remote_addr_is_the_peer_by_default(gcorn):
    client = gcorn("environ").connect()
    assert see(client, fields="X-Forwarded-For: 203.0.113.9\r\n")["REMOTE"] == "127.0.0.1"


# ---- names with '_' -----------------------------------------------------------------------------


def test_script_name(gcorn, probe):
    client = gcorn(probe).connect()
    field = "SCRIPT_NAME: /app\r\n"
    assert variable(client, "SCRIPT_NAME", "/app", field) == "/app"
    assert variable(client, "PATH_INFO", "/app", field) == "/get"
    assert variable(client, "SCRIPT_NAME") == ""
    answer = client.get("/apple", fields=field)
    assert (answer.status, answer.closes) == (400, True)


def test_script_name_of_an_untrusted_peer_is_ignored(gcorn, connect):
    server = gcorn("environ")
    view = see(connect(server), "/app/x", "SCRIPT_NAME: /app\r\n")
    assert view["PATH"] == "/app/x" and "HTTP_SCRIPT_NAME" not in view
    server.wait_log(r"\[WARNING\] The SCRIPT_NAME of 127\.0\.0\.2 is ignored: forwarded_allow_ips")


UNDERSCORES = "Remote_User: eve\r\nX_Other: 1\r\nX-Dash: 2\r\n"


@pytest.mark.parametrize("word, other", [("drop", None), ("dangerous", "1")])
def test_header_map(gcorn, connect, word, other):
    server = gcorn("environ", "--header-map", word, "--forwarder-headers", "REMOTE_USER")
    view = see(server.connect(), fields=UNDERSCORES)
    assert (view["HTTP_REMOTE_USER"], view.get("HTTP_X_OTHER"), view["HTTP_X_DASH"]) == (
        "eve", other, "2")
    view = see(connect(server), fields=UNDERSCORES)
    assert (view.get("HTTP_REMOTE_USER"), view.get("HTTP_X_OTHER")) == (
        "eve" if other else None, other)


def test_header_map_refuse(gcorn, connect):
    server = gcorn("environ", "--header-map", "refuse", "--forwarder-headers", "REMOTE_USER")
    assert server.get(fields=UNDERSCORES).status == 400
    assert server.get(fields="X-Dash: 1\r\n").status == 200
    assert server.get(fields="REMOTE_USER: eve\r\n").status == 200
    assert connect(server).get(fields="REMOTE_USER: eve\r\n").status == 400


def test_all_forwarder_headers(gcorn, connect):
    server = gcorn("environ", "--forwarder-headers", "*")
    assert see(server.connect(), fields=UNDERSCORES)["HTTP_X_OTHER"] == "1"
    assert "HTTP_X_OTHER" not in see(connect(server), fields=UNDERSCORES)


# ---- the PROXY protocol -------------------------------------------------------------------------


@pytest.mark.parametrize("mode, preface", [("v1", V1), ("v2", v2()), ("auto", V1), ("auto", v2()),
                                           ("auto", v2(tlvs=b"\x04\0\x20" + b"x" * 32))])
def test_proxy_protocol(gcorn, probe, mode, preface):
    server = gcorn(probe, "--proxy-protocol", mode, "--access-logfile", "-",
                   "--access-logformat", "%(h)s")
    client = server.connect()
    client.send(preface)
    keys = {"REMOTE_ADDR": "203.0.113.9", "REMOTE_PORT": "56324", "SERVER_NAME": "198.51.100.2",
            "SERVER_PORT": "443"}
    for key, value in keys.items():
        assert variable(client, key) == value
    server.stop()
    assert set(server.output.read_text().split()) == {"203.0.113.9"}


@pytest.mark.parametrize("preface", [V1, v2()])
def test_proxy_protocol_in_single_bytes(gcorn, preface):
    client = gcorn("environ", "--proxy-protocol").connect()
    data = preface + REQUEST
    for i in range(len(data)):
        client.send(data[i:i + 1])
    assert seen(client.response())["REMOTE"] == "203.0.113.9"


def test_proxy_protocol_with_requests_in_one_piece(gcorn):
    client = gcorn("environ", "--proxy-protocol").connect()
    client.send(V1 + REQUEST * 3)
    for _ in range(3):
        assert seen(client.response())["REMOTE"] == "203.0.113.9"
    assert client.send(V1 + REQUEST).response().status == 400  # only once: now it is a request


V6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::1")
      + socket.inet_pton(socket.AF_INET6, "2001:db8::2") + struct.pack("!HH", 1, 2))


@pytest.mark.parametrize("preface, remote", [
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"),
    (v2(family=0x21, addresses=V6), "2001:db8::1"), (v2(command=0), "127.0.0.1"),
    (v2(command=0, family=0, addresses=b""), "127.0.0.1"),
    (v2(family=0, addresses=b""), "127.0.0.1"),
    (v2(family=0x31, addresses=b"\0" * 216), "")])
def test_proxy_protocol_forms(gcorn, preface, remote):
    client = gcorn("environ", "--proxy-protocol").connect()
    client.send(preface)
    assert see(client)["REMOTE"] == remote


@pytest.mark.parametrize("mode, start", [
    ("auto", REQUEST), ("v1", v2()), ("v2", V1), ("auto", b"PROXY TCP4 1.2.3.4\r\n"),
    ("auto", V1.replace(b"443", b"70000")), ("auto", v2(family=0x12)),
    ("auto", v2(family=0x21)), ("auto", SIGNATURE + b"\x21\x11\xff\xff"),
    ("auto", b"PROXY " + b"x" * 200)])
def test_without_a_sound_preface_it_is_400(gcorn, mode, start):
    server = gcorn("hello", "--proxy-protocol", mode)
    for _ in range(2):
        with server.connect() as client:
            answer = client.send(start + REQUEST).response()
            assert (answer.status, answer.closes) == (400, True)
            client.assert_closed()
    assert len(re.findall(r"\[WARNING\] Refused a connection of 127\.0\.0\.1: proxy_protocol is on",
                          server.log())) == 1


def test_proxy_allow_ips(gcorn, connect):
    server = gcorn("hello", "--proxy-protocol")
    for _ in range(3):
        client = connect(server)
        answer = client.send(V1 + REQUEST).response()
        assert (answer.status, answer.closes) == (403, True)
        client.assert_closed()
    assert re.findall(r"\[WARNING\] (Refused .*)", server.log()) == [
        "Refused a connection of 127.0.0.2: proxy_protocol is on and proxy_allow_ips does not name "
        "this peer (logged at most once a minute)"]
    assert server.connect().send(V1 + REQUEST).response().status == 200


def test_proxy_allow_from_a_network(gcorn, connect):
    server = gcorn("environ", "--proxy-protocol", "--proxy-allow-from", "127.0.0.0/8")
    client = connect(server).send(V1)
    view = see(client, fields="X-Forwarded-Proto: https\r\n")
    assert (view["REMOTE"], view["SCHEME"]) == ("203.0.113.9", "http")


def test_a_unix_peer_may_send_a_preface(gcorn):
    client = gcorn("environ", "--proxy-protocol", bind="unix:app.sock").connect()
    client.send(v2())
    assert see(client)["REMOTE"] == "203.0.113.9"


def test_trust_goes_by_the_peer_of_the_preface(gcorn):
    """And X-Forwarded-For only counts behind a client that is a proxy itself."""
    server = gcorn("environ", "--proxy-protocol", "--forwarded-remote-addr",
                   "--forwarded-allow-ips", "127.0.0.1,203.0.113.0/24")
    fields = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.66\r\n"
    view = see(server.connect().send(V1), fields=fields)
    assert (view["SCHEME"], view["REMOTE"]) == ("https", "192.0.2.66")
    view = see(server.connect().send(V1.replace(b"203.0.113.9", b"198.51.100.9")), fields=fields)
    assert (view["SCHEME"], view["REMOTE"]) == ("https", "198.51.100.9")


TLS, PLAIN = (b"\x20\0\5" + bytes([flags]) + b"\0\0\0\0" for flags in (1, 0))


@pytest.mark.parametrize("preface, scheme", [
    (v2(tlvs=TLS), "https"), (v2(tlvs=PLAIN), "http"), (v2(tlvs=b"\x04\0\2xx" + TLS), "https"),
    (v2(), "http"), (v2(command=0, tlvs=TLS), "http"), (v2(family=0, addresses=b"", tlvs=TLS), "https"),
    (v2(family=0x31, addresses=b"\0" * 216, tlvs=TLS), "https")])
def test_the_ssl_tlv_gives_the_scheme(gcorn, preface, scheme):
    server = gcorn("environ", "--proxy-protocol")
    client = server.connect().send(preface)
    assert see(client)["SCHEME"] == scheme
    assert see(client, target="/again")["SCHEME"] == scheme


def test_fields_do_not_overrule_the_ssl_tlv(gcorn):
    """They are the client's own, unless that is a proxy of ours."""
    server = gcorn("environ", "--proxy-protocol", "--forwarded-allow-ips", "127.0.0.1,198.51.100.9")
    proxied = v2(addresses=socket.inet_aton("198.51.100.9") + socket.inet_aton("198.51.100.2")
                 + struct.pack("!HH", 56324, 443), tlvs=PLAIN)
    fields = "X-Forwarded-Proto: https\r\n"
    assert see(server.connect().send(v2(tlvs=PLAIN)), fields=fields)["SCHEME"] == "http"
    assert see(server.connect().send(v2(tlvs=TLS)),
               fields="X-Forwarded-Proto: http\r\n")["SCHEME"] == "https"
    assert see(server.connect().send(proxied), fields=fields)["SCHEME"] == "https"
    assert see(server.connect().send(v2()), fields=fields)["SCHEME"] == "https"
    assert server.connect().send(v2(tlvs=PLAIN)).get("https://test/").status == 421
    assert see(server.connect().send(v2(tlvs=TLS)), "https://test/")["SCHEME"] == "https"


@pytest.mark.parametrize("part", [b"", V1[:20], v2()[:20], V1])
def test_the_preface_must_come_in_time(gcorn, part):
    client = gcorn("hello", "--proxy-protocol", "--header-timeout", f"{100 * SLOWER}ms").connect()
    client.send(part).assert_closed()


@pytest.mark.parametrize("part", [b"", V1[:20], V1, v2(command=0, family=0, addresses=b"")])
def test_a_health_check_that_closes_costs_nothing(gcorn, part):
    server = gcorn("hello", "--proxy-protocol")
    server.connect().send(part).half_close().assert_closed()
    assert server.connect().send(V1 + REQUEST).response().status == 200
    assert "WARNING" not in server.log()


def test_stop_does_not_wait_for_a_preface(gcorn):
    server = gcorn("hello", "--proxy-protocol", "--keepalive-drain", "0")
    client = server.connect().send(V1[:20])
    other = server.connect().send(V1 + REQUEST)
    assert other.response().status == 200
    server.kill(signal.SIGTERM)
    client.assert_closed()
    assert server.wait_exit() == 0


# ---- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words, complaint", [
    (["--forwarded-allow-ips", "10.0.0.0/8,localhost"], 'not "localhost"'),
    (["--forwarded-allow-ips", "10.0.0.1/8"], "no bit set after its prefix"),
    (["--proxy-allow-from", "300.0.0.1"], "must be an address"),
    (["--secure-scheme-headers", "https"], "NAME=VALUE"),
    (["--forwarder-headers", "A:B"], "header field's name"),
    (["--header-map", "allow"], "drop, refuse or dangerous"),
    (["--proxy-protocol=v3"], "off, v1, v2 or auto")])
@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_bad_settings(tmp_path, words, complaint, check):
    result = run(*check, *words, "hello.so:handler", cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert complaint in result.stderr and words[0].split("=")[0] in result.stderr


def test_reload_changes_the_trusted_peers(gcorn, connect, tmp_path):
    settings = tmp_path / "gunicorn-c.yaml"
    settings.write_text("forwarded_allow_ips: [127.0.0.1]\n")
    server = gcorn("environ", "--graceful-timeout", "1s")  # a replaced worker goes soon
    fields = "X-Forwarded-Proto: https\r\n"
    assert see(connect(server), fields=fields)["SCHEME"] == "http"
    before = server.worker_pids
    settings.write_text("forwarded_allow_ips:\n  - 127.0.0.2\nproxy_allow_ips: []\n")
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than=before)
    assert see(connect(server), fields=fields)["SCHEME"] == "https"
    assert see(server.connect(), fields=fields)["SCHEME"] == "http"

    before, mark = server.worker_pids, server.mark()
    settings.write_text("forwarded_allow_ips: [127.0.0.2, nonsense]\n")
    server.kill(signal.SIGHUP)
    server.wait_log(r"gunicorn-c\.yaml:1:\d+: forwarded_allow_ips: .*not \"nonsense\"", after=mark)
    assert server.worker_pids == before
    assert see(connect(server), fields=fields)["SCHEME"] == "https"


# ---- nginx --------------------------------------------------------------------------------------


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:app.sock"])
def test_behind_nginx(gcorn, nginx, bind):
    server = gcorn("environ", "--forwarded-remote-addr", bind=bind)
    front = nginx(server.address, fields="proxy_set_header X-Forwarded-Proto https; "
                                         "proxy_set_header SCRIPT_NAME /app;")
    client = server.connect(front.address)
    view = see(client, "/app/x", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n"
                                 "SCRIPT_NAME: /evil\r\n")
    assert (view["SCHEME"], view["PATH"]) == ("https", "/x")
    # nginx's client is a unix one, which it appends as "unix:": no address, so the search ends
    assert view["HTTP_X_FORWARDED_FOR"] == "203.0.113.9, unix:"
    assert view["REMOTE"] == ("" if bind.startswith("unix") else "127.0.0.1")
    assert client.get("/other").status == 400
    assert front.complaints() == []
