"""The closest valid name to one that was mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 12


def nearest(seen: str, names: Iterable[str]) -> str | None:
    """The valid name that ``seen`` most likely means, or None when nothing is close."""
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(seen.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(seen: str, names: Iterable[str]) -> str | None:
    """What to tell someone who wrote ``seen``: the nearest name, or else the names there are."""
    known = sorted(set(names))
    close = nearest(seen, known)
    if close is not None:
        return f"did you mean '{close}'?"
    if not known:
        return None
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"known: {', '.join(known[:_LISTED])}{more}"
