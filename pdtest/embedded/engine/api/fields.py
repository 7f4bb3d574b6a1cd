"""Typed reading of a JSON body, field by field; all that is wrong is told at once.

Lenient as vLLM 0.32 is (pydantic's lax mode): "5" and 5.0 are integers, "true" and 1 are flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from pdtest.embedded.engine.api.errors import Malformed, Problem

Read = TypeVar("Read")

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n", "off"})


class _Mismatch(Exception):
    """A value that is not what was expected; the message says what was."""


class Fields:
    """The fields of one body. Read them all, then `check`.

    A field that is absent or null has its default; with ``null`` False, null is a mistake.
    """

    def __init__(self, body: Mapping[str, Any], *, place: str = "body") -> None:
        self._body = body
        self._place = place
        self._problems: list[Problem] = []

    def inner(self, field: str) -> Fields:
        """The fields of an object within; empty when it is absent. Its problems are told with these."""
        inner = Fields(self.mapping(field) or {}, place=f"{self._place}.{field}")
        inner._problems = self._problems
        return inner

    def __iter__(self) -> Iterator[str]:
        return iter(self._body)

    def integer(self, field: str, *, null: bool = True, least: int | None = None) -> int | None:
        """An integer of 64 bits, or None."""
        return self._read(field, lambda value: _integer(value, least), null=null)

    def number(self, field: str) -> float | None:
        """A number, or None."""
        return self._read(field, _number)

    def flag(self, field: str, *, default: bool = False, null: bool = True) -> bool:
        """True or false."""
        value = self._read(field, _flag, null=null)
        return default if value is None else value

    def text(self, field: str) -> str | None:
        """A string, or None."""
        return self._read(field, _text)

    def mapping(self, field: str) -> dict[str, Any] | None:
        """An object, or None."""
        return self._read(field, _mapping)

    def integers(self, field: str) -> list[int]:
        """A list of integers, empty when there is none."""
        return self.items(field, lambda value: _integer(value, None))

    def texts(self, field: str) -> list[str]:
        """A list of strings, or a string for a list of one; empty when there is none."""
        value = self._body.get(field)
        return [value] if isinstance(value, str) else self.items(field, _text)

    def items(self, field: str, read: Callable[[Any], Read]) -> list[Read]:
        """A list whose items ``read`` understands."""
        found = []
        for at, item in enumerate(self._read(field, _list) or []):
            try:
                found.append(read(item))
            except _Mismatch as mismatch:
                self.wrong(f"{field}.{at}", str(mismatch), item)
        return found

    def present(self, field: str) -> bool:
        """Whether it is there at all, be it as null."""
        return field in self._body

    def raw(self, field: str) -> Any:
        """The value as it is."""
        return self._body.get(field)

    def wrong(self, field: str, expected: str, seen: Any) -> None:
        """Something that the caller found to be wrong."""
        self._problems.append(Problem(place=f"{self._place}.{field}", expected=expected, seen=seen))

    def check(self) -> None:
        """Raises Malformed if anything was not as expected."""
        if self._problems:
            raise Malformed(self._problems)

    def _read(self, field: str, read: Callable[[Any], Read], *, null: bool = True) -> Read | None:
        value = self._body.get(field)
        if value is None and (null or field not in self._body):
            return None
        try:
            return read(value)
        except _Mismatch as mismatch:
            self.wrong(field, str(mismatch), value)
            return None


def _integer(value: Any, least: int | None) -> int:
    found = _whole(value)
    if found is None:
        raise _Mismatch("an integer")
    if not -(2**63) <= found < 2**63:
        raise _Mismatch("an integer of 64 bits")
    if least is not None and found < least:
        raise _Mismatch(f"an integer of at least {least}")
    return found


def _whole(value: Any) -> int | None:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    return None


def _number(value: Any) -> float:
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise _Mismatch("a number")


def _flag(value: Any) -> bool:
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise _Mismatch("true or false")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Mismatch("a string")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Mismatch("an object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Mismatch("a list")
    return value
