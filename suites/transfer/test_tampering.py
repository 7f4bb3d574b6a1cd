"""Falsified parameters: each kind must end as the environment declares, and the service go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pdtest import Environment, Prompts, Request, Role
from pdtest.client.endpoint import Endpoint
from pdtest.cluster.cluster import Cluster
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.outcome import HEALTHY, outcome_of, permitted
from pdtest.plugin.fixtures import Judge, Rule
from pdtest.wire.contract import Contract


@pytest.fixture
async def anothers(
    tamper: str, contract: Contract, prompts: Prompts, block_size: int, handoff: Handoffs
) -> Mapping[str, Any]:
    """The parameters of another request with more blocks; spent ones if the tamper wants them so."""
    other = Request.tokens(prompts.tokens(4 * block_size + 3))
    (kind,) = (known for known in contract.tampers if known.name == tamper)
    if kind.spent:
        through = await handoff.send(other)
        assert through.decode is not None
        assert through.decode.sent is not None
        return through.decode.sent
    params = await handoff.prefill_only(other)
    assert params is not None
    return params


@pytest.mark.disruptive
@pytest.mark.asks(
    requests=lambda prompts, bounds: [Request.tokens(prompts.tokens(3 * bounds.block_size + 5))]
)
async def test_tampered_parameters(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    tamper: str,
    environment: Environment,
    contract: Contract,
    asked: list[Request],
    anothers: Mapping[str, Any],
    handoff: Handoffs,
    oracle: Oracle,
    decode: Endpoint,
    prompts: Prompts,
    rule: Rule,
) -> None:
    """Decode gets falsified parameters; how that ends is known, and anything else is a regression."""
    impatient = handoff.with_timeout(environment.thresholds.hang_s)
    seen = await impatient.send(asked[0], tamper=lambda params: contract.tampered(tamper, params, anothers))
    ended = await outcome_of(seen, oracle, decode, Request.tokens(prompts.tokens(4), max_tokens=1))
    allowed = frozenset(environment.tampering.get(tamper, HEALTHY))
    rule(f"{tamper} ends as declared", [permitted(tamper, ended, allowed)])


@pytest.mark.asks(
    requests=lambda prompts, bounds: [Request.tokens(prompts.tokens(2 * bounds.block_size + 5))]
)
async def test_the_service_goes_on(
    cluster: Cluster, asked: list[Request], handoff: Handoffs, judge: Judge
) -> None:
    """After all that tampering, with members that died started again, a handoff is right."""
    assert all(member.alive for role in Role for member in cluster.with_role(role))
    await judge(await handoff(*asked))
