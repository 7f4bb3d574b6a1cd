"""What is found of a router's traffic: ways, and who got what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise

from pdtest.environment.routing import ByPhase, Spread
from pdtest.environment.schema import Role
from pdtest.oracle.routing.chance import ALPHA, at_least, at_most, uneven
from pdtest.oracle.routing.expected import Lengths, expected
from pdtest.oracle.routing.traffic import Routed, Traffic
from pdtest.oracle.verdict import Finding, Ruling

#: Requests that are shown of those that went wrong.
_SHOWN = 4


def way_findings(traffic: Traffic, phase: ByPhase | None, *, hybrids: bool) -> list[Finding]:
    """Each request took a way that it may take."""
    wrong, unknown = [], []
    for one in traffic.routed:
        allowed = expected(phase, Lengths.of(one.errand.request), hybrids=hybrids)
        if one.path is None:
            unknown.append(one)
        elif one.path not in allowed:
            wrong.append(f"{one}, {' or '.join(sorted(allowed))} is expected")
    count = len(traffic.routed)
    if wrong:
        text = f"{len(wrong)} of {count}: {'; '.join(wrong[:_SHOWN])}"
        return [Finding(check="way", ruling=Ruling.FAIL, text=text)]
    if unknown:
        why = traffic.unknown or f"e.g. {unknown[0]}"
        text = f"the way of {len(unknown)} of {count} requests is not known: {why}"
        return [Finding(check="way", ruling=Ruling.INCONCLUSIVE, text=text)]
    return [_passed("way", f"{count} requests took the way that their lengths demand")] if count else []


def share_findings(counts: Mapping[str, int], spread: Spread) -> list[Finding]:
    """Nobody got more or fewer than chance explains; with a round robin nobody more than others at all."""
    shares = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(counts) < 2:  # noqa: PLR2004
        return [_open("share", f"there is nothing to share among: {shares}")]
    if spread is Spread.ROUND_ROBIN:
        even = max(counts.values()) - min(counts.values()) <= 1
        return [_ruled("share", even, shares, "in turn means alike")]
    chance = uneven(list(counts.values()))
    return [_ruled("share", chance > ALPHA, shares, f"by chance in {chance:.1g} of all cases")]


def turn_findings(traffic: Traffic, role: Role, many: int) -> list[Finding]:
    """One after the other means: of any ``many`` in a row, each got one."""
    who = [one.by(role) for one in traffic.routed]
    rows = [who[start : start + many] for start in range(len(who) - many + 1)]
    wrong = next((row for row in rows if len(set(row)) < many), None)
    text = f"{len(rows)} rows of {many} requests"
    return [_ruled("turns", wrong is None, text, f"{' '.join(map(str, wrong or []))} are not one each")]


def avoided_findings(traffic: Traffic, role: Role, busy: Collection[str], why: str) -> list[Finding]:
    """None of ``busy`` was given anything; ``why``: what kept them busy."""
    given = Counter(one.by(role) for one in traffic.routed if one.by(role) in busy)
    told = ", ".join(f"{name} {count}" for name, count in given.items())
    text = f"{len(traffic.routed)} requests while {', '.join(busy)} had {why}"
    return [_ruled("avoided", not given, text, f"{told} went there")]


def choices_findings(hits: int, tries: int, share: float, what: str) -> list[Finding]:
    """``hits`` of ``tries`` is what happens with a probability of ``share`` each."""
    chance = min(2 * min(at_least(hits, tries, share), at_most(hits, tries, share)), 1.0)
    text = f"{hits} of {tries} {what}; {share:.0%} are expected"
    return [_ruled("choices", chance > ALPHA, text, f"by chance in {chance:.1g} of all cases")]


def counted_findings(told: Traffic, counted: Traffic) -> list[Finding]:
    """A request that was alone: engines counted it where its router says."""
    if counted.unknown or told.unknown:
        return [*told.answered(), _open("counted", counted.unknown or told.unknown)]
    pairs = zip(told.routed, counted.routed, strict=True)
    wrong = [
        f"{ours}, engines counted {theirs.prefill} -> {theirs.decode}"
        for ours, theirs in pairs
        if (ours.prefill, ours.decode) != (theirs.prefill, theirs.decode)
    ]
    text = ", ".join(map(str, told.routed))
    return [*told.answered(), _ruled("counted", not wrong, text, "; ".join(wrong))]


def alone_findings(idle: Sequence[str]) -> list[Finding]:
    """Nothing where exactly one was idle, else one open question."""
    return [] if len(idle) == 1 else [_open("idle", f"{', '.join(idle) or 'nobody'} was idle, not one alone")]


def home_findings(
    traffic: Traffic, roles: Sequence[Role], keys: Sequence[Hashable], what: str
) -> list[Finding]:
    """Requests of one key were served by the same instances. ``keys``: of each request of ``traffic``."""
    homes: dict[tuple[Role, Hashable], list[str]] = defaultdict(list)
    for one, key in zip(traffic.routed, keys, strict=True):
        for role in roles:
            if (who := one.by(role)) is not None:
                homes[role, key].append(who)
    left = [
        f"one of them was at {before}, then at {after}"
        for who in homes.values()
        for before, after in pairwise(who)
        if before != after
    ]
    text = f"{len(set(keys))} {what} in {len(traffic.routed)} requests"
    return [_ruled("home", not left, text, f"{len(left)} times {left[0]}" if left else "")]


def served_by(routed: Iterable[Routed], role: Role, name: str) -> list[Routed]:
    """Those of which ``name`` did a role's part."""
    return [one for one in routed if one.by(role) == name]


def _ruled(check: str, good: bool, text: str, otherwise: str) -> Finding:
    return (
        _passed(check, text)
        if good
        else Finding(check=check, ruling=Ruling.FAIL, text=f"{text}: {otherwise}")
    )


def _passed(check: str, text: str) -> Finding:
    return Finding(check=check, ruling=Ruling.PASS, text=text)


def _open(check: str, text: str) -> Finding:
    return Finding(check=check, ruling=Ruling.INCONCLUSIVE, text=text)
