# SPDX-License-Identifier: MIT
"""The operator's side: gcornctl, the control socket and the admin process."""
import json
import re
import socket
import subprocess

from .client import Client
from .environment import GCORNCTL, PATIENCE, clean_environment


def start_ctl(directory, *args, env=None):
    """gcornctl, without waiting for it."""
    return subprocess.Popen([GCORNCTL, *map(str, args)], cwd=directory, text=True,
                            env=clean_environment(env), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ctl(directory, *args, env=None):
    """gcornctl run to its end: status, output, errors."""
    with start_ctl(directory, *args, env=env) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def ctl_output(directory, *args, env=None):
    """What gcornctl prints; it has to succeed."""
    status, out, err = ctl(directory, *args, env=env)
    assert (status, err) == (0, ""), f"{status}: {out}{err}"
    return out


def status_of(directory, name="ctl"):
    """gcornctl status, as an object."""
    return json.loads(ctl_output(directory, "-s", name, "--json", "status"))


def ask_control(path, line):
    """The answer to one line on the control socket, without gcornctl."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(line)
        answer = b""
        while data := client.recv(65536):
            answer += data
    return json.loads(answer)


def upgrade(server):
    """gcornctl upgrade: its answer, in which "ok" says whether it worked."""
    with start_ctl(server.dir, "-s", "ctl", "--json", "upgrade") as process:
        out, err = process.communicate(timeout=3 * PATIENCE)
    assert out, err
    answer = json.loads(out)
    assert process.returncode == (0 if answer["ok"] else 1)
    return answer


def admin_address(server):
    """Where the newest admin process answers."""
    name = re.findall(r"Admin process at: (\S+)$", server.log(), re.M)[-1]
    if name.startswith("unix:"):
        return str(server.dir / name[5:])
    host, port = re.fullmatch(r"http://(.*):(\d+)", name).groups()
    return host, int(port)


def ask_admin(server, path, host="localhost", **options):
    """The admin process' response."""
    with Client(admin_address(server)) as client:
        return client.get(path, host=host, **options)


def samples_of(text):
    """{sample with its labels: number}; anything that is not the format is a failure."""
    samples, types = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        comment = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)", line)
        if comment:
            if comment[1] == "TYPE":
                assert comment[2] not in types, f"{comment[2]} has two types"
                types[comment[2]] = comment[3]
                family = comment[2]
            continue
        found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)((?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?)'
                             r" (\S+)", line)
        assert found, f"line {line!r}"
        name = re.sub("_(bucket|sum|count)$", "", found[1]) if types[family] == "histogram" else found[1]
        assert name == family, f"{line!r} stands in the family {family}"
        assert found[1] + found[2] not in samples, f"{line!r} is there twice"
        samples[found[1] + found[2]] = float(found[3])
    return samples


def metrics(server):
    """/metrics as a dictionary, see samples_of."""
    answer = ask_admin(server, "/metrics")
    assert answer.status == 200
    assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    return samples_of(answer.text)
