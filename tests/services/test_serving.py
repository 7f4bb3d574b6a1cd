"""The programs beside the users' scripts, run with scripts that stand for the real ones."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from pdtest.services.serving import serving
from tests.ports import free_port

DEADLINE_S = 30.0

#: What the program needs of vLLM's: two dictionaries, the listener at the ZMQ port, and an app of quart's.
P2P_SCRIPT = """
import json, socket, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

prefill_instances, decode_instances = {}, {}

def start_service_discovery(host, port):
    def listen():
        server = socket.create_server((host, port))
        while True:
            connection, _ = server.accept()
            side, life = connection.makefile().readline().split()
            known = prefill_instances if side == "P" else decode_instances
            zmq = "127.0.0.1:2"
            known["127.0.0.1:1"] = zmq if life == "old" else (zmq, time.time() + float(life))
            connection.close()
    threading.Thread(target=listen, daemon=True).start()

class app:
    def add_url_rule(self, path, name, view, methods):
        self.view = view
    def run(self, host, port, use_reloader):
        view = self.view
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body, status = view()
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
        HTTPServer((host, port), Handler).serve_forever()

app = app()

if __name__ == "__main__":
    raise SystemExit("the script's own ports")
"""

MOONCAKE_SCRIPT = """
import argparse, asyncio
import uvicorn
from starlette.applications import Starlette

app = Starlette()
parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--ready", action="store_true")

if __name__ == "__main__":
    given = parser.parse_args()
    app.state.ready = asyncio.Event()
    if given.ready:
        app.state.ready.set()
    uvicorn.run(app, host=given.host, port=given.port, log_level="warning")
"""


@contextmanager
def running(program: str, arguments: Sequence[str], directory: Path) -> Iterator[subprocess.Popen[str]]:
    (directory / "program.py").write_text(serving(program), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-u", "program.py", *arguments], cwd=directory, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)


def health(port: int) -> tuple[int, object]:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return answer.status_code, answer.json()


def refusal(port: int) -> str:
    status, said = health(port)
    assert status == 503
    assert isinstance(said, dict)
    return str(said["detail"])


def until_healthy(port: int) -> object:
    deadline = time.monotonic() + DEADLINE_S
    while (seen := health(port))[0] != 200:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen[1]


def register(port: int, side: str, life: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{side} {life}\n".encode())
        connection.recv(1)


def test_p2p_is_healthy_while_an_instance_of_each_kind_is_registered(tmp_path: Path) -> None:
    (tmp_path / "p2p.py").write_text(P2P_SCRIPT, encoding="utf-8")
    http, zmq = free_port(), free_port()
    where = ("p2p.py", "127.0.0.1", str(http), str(zmq))
    with running("p2p_nccl", where, tmp_path) as process:
        nobody = f"no prefill and no decode instance has registered on ZMQ port {zmq}"
        assert refusal(http).startswith(f"{nobody}: its connector's proxy_ip")
        register(zmq, "P", "60")
        assert refusal(http).startswith(f"no decode instance has registered on ZMQ port {zmq}: ")
        register(zmq, "D", "old")
        assert until_healthy(http) == {"prefill": ["127.0.0.1:1"], "decode": ["127.0.0.1:1"]}
        register(zmq, "P", "-1")
        assert refusal(http).startswith("no prefill instance has registered")
        assert process.stdout is not None
        assert process.stdout.readline() == f"instances: {nobody}\n"


@pytest.mark.parametrize(("flags", "status"), [((), 503), (("--ready",), 200)])
def test_mooncake_is_healthy_once_every_prefill_said_who_it_is(
    flags: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    (tmp_path / "mooncake.py").write_text(MOONCAKE_SCRIPT, encoding="utf-8")
    port = free_port()
    arguments = ("mooncake.py", "--host", "127.0.0.1", "--port", str(port), *flags)
    with running("mooncake", arguments, tmp_path):
        seen, said = health(port)
    assert seen == status
    assert ("bootstrap port" in str(said)) is (status == 503)


class Models(BaseHTTPRequestHandler):
    """503 to the first three questions, 200 to all others."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(503 if self.asked <= 3 else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_script_that_wants_its_instances_up_runs_once_they_are(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import json, sys\nif __name__ == '__main__':\n    print(json.dumps(sys.argv))\n", encoding="utf-8"
    )
    server = HTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/models"
    (tmp_path / "program.py").write_text(serving("when_up"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py", url, url, "--", "script.py", "--port", "1", "--", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    server.shutdown()
    server.server_close()
    waiting, up, argv = done.stdout.splitlines()
    assert (waiting, up) == (f"waiting for {url}", "all instances answer")
    assert json.loads(argv) == ["script.py", "--port", "1", "--", "x"]
