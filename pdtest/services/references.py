"""What `${self...}`, `${members...}` and `${model...}` mean for a placed member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pdtest.environment.interpolate import resolve
from pdtest.services.service import Placement


def resolved(value: Any, placement: Placement) -> Any:
    """``value`` with every reference replaced. Raises the error of `interpolate.resolve`."""
    return resolve(value, lookup_table(placement))


def lookup_table(placement: Placement) -> dict[str, str | int]:
    """Every dotted name a member's settings may use, with its value."""
    model = placement.environment.model
    table: dict[str, str | int] = {
        "self.name": placement.name,
        "self.dir": str(placement.directory),
        "self.url": placement.url,
        "self.address": placement.address,
        "model.path": model_path(placement),
        "model.name": model.name,
    }
    table |= {f"self.ports.{name}": port for name, port in placement.ports.items()}
    table |= {f"self.files.{name}": str(placement.directory / name) for name in placement.member.files}
    for peer in placement.peers.values():
        table |= {f"members.{peer.name}.url": peer.url, f"members.{peer.name}.address": peer.address}
        table |= {f"members.{peer.name}.ports.{name}": port for name, port in peer.ports.items()}
    return table


def model_path(placement: Placement) -> str:
    """The model's path as the engines should see it: absolute where it is a directory here.

    Members run in their own directories, so a relative path from the environment file would point
    elsewhere; a hub name stays as it is. So does every path on another machine.
    """
    if placement.abroad:
        return placement.model or placement.environment.model.path
    path = Path(placement.environment.model.path)
    return str(path.resolve()) if path.is_dir() else placement.environment.model.path
