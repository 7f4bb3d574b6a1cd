"""The bugs of proxies, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pdtest.mutants.gateway import answers, parameters, requests, streams
from pdtest.mutants.gateway.bug import Bug

BUGS: Final[Mapping[str, Callable[[], Bug]]] = {
    **answers.BUGS,
    **parameters.BUGS,
    **requests.BUGS,
    **streams.BUGS,
}


class UnknownBug(ValueError):
    """The switch names none of `BUGS`."""


def made(kind: str) -> Bug:
    """A new bug of that name. Raises UnknownBug."""
    if kind not in BUGS:
        raise UnknownBug(f"expected one of {', '.join(sorted(BUGS))}, got {kind!r}")
    return BUGS[kind]()
