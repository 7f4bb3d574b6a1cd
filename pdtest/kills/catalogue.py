"""All planted bugs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from pdtest.errors import PdtestError
from pdtest.kills.kv import KV
from pdtest.kills.life import LIFE
from pdtest.kills.mutant import Mutant
from pdtest.kills.params import PARAMS
from pdtest.kills.proxy import PROXY
from pdtest.kills.routing import ROUTING

CATALOGUE: Final[tuple[Mutant, ...]] = (*KV, *LIFE, *PARAMS, *PROXY, *ROUTING)

#: Those for every push: each class of bugs, each place of a handoff, and what others' tests do not see.
QUICK: Final[tuple[str, ...]] = (
    *(
        "kv-zeroed-one-layer",
        "kv-stale",
        "kv-truncated-last",
        "kv-swapped",
        "kv-heads-rolled",
        "kv-scaled-layer",
    ),
    *("kv-scaled-head", "life-reused-in-flight", "life-leaked-decode", "life-notification-doubled"),
    *("params-lost", "params-of-another", "params-unknown-id", "params-old-engine"),
    *("proxy-params-consumed", "proxy-error-swallowed", "proxy-finish-lost", "proxy-min-tokens-lost"),
    *("proxy-stream-chunk-split", "proxy-stream-chunk-lost", "proxy-drift"),
)
ALL: Final = "all"
SELECTED: Final = "quick"
#: What the environment under test says; all where it says nothing.
USUAL: Final = "usual"


class UnknownMutant(PdtestError):
    """No mutant has this name."""

    title = "unknown mutant"

    def __init__(self, name: str) -> None:
        known = [mutant.name for mutant in CATALOGUE]
        nearest = difflib.get_close_matches(name, known, n=1)
        super().__init__(
            f"there is no mutant '{name}'" + (f"; did you mean '{nearest[0]}'?" if nearest else ""),
            expected=f"{ALL}, {SELECTED}, {USUAL}, or names that 'pdtest mutants list' shows",
        )


def chosen(
    names: Iterable[str], usual: Iterable[str] = (), catalogue: Sequence[Mutant] = CATALOGUE
) -> tuple[Mutant, ...]:
    """Those of these names, in the catalogue's order; `ALL`, `SELECTED` and `USUAL` are names of many.

    ``usual``: which `USUAL` are; none: all. Raises UnknownMutant.
    """
    wanted: set[str] = set()
    every = {mutant.name for mutant in catalogue}
    known = {ALL: every, SELECTED: {*QUICK}}
    known[USUAL] = {one for name in usual for one in known.get(name, {name})} or every
    for name in names:
        many = known.get(name, {name})
        wanted.update(many)
    for name in wanted - every:
        raise UnknownMutant(name)
    return tuple(mutant for mutant in catalogue if mutant.name in wanted)
