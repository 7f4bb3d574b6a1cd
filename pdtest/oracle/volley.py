"""A volley: handoffs fired at once, with the counters of all engines read before and after.

Counters belong to engines, not to requests. So evidence is taken over a span in which nothing but
the volley runs, and must equal the sum of what its handoffs demand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdtest.client.endpoint import Endpoint
from pdtest.client.handoff import Handoff
from pdtest.environment.schema import Role
from pdtest.oracle.evidence import Claim, Reading, Window, settled
from pdtest.wire.contract import Contract, Demand

_POLL_S = 0.05


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
    """Read until the counters show what is claimed, or ``within_s`` is over.

    An engine counts after it has answered, so the first reading may be early; and one that waits to
    see nothing rise too far reads once more when all seems right.
    """
    deadline = time.monotonic() + within_s
    while True:
        window = Window(before=before, after=await read_engines(engines), roles=roles)
        if settled(window, claim) or time.monotonic() >= deadline:
            return window
        await asyncio.sleep(_POLL_S)


def demanded(contract: Contract, handoff: Handoff, *, cached_tokens: int, block_size: int) -> Demand:
    """What one handoff must move. Nothing for one that failed before decode could ask for it."""
    answer = handoff.answer
    if answer is None:
        return Demand(transferred=0, cached=0, computed=0, blocks=0)
    tokens = answer.usage.prompt_tokens
    if handoff.request.prompt_logprobs is not None or _without_params(contract, handoff):
        # prompt_logprobs need every position's logits, so vLLM skips the prefix cache and the connector
        # (0.32, v1/request.py, skip_reading_prefix_cache).
        return Demand(transferred=0, cached=0, computed=tokens, blocks=0)
    one = contract.demand(tokens, cached_tokens=cached_tokens, block_size=block_size)
    return total([one] * handoff.request.n)  # each choice is a sequence of its own, and fetches for itself


def total(demands: Sequence[Demand]) -> Demand:
    """The sum of the demands of a volley."""
    return sum(demands, start=Demand(transferred=0, cached=0, computed=0, blocks=0))


def _without_params(contract: Contract, handoff: Handoff) -> bool:
    """True for a client handoff in which prefill had nothing to hand over."""
    return contract.carries_params and handoff.decode is not None and handoff.decode.sent is None
