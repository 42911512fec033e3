# SPDX-License-Identifier: MIT
"""Sanitizers: what their code in an application means to a plain gcorn, and what becomes of their
reports in a gcorn that is built with them."""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import (BUILD, PLAIN_ONLY, REPO, SANITIZED, SANITIZED_ONLY, clean_environment,
                     example, missing, request, run)

COMPILERS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("gcc", "clang")]

# ---- a plain gcorn -------------------------------------------------------------------------------


@PLAIN_ONLY
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("option, name", [("address", "AddressSanitizer"),
                                          ("thread", "ThreadSanitizer")])
def test_sanitized_application_is_refused_in_one_line(app, tmp_path, compiler, option,
                                                                name):
    try:
        path = app("probe", f"-fsanitize={option}", compiler=compiler)
    except subprocess.CalledProcessError:
        missing(f"{compiler} has no -fsanitize={option} here")
    wanted = (f"{path} is built with {name}, which this gcorn is not: build gcorn with make "
              f"SANITIZE={option}, or the application without")
    (tmp_path / "request").write_bytes(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    for words in (["--bind", "127.0.0.1:0"], ["--check-config"], ["--replay", "request"]):
        done = run(*words, path, cwd=tmp_path)
        assert done.returncode == 3
        assert sum(wanted in line for line in done.stderr.splitlines()) == 1, done.stderr


@PLAIN_ONLY
def test_sanitized_library_is_refused(app, tmp_path):
    subprocess.run(["gcc", "-shared", "-fPIC", "-fsanitize=address", "-Wl,-soname,libinner.so.1",
                    "-o", tmp_path / "libinner.so.1", "-x", "c", "-"], input=b"int inner = 1;\n",
                   check=True)
    path = app("probe", "-Wl,--no-as-needed", f"-L{tmp_path}", "-l:libinner.so.1",
               f"-Wl,-rpath,{tmp_path}")
    done = run("--check-config", path, cwd=tmp_path)
    assert done.returncode == 3
    assert f"{tmp_path}/libinner.so.1 is built with AddressSanitizer" in done.stderr


@PLAIN_ONLY
def test_reload_to_a_sanitized_application_fails(app, gcorn, tmp_path):
    shutil.copy(app("hooks"), tmp_path / "app.so")
    server = gcorn("./app.so:handler")
    before = server.worker_pids
    os.replace(shutil.copy(app("hooks", "-fsanitize=address"), tmp_path / "new.so"),
               tmp_path / "app.so")
    server.kill(signal.SIGHUP)
    server.wait_log(r"app\.so is built with AddressSanitizer, which this gcorn is not")
    assert server.get("/").text == "hooked"
    assert server.worker_pids == before


@PLAIN_ONLY
def test_undefined_behaviour_sanitizer_needs_nothing_of_gcorn(app, tmp_path):
    done = run("--check-config", app("probe", "-fsanitize=undefined", compiler="gcc"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@PLAIN_ONLY
def test_preloaded_sanitizer_is_accepted(app, tmp_path):
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, text=True,
                             capture_output=True).stdout.strip()
    if not Path(library).is_absolute():
        missing("gcc has no libasan.so here")
    (tmp_path / "request").write_bytes(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    done = run("--replay", "request", app("hooks", "-fsanitize=address"), cwd=tmp_path,
               env={"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0 and done.stdout.endswith("hooked"), done.stderr


# ---- a gcorn built with them ---------------------------------------------------------------------


@SANITIZED_ONLY
def test_a_report_ends_in_a_signal_that_is_handled(gcorn):
    server = gcorn("faulty", "--workers", "2")
    server.expects_report = True
    pids = server.worker_pids
    with server.connect() as client:
        answer = client.get("/uaf")
        assert answer.status == 500 and answer.closes
    server.wait_log(r"ERROR: AddressSanitizer: heap-use-after-free")
    server.wait_log(r"#0 0x\w+ in use_after_free .*faulty\.c:\d+")
    line = server.wait_log(r"Worker \(pid:(\d+)\) was sent SIGABRT! Raised by itself;.* into GET "
                           r"/uaf of 127\.0\.0\.1,")
    assert int(line[1]) in pids
    server.wait_workers(2, other_than={int(line[1])})
    assert server.get("/").status == 200


@SANITIZED_ONLY
def test_use_after_return_is_found_by_default(app, gcorn):
    server = gcorn(f"{app('stale', '-fsanitize=address', '-O0')}:handler")
    server.expects_report = True
    assert server.get("/").status == 500
    server.wait_log(r"ERROR: AddressSanitizer: stack-use-after-return")
    server.wait_log(r"#0 0x\w+ in handler .*stale\.c:\d+")


@pytest.fixture(scope="module")
def sanitized(request):
    """The directory of a build with the sanitizers by this compiler, which is kept: gcc's is the one
    that is tested here, where it is sanitized."""
    compiler = request.param
    if SANITIZED:
        return BUILD
    directory = f"build/sanitize-by-{compiler}"
    subprocess.run(["make", "-s", "SANITIZE=address,undefined", "CFLAGS=-O1 -g", f"CC={compiler}",
                    f"B={directory}", f"{directory}/gcorn", f"{directory}/gcornctl",
                    "CXX=" + {"gcc": "g++", "clang": "clang++"}[compiler],
                    f"{directory}/examples/faulty.so", f"{directory}/examples/cxx.so"], cwd=REPO,
                   check=True, stdout=subprocess.DEVNULL, env=clean_environment())
    return REPO / directory


BOTH = pytest.mark.parametrize("sanitized", ["gcc"] if SANITIZED else [
    pytest.param("clang", marks=pytest.mark.needs("clang"))], indirect=True)


@BOTH
@pytest.mark.parametrize("options", [[], ["-k", "gthread", "--threads", "2"], ["--preload"]],
                         ids=["sync", "gthread", "preload"])
def test_whole_life_gives_no_report(gcorn, sanitized, options):  # pylint: disable=redefined-outer-name
    """Start, serve, crash, reload, dump, stop: gcorn does nothing that either sanitizer minds."""
    server = gcorn(f"{sanitized}/examples/faulty.so:handler", "--workers", "2", "--control-socket",
                   "ctl", "--access-logfile", "access",
                   "--crash-dir", ".", *options, program=sanitized / "gcorn")

    def ctl(*words):
        done = subprocess.run([sanitized / "gcornctl", "-s", "ctl", *words], cwd=server.dir, text=True,
                              capture_output=True, check=False, env=clean_environment(), timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with server.connect() as client:
        for _ in range(3):
            assert client.get("/").status == 200
        assert client.get("/", method="HEAD").status == 200
    with server.connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert [client.response().status for _ in range(2)] == [200, 200]
    with server.connect() as client:
        assert client.send("GET / HTTP/9\r\n\r\n").response().status == 400
    assert server.get("/null").status == 500
    for path in ("/segv", "/abort", "/exit", "/crash-midstream?framing=counted"):
        mark = server.mark()
        with server.connect() as client:
            client.send(request(path))
            if "midstream" not in path:  # of which a client sees a cut
                assert client.response().status == 500
        server.wait_log(f"into GET {path.split('?')[0]}", mark)
        server.wait_workers(2)
    assert json.loads(ctl("--json", "reload"))["ok"]
    assert "stack of" in ctl("dump") or "built without libdw" in ctl("dump")
    assert "serving" in ctl("status") and server.get("/").status == 200
    assert server.stop() == 0
    assert not re.search("Sanitizer|runtime error", server.log()), server.log()


@BOTH
def test_a_sanitized_cxx_application_loads(gcorn, sanitized):  # pylint: disable=redefined-outer-name
    server = gcorn(f"{sanitized}/examples/cxx.so:handler", program=sanitized / "gcorn")
    assert server.get("/").status == 200


@BOTH
@pytest.mark.parametrize("threads", [[], ["--threads", "2"]], ids=["sync", "gthread"])
def test_empty_inputs_give_no_report(gcorn, app, sanitized, threads):  # pylint: disable=redefined-outer-name
    """NULL with length 0 from the application; fields, bodies and queries of a client that are empty."""
    server = gcorn(f"{app('nothing')}:handler", "--access-logfile", "access", "--access-logformat",
                   "json", "--forwarded-allow-ips", "*", *threads, program=sanitized / "gcorn")
    requests = ["GET {} HTTP/1.1\r\nHost: t\r\n\r\n", "GET {}? HTTP/1.1\r\nHost:\r\n\r\n",
                "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
                "POST {} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "GET {}?&=&a= HTTP/1.1\r\nHost: t\r\nCookie:\r\nCookie:\r\nX:\r\nX:\r\n"
                "X-Forwarded-For:\r\nX-Forwarded-Proto:\r\nX-Request-ID:\r\nAuthorization:\r\n"
                "User-Agent:\r\nReferer:\r\nExpect:\r\nConnection:\r\nTE:\r\nUpgrade:\r\n\r\n",
                "HEAD {} HTTP/1.1\r\nHost: t\r\n\r\n", "GET {} HTTP/1.0\r\n\r\n"]
    for path in ("/bytes", "/text", "/buffer", "/buffer-some", "/iter", "/iter-some", "/"):
        for raw in requests:
            with server.connect() as client:
                client.send(raw.format(path))
                answer = client.response(raw.split()[0])
                assert answer.status in (200, 400), (raw, answer)
                assert answer.status == 400 or answer.text in ("", "some")
    assert server.stop() == 0
    assert not re.search("Sanitizer|runtime error", server.log()), server.log()


@SANITIZED_ONLY
def test_plain_fault_is_handled_by_gcorn(gcorn):
    server = gcorn("faulty")
    assert server.get("/segv").status == 500
    server.wait_log(r"was sent SIGSEGV! Nothing is mapped at address 0x40;.* into GET /segv")
    assert "AddressSanitizer" not in server.log()


@SANITIZED_ONLY
def test_a_worker_that_leaks_says_so_when_it_ends(app, gcorn):
    server = gcorn(f"{app('leaky', '-fsanitize=address')}:handler")
    server.expects_report = True
    pid = server.workers[0].pid
    assert server.get("/").text == "lost\n"
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than={pid})
    server.wait_log(rf"=={pid}==ERROR: LeakSanitizer: detected memory leaks")
    server.wait_log(r"Direct leak of 1234 byte\(s\) in 1 object\(s\)")
    server.wait_log(r"#1 0x\w+ in lose .*leaky\.c:\d+")
    server.wait_log(rf"Worker \(pid:{pid}\) was sent SIGABRT!")


@SANITIZED_ONLY
def test_a_worker_that_does_not_leak_is_silent(gcorn):
    server = gcorn("hello")
    pid = server.workers[0].pid
    assert server.get("/").status == 200
    server.kill(signal.SIGHUP)
    server.wait_workers(1, other_than={pid})
    assert server.stop() == 0
    assert "Sanitizer" not in server.log() and not re.search("was (sent|killed by) SIG", server.log())


@SANITIZED_ONLY
def test_replay_ends_in_the_signal_too(tmp_path):
    (tmp_path / "request").write_bytes(b"GET /uaf HTTP/1.1\r\nHost: test\r\n\r\n")
    done = run("--replay", "request", example("faulty"), cwd=tmp_path)
    assert done.returncode == -signal.SIGABRT
    assert "heap-use-after-free" in done.stderr
