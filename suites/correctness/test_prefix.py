"""Prompts that decode already knows in part or in full: only the rest may move, and the answer stays."""

from __future__ import annotations

import pytest

from pdtest import Prompts, Request, Route
from pdtest.client.endpoint import Endpoint
from pdtest.client.shapes import Bounds
from pdtest.environment.schema import Environment, Role
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.fixtures import Judge


def _three_blocks_and_a_bit(prompts: Prompts, bounds: Bounds) -> list[Request]:
    return [Request.tokens(prompts.tokens(3 * bounds.block_size + 5))]


def _exactly_three_blocks(prompts: Prompts, bounds: Bounds) -> list[Request]:
    return [Request.tokens(prompts.tokens(3 * bounds.block_size))]


def _and_its_extension(prompts: Prompts, bounds: Bounds) -> list[Request]:
    (first,) = _three_blocks_and_a_bit(prompts, bounds)
    return [first, Request.tokens((*first.prompt, *prompts.tokens(2 * bounds.block_size)))]


def _and_its_branches(prompts: Prompts, bounds: Bounds) -> list[Request]:
    (trunk,) = _exactly_three_blocks(prompts, bounds)
    size = bounds.block_size
    # Both go on where the trunk has whole blocks: what is reused is part of what came, never all of it.
    return [
        trunk,
        *(Request.tokens((*trunk.prompt[: known * size], *prompts.tokens(size + 3))) for known in (1, 2)),
    ]


@pytest.fixture
async def keeps_prefixes(decode: Endpoint) -> bool:
    """Whether decode has a prefix cache at all; its own metrics say so."""
    flags = (await decode.metrics()).by("vllm:cache_config_info", "enable_prefix_caching")
    assert flags, "decode does not tell whether it has a prefix cache"
    return "True" in flags


@pytest.fixture
def same_decode(route: Route, environment: Environment) -> None:
    """For tests that come back to the decode instance they were at: a proxy may choose another one."""
    if route is Route.PROXY and len(environment.members_with(Role.DECODE)) > 1:
        pytest.skip("the proxy chooses among several decode instances, so nobody knows whose cache is asked")


@pytest.mark.usefixtures("same_decode")
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, marks=pytest.mark.asks(requests=build), id=build.__name__.strip("_"))
        for build in (_three_blocks_and_a_bit, _exactly_three_blocks)
    ],
)
async def test_same_prompt_twice(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    build: object, route: Route, asked: list[Request], handoff: Handoffs, judge: Judge, keeps_prefixes: bool
) -> None:
    """The second time decode has what the first one brought, and fetches only what is left."""
    (request,) = asked
    await judge(await handoff(request, route=route), "the first time")
    known = len(request.prompt) if keeps_prefixes else 0
    await judge(await handoff(request, route=route, cached=known), "the second time")


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, marks=pytest.mark.asks(requests=build), id=build.__name__.strip("_"))
        for build in (_three_blocks_and_a_bit, _exactly_three_blocks)
    ],
)
async def test_full_hit_on_decode(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    build: object,
    environment: Environment,
    asked: list[Request],
    decode: Endpoint,
    handoff: Handoffs,
    judge: Judge,
    keeps_prefixes: bool,
) -> None:
    """Decode computed the prompt itself before; prefill, which did not, must still be released."""
    (request,) = asked
    await decode.generate(request)
    known = len(request.prompt) if keeps_prefixes else 0
    await judge(await handoff(request, cached=known))


@pytest.mark.usefixtures("same_decode")
@pytest.mark.asks(requests=_and_its_extension)
async def test_partial_hit_on_decode(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    route: Route,
    environment: Environment,
    asked: list[Request],
    handoff: Handoffs,
    judge: Judge,
    keeps_prefixes: bool,
) -> None:
    """Decode knows the first blocks; the rest must land behind them, not over them."""
    first, extension = asked
    await judge(await handoff(first, route=route), "the prefix")
    block = environment.model.block_size
    known = len(first.prompt) // block * block if keeps_prefixes else 0
    await judge(await handoff(extension, route=route, cached=known), "the extension")


@pytest.fixture
def one_pair(route: Route, handoff: Handoffs, prefill: Endpoint, decode: Endpoint) -> Handoffs:
    """For tests of more than two requests: the client would go on to the next decode instance."""
    return handoff.over(prefill.name, decode.name) if route is Route.CLIENT else handoff


@pytest.mark.usefixtures("same_decode")
@pytest.mark.asks(requests=_and_its_branches)
async def test_branches_of_a_prompt_on_decode(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    route: Route,
    environment: Environment,
    asked: list[Request],
    one_pair: Handoffs,
    judge: Judge,
    keeps_prefixes: bool,
) -> None:
    """Each block must hold what belongs there, not only all blocks together.

    Attention does not care for the order of the blocks that it reads: with two whole ones exchanged the
    prompt that they came for is answered right. One that shares only the first of the two is not.
    """
    trunk, *branches = asked
    await judge(await one_pair(trunk, route=route), "the trunk")
    for known, branch in enumerate(branches, 1):
        cached = known * environment.model.block_size if keeps_prefixes else 0
        await judge(await one_pair(branch, route=route, cached=cached), f"shares {known} of its blocks")
