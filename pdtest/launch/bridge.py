"""Our side of `ray_bridge.py`: starting it, and getting places on a Ray cluster through it."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from pdtest.environment.ray import Ray
from pdtest.errors import MissingExtra
from pdtest.launch.host_errors import HostLost
from pdtest.launch.ray_errors import not_connected, not_placed

GONE: Final = "the process that talks to Ray for us has ended"
#: What is placed ends its members first.
_GOODBYE_S: Final = 70.0
_TAIL: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Place:
    """What Ray gave: an IP, an interpreter there, device numbers by Ray's name of their kind."""

    node: str
    python: str
    devices: Mapping[str, Sequence[str]]


def wish(
    name: str | None, settings: Ray, resources: Mapping[str, float], *, spread: bool = False
) -> dict[str, Any]:
    """What to ask of the bridge. ``name``: of the actor, which `ray list actors` shows."""
    return {
        "name": name,
        "resources": dict(resources),
        "node": settings.node,
        "labels": settings.labels,
        "spread": spread,
        "patience_s": settings.place_timeout_s,
    }


class Bridge:
    """A process that is a driver of a Ray cluster, for us. It ends when we do."""

    def __init__(self, address: str, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.address = address
        self.socket = directory / "socket"
        self._process = process
        self._directory = directory

    @classmethod
    def start(cls, settings: Ray) -> Self:
        """Blocks until it is connected. Raises HostError, MissingExtra."""
        if find_spec("ray") is None:
            raise MissingExtra("ray", "ray", "using a Ray cluster")
        directory = Path(tempfile.mkdtemp(prefix="pdtest-ray-"))
        with (directory / "errors").open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - ours
                # -P: a directory called ray beside whoever starts pytest is not Ray.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "pdtest.launch.ray_bridge",
                    settings.address,
                    directory / "socket",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        bridge = cls(settings.address, process, directory)
        try:
            bridge._await_connection(settings.connect_timeout_s)
        except BaseException:
            process.kill()
            bridge.stop()
            raise
        return bridge

    @property
    def alive(self) -> bool:
        """Places can be had through it."""
        return self._process.poll() is None

    def gone(self) -> HostLost:
        """The error for a bridge that ended of itself."""
        return HostLost(
            GONE,
            seen=self._said() or None,
            where=self.address,
            next_step=f"ray status --address {self.address}",
        )

    def stop(self) -> None:
        """End it. What it placed has ended then."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101 - both are pipes
            pipe.close()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _await_connection(self, timeout_s: float) -> None:
        out = self._process.stdout
        assert out is not None  # noqa: S101 - a pipe
        ready, _, _ = select.select([out], [], [], timeout_s)
        told = json.loads(line) if ready and (line := out.readline()) else {"error": self._silent(timeout_s)}
        if "error" in told:
            raise not_connected(self.address, told["error"])

    def _silent(self, timeout_s: float) -> dict[str, str]:
        waited = f"no answer within {timeout_s:g} s\n" if self.alive else ""
        return {"kind": "unreachable", "said": f"{waited}{self._said()}".strip()}

    def _said(self) -> str:
        return (self._directory / "errors").read_text(encoding="utf-8", errors="replace").strip()[-_TAIL:]


def placed(bridge: Bridge, wanted: Mapping[str, Any], who: str, answer: bytes) -> Place:
    """From the bridge's answer. Raises HostError. ``who``: wants it, in words."""
    told = json.loads(answer)
    if "lost" in told:
        told = {"error": {"kind": "lost", "said": told["lost"]}}
    if "error" in told:
        raise not_placed(who, wanted, bridge.address, told["error"])
    return Place(**told["ok"])


def start_order(argv: Sequence[str]) -> bytes:
    """Starts a process at a place. ``{python}`` among ``argv`` is the interpreter of Ray's workers."""
    return json.dumps({"argv": [*argv], "env": {}}).encode() + b"\n"
