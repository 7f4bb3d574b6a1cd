"""The ways in which suites/recovery breaks a deployment, by the names that environment files use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product


class Phase(StrEnum):
    """Where a request is: its prompt is computed, its KV moves, its answer is generated."""

    PREFILL = "prefill"
    TRANSFER = "transfer"
    DECODE = "decode"


class Who(StrEnum):
    """What breaks: a member of this role, or the link that KV takes."""

    PREFILL = "prefill"
    DECODE = "decode"
    PROXY = "proxy"
    STORE = "store"
    LINK = "link"


class How(StrEnum):
    """What happens to it."""

    KILLED = "killed"
    TERMINATED = "terminated"
    FROZEN = "frozen"
    CUT = "cut"
    RESET = "reset"
    HALF_OPEN = "half-open"
    SLOW = "slow"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Something breaks while a request is in a phase."""

    who: Who
    how: How
    when: Phase

    def __str__(self) -> str:
        return f"{self.who}-{self.how}-in-{self.when}"


def _all() -> Iterator[Scenario]:
    for who, how, when in product(
        (Who.PREFILL, Who.DECODE, Who.PROXY, Who.STORE), (How.KILLED, How.FROZEN), Phase
    ):
        yield Scenario(who=who, how=how, when=when)
    # Whoever is told to end may finish what it does: only what it is busy with matters.
    for who, when in ((Who.PREFILL, Phase.PREFILL), (Who.DECODE, Phase.DECODE), (Who.PROXY, Phase.DECODE)):
        yield Scenario(who=who, how=How.TERMINATED, when=when)
    # A link of KV matters while KV moves.
    for how in (How.CUT, How.RESET, How.HALF_OPEN, How.SLOW):
        yield Scenario(who=Who.LINK, how=how, when=Phase.TRANSFER)


#: What else may come out in one way or another, and is no matter of who and when.
OTHERS: Mapping[str, str] = {
    "late-decode": "decode asks for blocks whose lease is about to end",
    "lost-lease": "decode asks for blocks whose lease has ended, and that others have taken over",
    "stale-engine": "decode asks for blocks of an engine that was started again since",
    "exhausted-kv": "prefill holds all its blocks for decodes that never come",
    "burst": "more requests at once than there are blocks for",
}

#: By name, as ``prefill-killed-in-transfer``.
SCENARIOS: Mapping[str, Scenario] = {str(scenario): scenario for scenario in _all()}
