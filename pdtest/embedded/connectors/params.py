"""Typed reading of kv_transfer_params, which come from clients and proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

_LAST_PORT = 65535
_LAST_BLOCK = 2**31
_SHOWN = 80
_MISSING = object()


class BadParams(ValueError):
    """A field of kv_transfer_params that makes no sense. The API answers 400 with this message."""

    def __init__(self, field: str, expected: str, seen: object) -> None:
        what = "it is missing" if seen is _MISSING else f"got {_short(seen)}"
        super().__init__(f"kv_transfer_params.{field}: expected {expected}, {what}")
        self.field = field


def flag(params: Mapping[str, Any] | None, field: str) -> bool:
    """True or False; absent and null are False. Raises BadParams."""
    value = (params or {}).get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadParams(field, "true or false", value)
    return value


def text(params: Mapping[str, Any], field: str) -> str:
    """A string that is not empty. Raises BadParams."""
    value = params.get(field, _MISSING)
    if not isinstance(value, str) or not value:
        raise BadParams(field, "a text", value)
    return value


def count(params: Mapping[str, Any], field: str, *, least: int = 0, most: int | None = None) -> int:
    """An integer in a range. Raises BadParams."""
    value = params.get(field, _MISSING)
    if not _is_integer(value) or value < least or (most is not None and value > most):
        span = f"from {least}" if most is None else f"from {least} to {most}"
        raise BadParams(field, f"an integer {span}", value)
    return int(value)


def port(params: Mapping[str, Any], field: str) -> int:
    """A TCP port. Raises BadParams."""
    return count(params, field, least=1, most=_LAST_PORT)


def block_ids(params: Mapping[str, Any], field: str) -> list[int]:
    """Blocks in prompt order: a list per KV group, of which this model has one; a flat list is older vLLM's.

    Raises BadParams.
    """
    value = params.get(field, _MISSING)
    blocks: Any = value[0] if isinstance(value, list) and len(value) == 1 else value
    if _is_integer(blocks):
        blocks = value
    if not isinstance(blocks, list) or not blocks or not all(_is_block(block) for block in blocks):
        raise BadParams(field, "a list of block ids for each KV group, of which there is one", value)
    return blocks


def _is_block(value: object) -> bool:
    return _is_integer(value) and abs(value) <= _LAST_BLOCK


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
