# SPDX-License-Identifier: MIT
"""An application that misuses gcorn.h (apps/misuse.c): one line names the function, the client gets
500, and the worker serves on."""
import re

import pytest

from harness import WORKER_CLASSES, run, wait_for


@WORKER_CLASSES
@pytest.mark.parametrize("path, line", [
    ("/integer", r"handler returned 0x2a, which no gcorn_body_\* function has made"),
    ("/string", r"handler returned 0x[0-9a-f]+, which no gcorn_body_\* function has made"),
    ("/next-null", r"gcorn_body_iter: next is NULL"),
    ("/bytes-null", r"gcorn_body_bytes: data is NULL"),
    ("/stack", r"gcorn_body_borrow: the bytes lie on the stack of stack_body, and are gone when it "
               r"returns; gcorn_body_bytes copies: the body fails"),
    ("/write-null", r"gcorn_buffer_write: data is NULL"),
    ("/wrap-null", r"gcorn_start_wrap: fn is NULL"),
])
def test_a_misused_function_is_named_and_answered_500(gcorn, app, path, line, worker_class):
    server = gcorn(f"{app('misuse')}:handler", *worker_class)
    workers = server.worker_pids
    assert server.get(path).status == 500
    server.wait_log(rf"\[ERROR\] \[[0-9a-f]+\] .*{line}")
    closed = 1 if path == "/next-null" else 0
    assert server.get("/last").text == f"2 requests, {closed} closed"
    assert server.worker_pids == workers


@WORKER_CLASSES
def test_text_on_the_stack_is_copied(gcorn, app, worker_class):
    server = gcorn(f"{app('misuse')}:handler", *worker_class)
    answer = server.get("/copied")
    assert (answer.status, answer.text) == (200, "of /copied")


def test_body_of_an_earlier_request_is_answered_500(gcorn, app):
    server = gcorn(f"{app('misuse')}:handler")
    workers = server.worker_pids
    with server.connect() as client:
        assert client.get("/").status == 200
        assert client.get("/").status == 200
        assert client.get("/earlier").status == 500
    assert server.get("/last").status == 200
    assert server.worker_pids == workers


def test_a_deferred_null_is_named_and_ignored(gcorn, app):
    server = gcorn(f"{app('misuse')}:handler")
    assert server.get("/defer-null").status == 200
    server.wait_log(r"\[ERROR\] \[[0-9a-f]+\] gcorn_defer: fn is NULL")
    assert server.get("/last").text == "2 requests, 0 closed"


def test_a_final_newline_of_gcorn_log_is_not_shown(gcorn, app):
    server = gcorn(f"{app('misuse')}:handler")
    assert server.get("/newline").status == 200
    server.wait_log(r"\[WARNING\] \[[0-9a-f]+\] one line$")


def test_infinite_amounts_leave_metrics_finite(gcorn, app):
    server = gcorn(f"{app('misuse')}:handler", "--admin-bind", "unix:admin.sock", ready=2)
    assert server.get("/measure").status == 200

    def metrics():
        with server.connect(str(server.dir / "admin.sock")) as client:
            text = client.get("/metrics").text
        return text if "things_total" in text else None

    text = wait_for(metrics, "the application's metrics")
    assert re.search(r"^things_total 2$", text, re.M), text
    assert re.search(r"^thing_bytes_sum 3$", text, re.M), text
    assert re.search(r'^thing_bytes_bucket\{le="\+Inf"\} 1$', text, re.M), text
    assert re.search(r"^level \+Inf$", text, re.M), text


@pytest.mark.parametrize("flag, symbol", [("-DDATA", "handler"),
                                          ("-DDATA_HOOK", "gcorn_on_pre_request")])
@pytest.mark.parametrize("flags", [(), ("--check-config",), ("--preload",)])
def test_data_named_as_a_function_is_refused(app, tmp_path, flag, symbol, flags):
    done = run(*flags, "-b", "127.0.0.1:0", f"{app('misuse', flag)}:handler", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert f"exports {symbol} as data, not as a function" in done.stderr


def test_a_field_name_of_128_bytes_is_logged(gcorn, app):
    name = "x-" + 150 * "n"
    server = gcorn(f"{app('misuse')}:handler", "--access-logfile", "access.log",
                   "--access-logformat", f"%({{{name}}}i)s")
    assert server.get("/", fields=f"{name}: a\r\n{name}: b\r\n").status == 200
    log = server.dir / "access.log"
    assert wait_for(log.read_text, "the line") == "a, b\n"
