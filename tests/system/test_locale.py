# SPDX-License-Identifier: MIT
"""A locale and a time zone that the application sets are its own: what the server writes and
compares stays ASCII and English, in the zone that the server was started in."""
import json
import re
import subprocess

import pytest

from harness import metrics, wait_for


# By name: the definition, its character set, and what the application sees of it.
LOCALES = {
    "tr_TR.ISO-8859-9": ("tr_TR", "ISO-8859-9", "Oca 1,5"),
    "de_DE.UTF-8": ("de_DE", "UTF-8", "Jan 1,5"),
}
ENGLISH_DATE = (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
                r" \d{4} \d\d:\d\d:\d\d GMT")


@pytest.fixture(scope="module")
def locales(tmp_path_factory):
    directory = tmp_path_factory.mktemp("locales")
    for name, (definition, charset, _) in LOCALES.items():
        subprocess.run(["localedef", "-i", definition, "-f", charset, str(directory / name)],
                       check=True, capture_output=True)
    return directory


@pytest.fixture
def foreign(gcorn, app, locales, request):
    def start(*args, name=request.param, **options):
        env = {"LOCPATH": str(locales), "TEST_LOCALE": name, "LANGUAGE": name, "TZ": "UTC0"}
        server = gcorn(f"{app('foreign')}:handler", *args, env=env, **options)
        server.seen = LOCALES[name][2]
        return server
    return start


def each_locale(test):
    return pytest.mark.parametrize("foreign", list(LOCALES), indirect=True)(test)


@each_locale
def test_a_locale_changes_no_answer(foreign):
    server = foreign()
    response = server.get("/")
    assert response.text == f"{server.seen} found"
    assert re.fullmatch(ENGLISH_DATE, response.header("Date"))


@each_locale
def test_a_locale_changes_no_field_name(foreign):
    server = foreign()
    with server.connect() as client:
        client.send("POST / HTTP/1.1\r\nHOST: h\r\nTRANSFER-ENCODING: CHUNKED\r\n"
                    "CONNECTION: KEEP-ALIVE\r\n\r\n0\r\n\r\n")
        assert client.response().status == 200
        assert client.get("/").status == 200


@each_locale
def test_a_locale_changes_no_access_log(foreign, tmp_path):
    server = foreign("--access-logfile", str(tmp_path / "access"), "--access-logformat",
                     "%(t)s|%({content-id}o)s|%(u)s|%(L)s")
    server.get("/", fields="Authorization: BASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n")
    line = wait_for(lambda: (tmp_path / "access").read_text(), "a line")
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]\|found\|Aladdin\|"
                        r"0\.\d{6}\n", line)


@each_locale
def test_a_locale_changes_no_json_line(foreign, tmp_path):
    server = foreign("--access-logfile", str(tmp_path / "access"), "--access-logformat", "json")
    server.get("/")
    line = json.loads(wait_for(lambda: (tmp_path / "access").read_text(), "a line"))
    assert line["time"].endswith("+00:00")


@each_locale
def test_a_locale_changes_no_error_text(foreign, tmp_path):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    server = foreign("--tmp-upload-dir", str(uploads), "--body-memory", "0")
    uploads.rmdir()
    with server.connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + "x" * 200000)
        assert client.response().status == 507
    server.wait_log(r"\+0000\] \[\d+\] \[ERROR\] .*: No such file or directory")


@each_locale
def test_a_locale_changes_no_metric(foreign):
    server = foreign("--admin-bind", "unix:admin", ready=2)
    server.get("/")
    assert metrics(server)["foreign_seconds_total"] == 0.5


@each_locale
def test_a_zone_of_the_application_is_not_the_logs(foreign):
    server = foreign()
    server.get("/")
    server.wait_log(r"\+0000\] \[\d+\] \[INFO\] .*a line of the application")
