"""Which ports and devices of this machine are leased, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdtest.launch.claims import Claims, default_directory


def held(directory: Path | None = None) -> Mapping[str, Mapping[str, Any]]:
    """What each living holder wrote of itself, by the claim's name: ``18000`` a port, ``cuda-0`` a device.

    Nothing is locked for it: a run that asks for a claim at this moment gets it.
    """
    claims = Claims("", directory or default_directory())
    names = sorted(note.stem for note in claims.directory.glob("*.json"))
    return {name: holder for name in names if (holder := claims.holder(name))}
