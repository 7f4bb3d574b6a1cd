"""The program behind every fake member. Plain sockets, so that it is up in a moment.

Arguments: the port to serve and a JSON object; see `Script` in fakes.py for its fields.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    port, script = int(sys.argv[1]), json.loads(sys.argv[2])
    if script["ignores_sigterm"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if script["daemon"]:
        start_daemon(ignores_sigterm=script["ignores_sigterm"])
    Path("started").touch()
    for line in script["says"]:
        say(line)
    wait_for(script)
    if Path("broken").exists():
        sys.exit(4)
    if script["exits"] is not None:
        sys.exit(script["exits"])
    serve(port)


def start_daemon(*, ignores_sigterm: bool) -> None:
    """A grandchild in a session of its own, whose parent is gone: what a group's SIGTERM misses."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("daemon").write_text(str(os.getpid()), encoding="ascii")
            if ignores_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()
    while not Path("daemon").exists():
        time.sleep(0.005)


def wait_for(script: dict[str, Any]) -> None:
    time.sleep(script["loads_s"])
    for name in script["meets"]:
        while not (Path("..") / name / "started").exists():
            time.sleep(0.005)


def serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(65536).decode()
            if "/exit" in request:
                say("asked to exit")
                sys.exit(int(request.split("/exit/")[1].split()[0]))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
