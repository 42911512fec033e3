# SPDX-License-Identifier: MIT
"""preload_app: a template process loads the application and forks the workers."""
import os
import signal

import pytest

from harness import ROOT_ONLY, SANITIZED, SLOWER, Process, can_bind, install, wait_for


@pytest.fixture
def table(app):
    return f"{app('table')}:handler"


def template_of(server):
    return wait_for(lambda: server.templates, "a template")[0]


def loaders(server, count):
    """{worker: the process that ran the constructor}, of all workers."""
    found = {}

    def all_of_them():
        worker, loader = map(int, server.get("/", fields="Connection: close\r\n").text.split())
        found[worker] = loader
        return len(found) == count
    wait_for(all_of_them, f"answers of {count} workers")
    return found


# ---- life ---------------------------------------------------------------------------------------


def test_the_constructor_runs_once(gcorn, table):
    server = gcorn(table, "--preload", "--workers", "3")
    template = template_of(server)
    assert loaders(server, 3) == {pid: template.pid for pid in server.worker_pids}
    assert {p.parent for p in server.workers} == {server.pid}
    assert template.sockets < 5  # the listening one, its orders, and none of the workers'


def test_worker_that_dies_is_forked_from_the_template(gcorn, table):
    server = gcorn(table, "--preload", "--workers", "2")
    template, before = template_of(server), server.worker_pids
    assert server.get("/crash").status == 500
    server.wait_log(r"was sent SIGSEGV! .* the client was answered 500")
    wait_for(lambda: len(server.worker_pids & before) == 1, "its end")
    server.wait_workers(2)
    assert set(loaders(server, 2).values()) == {template.pid}


def test_hup_makes_a_new_template(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("table"))
    server = gcorn("app.so:handler", "--preload", "--workers", "2")
    old, before = template_of(server), server.worker_pids
    install(tmp_path / "app.so", app("probe"))
    server.kill(signal.SIGHUP)
    server.wait_workers(2, other_than=before)
    wait_for(lambda: not Process(old.pid).is_alive, "the old template's end")
    assert template_of(server).pid != old.pid
    assert int(server.get("/pid").text) in server.worker_pids


def test_hup_switches_preload_on_and_off(gcorn, table, tmp_path):
    settings = tmp_path / "gunicorn-c.yaml"
    server = gcorn(table)
    for on in (True, False):
        before = server.worker_pids
        settings.write_text(f"preload_app: {str(on).lower()}\n")
        server.kill(signal.SIGHUP)
        server.wait_workers(1, other_than=before)
        wait_for(lambda: bool(server.templates) == on, "the template")  # pylint: disable=cell-var-from-loop
        (worker, loader), = loaders(server, 1).items()
        assert (worker != loader) == on


def test_a_template_that_dies_is_restarted(gcorn, table):
    server = gcorn(table, "--preload")
    old, before = template_of(server), server.worker_pids
    os.kill(old.pid, signal.SIGKILL)
    server.wait_log(rf"Template \(pid:{old.pid}\): the template process was killed by SIGKILL")
    assert server.worker_pids == before  # forked workers do not need it
    server.kill(signal.SIGTTIN)
    server.wait_workers(2)
    assert template_of(server).pid != old.pid


def test_template_that_dies_during_a_fork_is_restarted(gcorn, app, tmp_path):
    install(tmp_path / "app.so", app("table"))
    server = gcorn("app.so:handler", "--preload")
    first = template_of(server)
    os.kill(first.pid, signal.SIGSTOP)  # it forks no worker until it dies
    server.kill(signal.SIGTTIN)
    server.wait_log("2 workers wanted")
    os.kill(first.pid, signal.SIGKILL)
    server.wait_log("Worker 1 failed to boot: the template process was killed by SIGKILL")
    server.wait_workers(2)
    assert "pid:0" not in server.log()


def test_all_leave_when_the_master_is_killed(gcorn, table):
    server = gcorn(table, "--preload", "--workers", "2")
    pids = [template_of(server).pid, *server.worker_pids]
    server.kill(signal.SIGKILL)
    wait_for(lambda: not any(Process(pid).is_alive for pid in pids), "their end")
    server.process.wait()


def test_terminal_signals_do_not_end_the_template(gcorn, table):
    server = gcorn(table, "--preload")
    template = template_of(server)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGUSR1):
        assert wait_for(lambda: Process(template.pid).catches(number), "its signals")  # pylint: disable=cell-var-from-loop


def test_a_stop_refuses_new_clients_at_once(gcorn, table):
    """The template has the sockets, too: it goes before the workers finish."""
    server = gcorn(table, "--preload", "--keepalive-drain", "1h", "--graceful-timeout", "1h")
    idle = server.connect()
    idle.get("/")
    server.kill(signal.SIGTERM)
    wait_for(lambda: can_bind(server.port), "the address to be free")
    assert idle.get("/").closes
    assert server.wait_exit() == 0


@pytest.mark.parametrize("more", [(), ("--preload",)])
def test_stop_finishes_a_worker_whose_ready_is_unread(gcorn, app, more):
    """The master does not run while its worker boots and serves its first client."""
    server = gcorn(f"{app('hooks', '-DSLOW')}:handler", *more, ready=0, bind="unix:sock")
    server.address = str(server.dir / "sock")
    server.wait_log("Booting worker")
    server.kill(signal.SIGSTOP)
    wait_for(lambda: any(p.is_ready_worker for p in server.workers), "the worker")
    client = server.connect()
    assert client.get("/").status == 200
    server.kill(signal.SIGTERM)
    server.kill(signal.SIGCONT)
    wait_for(lambda: client.get("/").closes, "the order to reach the worker, which answers")
    assert server.wait_exit() == 0


def test_a_stop_while_the_template_is_stuck(gcorn, app):
    """No worker is forked yet, so none can be unresponsive or late."""
    server = gcorn(f"{app('hooks', '-DSTUCK')}:handler", "--preload", "--workers", "2",
                   "--heartbeat", "2s", "--graceful-timeout", "3s", ready=0)
    server.wait_log("Preloading the application")
    server.kill(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "pid:0" not in server.log() and "UNRESPONSIVE" not in server.log()


# ---- what does not boot -------------------------------------------------------------------------


@pytest.mark.parametrize("name, flag, why", [
    ("hooks", "-DCRASHES", r"the template process was killed by SIGSEGV \(Segmentation fault\)"),
    ("hooks", "-DLEAVES", "the template process exited with code 0"),
    ("hooks", "-DREFUSES", "gcorn_on_worker_init of the application failed"),
    ("hooks", "-DSTUCK", "it was not ready within boot_timeout"),
    ("unresolved", "", "nowhere_defined|needs "),
])
def test_template_that_does_not_boot_fails_start_and_reload(gcorn, app, tmp_path, name, flag, why):
    broken = app(name, *([flag] if flag else []))
    boot_timeout = f"{300 * SLOWER}ms" if flag == "-DSTUCK" else "10s"
    options = ["--preload", "--boot-timeout", boot_timeout]
    first = gcorn(f"{broken}:handler", *options, "--workers", "2", ready=0)
    assert first.wait_exit() == 3
    first.wait_log(rf"\[CRITICAL\] .*failed to boot: .*({why})")
    directory = tmp_path / "reloaded"
    directory.mkdir()
    install(directory / "app.so", app("probe"))
    server = gcorn("app.so:handler", *options, directory=directory)
    before, template = server.worker_pids, template_of(server)
    install(directory / "app.so", broken)
    server.kill(signal.SIGHUP)
    server.wait_log(rf"Reload failed: .*({why}).*Generation 1 goes on unchanged")
    wait_for(lambda: [p.pid for p in server.templates] == [template.pid], "the end of the new one")
    wait_for(lambda: server.worker_pids == before, "the end of its worker")


# ---- as without preload_app ---------------------------------------------------------------------


@ROOT_ONLY
def test_the_template_is_the_workers_user(public_dir, gcorn):
    server = gcorn("app.so:handler", "--preload", "--user", "nobody", directory=public_dir)
    assert server.get("/ids").text == "65534 65534: 65534"
    for process in (template_of(server), server.workers[0]):
        assert process.status("Uid").split() == ["65534"] * 4
        assert process.status("NoNewPrivs") == "1"
    server.stop()


def test_new_workers_write_to_reopened_logs(gcorn, table, tmp_path):
    log = tmp_path / "access"
    server = gcorn(table, "--preload", "--access-logfile", log)
    before = server.worker_pids
    log.rename(tmp_path / "access.1")
    server.kill(signal.SIGUSR1)
    wait_for(log.exists, "the new file")
    os.kill(before.copy().pop(), signal.SIGKILL)
    server.wait_workers(1, other_than=before)
    server.get("/after")
    wait_for(lambda: "/after" in log.read_text(), "the line")


def test_what_a_constructor_prints_is_captured(gcorn, table):
    server = gcorn(table, "--preload", "--capture-output")
    server.wait_log(rf"\[{template_of(server).pid}\] \[OUTPUT\] the table is there")
    assert server.get("/").status == 200


def test_process_that_claims_to_be_a_worker_is_ignored(gcorn, app):
    server = gcorn(f"{app('cuckoo')}:handler", "--preload")
    cuckoo = int(server.wait_log(r"process (\d+) says that it is a worker, but is not one").group(1))
    assert int(server.get("/").text) in server.worker_pids - {cuckoo}
    server.stop(signal.SIGQUIT)
    assert Process(cuckoo).is_alive, "it is no process of the server"
    os.kill(cuckoo, signal.SIGKILL)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is not the application's")
def test_max_memory_is_the_workers_own(gcorn, app):
    server = gcorn(f"{app('table', '-DMIB=30')}:handler", "--preload", "--workers", "3",
                   "--max-memory", "20MiB")
    grown = int(server.get("/grow").text.split()[0])
    server.wait_log(rf"Worker \(pid:{grown}\) is to be replaced: max_memory \(3\d MiB\)")
    assert server.log().count("is to be replaced") == 1, "a worker that has not grown is replaced, too"
    server.wait_workers(3, other_than=[grown])
    assert server.get("/crash").status == 500
    server.wait_log(r"memory \d\.\d MiB; the client was answered")


# ---- what it is for -----------------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is not the application's")
def test_workers_share_a_large_table(gcorn, app):
    """100 MiB, of which a worker has next to nothing to itself."""
    large = f"{app('table', '-DMIB=100')}:handler"
    server = gcorn(large, "--preload", "--workers", "2")
    assert int(server.get("/private").text) < 5 * 1024
    alone = gcorn(large)
    assert int(alone.get("/private").text) > 100 * 1024
