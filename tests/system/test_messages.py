# SPDX-License-Identifier: MIT
"""Workers that send each other messages (gcorn_publish), and the memory that they share (gcorn_shared)."""
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import dataclass

import pytest

from harness import (GCORN, NOBODY, PRELOAD_OR_NOT, ROOT_ONLY, SLOWER, WORKER_CLASSES, ctl_output, hup,
                     install, metrics, status_of, upgrade, wait_for, write_config)


@dataclass
class Row:
    """What one worker has got, in memory that all share."""
    number: int
    pid: int
    received: int
    lost: int
    disorder: int
    torn: int
    slowest_us: int


def rows(server):
    return [Row(*map(int, line.split())) for line in server.get("/rows").text.splitlines()]


def live_rows(server):
    pids = server.worker_pids
    return [row for row in rows(server) if row.pid in pids]


def publish(server, query=""):
    return server.get(f"/publish?{query}").text


def wait_received(server, count, workers):
    """Each of so many workers has got so many messages, in order, whole, none lost."""
    def have():
        return [row for row in live_rows(server) if row.received == count]
    wait_for(lambda: len(have()) == workers, f"{count} messages in each of {workers} workers")
    assert all((row.lost, row.disorder, row.torn) == (0, 0, 0) for row in have()), have()


@pytest.fixture
def talkers(gcorn, app):
    def start(*args, **options):
        return gcorn(f"{app('messages', '-D_GNU_SOURCE')}:handler", *args, **options)
    return start


@WORKER_CLASSES
@PRELOAD_OR_NOT
def test_each_worker_gets_each_message_once(talkers, worker_class, flags):
    server = talkers("--workers", "4", *worker_class, *flags)
    assert publish(server) == "1"
    wait_received(server, 1, 4)
    assert publish(server, "count=2000&size=100") == "2000"
    wait_received(server, 2001, 4)
    assert publish(server, "count=10&size=60000&thread=1") == "10"
    wait_received(server, 2011, 4)


@WORKER_CLASSES
def test_message_wakes_requests_of_all_workers(talkers, worker_class):
    server = talkers("--workers", "4", *worker_class)
    waiting = [server.ask("/later") for _ in range(30)]
    assert waiting[-1].is_silent_for(0.1)
    publish(server)
    for client in waiting:
        assert client.response().text == "test"


def test_order_holds_for_each_publisher(talkers):
    server = talkers("--workers", "4", "--publish-buffer", "8MiB")
    clients = [server.connect() for _ in range(16)]
    for client in clients:
        client.send("GET /publish?count=500&size=200 HTTP/1.1\r\nHost: t\r\n\r\n")
    for client in clients:
        assert client.response().text == "500"
    wait_received(server, 8000, 4)


def test_publish_without_subscribers_succeeds(talkers):
    server = talkers("--workers", "2", env={"SUBSCRIBE": "none"})
    assert publish(server, "count=1000") == "1000"
    assert publish(server, "count=1&channel=another") == "1"
    assert [row.received for row in live_rows(server)] == [0, 0]


def test_wrong_messages_are_refused(talkers):
    server = talkers("--workers", "2", "--publish-buffer", "64KiB")
    assert publish(server, "channel=" + "c" * 65) == "EINVAL"
    assert publish(server, "channel=") == "EINVAL"
    assert publish(server, "size=65536") == "EMSGSIZE"
    assert publish(server, f"size={65536 - 24}") == "1", "with its head and its channel"
    wait_received(server, 1, 2)
    assert publish(server, "channel=" + "c" * 64) == "1"


def test_messages_and_memory_can_be_off(talkers):
    server = talkers("--publish-buffer", "0", "--shared-memory", "0")
    assert publish(server) == "EOPNOTSUPP"
    assert server.get("/subscribe").text == "EOPNOTSUPP"
    assert server.get("/shared").text == "EOPNOTSUPP"


def test_forked_child_is_no_worker(talkers):
    server = talkers("--workers", "2")
    publish(server)
    wait_received(server, 1, 2)
    assert server.get("/child").text == "-1 EOPNOTSUPP no no"
    publish(server)
    wait_for(lambda: sorted(row.received for row in live_rows(server)) == [2, 1002],
             "the message, and what the child has added to the application's memory")


def test_subscriptions_come_and_go(talkers):
    """Made and removed by handlers, which run on other threads than the callbacks."""
    server = talkers("--threads", "4")
    with server.connect() as client:
        assert client.get("/subscribe?channel=more&text=x-").text == "subscribed"
    waiting = server.ask("/later")
    assert waiting.is_silent_for(0.05)
    publish(server, "channel=more")
    assert waiting.response().text == "x-more"
    assert server.get("/unsubscribe").text == "unsubscribed"
    waiting = server.ask("/later")
    publish(server, "channel=more")
    assert waiting.is_silent_for(0.1)
    publish(server)
    assert waiting.response().text == "test"


# ---- too slow -----------------------------------------------------------------------------------


def test_slow_subscriber_is_told_what_it_missed(talkers):
    server = talkers("--workers", "2", "--publish-buffer", "64KiB", "--admin-bind", "127.0.0.1:0",
                     "--control-socket", "ctl", ready=3)
    publish(server)
    wait_received(server, 1, 2)
    with server.connect() as client:
        slow = int(client.get("/pid").text)
        assert client.get("/lag?ms=1000").text == "set"
        publisher = wait_for(lambda: other_worker(server, slow), "the other worker")
        assert publisher.get("/publish?count=1").text == "1"
        assert publisher.get("/publish?count=5000").text == "5000"

    def all_there():
        return all(row.received + row.lost == 5002 for row in live_rows(server))
    wait_for(all_there, "each message to be read or counted")
    late = next(row for row in live_rows(server) if row.pid == slow)
    assert late.lost > 4000 and late.torn == 0 and late.disorder == 0, late
    counts = metrics(server)
    assert counts["gcorn_messages_published_total"] == 5002
    assert counts["gcorn_messages_lost_total"] == sum(row.lost for row in live_rows(server))
    assert counts["gcorn_messages_delivered_total"] == sum(row.received for row in live_rows(server))
    workers = status_of(server.dir)["workers"]
    assert sum(w["messages_published"] for w in workers) == 5002
    assert {w["messages_lost"] for w in workers if w["pid"] == slow} == {late.lost}
    assert {w["messages_delivered"] for w in workers if w["pid"] == slow} == {late.received}


def other_worker(server, pid):
    """A connection to another worker."""
    client = server.connect()
    return client if int(client.get("/pid").text) != pid else None


@WORKER_CLASSES
def test_subscriber_that_hangs_is_killed_by_timeout(talkers, worker_class):
    server = talkers("--workers", "2", "--timeout", "1s", *worker_class)
    with server.connect() as client:
        hangs = int(client.get("/pid").text)
        client.get("/lag?ms=60000")
    publish(server)
    assert re.search(r"PUBLISH test", server.wait_log(rf"pid:{hangs}\).*PUBLISH test.*").group())
    server.wait_workers(2, other_than=[hangs])
    wait_for(lambda: publish(server) == "1", "the next message")
    wait_for(lambda: all(row.received > 0 for row in live_rows(server)), "it to come")


# ---- workers that come and go -------------------------------------------------------------------


def test_killed_publishers_leave_whole_messages(talkers):
    server = talkers("--workers", "4")
    for _ in range(10):
        with server.connect() as client:
            pid = int(client.get("/pid").text)
            client.send("GET /publish?count=1000000&size=65000 HTTP/1.1\r\nHost: t\r\n\r\n")
            before = sum(row.received for row in live_rows(server))
            wait_for(lambda: sum(row.received for row in live_rows(server)) > before + 20, "some")
            os.kill(pid, signal.SIGKILL)
            server.wait_workers(4, other_than=[pid])
    assert all((row.disorder, row.torn) == (0, 0) for row in rows(server)), rows(server)
    before = {row.pid: row.received for row in live_rows(server)}
    publish(server)
    wait_for(lambda: all(row.received > before[row.pid] for row in live_rows(server)), "one more")


def test_added_and_removed_workers_talk(talkers):
    server = talkers("--workers", "2")
    for count in (3, 4, 5):
        server.kill(signal.SIGTTIN)
        server.wait_workers(count)
    publish(server)
    wait_for(lambda: all(row.received == 1 for row in live_rows(server)), "all five to get it")
    for count in (4, 3, 2, 1):
        server.kill(signal.SIGTTOU)
        server.wait_workers(count)
    publish(server, "count=100")
    wait_for(lambda: live_rows(server)[0].received == 101, "the last one to get them")


def test_rings_are_used_again(talkers):
    """More workers come and go than there are rings."""
    server = talkers("--workers", "2")
    for _ in range(40):
        pids = server.worker_pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        server.wait_workers(2, other_than=pids)
    assert publish(server) == "1"
    wait_received(server, 1, 2)


@WORKER_CLASSES
def test_reload_keeps_memory_and_bridges_generations(talkers, worker_class):
    """A worker that drains, and still has a request, gets what the new ones publish."""
    server = talkers("--workers", "2", "--control-socket", "ctl", *worker_class)
    assert server.get("/shared").text == "1 fresh"
    with server.connect() as client:
        old = int(client.get("/pid").text)
        client.send("GET /later?stay=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.is_silent_for(0.1)
        ctl_output(server.dir, "-s", "ctl", "reload")
        assert server.get("/shared").text == "2 old"
        assert old in server.worker_pids and int(server.get("/pid").text) != old
        publish(server)
        assert client.response().text == "test"
    server.wait_workers(2, other_than=[old])
    wait_for(lambda: all(row.received >= 1 for row in live_rows(server)), "the new ones to get it")


def test_reload_says_what_it_cannot_change(gcorn, app, tmp_path):
    talk = f"{app('messages', '-D_GNU_SOURCE')}:handler"
    settings = {"bind": "127.0.0.1:0", "workers": 1, "wsgi_app": talk}
    write_config(tmp_path, **settings)
    server = gcorn("", bare=True)
    write_config(tmp_path, publish_buffer="2MiB", shared_memory="3MiB", **settings)
    mark = server.mark()
    hup(server)
    server.wait_log(r"publish_buffer: only an upgrade or a restart can change it", mark)
    server.wait_log(r"shared_memory: only a restart can change it", mark)
    assert publish(server, f"size={1 << 20}") == "EMSGSIZE"


# ---- upgrades -----------------------------------------------------------------------------------


@pytest.fixture
def upgradable(gcorn, app, tmp_path):
    def start(**settings):
        install(tmp_path / "app.so", app("messages", "-D_GNU_SOURCE"))
        program = tmp_path / "gcorn"
        shutil.copy(GCORN, program)
        write_config(tmp_path, bind="127.0.0.1:0", workers=2, control_socket="ctl",
                     wsgi_app="app.so:handler", **settings)
        return gcorn("", bare=True, program=program, ready=2)
    return start


def test_upgrade_bridges_both_servers(upgradable):
    server = upgradable()
    assert server.get("/shared").text == "1 fresh"
    publish(server)
    wait_received(server, 1, 2)
    mark = server.mark()
    server.kill(signal.SIGUSR2)
    new = int(server.wait_log(r"the new master \(pid:(\d+)\) serves as well", mark).group(1))
    workers = {p.pid for p in server.workers if p.pid != new}
    waiting = [server.ask("/later") for _ in range(40)]  # at old and at new workers
    assert waiting[-1].is_silent_for(0.1)
    publish(server)
    for client in waiting:
        assert client.response().text == "test"
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait_exit() == 0
    server.is_succeeded_by(new)
    wait_for(lambda: not workers & set(server.worker_pids), "the old workers to go")
    assert server.get("/shared").text == "2 old"
    publish(server)
    wait_for(lambda: all(row.received >= 1 for row in live_rows(server)), "the new ones to get it")
    assert "do not pass" not in server.log()


def test_upgrade_to_another_layout_is_not_bridged(upgradable, tmp_path):
    server = upgradable()
    assert server.get("/shared").text == "1 fresh"
    write_config(tmp_path, bind="127.0.0.1:0", workers=2, control_socket="ctl",
                 wsgi_app="app.so:handler", publish_buffer="2MiB", shared_memory="8MiB")
    answer = upgrade(server)
    assert answer["ok"], answer
    assert server.wait_exit() == 0
    server.is_succeeded_by(answer["pid"])
    assert len(re.findall(r"publish_buffer: messages do not pass between the workers", server.log())) == 1
    server.wait_log(r"shared_memory: it has \d+ bytes until the server is restarted")
    assert publish(server, f"size={3 << 19}") == "1"
    assert server.get("/shared").text == "2 old"


def test_upgrade_that_fails_changes_nothing(upgradable, app, tmp_path):
    server = upgradable()
    install(tmp_path / "app.so", app("badboot", "-DIN_INIT"))
    assert not upgrade(server)["ok"]
    assert server.get("/shared").text == "1 fresh"
    publish(server)
    wait_received(server, 1, 2)


# ---- rights -------------------------------------------------------------------------------------


@ROOT_ONLY
@PRELOAD_OR_NOT
def test_workers_of_another_user_talk(talkers, flags, tmp_path):
    os.chmod(tmp_path, 0o755)
    server = talkers("--workers", "3", "--user", NOBODY, *flags)
    publish(server)
    wait_received(server, 1, 3)
    assert server.get("/shared").text == "1 fresh"


def maps_of(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        return [line.split()[1] for line in file
                if "gcorn-messages" in line or "gcorn-shared" in line]


def files_of(pid):
    links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    return [link for link in links if "gcorn-messages" in link or "gcorn-shared" in link]


def test_admin_process_has_no_part_in_it(talkers):
    server = talkers("--workers", "2", "--admin-bind", "127.0.0.1:0", ready=3)
    publish(server)
    admin = next(p.pid for p in server.workers if "admin" in p.title)
    assert maps_of(admin) == [] and files_of(admin) == []
    worker = next(p.pid for p in server.workers if "admin" not in p.title)
    assert len(files_of(worker)) == 2
    assert "r--s" in maps_of(worker), "the rings of the others are read-only"


def test_server_without_messages_maps_nothing(gcorn):
    server = gcorn("hello", "--workers", "2")
    server.get("/")
    assert [maps_of(pid) for pid in server.worker_pids] == [[], []]


# ---- figures ------------------------------------------------------------------------------------


def switches(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def test_idle_subscribers_are_not_woken(talkers, gcorn, tmp_path):
    """As few wake-ups as workers that know of no message: those of the heartbeat."""
    server = talkers("--workers", "4")
    publish(server)
    wait_received(server, 1, 4)
    plain = gcorn("hello", "--workers", "4")
    plain.get("/")

    def seconds(which):
        before = {pid: switches(pid) for pid in which.worker_pids}
        time.sleep(3)
        return sum(switches(pid) - count for pid, count in before.items())
    counted = []
    threads = [threading.Thread(target=lambda s=s: counted.append((s is server, seconds(s))))
               for s in (server, plain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = dict(counted)
    assert counts[True] <= counts[False] + 6 * SLOWER, counts


def test_workers_keep_up_with_a_steady_stream(talkers):
    """None is lost at 20,000 messages a second; tests/bench/messages.py measures more."""
    server = talkers("--workers", "4")
    assert server.get("/rate?rate=20000&size=100&ms=2000").text == "begun"
    wait_received(server, 40000, 4)
