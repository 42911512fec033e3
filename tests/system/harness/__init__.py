# SPDX-License-Identifier: MIT
"""The harness of the system tests: the real gcorn, started in a temporary directory.

    server = gcorn("hello", "--workers", "2")     the fixture of conftest.py: started, and ready
    response = server.get("/")                    one request on a new connection
    client = server.connect()                     raw bytes: send, response, eof

No test waits for luck: every wait is for a condition (wait_for), and the one for silence
(Client.is_silent_for) is an assertion. Processes are signalled by pid only. A server leads a session;
a process that is left in it when the test is over is a leak and fails the test.
"""
from .client import Client, Response, can_bind, free_port, request, reset
from .environment import (APPS, BUILD, GCORN, GCORNCTL, IN_CI, MIB, NOBODY, PATIENCE, PLAIN_ONLY,
                          PRELOAD_OR_NOT, PROCESS_ONE, REPO, ROOT_ONLY, SANITIZED, SANITIZED_ONLY,
                          SLOWER, THREADS, WORKER_CLASSES, clean_environment, default_signals,
                          example, find, may_unshare, missing, run, tool)
from .neighbours import NGINX, PASS, Holding, Manager, Nginx, Refuser, passing
from .operator import (admin_address, ask_admin, ask_control, ctl, ctl_output, metrics, samples_of,
                       start_ctl, status_of, upgrade)
from .processes import Process, Stranger, all_processes, children
from .server import SANITIZER_REPORT, Server
from .steps import (Held, critical_lines, fails_to_reload, fails_to_start, hup, install, pid_of,
                    write_config)
from .waiting import best_of, pace, wait_for

__all__ = ["APPS", "BUILD", "GCORN", "GCORNCTL", "IN_CI", "MIB", "NGINX", "NOBODY", "PASS",
           "PATIENCE", "PLAIN_ONLY", "PRELOAD_OR_NOT", "PROCESS_ONE", "REPO",
           "ROOT_ONLY", "SANITIZED", "SANITIZED_ONLY", "SANITIZER_REPORT", "SLOWER",
           "THREADS", "WORKER_CLASSES", "Client", "Held", "Holding", "Manager",
           "Nginx", "Process", "Refuser", "Response", "Server", "Stranger",
           "admin_address", "all_processes", "ask_admin", "ask_control", "best_of",
           "can_bind", "children", "clean_environment", "critical_lines", "ctl",
           "ctl_output", "default_signals", "example", "fails_to_reload",
           "fails_to_start", "find", "free_port", "hup", "install", "may_unshare",
           "metrics", "missing", "pace", "passing", "pid_of", "request", "reset", "run",
           "samples_of", "start_ctl", "status_of", "tool", "upgrade", "wait_for",
           "write_config"]
