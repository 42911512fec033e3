# SPDX-License-Identifier: MIT
"""Runs the table of rfc_cases.py: every row whole, byte by byte, split at random, after a GET."""
import email.utils
import random
import re
import subprocess

import pytest

from harness import REPO, SLOWER, Client, Server
from rfc_cases import CASES, NOT_APPLICABLE, SECTIONS, get


# /made?... answers as it is told, everything else is the environ example's:
#   status=200+OK  body=TEXT  parts=N (an iterator that yields "part" N times)  fail=K (it fails
#   after K of them)  cl=N (Content-Length)  h1, h2, h3 (Name:value)  null=1 (the handler fails)
APP = r"""
#define handler environ_handler
#include "environ.c"
#undef handler

struct parts { int left, until_failure; };

static ssize_t next_part(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct parts *p = state;

    (void)env;
    if (p->until_failure-- == 0)
        return -1;
    *chunk = "part";
    return p->left-- > 0 ? 4 : 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const char *const given[] = {"h1", "h2", "h3"};
    struct gcorn_header headers[5];
    size_t count = 0;

    if (strcmp(gcorn_get(env, "PATH_INFO"), "/made") != 0)
        return environ_handler(env, start_response);
    const char *status = gcorn_query(env, "status"), *parts = gcorn_query(env, "parts");
    const char *fail = gcorn_query(env, "fail"), *length = gcorn_query(env, "cl");
    for (size_t i = 0; i < 3; i++) {
        char *text = (char *)gcorn_query(env, given[i]);
        char *colon = text ? strchr(text, ':') : NULL;
        if (!colon)
            continue;
        *colon = '\0';
        headers[count++] = (struct gcorn_header){text, colon + 1};
    }
    if (length)
        headers[count++] = (struct gcorn_header){"Content-Length", length};
    headers[count] = (struct gcorn_header){NULL, NULL};
    gcorn_start(start_response, status ? status : "200 OK", headers);
    if (gcorn_query(env, "null"))
        return NULL;
    if (!parts) {
        const char *body = gcorn_query(env, "body");
        return gcorn_body_text(env, body ? body : "");
    }
    struct parts *p = gcorn_alloc(env, sizeof(*p));
    *p = (struct parts){atoi(parts), fail ? atoi(fail) : -1};
    return gcorn_body_iter(env, next_part, NULL, p);
}
"""

# The rows that cannot be met, each for the reason that it gives.
EXCEPTIONS = {
    "9112 3: a request line of 8,000 octets",
    *(f"9112 3.2: {char} stands in no URI" for char in "\"<>\\^`{|}"),
    "9112 3.2: an invalid escape in the query",
    "9112 6.1: one in a field of its own",
    "9110 15.5.22: 426 names the protocol in Upgrade",
}

BEFORE, AFTER = get(to="/before"), get(to="/after")
WAYS = ("whole", "byte by byte", "split at random", "behind a GET")
LONG = 6000  # beyond this, byte by byte is only the beginning and the end


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all rows. Nobody is trusted: the rows are what anybody may send."""
    directory = tmp_path_factory.mktemp("rfc")
    (directory / "app.c").write_text(APP)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", f"-I{REPO}/include",
                    f"-I{REPO}/examples/environ", "-o", directory / "app.so", directory / "app.c"],
                   check=True)
    started = Server(directory, f"{directory}/app.so:handler", "--forwarded-allow-ips", "192.0.2.1",
                     "--log-level", "debug")
    started.wait_ready()
    pids = started.worker_pids
    yield started
    assert started.worker_pids == pids, "the worker did not survive"
    wrong = started.finish()
    assert not wrong, "; ".join(wrong)


# ---- sending ------------------------------------------------------------------------------------


def pieces(data, way, seed):
    """The data as it is cut for sending."""
    if way == "byte by byte":
        if len(data) <= LONG:
            return [data[i : i + 1] for i in range(len(data))]
        ends = [*range(300), *range(300, len(data) - 300, 89),
                *range(len(data) - 300, len(data) + 1)]
    elif way == "split at random":
        rng = random.Random(seed)
        count = min(len(data) - 1, rng.randint(1, 12))
        ends = [0, *sorted(rng.sample(range(1, len(data)), max(count, 0))), len(data)]
    else:
        return [data]
    return [data[a:b] for a, b in zip(ends, ends[1:])]


def send(client, data, way, seed):
    for piece in pieces(data, way, seed) if data else []:
        client.socket.sendall(piece)


# ---- checking -----------------------------------------------------------------------------------


def environ_of(answer):
    """The environ example's lines and the request's body; the answer must be exactly that."""
    assert answer.header("Content-Type") == "text/plain", answer
    found = re.fullmatch(rb"((?:METHOD|PATH).*?)BODY (\d+)\n(.*)", answer.body, re.S)
    assert found, answer
    body = found.group(3)
    assert len(body) == int(found.group(2)), answer
    return found.group(1).decode("latin-1"), body


def check_every_answer(answer, expected, way):
    """What RFC 9110 and 9112 ask of any answer; its grammar and framing are Client.response's."""
    status, names = answer.status, [name.lower() for name, _ in answer.headers]
    if 200 <= status < 500:  # 9110 6.6.1
        date = answer.header("Date")
        assert date, f"no Date: {answer}"
        assert email.utils.format_datetime(email.utils.parsedate_to_datetime(date), True) == date
    if status < 200 or status == 204:  # 9112 6.1, 9110 8.6
        assert "content-length" not in names and "transfer-encoding" not in names, answer
    if status == 100:
        assert not names, answer
    assert "transfer-encoding" not in names or answer.header("Transfer-Encoding") == "chunked"
    for name in ("upgrade", "trailer", "te", "keep-alive", "proxy-connection"):
        assert name not in names, answer
    if expected.own and status >= 400:  # 9110 15.5, 15.6, 8.3
        assert answer.header("Content-Type") == "text/plain; charset=utf-8", answer
        assert int(answer.header("Content-Length")) > 0, answer
        if not expected.to_head:
            assert answer.text.startswith(f"{status} {answer.reason}"), answer
    if expected.to_head:
        assert answer.body == b"", (way, answer)


def check(answer, expected, way):
    assert answer.status in expected.status, answer
    check_every_answer(answer, expected, way)
    for name, value in expected.has:
        values = [v for key, v in answer.headers if key.lower() == name.lower()]
        assert values if value is None else value in values, f"{name}: {value} is not in {answer}"
        assert len(values) == sum(name == other for other, _ in expected.has), answer
    for name in expected.lacks:
        assert answer.header(name) is None, answer
    if expected.content is not None and not expected.to_head:
        assert answer.body == expected.content, answer
    if expected.says and not expected.to_head:
        assert expected.says in answer.text, answer
    if expected.body is not None and not expected.to_head:
        text, body = environ_of(answer)
        assert body == expected.body, answer
        for line in expected.lines:
            assert f"\n{line}\n" in f"\n{text}", f"{line!r} is not in {answer}"
        for line in expected.hidden:
            assert f"\n{line}" not in f"\n{text}", f"{line!r} is in {answer}"


def check_get(client, path):
    """The answer to BEFORE or AFTER."""
    answer = client.response()
    assert answer.status == 200 and f"\nPATH {path}\n" in answer.text, answer


def check_close(answer, expected, closes, case):
    """RFC 9112 9.6: a close is announced, unless the client has ended its side unforeseen."""
    if not case.fin and answer.status >= 200:
        assert answer.closes == closes, f"Connection of {answer}"
    assert answer.closes or not expected.closes, f"Connection of {answer}"


def read_broken(client):
    """An answer that the application did not finish: no client may take it for whole."""
    with pytest.raises((AssertionError, ConnectionResetError), match="ended|reset"):
        client.response()


def parts_to_send(case, way):
    parts = list(case.sends)
    if way == "behind a GET":
        parts[0] = BEFORE + parts[0]
    # What is behind a close, or an error, is not answered. Behind a close that it has asked for
    # itself a client must not send on, and can do it unharmed only at once (RFC 9112 9.6).
    at_once = way in ("whole", "behind a GET")
    if case.closes and not case.fin and not case.bare and (at_once or case.answers[-1].own):
        parts[-1] += AFTER
    return parts


def run(server, case, way):
    with Client(server.address, timeout=3 * SLOWER) as client:
        parts, answer = parts_to_send(case, way), None

        def send_next():
            send(client, parts.pop(0), way, case.name)
            if not parts and case.fin:
                client.half_close()

        send_next()
        if way == "behind a GET":
            check_get(client, "/before")
        for expected in case.answers:
            if expected.says == "broken":
                read_broken(client)
                return
            answer = answer or client.response("HEAD" if expected.to_head else "GET")
            if expected.may_miss and answer.status not in expected.status:
                continue
            check(answer, expected, way)
            check_close(answer, expected, case.closes and expected is case.answers[-1], case)
            answer = None
            if parts:
                send_next()
        if case.closes:
            client.assert_closed()
        else:
            client.send(AFTER)
            check_get(client, "/after")
            assert not client.unread


@pytest.mark.parametrize("case", CASES,
                         ids=lambda case: case.name.encode("unicode_escape").decode())
def test_row(server, case):
    for way in WAYS:
        mark = server.mark()
        try:
            run(server, case, way)
        except Exception as error:
            raise AssertionError(f"{way}: {case.name}\nsent: {case.sends!r:.1500}\n{error!r}\n"
                                 f"{server.log(mark)}") from error


def test_the_table():
    """Rows have names of their own; every section has rows or a reason; no exception is unknown."""
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}
    assert len(CASES) >= 250
    clauses = {case.clause for case in CASES}
    assert clauses | set(NOT_APPLICABLE) == set(SECTIONS)
    assert not clauses & set(NOT_APPLICABLE)
    exceptions = {case.name: case.exception for case in CASES if case.exception}
    for name, reason in exceptions.items():
        print(f"{name}: {reason}")
    assert set(exceptions) == EXCEPTIONS
