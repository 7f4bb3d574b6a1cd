"""Which environments an expression after -m asks for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from _pytest.mark.expression import Expression

_NAME = re.compile(r"[\w.+:\-\[\]/\\]+")
_WORDS = frozenset({"and", "or", "not"})
#: Of more names than this all combinations are not tried; nobody writes such expressions by hand.
_MOST_NAMES = 10


def asked_for(expression: str, marks: frozenset[str]) -> bool:
    """Whether some test is selected because its environment has ``marks``.

    True for ``gpu and nightly`` where the marks are gpu, whatever marks the test itself has; false for
    ``not ascend``, which leaves tests out and asks for no environment.
    """
    names = set(_NAME.findall(expression)) - _WORDS
    own = names & marks
    return bool(own) and any(
        _selects(expression, own | others) and not _selects(expression, others)
        for others in _subsets(sorted(names - own)[:_MOST_NAMES])
    )


def _selects(expression: str, marks: set[str]) -> bool:
    def matcher(name: str, /, **_: object) -> bool:
        return name in marks

    try:
        return Expression.compile(expression).evaluate(matcher)
    except Exception:  # noqa: BLE001 - pytest says what is wrong with it when it comes to selecting tests
        return False


def _subsets(names: list[str]) -> Iterator[set[str]]:
    for count in range(len(names) + 1):
        yield from map(set, itertools.combinations(names, count))
