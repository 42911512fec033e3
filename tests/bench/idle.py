#!/usr/bin/python3
"""What an idle keep-alive connection costs a worker in private memory (to hold: 512 bytes).

10,000 connections, each of which has had one answer; the worker's private memory before and with
them, libev's tables and all.

    tests/bench/idle.py BUILD_DIR [connections]
"""
import resource
import socket
import subprocess
import sys

from harness import Server


def private_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def answer(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    while b"Hello" not in client.recv(1000):
        pass


def main():
    build = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    with Server(build, "-w", "1", "--worker-connections", str(count + 10),
                f"{build}/examples/hello.so:handler") as server:
        worker = int(subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True,
                                    text=True).stdout.split()[0])
        first = socket.create_connection(("127.0.0.1", server.port))
        answer(first)
        before = private_kb(worker)
        clients = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", server.port))
            answer(client)
            clients.append(client)
        during = private_kb(worker)
        print(f"idle connections: {count}, {1024 * (during - before) / count:.0f} bytes of private "
              f"memory each ({before} kB before, {during} kB with them)")
        for client in clients:
            client.close()


main()
