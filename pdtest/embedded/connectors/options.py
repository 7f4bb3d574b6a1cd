"""What can be set in kv_connector_extra_config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BadConfig(ValueError):
    """A --kv-transfer-config that cannot be used; the engine does not start."""

    def __init__(self, field: str, expected: str, seen: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {seen!r}")


def extra_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The connector's own part of a --kv-transfer-config. Raises BadConfig."""
    extra = config.get("kv_connector_extra_config") or {}
    if not isinstance(extra, Mapping):
        raise BadConfig("kv_connector_extra_config", "an object", extra)
    return extra


def seconds(extra: Mapping[str, Any], name: str, default: float) -> float:
    """A duration above 0. Raises BadConfig."""
    value = extra.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise BadConfig(f"kv_connector_extra_config.{name}", "seconds above 0", value)
    return float(value)


def word(extra: Mapping[str, Any], name: str) -> str:
    """A text that must be there. Raises BadConfig."""
    value = extra.get(name)
    if not isinstance(value, str) or not value:
        raise BadConfig(f"kv_connector_extra_config.{name}", "a text", value)
    return value


def switch(extra: Mapping[str, Any], name: str) -> bool:
    """True or False; absent is False. Raises BadConfig."""
    value = extra.get(name, False)
    if not isinstance(value, bool):
        raise BadConfig(f"kv_connector_extra_config.{name}", "true or false", value)
    return value
