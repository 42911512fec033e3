#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Packs the system tests into runs of about the same length, from recorded durations.

balance.py RUN COUNT      prints the test files of the run RUN of 1..COUNT
balance.py --record FILE  makes tests/system/durations.txt of what GCORN_DURATIONS=FILE has gathered

A file goes whole into one run, because its tests share applications that are compiled once. The
longest file is placed first, each into the run that is shortest so far. A file that is not
measured yet counts as one of the usual length. Without the file of durations each run gets equally many files.
"""
import collections
import pathlib
import statistics
import sys

SYSTEM = pathlib.Path(__file__).resolve().parent / "system"
DURATIONS = SYSTEM / "durations.txt"


def read_durations(path=DURATIONS):
    """{name of a test file: seconds}, of lines "name seconds"; those of the same name add up."""
    found = collections.defaultdict(float)
    if path.exists():
        for line in path.read_text(encoding="ascii").splitlines():
            if not line.startswith("#"):
                name, seconds = line.split()
                found[name] += float(seconds)
    return found


def pack(names, durations, count):
    """The names in count lists."""
    known = [durations[name] for name in names if name in durations]
    usual = statistics.median(known) if known else 1.0
    runs = [[0.0, []] for _ in range(count)]
    for name in sorted(names, key=lambda name: (-durations.get(name, usual), name)):
        shortest = min(runs, key=lambda run: run[0])
        shortest[0] += durations.get(name, usual)
        shortest[1].append(name)
    return [files for _, files in runs]


def record(path):
    measured = read_durations(pathlib.Path(path))
    text = "# Seconds that each file of system tests takes, for tests/balance.py; see make durations.\n"
    text += "".join(f"{name} {seconds:.1f}\n" for name, seconds in sorted(measured.items()))
    DURATIONS.write_text(text, encoding="ascii")


def main():
    if sys.argv[1] == "--record":
        record(sys.argv[2])
        return
    number, count = int(sys.argv[1]), int(sys.argv[2])
    names = sorted(path.name for path in SYSTEM.glob("test_*.py"))
    print(" ".join(f"tests/system/{name}" for name in pack(names, read_durations(), count)[number - 1]))


if __name__ == "__main__":
    main()
