"""Which of prefill, decode, network and deployment to look at when a load went wrong, and where there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pdtest.client.errors import (
    BrokenStream,
    HttpStatusError,
    MemberGone,
    RequestFailed,
    RequestTimedOut,
    Unreachable,
)
from pdtest.client.handoff import Ending, Handoff
from pdtest.oracle.client_load import ClientLoad
from pdtest.wire.contract import Leg
from pdtest.wire.evidence import Counter as MetricsCounter


class Place(StrEnum):
    """What to look at."""

    PREFILL = "prefill"
    DECODE = "decode"
    NETWORK = "network"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where a member answers, and where its log is, None where that is not known."""

    url: str
    log: str | None


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """``why`` says what was seen; ``members`` and ``counter`` where to look."""

    place: Place
    why: str
    members: tuple[str, ...] = ()
    counter: MetricsCounter | None = None

    def told(self, whereabouts: Mapping[str, Whereabouts]) -> str:
        """In words, with addresses."""
        parts = [f"look at {self.place}: {self.why}"]
        for name in self.members:
            known = whereabouts.get(name)
            if known is not None:
                log = f", log {known.log}" if known.log else ", its log is where it was started"
                parts.append(f"{name} at {known.url}{log}")
        if self.counter is not None:
            parts.append(f"counter {self.counter} on {self.counter.role}")
        return "; ".join(parts)


def of_failures(load: ClientLoad) -> list[Suspect]:
    """Why requests were not answered, the most frequent reason first."""
    suspects = [_of_failure(load, handoff) for handoff in load.handoffs if handoff.answer is None]
    reasons = Counter((suspect.place, suspect.why, suspect.members) for suspect in suspects)
    known = {(suspect.place, suspect.why, suspect.members): suspect for suspect in suspects}
    return [
        replace(known[reason], why=f"{count} of {len(load.handoffs)} requests: {known[reason].why}")
        for reason, count in reasons.most_common()
    ]


def of_transfer(load: ClientLoad) -> list[Suspect]:
    """Why KV did not move although requests may have been answered."""
    return [*_of_messages(load), *_of_counters(load)]


def of_latency(load: ClientLoad) -> list[Suspect]:
    """Which phase takes the time."""
    phases = load.phases
    shares = {Place.PREFILL: phases.share(phases.prefill), Place.DECODE: phases.share(phases.decode)}
    known = {place: share for place, share in shares.items() if share is not None}
    if not known:
        return []
    place = max(known, key=lambda one: known[one])
    members = _members(load, place)
    waited = [f"{count:.1f} waited on {name}" for name in members if (count := load.waiting(name))]
    why = "; ".join([f"{known[place]:.0%} of the time is {place}", *waited])
    return [Suspect(place=place, why=why, members=members)]


def of_statistics(load: ClientLoad) -> list[Suspect]:
    """Why statistics are old or absent."""
    suspects = []
    for member, series in load.series.items():
        if series.problems:
            why = f"{len(series.problems)} looks at {series.source} failed, first at {series.problems[0]}"
        elif not series.looks:
            why = f"nothing was found in {series.source}"
        else:
            why = f"{len(series.looks)} looks at {series.source} brought something"
        if series.silent_when_idle:
            why += " (vLLM writes its line each VLLM_LOG_STATS_INTERVAL seconds: set it well below the limit)"
        place = Place.DECODE if series.looks else Place.DEPLOYMENT
        suspects.append(Suspect(place=place, why=why, members=(member,)))
    return suspects


def of_spread(member: str) -> list[Suspect]:
    """Who spreads requests over the ranks."""
    why = (
        "its data-parallel scheduler sends requests where they are few, not where there is room for their KV"
    )
    return [Suspect(place=Place.DECODE, why=why, members=(member,))]


def _of_failure(load: ClientLoad, handoff: Handoff) -> Suspect:
    role = Place.PREFILL if handoff.ending is Ending.PREFILL_FAILED else Place.DECODE
    hop = handoff.prefill if role is Place.PREFILL else handoff.decode
    if hop is None or hop.error is None:
        return Suspect(place=Place.DEPLOYMENT, why=f"it ended as '{handoff.ending}'")
    return _of_error(load, role, hop.member, hop.error)


def _of_error(load: ClientLoad, role: Place, member: str, error: RequestFailed) -> Suspect:
    counter = _risen(load)
    if role is Place.DECODE and counter is not None and isinstance(error, HttpStatusError):
        why = f"{error.summary}, and transfers of KV failed"
        return Suspect(place=Place.NETWORK, why=why, members=_both(load, member), counter=counter)
    return Suspect(place=_place_of(error, role), why=_short(error), members=(member,))


def _place_of(error: RequestFailed, role: Place) -> Place:
    if isinstance(error, MemberGone):
        return Place.DEPLOYMENT
    if isinstance(error, Unreachable):
        # Nobody listens there; anything else is a connection that broke.
        return Place.DEPLOYMENT if "ConnectError" in (error.seen or "") else Place.NETWORK
    if isinstance(error, BrokenStream):
        return Place.NETWORK
    if isinstance(error, RequestTimedOut):
        return role
    if error.status is not None and 400 <= error.status < 500 and error.status not in _BUSY:  # noqa: PLR2004
        return Place.DEPLOYMENT
    return role


#: Too many requests, and a timeout: the member's, not of how it was set up.
_BUSY = frozenset({408, 429})


def _short(error: RequestFailed) -> str:
    seen = (error.seen or "").splitlines()
    return f"{error.summary} ({seen[0][:120]})" if seen else error.summary


def _of_messages(load: ClientLoad) -> Iterator[Suspect]:
    """Breaches of the contract, each kind once."""
    kinds: dict[tuple[Leg, str], list[str]] = {}
    for handoff in load.handoffs:
        for breach in handoff.breaches:
            kinds.setdefault((breach.leg, breach.field), []).append(str(breach))
    for (leg, _), told in kinds.items():
        place = Place.PREFILL if leg is Leg.FROM_PREFILL else Place.DEPLOYMENT
        why = f"{len(told)} times {told[0]}"
        if leg is Leg.FROM_PREFILL:
            why += "; is its kv-transfer-config that of a producer?"
        yield Suspect(place=place, why=why, members=_members(load, Place.PREFILL))


def _of_counters(load: ClientLoad) -> Iterator[Suspect]:
    transfer, evidence = load.transfer, load.contract.evidence
    risen = _risen(load)
    if risen is not None:
        why = f"{transfer.failures:.0f} failures were counted ({risen.meaning})"
        yield Suspect(place=Place.NETWORK, why=why, members=_both(load), counter=risen)
    elif transfer.moved is not None and transfer.moved < transfer.demanded:
        computed = load.window.rise(evidence.tokens.computed)
        why = (
            f"{transfer.moved:.0f} tokens came from prefill where the prompts make {transfer.demanded}, and "
            f"{_number(computed)} were computed on decode; is its kv-transfer-config that of a consumer of "
            "the same connector?"
        )
        members = _members(load, Place.DECODE)
        yield Suspect(place=Place.DECODE, why=why, members=members, counter=evidence.tokens.transferred)


def _risen(load: ClientLoad) -> MetricsCounter | None:
    """The first failure counter that rose."""
    failures = load.contract.evidence.failures
    return next((counter for counter in failures if load.window.rise(counter)), None)


def _members(load: ClientLoad, place: Place) -> tuple[str, ...]:
    return tuple(name for name, role in load.window.roles.items() if str(role) == str(place))


def _both(load: ClientLoad, decode: str | None = None) -> tuple[str, ...]:
    decodes: Sequence[str] = (decode,) if decode else _members(load, Place.DECODE)
    return (*_members(load, Place.PREFILL), *decodes)


def _number(value: float | None) -> str:
    return "an unknown number" if value is None else f"{value:.0f}"
