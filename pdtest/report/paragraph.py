"""Text for terminals and CI logs: 120 columns at most, nothing lost but the end of endless lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

WIDTH = 120
#: Rows that one line of a log may take; the rest is in its file.
_ROWS = 3


def paragraph(text: str, *, first: str = "", rest: str = "  ") -> Iterator[str]:
    """``text`` in rows, its own line breaks kept: the first after ``first``, the others after ``rest``."""
    lead = first
    for line in text.splitlines() or [""]:
        yield from _rows(line, lead, rest) or [lead.rstrip()]
        lead = rest


def clipped(line: str, *, first: str, rest: str) -> Iterator[str]:
    """One line of a log, of which no more is shown than fits into a few rows."""
    rows = _rows(line[: WIDTH * (_ROWS + 1)], first, rest) or [first.rstrip()]
    yield from rows[:_ROWS]
    if len(rows) > _ROWS:
        yield f"{rest}..."


def _rows(line: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        replace_whitespace=False,
        drop_whitespace=True,
        break_on_hyphens=False,
    )
