"""Messages checked field by field: what a field is called, what it must hold, since when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pdtest.wire.contract import Breach, Leg, Review

if TYPE_CHECKING:
    from pdtest.wire.tamper import Params


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A set of values, in words and as a test."""

    expected: str
    accepts: Callable[[object], bool]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of kv_transfer_params.

    ``drift`` marks a field that only some generations of a connector send: never required, and
    named in `Review.drift` when it is there. ``older`` is a form that older generations send
    instead of ``kind``: no breach, but drift. ``inside``: the fields of a value that is an object.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = True
    drift: bool = False
    older: Kind | None = None
    inside: tuple[Field, ...] = ()


def review(leg: Leg, params: Params | None, fields: Sequence[Field]) -> Review:
    """Hold a message against its fields. No parameters at all breach a contract that has some."""
    if params is None:
        return Review(leg=leg, breaches=tuple(_no_params(leg, fields)))
    known = {field.name for field in fields}
    deeper = [_deeper(leg, field, params[field.name]) for field in fields if field.name in params]
    return Review(
        leg=leg,
        breaches=(
            *(breach for field in fields for breach in _breaches(leg, field, params)),
            *(breach for inner in deeper for breach in inner.breaches),
        ),
        extra=(*sorted(set(params) - known), *(name for inner in deeper for name in inner.extra)),
        drift=(
            *(note for field in fields for note in _drift(field, params)),
            *(note for inner in deeper for note in inner.drift),
        ),
    )


def _deeper(leg: Leg, field: Field, value: object) -> Review:
    """What is inside a value, by names like 'disagg_spec.req_id'."""
    if not field.inside or not isinstance(value, dict):
        return Review(leg=leg)
    prefix = f"{field.name}."
    inner = [replace(one, name=prefix + one.name) for one in field.inside]
    return review(leg, {prefix + str(name): held for name, held in value.items()}, inner)


def _no_params(leg: Leg, fields: Sequence[Field]) -> Iterable[Breach]:
    if any(field.required and not field.drift for field in fields):
        yield Breach(leg=leg, field="kv_transfer_params", expected="an object", seen="none")


def _breaches(leg: Leg, field: Field, params: Params) -> Iterable[Breach]:
    if field.name not in params:
        if field.required and not field.drift:
            yield Breach(leg=leg, field=field.name, expected=field.kind.expected, seen="no such field")
        return
    value = params[field.name]
    if not (field.kind.accepts(value) or _is_older(field, value)):
        yield Breach(leg=leg, field=field.name, expected=field.kind.expected, seen=_shown(value))


def _drift(field: Field, params: Params) -> Iterable[str]:
    if field.name not in params:
        return
    if field.drift:
        yield field.name
    elif field.older is not None and _is_older(field, params[field.name]):
        yield f"{field.name}: {field.older.expected}"


def _is_older(field: Field, value: object) -> bool:
    return field.older is not None and not field.kind.accepts(value) and field.older.accepts(value)


def _shown(value: object) -> str:
    text = f"{value!r} ({type(value).__name__})"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


_LONGEST = 160


def word(value: str) -> Kind:
    """One string and no other."""
    return Kind(expected=repr(value), accepts=lambda seen: seen == value)


def nullable(kind: Kind) -> Kind:
    """``kind`` or null."""
    return Kind(expected=f"{kind.expected} or null", accepts=lambda seen: seen is None or kind.accepts(seen))


def list_of(kind: Kind) -> Kind:
    """A list, possibly empty, of ``kind``."""
    return Kind(
        expected=f"a list of {kind.expected}",
        accepts=lambda seen: isinstance(seen, list) and all(kind.accepts(item) for item in seen),
    )


def _is_int(seen: object) -> bool:
    # A bool is an int to Python and not to JSON.
    return isinstance(seen, int) and not isinstance(seen, bool)


# By identity: 1 is not true, and 0 is not false.
TRUE = Kind(expected="true", accepts=lambda seen: seen is True)
FALSE = Kind(expected="false", accepts=lambda seen: seen is False)
NULL = Kind(expected="null", accepts=lambda seen: seen is None)
INTEGER = Kind(expected="integer", accepts=_is_int)
COUNT = Kind(expected="integer >= 0", accepts=lambda seen: _is_int(seen) and _at_least(seen, 0))
POSITIVE = Kind(expected="integer >= 1", accepts=lambda seen: _is_int(seen) and _at_least(seen, 1))
PORT = Kind(
    expected="port number (1 to 65535)",
    accepts=lambda seen: _is_int(seen) and _at_least(seen, 1) and not _at_least(seen, 65536),
)
NUMBER = Kind(expected="number", accepts=lambda seen: _is_int(seen) or isinstance(seen, float))
TEXT = Kind(expected="non-empty string", accepts=lambda seen: isinstance(seen, str) and bool(seen))
URL = Kind(
    expected="URL (http://host:port...)",
    accepts=lambda seen: isinstance(seen, str) and seen.startswith(("http://", "https://")),
)
OBJECT = Kind(expected="an object", accepts=lambda seen: isinstance(seen, dict))


def _at_least(seen: Any, least: int) -> bool:
    return bool(seen >= least)
