"""Follows the files that a member writes, so that they grow elsewhere too."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from pdtest.launch.agents.wire import Wire

_CHUNK = 64 * 1024


class Follower:
    """Sends what is new in one member's files, each byte once.

    Names may be patterns (``xray/*.jsonl``). A file may appear later, and may rotate.
    """

    def __init__(self, member: str, directory: Path, names: Sequence[str], wire: Wire) -> None:
        self._member = member
        self._directory = directory
        self._names = list(names)
        self._offsets: dict[str, int] = {}
        self._wire = wire

    def follow(self, names: Sequence[str]) -> None:
        """Follow these as well."""
        self._names.extend(name for name in names if name not in self._names)

    def pass_on(self) -> bool:
        """Send a piece of each file that has grown. False when none has."""
        files = [path for name in self._names for path in self._directory.glob(name)]
        grown = [path for path in files if self._send_new(path)]
        return bool(grown)

    async def drain(self) -> None:
        """Send all there is."""
        while self.pass_on():
            await self._wire.room()

    def _send_new(self, path: Path) -> bool:
        name = str(path.relative_to(self._directory))
        offset = self._offsets.get(name, 0)
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) < offset:
                    offset = 0
                file.seek(offset)
                data = file.read(_CHUNK)
        except OSError:
            return False
        if data:
            self._offsets[name] = offset + len(data)
            text = base64.b64encode(data).decode()
            self._wire.send({"event": "log", "member": self._member, "file": name, "data": text})
        return bool(data)
