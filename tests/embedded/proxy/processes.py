"""Real processes of the embedded stack, on free ports, ended by their own handles."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_S = 60.0


@dataclass(eq=False)
class Processes:
    directory: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self, name: str, module: str, *arguments: object, env: Mapping[str, object] | None = None
    ) -> subprocess.Popen[bytes]:
        more = {key: str(value) for key, value in (env or {}).items()}
        with (self.directory / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                env=os.environ | more,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self.running[name]

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def ready(self, ports: Sequence[int]) -> None:
        deadline = time.monotonic() + READY_S
        for port in ports:
            while not _healthy(port):
                dead = [name for name, one in self.running.items() if one.poll() is not None]
                assert not dead, f"{dead[0]} died:\n{self.log(dead[0])}"
                assert time.monotonic() < deadline, f"port {port} is not ready"
                time.sleep(0.02)

    def stop(self) -> None:
        for one in self.running.values():
            one.terminate()
        for one in self.running.values():
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


@dataclass(frozen=True, kw_only=True)
class Said:
    status: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def ask(port: int, path: str, body: Mapping[str, Any] | None = None) -> Said:
    """POST with a body, else GET. Raises OSError when nobody listens."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return Said(status=answer.status, text=answer.read().decode())


def _healthy(port: int) -> bool:
    try:
        return ask(port, "/health").status == 200
    except OSError:
        return False
