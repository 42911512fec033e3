#!/usr/bin/python3
"""What a worker of five weighs (PSS, in kB): fresh, with 10,000 connections, and five seconds after
they have gone. Libraries count by the share that this machine's other processes leave; the part
that is gcorn's alone, whatever else runs, is printed behind it.

    tests/bench/memory.py BUILD_DIR [connections]
"""
import resource
import socket
import subprocess
import sys
import time

from harness import Server

WORKERS, SETTLED_S = 5, 5


def rollup(pid, key):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def tell(what, server):
    pids = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True,
                          text=True).stdout.split()
    pss = sorted(rollup(pid, "Pss") for pid in pids)
    anonymous = sorted(rollup(pid, "Pss_Anon") for pid in pids)
    print(f"PSS a worker, {what}: {pss[0]} to {pss[-1]} kB (without files: {anonymous[0]} to "
          f"{anonymous[-1]} kB)")


def client(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    while b"Hello" not in connection.recv(1000):
        pass
    return connection


def main():
    build = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    with Server(build, "-w", str(WORKERS), "--worker-connections", str(count),
                f"{build}/examples/hello.so:handler") as server:
        client(server.port).close()
        time.sleep(1)
        tell("fresh", server)
        clients = [client(server.port) for _ in range(count)]
        tell(f"{count} connections", server)
        for connection in clients:
            connection.close()
        time.sleep(SETTLED_S)
        tell(f"{SETTLED_S} s later", server)


main()
