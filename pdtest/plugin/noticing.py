"""What engines notice late is not blamed on the next test."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
from anyio.from_thread import start_blocking_portal

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.errors import RequestFailed
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.wire.multi import connectors
from pdtest.wire.registry import contract_for

#: Tokens, one a step: what it was told may be on its way yet, and is exported with a later step.
_STEPS = 16
_PATIENCE_S = 10.0


def make_notice(cluster: Cluster) -> None:
    """Have engines compute a little, so that they log and count now what they were told meanwhile.

    An engine that has nothing to do does not listen: prefill of vLLM 0.32 hears that its blocks were read
    when it computes next (docs/findings.md), and complains then of reads that a test before has provoked.
    """
    contract = contract_for(cluster.environment.connector.contract)
    roles = {late.role for single in connectors(contract) if (late := single.evidence.late) is not None}
    names = [
        name
        for name, member in cluster.members.items()
        # Others hear of it at once, as the embedded engine does.
        if member.role in roles and member.alive and member.service.log_rules.abandoned
    ]
    if names:
        with start_blocking_portal() as portal:
            portal.call(_ask, cluster, names)


async def _ask(cluster: Cluster, names: list[str]) -> None:
    """Who does not answer is found out elsewhere."""
    async with httpx.AsyncClient(trust_env=False) as http:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(_step(endpoint_of(cluster, name, http)) for name in names))


async def _step(engine: Endpoint) -> None:
    with suppress(RequestFailed):
        await engine.generate(Request.tokens([1], max_tokens=_STEPS, min_tokens=_STEPS))
