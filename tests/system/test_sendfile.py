# SPDX-License-Identifier: MIT
"""Files as bodies: by sendfile, and read where that does not do."""
import os
import re
import threading

import pytest

from harness import SLOWER, Process, request, wait_for

LEN = 5_000_000


@pytest.fixture(params=[(), ("--no-sendfile",)], ids=["sendfile", "read"])
def files(gcorn, app, request):
    """apps/waits.c, served beside the file `data`; its content."""
    server = gcorn(f"{app('waits', '-pthread')}:handler", *request.param,
                   "--access-logfile", "access", "--access-logformat", "%(U)s %(B)s %({gcorn.ended}e)s")
    server.content = os.urandom(LEN)
    (server.dir / "data").write_bytes(server.content)
    return server


def log_line(server, start):
    path = server.dir / "access"
    return wait_for(lambda: re.search(rf"^{start}.*", path.read_text(), re.M), "its line")[0]


def descriptors(server):
    """The worker's, but for sockets, which come and go with clients."""
    return sum(not link.startswith("socket:") for link in server.workers[0].links)


@pytest.mark.parametrize("query, part", [
    ("", slice(None)), ("&offset=1000", slice(1000, None)), ("&offset=7&len=9", slice(7, 16)),
    ("&len=4999999", slice(0, LEN - 1)), ("&len=0", slice(0, 0)), (f"&offset={LEN}", slice(0, 0))])
def test_a_part_of_a_file(files, query, part):
    client = files.connect()
    before = descriptors(files)
    for _ in range(3):
        answer = client.get(f"/file?name=data{query}")
        assert answer.header("Content-Length") == str(len(answer.body))
        assert answer.body == files.content[part]
    wait_for(lambda: descriptors(files) == before, "the descriptors to be closed")
    assert log_line(files, "/file") == f"/file {len(answer.body)} -"


def test_files_are_pipelined_in_order(files):
    client = files.connect()
    for n in range(1, 30):
        client.send(f"GET /file?name=data&len={n * 100} HTTP/1.1\r\nHost: test\r\n\r\n"
                    "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    for n in range(1, 30):
        assert client.response().body == files.content[:n * 100]
        assert client.response().text == str(files.workers[0].pid)


def test_head_and_old_clients(files):
    answer = files.get("/file?name=data", method="HEAD")
    assert answer.header("Content-Length") == str(LEN) and answer.body == b""
    assert files.get("/file?name=data", version="1.0").body == files.content


def test_a_length_that_is_promised_is_kept(files):
    assert files.get("/file?name=data&promise=10").body == files.content[:10]
    client = files.connect().send(request("/file?name=data&len=10&promise=20"))
    rest = client.rest()
    assert rest.endswith(files.content[:10]) and b"Content-Length: 20" in rest


def test_a_file_that_shrinks_breaks_the_connection(files):
    client = files.connect().send(request("/shrink?name=data"))
    rest = client.rest()
    assert f"Content-Length: {LEN}".encode() in rest
    assert rest.partition(b"\r\n\r\n")[2] == files.content[:LEN // 2]
    assert log_line(files, "/shrink") == f"/shrink {LEN // 2} application"
    assert files.get("/").status == 200


@pytest.mark.parametrize("query, why", [
    ("name=nothing", "Bad file descriptor"), ("name=/dev/null", "Invalid argument"),
    ("name=.", "Invalid argument"), (f"name=data&offset={LEN + 1}", "Invalid argument"),
    (f"name=data&offset=1&len={LEN}", "Invalid argument")])
def test_range_outside_a_file_is_refused(files, query, why):
    before = descriptors(files)
    assert files.get(f"/file?{query}").text == why
    wait_for(lambda: descriptors(files) == before, "the descriptor to be closed")


def test_a_descriptor_that_is_refused_is_closed(files):
    assert files.get("/piped").text == "refused and closed"


def test_a_file_that_the_kernel_does_not_send(files):
    """sendfile refuses files of /proc in some kernels; their length is 0 in all."""
    assert files.get("/file?name=/proc/self/status").body == b""


def test_slow_readers_block_no_other_and_take_little_memory(files):
    worker = files.workers[0].pid
    assert files.get("/file?name=data").status == 200
    before = int(Process(worker).status("RssAnon").split()[0])
    clients = []
    for _ in range(50):
        client = files.connect()
        clients.append(client.send(request("/file?name=data")))
    for _ in range(20):
        assert files.get("/").status == 200
    assert int(Process(worker).status("RssAnon").split()[0]) - before < 50 * 16 * SLOWER * SLOWER
    for client in clients:
        assert client.response().body == files.content


def test_client_that_leaves_during_a_file_closes_it(files):
    before = descriptors(files)
    client = files.connect().send(request("/file?name=data"))
    client.socket.recv(1000)
    client.close()
    line = log_line(files, "/file").split()
    assert line[2:] == ["client", "gone"] and 0 < int(line[1]) < LEN
    wait_for(lambda: descriptors(files) == before, "the descriptors to be closed")


def test_a_fast_client_does_not_hold_its_worker(files):
    """Others have a turn while one downloads as fast as the worker sends."""
    ended = threading.Event()

    def download():
        while not ended.is_set():
            files.get("/file?name=data")

    threads = [threading.Thread(target=download) for _ in range(2)]
    for thread in threads:
        thread.start()
    client = files.connect()
    for _ in range(30):
        assert client.get("/").status == 200
    ended.set()
    for thread in threads:
        thread.join()
