"""A volley: handoffs fired at once, with the counters of all engines read before and after.

Counters belong to engines, not to requests. So evidence is taken over a span in which nothing but
the volley runs, and must equal the sum of what its handoffs demand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pdtest.client.endpoint import Endpoint
from pdtest.client.handoff import Handoff
from pdtest.environment.schema import Role
from pdtest.oracle.evidence import NOTHING, Claim, Reading, Share, Window, exceeded, settled, weigh
from pdtest.wire.contract import Contract, Demand
from pdtest.wire.multi import MultiContract, connectors

#: Between two readings: while counters lag, and before a reading that seems final is confirmed. The
#: second one is what a volley that goes well costs, beside reading twice (about 10 ms per engine).
_POLL_S, _CONFIRM_S = 0.05, 0.02


@dataclass(frozen=True, kw_only=True)
class Volley:
    """What was fired and what the counters did meanwhile."""

    handoffs: tuple[Handoff, ...]
    window: Window
    claim: Claim

    @property
    def handoff(self) -> Handoff:
        """The only handoff of a volley of one."""
        (only,) = self.handoffs
        return only


async def read_engines(engines: Mapping[str, Endpoint]) -> Reading:
    """The metrics of all engines, read side by side."""
    snapshots = await asyncio.gather(*(endpoint.metrics() for endpoint in engines.values()))
    return Reading(metrics=dict(zip(engines, snapshots, strict=True)))


async def settle(
    engines: Mapping[str, Endpoint], roles: Mapping[str, Role], before: Reading, claim: Claim, within_s: float
) -> Window:
    """Read until the counters are final, or ``within_s`` is over: then what they show by then.

    An engine counts after it has answered, so the first reading may be early. Final is a reading that
    shows what is claimed, or more than that, and that a second one confirms: a transfer too many
    that is counted late must not slip through.
    """
    deadline = time.monotonic() + within_s
    last = None
    while True:
        window = Window(before=before, after=await read_engines(engines), roles=roles)
        final = settled(window, claim) or exceeded(window, claim)
        findings = weigh(window, claim)
        if (final and findings == last) or time.monotonic() >= deadline:
            return window
        last = findings
        await asyncio.sleep(_CONFIRM_S if final else _POLL_S)


def shares_of(
    contract: Contract, handoff: Handoff, *, cached_tokens: int, block_size: int
) -> tuple[Share, ...]:
    """What each choice of a handoff must move, and which connector carries it.

    Nothing of one that failed: how far it came is not known.
    """
    if handoff.answer is None:
        return (Share(carrier=connectors(contract)[0], demand=NOTHING),)
    first = _share(contract, handoff, cached_tokens=cached_tokens, block_size=block_size)
    if handoff.request.n == 1:
        return (first,)
    tokens = handoff.answer.usage.prompt_tokens
    # Each choice is a sequence of its own, and fetches for itself or finds what the first one brought.
    known = _share(contract, handoff, cached_tokens=tokens, block_size=block_size)
    return (first, *[replace(first, instead=known)] * (handoff.request.n - 1))


def _share(contract: Contract, handoff: Handoff, *, cached_tokens: int, block_size: int) -> Share:
    assert handoff.answer is not None  # noqa: S101
    tokens, loader = handoff.answer.usage.prompt_tokens, _loader(contract, handoff)
    if loader is not None:
        return Share(
            carrier=loader.carrier(tokens, cached_tokens=cached_tokens, block_size=block_size),
            demand=loader.demand(tokens, cached_tokens=cached_tokens, block_size=block_size),
        )
    if _computes_everything(handoff):
        demand = Demand(transferred=0, cached=0, computed=tokens, blocks=0)
    else:
        demand = _without_connector(tokens, cached_tokens, block_size)
    return Share(carrier=connectors(contract)[0], demand=demand)


def _loader(contract: Contract, handoff: Handoff) -> Contract | None:
    """What can load for this handoff: of a composition that got no parameters, those that need none."""
    if _computes_everything(handoff):
        return None
    if not contract.carries_params or handoff.decode is None or handoff.decode.sent is not None:
        return contract
    able = tuple(single for single in connectors(contract) if not single.carries_params)
    return MultiContract(children=able) if able else None


def _computes_everything(handoff: Handoff) -> bool:
    """prompt_logprobs need every position's logits: vLLM skips the prefix cache and the connector.

    (0.32, v1/request.py, skip_reading_prefix_cache.)
    """
    return handoff.request.prompt_logprobs is not None


def _without_connector(tokens: int, cached_tokens: int, block_size: int) -> Demand:
    """As any engine alone: what its prefix cache holds in whole blocks, never the last token."""
    cached = min(cached_tokens, max(tokens - 1, 0)) // block_size * block_size
    return Demand(transferred=0, cached=cached, computed=tokens - cached, blocks=0)
