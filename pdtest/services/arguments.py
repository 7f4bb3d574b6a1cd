"""Command-line flags from the `args:` of a member."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def flags(args: Mapping[str, Any]) -> Iterator[str]:
    """`--key value` for each entry, in order.

    true gives the bare flag, false and null leave it out, a list gives several values after one
    flag (an empty one leaves it out), a mapping is passed as compact JSON.
    """
    for key, value in args.items():
        if value is None or value is False or value in ([], ()):
            continue
        yield f"--{key}"
        if value is True:
            continue
        yield from map(text, value if isinstance(value, list | tuple) else [value])


def text(value: Any) -> str:
    """One value as a program expects to read it."""
    if isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def variables(env: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables as strings; null entries are left out."""
    return {name: text(value) for name, value in env.items() if value is not None}
