# SPDX-License-Identifier: MIT
"""Waiting for conditions: no test sleeps for luck."""
import time

from .environment import PATIENCE


def wait_for(condition, what, timeout=None):
    """The condition's first true value."""
    timeout = PATIENCE if timeout is None else timeout
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)


def pace(seconds):
    """What a slow client does between two steps. Not for waiting."""
    time.sleep(seconds)


def best_of(tries, seconds_of):
    """The least of several measurements in seconds: the machine's other work makes each only longer."""
    return min(seconds_of() for _ in range(tries))
