"""The shape of JSON: keys and types, all the way down, and where two shapes differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

#: Objects whose keys are data (tokens, ids), by the end of their path: all values have one shape.
_TABLES: Final = (".top_logprobs[]", ".prompt_logprobs[]")

#: A path in the JSON, and the types that were seen there.
Shape = dict[str, set[str]]


def shape(value: Any) -> Shape:
    """Of ``value``; items of a list are seen as one."""
    found: Shape = {}
    for path, kind in _walk(value, ""):
        found.setdefault(path, set()).add(kind)
    return found


def merged(shapes: Iterable[Shape]) -> Shape:
    """What was seen in any of ``shapes``."""
    together: Shape = {}
    for one in shapes:
        for path, kinds in one.items():
            together.setdefault(path, set()).update(kinds)
    return together


def differences(theirs: Shape, ours: Shape) -> Iterator[tuple[str, str]]:
    """Path, and what is the matter there. What is within something absent or null is not told again."""
    untold: list[str] = []
    for path in sorted(theirs.keys() | ours.keys()):
        if any(path.startswith((f"{parent}.", f"{parent}[")) for parent in untold):
            continue
        expected, seen = theirs.get(path, set()), ours.get(path, set())
        if expected != seen:
            untold.append(path)
            yield path, f"vLLM has {_said(expected)}, the engine {_said(seen)}"


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield path, "object"
        table = path.endswith(_TABLES)
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.*" if table else f"{path}.{key}")
    elif isinstance(value, list):
        yield path, "list"
        for inner in value:
            yield from _walk(inner, f"{path}[]")
    else:
        yield path, "null" if value is None else type(value).__name__


def _said(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds)) or "nothing"
