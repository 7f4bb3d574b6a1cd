"""Secrets, and how they are kept out of everything that is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret replaced.

    Longest first, so that a secret that begins another does not leave the other's tail readable.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def mask_json(value: Any, secrets: frozenset[str]) -> Any:
    """A copy of a JSON value with the secrets replaced in every string and key."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {mask(str(key), secrets): mask_json(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_json(item, secrets) for item in value]
    return value
