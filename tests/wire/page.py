"""docs/contracts.md, made of what the contracts say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

from pdtest.wire.contract import Contract, Leg, Order, Station
from pdtest.wire.evidence import Counter
from pdtest.wire.fields import Field


class Described(Contract, Protocol):
    """One of pdtest's own."""

    @property
    def speaks(self) -> str:
        """Whose messages these are."""
        ...


_HEAD = """\
# Contracts

What each connector puts on the wire, how much must move, and which counters prove it. Written by
`PDTEST_WRITE_DOCS=1 pytest tests/wire/test_routes.py` from `pdtest/wire/`; a test keeps it true.

A contract is named under `connector: contract:` of an environment. Several names are a MultiConnector over
them, in the order in which they are asked: messages are the union, and each prompt is loaded by the first
that has tokens.

Everywhere: the request to prefill asks for one token, without streaming (`max_tokens` 1,
`max_completion_tokens` 1 where it was given, `min_tokens` dropped unless a contract wants one, no
`stream_options`); the request to decode is the user's. Both carry the same `X-Request-Id`. Unknown fields are
tolerated and recorded.
"""
_EVERYWHERE = """\
## Evidence that all share

"""
_TOKENS = 48
_BLOCK = 16
_STATIONS = tuple(Station(address=f"10.0.0.{host}", ports={"p2p": 14579}) for host in (1, 2))
_ORDERS = {
    Order.PREFILL_FIRST: "prefill, then decode",
    Order.TOGETHER: "both at once, joined by an id",
    Order.DECODE_FIRST: "decode, which has prefill asked by the proxy",
}


def page(contracts: Mapping[str, Contract], proven: Mapping[str, str]) -> str:
    """The whole page; ``proven``: where a contract can be tried without a chip, or why not, by its name."""
    singles = [cast("Described", contract) for contract in contracts.values()]
    parts = [_HEAD, "\n".join(_overview(singles)), _EVERYWHERE + "\n".join(_shared(singles[0]))]
    parts += ["\n".join(_section(single, proven[single.name])) for single in singles]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _overview(singles: Sequence[Described]) -> Iterator[str]:
    yield "| contract | connector | order of the legs | led by |"
    yield "|---|---|---|---|"
    for single in singles:
        led = "client or proxy" if single.obstacle is None else "proxy only"
        link = f"[`{single.name}`](#{single.name})"
        yield f"| {link} | {single.speaks} | {_ORDERS[single.order]} | {led} |"


def _shared(single: Described) -> Iterator[str]:
    tokens = single.evidence.tokens
    yield from _counters([tokens.transferred, tokens.cached, tokens.computed, single.evidence.promised])


def _section(single: Described, proven: str) -> Iterator[str]:
    yield f"## {single.name}"
    yield ""
    yield f"{single.speaks}."
    if single.obstacle is not None:
        yield f"Only a proxy can lead it: {single.obstacle}."
    if single.prefill_min_tokens:
        yield f"The request to prefill has `min_tokens` {single.prefill_min_tokens}."
    if single.introduction is not None:
        asked = single.introduction
        yield f"Before, prefill is asked who it is: GET `{asked.path}` on its port `{asked.port}`."
    name = single.request_id("", *_STATIONS)
    if name:
        yield f"Both legs' `X-Request-Id`: `{name}`, 32 hexadecimal digits at its end."
    yield ""
    if single.carries_params:
        yield "| `kv_transfer_params` | field | must be | meaning |"
        yield "|---|---|---|---|"
        for leg in Leg:
            yield from _fields(leg, single)
    else:
        yield "No `kv_transfer_params` on any leg."
    yield ""
    yield from _demands(single)
    own = [*_own(single)]
    if own:
        yield ""
        yield from _counters(own)
    yield ""
    yield proven


def _fields(leg: Leg, single: Described) -> Iterator[str]:
    fields = single.fields(leg)
    if leg is Leg.TO_DECODE and fields and fields == single.fields(Leg.FROM_PREFILL):
        yield f"| {leg} | | | prefill's answer, verbatim |"
        return
    if not fields:
        yield f"| {leg} | none | | |"
    for field in fields:
        yield f"| {leg} | `{field.name}` | {_wanted(field)} | {field.meaning} |"
        for one in field.inside:
            yield f"| {leg} | `{field.name}.{one.name}` | {_wanted(one)} | {one.meaning} |"


def _wanted(field: Field) -> str:
    older = f"; before: {field.older.expected}" if field.older else ""
    return field.kind.expected + older + ("" if field.required and not field.drift else "; optional")


def _demands(single: Described) -> Iterator[str]:
    yield "| prompt, blocks of 16 | from outside | from decode's cache | computed anew | blocks moved |"
    yield "|---|---|---|---|---|"
    for tokens, cached in ((_TOKENS, 0), (_TOKENS - 8, 0), (_TOKENS - 8, _BLOCK)):
        demand = single.demand(tokens, cached_tokens=cached, block_size=_BLOCK)
        known = f", {cached} of them known to decode" if cached else ""
        numbers = (demand.transferred, demand.cached, demand.computed, demand.blocks)
        yield f"| {tokens} tokens{known} | " + " | ".join(map(str, numbers)) + " |"


def _own(single: Described) -> Iterator[Counter]:
    evidence = single.evidence
    for counter in (evidence.moved, evidence.transfers, *evidence.failures, evidence.late, evidence.expired):
        if counter is not None:
            yield counter


def _counters(counters: Sequence[Counter | None]) -> Iterator[str]:
    yield "| counter | on | tells |"
    yield "|---|---|---|"
    for counter in counters:
        if counter is not None:
            some = " (not in all versions)" if counter.drift else ""
            yield f"| `{counter}` | {counter.role} | {counter.meaning}{some} |"
