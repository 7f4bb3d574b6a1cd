"""A process of a load's client on a node of a Ray cluster, whose Python has pdtest and its extra ``load``."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from pdtest.launch.bridge import Bridge, placed, start_order
from pdtest.launch.frames import read_frame
from pdtest.load.hand import MODULE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PATIENCE_S: Final = 10.0
_WHO: Final = "a process of the load's client"


class HandOnRay:
    """On whichever node Ray gives."""

    def __init__(self, bridge: Bridge, wanted: Mapping[str, Any], python: str | None) -> None:
        """Raises HostError."""
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(str(bridge.socket))
            self._frames = self._connection.makefile("rb")
            self.stdin: IO[bytes] = self._connection.makefile("wb")
            self.stdin.write(json.dumps(wanted).encode() + b"\n")
            self.stdin.flush()
            _, answer = read_frame(self._frames)
            place = placed(bridge, wanted, _WHO, answer)
        except (EOFError, OSError):
            self._connection.close()
            raise bridge.gone() from None
        except BaseException:
            self._connection.close()
            raise
        self.stdin.write(start_order([python or "{python}", "-m", MODULE]))
        self._output = _Output(self._frames)
        self.stdout: IO[bytes] = io.BufferedReader(self._output)
        self.host: str | None = place.node
        self.where = f"python -m {MODULE}, on node {place.node} of the Ray cluster at {bridge.address}"

    def kill(self) -> None:
        """Its stdin ends, and so does it."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> tuple[int | None, str]:
        """How it ended, as far as that can still be heard."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        with suppress(OSError, ValueError):
            self._connection.settimeout(_PATIENCE_S)
            self._output.readall()
        with suppress(OSError, ValueError):
            self.stdin.close()
        self._frames.close()
        self._connection.close()
        end = self._output.end
        return end.get("returncode"), str(end.get("said") or end.get("lost") or "").strip()


class _Output(io.RawIOBase):
    """What it says, out of frames. ``end``: how it ended, once there is no more."""

    def __init__(self, frames: IO[bytes]) -> None:
        super().__init__()
        self.end: Mapping[str, Any] = {}
        self._frames = frames
        self._rest = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As much as came with one piece."""
        while not self._rest and not self.end:
            try:
                kind, data = read_frame(self._frames)
            except EOFError:
                return 0
            if kind == b"o":
                self._rest = data
            else:
                self.end = json.loads(data)
        view = memoryview(buffer).cast("B")
        taken = self._rest[: len(view)]
        view[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
