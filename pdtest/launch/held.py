"""Which ports and devices of this machine are leased, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdtest.launch.claims import Claims, default_directory
from pdtest.launch.device_claims import survived


def held(directory: Path | None = None) -> Mapping[str, Mapping[str, Any]]:
    """What each living holder wrote of itself, by the claim's name: ``18000`` a port, ``cuda-0`` a device.

    Also who was killed, and left processes that may use a device: with their pids, as ``left``. Nothing is
    locked for it: a run that asks for a claim at this moment gets it.
    """
    claims = Claims("", directory or default_directory())
    names = sorted(note.stem for note in claims.directory.glob("*.json"))
    holders = {name: claims.holder(name) or _survivors(claims, name) for name in names}
    return {name: holder for name, holder in holders.items() if holder}


def _survivors(claims: Claims, name: str) -> Mapping[str, Any]:
    """Ports need no such look: who asks for one sees whether somebody listens there."""
    return {} if name.isdigit() else survived(claims, name)
