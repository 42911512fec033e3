# SPDX-License-Identifier: MIT
"""Two events of a life that meet: a signal and a boot, a death and a deadline, a reload and a stop.
Each is held in place by an application whose boot waits for the test (apps/gated.c)."""
import os
import re
import signal

import pytest

from harness import Held, Process, children, ctl_output, install, start_ctl, status_of, wait_for


class Gate:
    """While it is closed, no worker becomes ready."""

    def __init__(self, directory):
        self.dir = directory
        self.file = directory / "closed"

    def close(self):
        self.file.touch()

    def open(self):
        self.file.unlink()

    def booting(self, count=1):
        """The pids of the workers that wait in their boots, all alive."""
        def find():
            pids = {int(path.stem) for path in self.dir.glob("*.boots")}
            pids = {pid for pid in pids if Process(pid).is_alive}
            return pids if len(pids) == count else None
        return wait_for(find, f"{count} workers to boot")


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


@pytest.fixture
def start(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("gated"))

    def start_gated(*args, **options):
        return gcorn("app.so:handler", "--control-socket", "ctl", *args, **options)
    return start_gated


def versions(server, app, tmp_path, version):
    install(tmp_path / "app.so", app("gated", f'-DVERSION="{version}"'))


def lines(server, pattern):
    return re.findall(pattern, server.log(), re.M)


# ---- a boot meets ... ---------------------------------------------------------------------------


def test_ready_during_drain_says_close(start, gate):
    server = start("--drain-delay", "1h")
    server.get()
    gate.close()
    os.kill(server.worker_pids.pop(), signal.SIGKILL)
    pid, = gate.booting()
    server.kill(signal.SIGTERM)
    server.wait_log("Draining: stopping in")
    gate.open()
    assert server.get("/pid").text == str(pid)
    wait_for(lambda: server.get("/pid").closes, "the answers of the new worker to say close")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_replacement_is_started_during_drain(start):
    server = start("--drain-delay", "1h")
    server.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Draining: stopping in")
    before = server.worker_pids
    os.kill(min(before), signal.SIGKILL)
    server.wait_workers(1, other_than=before)
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_second_term_during_drain_stops_at_once(start):
    server = start("--drain-delay", "1h")
    server.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Draining: stopping in")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert len(lines(server, "Draining: stopping in")) == 1


def test_reload_during_drain_is_refused(start):
    server = start("--drain-delay", "1h")
    server.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Draining: stopping in")
    server.kill(signal.SIGHUP)
    server.wait_log("Handling signal: hup")
    assert status_of(server.dir)["state"] == "stopping"
    assert "Hang up: Master" not in server.log()
    server.kill(signal.SIGQUIT)
    assert server.wait_exit() == 0


def test_ready_worker_outlives_its_boot_deadline(start, gate):
    """The deadline of a boot ends with the boot."""
    server = start("--boot-timeout", "2s")
    gate.close()
    os.kill(server.worker_pids.pop(), signal.SIGKILL)
    pid, = gate.booting()
    gate.open()
    server.wait_workers(1)
    client = server.connect()
    assert client.get("/pid").text == str(pid)
    assert client.is_silent_for(2.5), "its worker is ended by the deadline of its boot"
    assert server.worker_pids == {pid}
    assert "not ready" not in server.log()


def test_worker_that_died_booting_leaves_no_deadline(start, gate):
    """The place in the table is taken again: by one that has all its time."""
    server = start("--boot-timeout", "2s")
    gate.close()
    os.kill(server.worker_pids.pop(), signal.SIGKILL)
    first, = gate.booting()
    (server.dir / f"{first}.boots").unlink()
    os.kill(first, signal.SIGKILL)
    second, = gate.booting()
    gate.open()
    server.wait_workers(1)
    assert server.connect().is_silent_for(2.5)
    assert server.worker_pids == {second}


def test_term_amid_a_canary_ends_it(start, gate):
    server = start()
    before = server.worker_pids
    gate.close()
    with start_ctl(server.dir, "-s", "ctl", "reload") as reloading:
        canary = gate.booting() - before
        server.kill(signal.SIGTERM)
        assert "the server is stopping" in reloading.communicate()[1]
        assert reloading.returncode == 1
    assert server.wait_exit() == 0
    assert not Process(canary.pop()).is_alive
    assert "failed to boot" not in server.log()


def test_canary_killed_by_hand_is_tried_again(start, gate):
    server = start()
    gate.close()
    server.kill(signal.SIGHUP)
    first, = gate.booting()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not Process(first).is_alive, "its end")
    second, = gate.booting()
    assert second != first
    gate.open()
    server.wait_log("Reloaded: generation 1 -> 2")
    wait_for(lambda: server.worker_pids == {second}, "the old worker to leave")


def test_canary_that_dies_once_it_counts_is_replaced(start, app, tmp_path):
    """The reload it has decided goes on, and is over when all workers are of it."""
    server = start("--workers", "2")
    before = server.worker_pids
    versions(server, app, tmp_path, "two")
    with start_ctl(server.dir, "-s", "ctl", "reload") as reloading:
        server.wait_log("Reloaded: generation 1 -> 2")
        for pid in server.worker_pids - before:
            os.kill(pid, signal.SIGKILL)
        assert reloading.wait() == 0
    assert {w["generation"] for w in status_of(server.dir)["workers"] if w["phase"] == "ready"} == {2}
    assert server.get("/version").text == "two"


def test_ttin_and_ttou_amid_a_reload(start, gate):
    server = start("--workers", "2")
    gate.close()
    server.kill(signal.SIGHUP)
    canary, = gate.booting()
    server.kill(signal.SIGTTIN)
    server.wait_log("3 workers wanted")
    third = gate.booting(2) - {canary}
    server.kill(signal.SIGTTOU)
    server.wait_log("2 workers wanted")
    gate.open()
    server.wait_log("Reloaded: generation 1 -> 2")
    wait_for(lambda: len(server.workers) == 2 and canary in server.worker_pids, "two new workers")
    assert not third & server.worker_pids
    assert {w["generation"] for w in status_of(server.dir)["workers"]} == {2}


def test_reload_takes_back_what_ttin_asked_for(start):
    server = start()
    server.kill(signal.SIGTTIN)
    server.wait_workers(2)
    ctl_output(server.dir, "-s", "ctl", "reload")
    wait_for(lambda: len(server.workers) == 1, "one worker, as the settings say")


def test_workers_set_amid_a_roll_counts_at_once(start, gate):
    server = start("--workers", "2")
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    gate.close()
    ctl_output(server.dir, "-s", "ctl", "workers", "set", "4")
    wait_for(lambda: len(list(server.dir.glob("*.boots"))) >= 2, "the two more to boot")
    gate.open()
    wait_for(lambda: [w["phase"] for w in status_of(server.dir)["workers"]] == ["ready"] * 4,
             "four workers")
    assert {w["generation"] for w in status_of(server.dir)["workers"]} == {2}


# ---- a reload meets back-off --------------------------------------------------------------------


def test_reload_amid_back_off_brings_all_workers(start, tmp_path):
    """The delay was the old application's (test_plan has the times)."""
    server = start("--workers", "2")
    (tmp_path / "fails").touch()
    os.kill(min(server.worker_pids), signal.SIGKILL)
    server.wait_log("failed to boot", count=4)
    (tmp_path / "fails").unlink()
    ctl_output(server.dir, "-s", "ctl", "reload")
    ready = [w for w in status_of(server.dir)["workers"] if w["phase"] == "ready"]
    assert [w["generation"] for w in ready] == [2, 2]


def test_stop_amid_back_off_does_not_wait(start, tmp_path):
    server = start("--workers", "2")
    (tmp_path / "fails").touch()
    os.kill(min(server.worker_pids), signal.SIGKILL)
    server.wait_log("failed to boot", count=4)
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_failed_reload_leaves_no_back_off_to_the_next(start, tmp_path):
    server = start()
    (tmp_path / "fails").touch()
    for count in range(1, 4):
        server.kill(signal.SIGHUP)
        server.wait_log("Reload failed", count=count)
    (tmp_path / "fails").unlink()
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert {w["generation"] for w in status_of(server.dir)["workers"] if w["phase"] == "ready"} == {5}


# ---- who leaves meets ... -----------------------------------------------------------------------


def test_retired_worker_is_told_of_the_stop_too(start):
    """After a reload its idle connections may wait; when the server stops they may not."""
    server = start("--graceful-timeout", "1h", "--keepalive", "1h", "--keepalive-drain", "100ms")
    kept = server.connect()
    kept.get()
    old = server.worker_pids
    ctl_output(server.dir, "-s", "ctl", "reload")
    assert old < server.worker_pids, "it waits for its idle connection"
    server.kill(signal.SIGTERM)
    kept.assert_closed()
    assert server.wait_exit(hang_up=False) == 0


def test_stop_does_not_lengthen_a_retired_workers_deadline(start):
    server = start("--graceful-timeout", "3s")
    held = Held(server)
    old, = server.worker_pids
    server.kill(signal.SIGHUP)
    server.wait_log("Reloaded: generation 1 -> 2")
    wait_for(lambda: status_of(server.dir)["workers"][0]["phase"] == "retiring", "the order")
    assert held.client.is_silent_for(2)
    mark = server.mark()
    server.kill(signal.SIGTERM)
    server.wait_log(rf"Worker \(pid:{old}\) did not finish within graceful_timeout", after=mark)
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1])
def test_retiring_worker_that_is_killed_is_not_replaced(start, number):
    server = start()
    held = Held(server)
    old, = server.worker_pids
    ctl_output(server.dir, "-s", "ctl", "reload")
    new = server.worker_pids - {old}
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: old not in server.worker_pids, "its end")
    server.kill(number)
    server.wait_log(f"Handling signal: {number.name[3:].lower()}")
    server.get()
    assert number != signal.SIGUSR1 or server.worker_pids == new
    held.client.close()


def test_two_hups_and_a_term_while_a_request_runs(start):
    server = start()
    held = Held(server)
    for generation in (2, 3):
        server.kill(signal.SIGHUP)
        server.wait_log(f"Reloaded: generation {generation - 1} -> {generation}")
    server.kill(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    assert held.let_go().status == 200
    assert server.wait_exit() == 0


def test_ttou_twice_retires_two(start):
    server = start("--workers", "3")
    server.kill(signal.SIGTTOU)
    server.wait_log("2 workers wanted")
    server.kill(signal.SIGTTOU)
    server.wait_log("1 workers wanted")
    wait_for(lambda: len(server.workers) == 1, "two to leave")
    server.get()


# ---- a hung or crashed worker meets ... ---------------------------------------------------------


@pytest.fixture
def hung(start):
    """A worker with a call that hangs and one that does not: it is told to finish."""
    server = start("-k", "gthread", "--threads", "2", "--timeout", "1s", "--graceful-timeout", "1h")
    hang = Held(server, "hang")
    server.old, = server.worker_pids
    server.hang = hang
    return server


def test_reload_while_a_hung_worker_is_ended(hung):
    """Its stacks are taken, its client is told 504; the reload neither waits for it nor harms it."""
    hung.wait_log(rf"WORKER TIMEOUT \(pid:{hung.old}\)")
    hung.kill(signal.SIGHUP)
    hung.wait_log("Reloaded: generation 1 -> 2")
    assert hung.hang.client.response().status == 504
    wait_for(lambda: hung.old not in hung.worker_pids, "its end")
    hung.get()


def test_stop_while_a_hung_worker_is_ended(hung):
    hung.wait_log(rf"WORKER TIMEOUT \(pid:{hung.old}\)")
    hung.kill(signal.SIGTERM)
    assert hung.hang.client.response().status == 504
    assert hung.wait_exit() == 0


def test_hung_retiring_worker_is_ended(hung):
    hung.kill(signal.SIGHUP)
    hung.wait_log("Reloaded: generation 1 -> 2")
    assert hung.hang.client.response().status == 504
    wait_for(lambda: hung.old not in hung.worker_pids, "its end")
    assert len(hung.workers) == 1


def test_quit_ends_a_worker_that_finishes_other_calls(start):
    server = start("-k", "gthread", "--threads", "2", "--timeout", "2s", "--graceful-timeout", "1h")
    hang = Held(server, "hang")
    old, = server.worker_pids
    assert hang.client.is_silent_for(1.2)
    Held(server, "late")
    server.wait_log(rf"WORKER TIMEOUT \(pid:{old}\)")
    server.kill(signal.SIGQUIT)
    assert server.wait_exit() == 0


def test_reload_meets_a_crash(start):
    server = start("--workers", "2")
    client = server.connect().send("GET /crash HTTP/1.1\r\nHost: t\r\n\r\n")
    server.kill(signal.SIGHUP)
    assert client.response().status == 500
    server.wait_log("Reloaded: generation 1 -> 2")
    wait_for(lambda: {w["generation"] for w in status_of(server.dir)["workers"]} == {2}, "new workers")
    assert len(lines(server, r"was sent SIGSEGV!")) == 1


def test_crash_during_drain_is_answered_and_replaced(start):
    server = start("--drain-delay", "1h")
    server.get()
    server.kill(signal.SIGTERM)
    server.wait_log("Draining")
    before = server.worker_pids
    assert server.get("/crash").status == 500
    server.wait_workers(1, other_than=before)
    assert server.get().status == 200
    server.kill(signal.SIGINT)
    assert server.wait_exit() == 0


def test_exit_of_a_retiring_worker_is_no_death_to_slow_down(start):
    """Four deaths in a row are; those of workers that leave anyway do not count."""
    server = start()
    for round_ in range(6):
        held = Held(server, f"held{round_}")
        ctl_output(server.dir, "-s", "ctl", "reload")
        for pid in server.worker_pids:
            if status_of(server.dir)["workers"][0]["pid"] == pid:
                os.kill(pid, signal.SIGKILL)
        held.client.close()
        wait_for(lambda: [w["phase"] for w in status_of(server.dir)["workers"]] == ["ready"], "one")
    assert server.get().status == 200


def test_crashed_place_starts_with_nothing_of_before(start):
    """The place in the table, and its slot, are taken again."""
    server = start()
    for _ in range(5):
        server.get()
    before = server.worker_pids
    assert server.get("/crash").status == 500
    server.wait_workers(1, other_than=before)
    worker, = status_of(server.dir)["workers"]
    assert (worker["requests"], worker["in_flight"], worker["connections"]) == (0, 0, 0)


def test_stop_before_the_first_worker_is_ready_twice(start, gate):
    gate.close()
    server = start(ready=0)
    gate.booting()
    server.kill(signal.SIGTERM)
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert children(server.pid) == []
