# SPDX-License-Identifier: MIT
"""The command line through the real binary: what it prints, where settings come from, how it
refuses."""
import os
import re
import signal

import pytest

from harness import REPO, example, run


# KEY: value   # origin
LINE = re.compile(r"^(\w+): (.*?)\s+# (.*)$")


def printed(cwd, *args, **options):
    """--print-config as {key: (value, origin)}."""
    done = run("--print-config", *args, cwd=cwd, **options)
    assert (done.returncode, done.stderr) == (0, "")
    found = {}
    for line in done.stdout.splitlines():
        key, value, origin = LINE.match(line).groups()
        found[key] = value, origin
    return found


def sample_settings():
    text = (REPO / "gunicorn-c.yaml").read_text()
    return dict(re.findall(r"^# (\w+): (.*)$", text, re.M))


def settings_rows():
    """(key, flag, short flag) of each row of settings.def."""
    text = (REPO / "src/settings/settings.def").read_text()
    rows = re.findall(r'^SETTING\(\w+, \w+, "(\w+)",(.*?)^(?=$|SETTING)', text + "\n\n", re.M | re.S)
    assert len(rows) > 20
    for key, rest in rows:
        flag = re.search(r'\.flag = "([^"]+)"', rest)
        short = re.search(r"\.short_flag = '(.)'", rest)
        yield key, flag and flag.group(1), short and short.group(1)


# ---- what it prints -----------------------------------------------------------------------------


def test_version(tmp_path):
    version = re.search(r"^VERSION := (\S+)$", (REPO / "Makefile").read_text(), re.M).group(1)
    for flag in ("-v", "--version"):
        done = run(flag, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[:2] == [f"gcorn {version}", "ABI of gcorn.h: 2"]
        assert re.fullmatch(r"libraries: libev \d+\.\d+, libyaml [\d.]+, llhttp \d+\.\d+\.\d+( \(compiled in\))?"
                            r"(, libdw [\d.]+)?", lines[2])
        assert any(line.startswith("left out: libdw") for line in lines) == ("libdw" not in lines[2])
        compiler, options = lines[-2:]
        assert re.fullmatch(r"compiler: .*(gcc|[Cc]lang) .* for \w+, running with .+", compiler)
        assert options.startswith("options: -O") and "-pie" in options
        assert all(f"-fsanitize={kind}" in options for kind in [os.environ.get("SANITIZE")] if kind)



def test_help_mentions_every_setting(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for key, flag, short in settings_rows():
        if flag:
            assert re.search(rf"(-{short}, )?--(no-)?{flag}\b", done.stdout), flag
        if short:
            assert re.search(rf"^  -{short}, --", done.stdout, re.M), short
        assert flag or key == "wsgi_app"
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_help_works_in_any_environment(tmp_path):
    (tmp_path / "gunicorn-c.yaml").write_text("nonsense: [")
    done = run("-h", cwd=tmp_path, env={"GCORN_WORKERS": "x", "GCORN_CMD_ARGS": "--x '"})
    assert (done.returncode, done.stderr) == (0, "")


def test_print_sample_is_the_file_in_the_repository(tmp_path):
    done = run("--print-sample", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (REPO / "gunicorn-c.yaml").read_text()


def test_the_sample_changes_nothing(tmp_path):
    defaults = printed(tmp_path)
    assert printed(tmp_path, "-c", REPO / "gunicorn-c.yaml") == defaults


def test_the_sample_uncommented_changes_no_value(tmp_path):
    """Each line of it, taken as it stands, sets what is default."""
    defaults = printed(tmp_path)
    settings = sample_settings()
    assert set(settings) == set(defaults)
    (tmp_path / "gunicorn-c.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in settings.items()))
    loaded = printed(tmp_path)
    for key, (value, _) in defaults.items():
        assert loaded[key][0] == value, key
        assert loaded[key][1].startswith("gunicorn-c.yaml:"), key


def test_print_config_can_be_fed_back(tmp_path):
    first = run("--print-config", "-b", "127.0.0.1:0,unix:a b.sock", "-w", "3", "-t", "1500ms",
                "--limit-request-body", "3MiB", "-e", 'A=quote " and \\ and \u00e9', "-e", "B=",
                "--access-logfile", "-", "--umask", "027", "--no-fair-close", "--name", "it's: #1",
                "x.so:app", cwd=tmp_path).stdout
    (tmp_path / "back.yaml").write_text(first)
    again = printed(tmp_path, "-c", "back.yaml")
    for line in first.splitlines():
        key, value, _ = LINE.match(line).groups()
        assert again[key][0] == value
        assert again[key][1].startswith("back.yaml:")


# ---- where settings come from -------------------------------------------------------------------


def test_the_later_source_wins(tmp_path):
    (tmp_path / "gunicorn-c.yaml").write_text("workers: 2\n")
    assert printed(tmp_path)["workers"] == ("2", "gunicorn-c.yaml:1")
    env = {"GCORN_WORKERS": "3"}
    assert printed(tmp_path, env=env)["workers"] == ("3", "environment GCORN_WORKERS")
    env["GCORN_CMD_ARGS"] = "--workers 4"
    assert printed(tmp_path, env=env)["workers"] == ("4", "GCORN_CMD_ARGS")
    assert printed(tmp_path, "-w5", env=env)["workers"] == ("5", "command line")


@pytest.mark.parametrize("key", [key for key, _, _ in settings_rows()])
def test_every_setting_has_its_variable(tmp_path, key):
    value = {"workers": "7"}.get(key, sample_settings()[key].strip('"[]').replace('\\"', '"'))
    value = value.replace('", "', ",")  # of a list
    if value in ("null", ""):
        value = {"raw_env": "A=1", "tmp_upload_dir": "/tmp", "chdir": "/"}.get(key, "root")
    found = printed(tmp_path, env={f"GCORN_{key.upper()}": value})
    assert found[key][1] == f"environment GCORN_{key.upper()}"


def test_web_concurrency_is_a_default(tmp_path):
    env = {"WEB_CONCURRENCY": "7"}
    assert printed(tmp_path, env=env)["workers"] == ("7", "environment WEB_CONCURRENCY")
    assert printed(tmp_path, "-w", "2", env=env)["workers"][0] == "2"
    (tmp_path / "gunicorn-c.yaml").write_text("workers: 3\n")
    assert printed(tmp_path, env=env)["workers"][0] == "3"


def test_port_is_a_default(tmp_path):
    env = {"PORT": "5000"}
    assert printed(tmp_path, env=env)["bind"] == ('["0.0.0.0:5000"]', "environment PORT")
    assert printed(tmp_path, "-b", ":1", env=env)["bind"][0] == '[":1"]'


def test_workers_auto_says_how(tmp_path):
    cores = len(os.sched_getaffinity(0))
    value, origin = printed(tmp_path)["workers"]
    assert re.search(r"2 x \d+ cores?\b.*\+ 1$", origin), origin
    assert 3 <= int(value) <= 2 * cores + 1


def test_workers_auto_follows_the_affinity(gcorn):
    one = min(os.sched_getaffinity(0))
    server = gcorn("hello", "--workers", "auto", ready=0,
                   preexec=lambda: os.sched_setaffinity(0, {one}))
    server.wait_ready(3)
    server.wait_log(r"Workers: 3 \(command line: 2 x 1 core")


def test_variables_reach_a_serving_gcorn(gcorn):
    server = gcorn(None, bare=True, ready=2, env={
        "GCORN_WORKERS": "2", "GCORN_BIND": "unix:app.sock", "GCORN_APP": example("hello"),
        "GCORN_CMD_ARGS": "--name 'my shop'"})
    assert server.get().status == 200
    assert server.workers[0].title == "gcorn: worker [my shop]"


def test_lists_add_up_within_a_source_and_replace_across(tmp_path):
    found = printed(tmp_path, "-b", ":1", "-b", ":2,:3", env={"GCORN_BIND": ":4"})
    assert found["bind"][0] == '[":1", ":2", ":3"]'


# ---- refusals -----------------------------------------------------------------------------------


def refused(tmp_path, why, *args, **options):
    done = run(*args, cwd=tmp_path, **options)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(why, done.stderr), done.stderr


@pytest.mark.parametrize("args, why", [
    (["--wokers", "3", "a.so"], '--wokers: no such option, did you mean "--workers"'),
    (["--chek-config", "a.so"], 'did you mean "--check-config"'),
    (["-Z", "a.so"], "-Z: no such option"),
    (["-w", "many", "a.so"], 'must be a whole number from 1 to 1024, or auto, not "many"'),
    (["-w"], "-w: needs a value"),
    (["--daemon=yes", "a.so"], "takes no value"),
    (["-t", "5 parsecs", "a.so"], "must be a duration"),
    (["a.so", "b.so"], "only one application"),
    (["-w", "2"], "no application given"),
    (["-c", "absent.yaml", "a.so"], "absent.yaml.*No such file"),
])
def test_bad_command_lines(tmp_path, args, why):
    refused(tmp_path, why, *args)


def test_own_names_of_settings_are_flags(tmp_path):
    found = printed(tmp_path, "--loglevel", "debug", "--keepalive=5", "--no-fair_close",
                    "--wsgi-app", "a.so", "--pidfile", "p")
    assert [found[key][0] for key in ("loglevel", "keepalive", "fair_close", "wsgi_app", "pidfile")] \
        == ["debug", "5s", "false", '"a.so"', '"p"']


@pytest.mark.parametrize("text, why", [
    ("wrokers: 3\n", r'gunicorn-c.yaml:1:1: unknown setting "wrokers", did you mean "workers"\?'),
    ("workers: 3\nbind: :1\nworkers: 4\n", r"gunicorn-c.yaml:3:1: .*(twice|duplicate|already)"),
    ("\nworkers: three\n", r"gunicorn-c.yaml:2:10: workers: must be"),
    ("workers: 3\n}\n", r"gunicorn-c.yaml:2:1: "),
    ("daemon: maybe\n", r"gunicorn-c.yaml:1:9: daemon: must be true or false"),
    ("pidfile: no\n", r'gunicorn-c.yaml:1:10: pidfile: must be text, .* boolean: quote it, "no", or'),
    ("bind: 8000\n", r'gunicorn-c.yaml:1:7: bind: must be text, .* number: quote it, "8000"'),
])
def test_bad_files(tmp_path, text, why):
    (tmp_path / "gunicorn-c.yaml").write_text(text)
    refused(tmp_path, why, "a.so")


@pytest.mark.parametrize("env, why", [
    ({"GCORN_WORKERS": "x"}, "GCORN_WORKERS: .*must be"),
    ({"WEB_CONCURRENCY": "x"}, "WEB_CONCURRENCY: .*must be"),
    ({"PORT": "x"}, "PORT|0.0.0.0:x"),
    ({"GCORN_CMD_ARGS": "--wokers 3"}, "GCORN_CMD_ARGS: --wokers: no such option"),
])
def test_bad_variables(tmp_path, env, why):
    refused(tmp_path, why, "hello.so", env=env)


# ---- --check-config -----------------------------------------------------------------------------


def test_check_config_good(tmp_path):
    done = run("--check-config", example("environ"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("args, status, why", [
    (["nowhere.so"], 3, "cannot open the application ./nowhere.so"),
    (["-w", "0", "hello"], 2, "must be a whole number"),
    (["-b", "1:2:3", "hello"], 2, "bind"),
    (["--access-logformat", "%(zz)s", "hello"], 2, "access_log_format"),
    (["--user", "no-such-user", "hello"], 2, "no-such-user"),
])
def test_check_config_bad(tmp_path, args, status, why):
    done = run("--check-config", *args[:-1], example(args[-1]) if args[-1] == "hello" else args[-1],
               cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1 and why in done.stderr


def test_check_config_survives_a_crashing_application(tmp_path, app):
    done = run("--check-config", app("hooks", "-DCRASHES"), cwd=tmp_path)
    assert done.returncode == 3
    assert "was killed by SIGSEGV" in done.stderr


def test_check_config_binds_nothing(tmp_path, gcorn):
    server = gcorn("hello", bind="unix:app.sock")
    done = run("--check-config", "--bind", "unix:app.sock", example("hello"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.get().status == 200


# ---- the application's name ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["app.so:handler", "./app.so:handler", "app.so", "sub/../app.so"])
def test_forms_of_the_application(gcorn, tmp_path, text):
    os.symlink(example("hello").split(":")[0], tmp_path / "app.so")
    (tmp_path / "sub").mkdir()
    server = gcorn(text)
    assert server.get().body == b"Hello, World!"
    assert server.stop(signal.SIGINT) == 0


def test_settings_of_gunicorn_that_are_not_needed(tmp_path):
    done = run("--worker-tmp-dir", "/dev/shm", example("hello"), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == ("gcorn: --worker-tmp-dir is not needed: heartbeats go through a pipe, so "
                           "there is no file to find a place for\n")
    (tmp_path / "gunicorn-c.yaml").write_text("workers: 2\nworker_tmp_dir: /dev/shm\n")
    done = run(example("hello"), cwd=tmp_path)
    assert done.returncode == 2
    assert re.match(r"gcorn: \S*gunicorn-c\.yaml:2\S*: worker_tmp_dir is not needed: ", done.stderr)
