#!/usr/bin/python3
"""exec to first answer: how long until a new gcorn with 5 workers answers (to hold: 8 ms).

A client tries to connect from the moment of exec on; the median of 20 starts.

    tests/bench/start.py BUILD_DIR
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from harness import median

STARTS, WORKERS = 20, 5


def once(build, path):
    if os.path.exists(path):
        os.unlink(path)
    began = time.monotonic()
    server = subprocess.Popen([f"{build}/gcorn", "-w", str(WORKERS), "-b", f"unix:{path}",
                               f"{build}/examples/hello.so:handler"], stderr=subprocess.DEVNULL)
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
            break
        except OSError:
            client.close()
            time.sleep(0.0002)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1000)
    took = 1000 * (time.monotonic() - began)
    client.close()
    server.send_signal(signal.SIGTERM)
    server.wait()
    return took


def main():
    with tempfile.TemporaryDirectory() as directory:
        took = [once(sys.argv[1], f"{directory}/s") for _ in range(STARTS)]
    print(f"exec to first answer: median {median(took):.1f} ms, least {min(took):.1f}, "
          f"most {max(took):.1f} ({STARTS} starts, {WORKERS} workers)")


main()
