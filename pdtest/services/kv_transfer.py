"""`--kv-transfer-config`, from the environment's connector section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.environment.schema import Role
from pdtest.services.references import resolved
from pdtest.services.service import Placement

#: Roles that take part in a transfer; a colocated reference gets no connector at all.
TRANSFERRING = frozenset({Role.PREFILL, Role.DECODE, Role.HYBRID})


def kv_transfer_config(placement: Placement) -> dict[str, Any] | None:
    """The config this member gets: shared, then by role, then its own. None: no connector.

    Nothing is added and nothing is guessed: what the three places of the file say is what the
    engine is told.
    """
    member, connector = placement.member, placement.environment.connector
    if member.role not in TRANSFERRING:
        return None
    merged: dict[str, Any] = {}
    for layer in (connector.config, connector.by_role.get(member.role, {}), member.connector):
        merged = _overlaid(merged, layer)
    return dict(resolved(merged, placement)) or None


def _overlaid(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: ``above`` wins, null drops a key."""
    merged = dict(beneath)
    for key, value in above.items():
        if isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = _overlaid(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value is not None}
