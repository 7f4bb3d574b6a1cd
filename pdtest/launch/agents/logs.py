"""Follows the files that a member writes, so that they grow elsewhere too."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from pdtest.launch.agents.wire import Wire

_CHUNK = 64 * 1024


class Follower:
    """Sends what is new in one member's files, each byte once. A file may appear later, and may rotate."""

    def __init__(self, member: str, directory: Path, names: Sequence[str], wire: Wire) -> None:
        self._member = member
        self._directory = directory
        self._offsets = dict.fromkeys(names, 0)
        self._wire = wire

    def follow(self, names: Sequence[str]) -> None:
        """Follow these as well."""
        for name in names:
            self._offsets.setdefault(name, 0)

    def pass_on(self) -> bool:
        """Send a piece of each file that has grown. False when none has."""
        grown = [name for name in self._offsets if self._send_new(name)]
        return bool(grown)

    async def drain(self) -> None:
        """Send all there is."""
        while self.pass_on():
            await self._wire.room()

    def _send_new(self, name: str) -> bool:
        try:
            with (self._directory / name).open("rb") as file:
                if file.seek(0, 2) < self._offsets[name]:
                    self._offsets[name] = 0
                file.seek(self._offsets[name])
                data = file.read(_CHUNK)
        except OSError:
            return False
        if data:
            self._offsets[name] += len(data)
            text = base64.b64encode(data).decode()
            self._wire.send({"event": "log", "member": self._member, "file": name, "data": text})
        return bool(data)
