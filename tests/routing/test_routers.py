"""Two real routers over the same engines: what they say of themselves, and what the engines counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.routing.addresses import location
from pdtest.routing.counted import MetricsObserver
from pdtest.routing.decisions import decision_p99, measured
from pdtest.routing.membership import Membership, Refused, membership_of
from pdtest.routing.observer import Observer
from pdtest.routing.served import Observation, Path
from pdtest.routing.told import HeaderObserver, RequestIdObserver

#: Each router, and what it tells of itself.
TELLS = {"proxy": HeaderObserver, "router": RequestIdObserver}
ROUTERS = pytest.mark.parametrize("router", TELLS)


@pytest.fixture
def roles(stack: Cluster, engines: Mapping[str, Endpoint]) -> Mapping[str, Role]:
    return {name: stack.members[name].role for name in engines}


@pytest.fixture
def counted(engines: Mapping[str, Endpoint], roles: Mapping[str, Role]) -> MetricsObserver:
    return MetricsObserver(engines, roles, within_s=10)


async def both(told: Observer, counted: Observer, endpoint: Endpoint, *asked: Request) -> list[Observation]:
    """What two observers say of the same requests, sent one after the other."""
    seen: list[Observation] = []

    async def send() -> Sequence[Answer]:
        return [await endpoint.generate(request) for request in asked]

    async def tell() -> Sequence[Answer]:
        answers: list[Answer] = []

        async def sending() -> Sequence[Answer]:
            answers.extend(await send())
            return answers

        seen.append(await told.observe(sending))
        return answers

    seen.append(await counted.observe(tell))
    return seen


@ROUTERS
async def test_one_request_is_where_its_answer_says(  # noqa: PLR0913, PLR0917
    router: str,
    endpoints: Mapping[str, Endpoint],
    engines: Mapping[str, Endpoint],
    roles: Mapping[str, Role],
    counted: MetricsObserver,
    prompts: Prompts,
) -> None:
    for length in (5, 40, 41):
        request = Request.tokens(prompts.tokens(length), max_tokens=3)
        told, truth = await both(TELLS[router](engines), counted, endpoints[router], request)
        assert told.unknown == truth.unknown == ""
        assert told.served == truth.served
        assert truth.paths(roles) == [Path.PREFILL]
        assert roles[str(truth.served[0].prefill)] is Role.PREFILL


@ROUTERS
@pytest.mark.parametrize("stream", [False, True])
async def test_counts_of_many(  # noqa: PLR0913, PLR0917
    router: str,
    stream: bool,
    endpoints: Mapping[str, Endpoint],
    engines: Mapping[str, Endpoint],
    counted: MetricsObserver,
    prompts: Prompts,
) -> None:
    asked = [Request.tokens(prompts.tokens(20 + number), max_tokens=2, stream=stream) for number in range(7)]
    told, truth = await both(TELLS[router](engines), counted, endpoints[router], *asked)
    assert told.unknown == told.uncounted == truth.uncounted == ""
    assert told.prefills == truth.prefills
    assert told.decodes == truth.decodes
    assert sorted(truth.prefills.values()) == sorted(truth.decodes.values()) == [3, 4]
    assert [one.request_id for one in told.served] == [one.request_id for one in truth.served]
    # Seven requests on two instances of each side: which went where is not to be told from counters.
    assert "do not tell requests apart" in truth.unknown
    assert {(one.prefill, one.decode) for one in truth.served} == {(None, None)}


@ROUTERS
async def test_requests_at_once(
    router: str,
    endpoints: Mapping[str, Endpoint],
    engines: Mapping[str, Endpoint],
    counted: MetricsObserver,
    prompts: Prompts,
) -> None:
    asked = [Request.tokens(prompts.tokens(30), max_tokens=2) for _ in range(6)]

    async def send() -> Sequence[Answer]:
        return await asyncio.gather(*(endpoints[router].generate(request) for request in asked))

    observed: list[Observation] = []

    async def tell() -> Sequence[Answer]:
        answers = await send()

        async def given() -> Sequence[Answer]:
            return answers

        observed.append(await TELLS[router](engines).observe(given))
        return answers

    truth = await counted.observe(tell)
    (told,) = observed
    assert told.prefills == truth.prefills
    assert told.decodes == truth.decodes
    assert truth.prefills.total() == truth.decodes.total() == len(asked)


async def test_a_router_that_says_nothing_leaves_it_open(
    endpoints: Mapping[str, Endpoint], engines: Mapping[str, Endpoint], prompts: Prompts
) -> None:
    async def send() -> Sequence[Answer]:
        return [await endpoints["router"].generate(Request.tokens(prompts.tokens(9), max_tokens=1))]

    seen = await HeaderObserver(engines).observe(send)
    assert (seen.served[0].prefill, seen.served[0].decode) == (None, None)
    assert "name no prefill instance in x-pdtest-prefill" in seen.unknown
    assert seen.prefills == seen.decodes == Counter()


async def test_who_answers_without_a_handoff_is_found(
    endpoints: Mapping[str, Endpoint],
    roles: Mapping[str, Role],
    counted: MetricsObserver,
    prompts: Prompts,
) -> None:
    async def send() -> Sequence[Answer]:
        return [await endpoints["decode-2"].generate(Request.tokens(prompts.tokens(9), max_tokens=2))]

    seen = await counted.observe(send)
    assert seen.unknown == seen.uncounted == ""
    assert (seen.served[0].prefill, seen.served[0].decode) == ("decode-2", "decode-2")
    assert seen.paths(roles) == [Path.DECODE]


async def test_an_engine_that_somebody_else_uses_makes_counts_unknown(
    endpoints: Mapping[str, Endpoint], counted: MetricsObserver, prompts: Prompts
) -> None:
    request = Request.tokens(prompts.tokens(9), max_tokens=1)

    async def send() -> Sequence[Answer]:
        await endpoints["decode"].generate(request)
        return [await endpoints["proxy"].generate(request)]

    seen = await counted.observe(send)
    assert "1 requests were answered, and engines counted 2" in seen.unknown
    assert seen.uncounted == seen.unknown


@ROUTERS
async def test_refusals_measure_routers_from_outside(
    router: str, endpoints: Mapping[str, Endpoint], prompts: Prompts
) -> None:
    bound = await measured(endpoints[router], endpoints["prefill"], requests=20, prompt=prompts.tokens(20))
    assert bound is not None
    assert bound.requests == 20
    assert 0 < bound.at_most_s < 10
    # Refusals do no harm: both instances of each side are still used.
    request = Request.tokens(prompts.tokens(8), max_tokens=1)
    assert {(await endpoints[router].generate(request)).status for _ in range(4)} == {200}


async def test_the_embedded_proxy_tells_its_own(endpoints: Mapping[str, Endpoint], prompts: Prompts) -> None:
    before = await endpoints["proxy"].metrics()
    for _ in range(3):
        await endpoints["proxy"].generate(Request.tokens(prompts.tokens(8), max_tokens=1))
    bound = decision_p99(before, await endpoints["proxy"].metrics())
    assert bound is not None
    assert bound.requests == 3
    assert bound.source in str(bound)


def membership(stack: Cluster, router: Endpoint) -> Membership:
    found = membership_of(stack.environment, router)
    assert found is not None
    return found


def everybody(stack: Cluster) -> dict[Role, set[str]]:
    roles = (Role.PREFILL, Role.DECODE)
    return {role: {location(one.url) for one in stack.with_role(role)} for role in roles}


async def served_by(router: Endpoint, observer: Observer, prompts: Prompts, many: int) -> Counter[str]:
    async def send() -> Sequence[Answer]:
        requests = [Request.tokens(prompts.tokens(8), max_tokens=1) for _ in range(many)]
        return [await router.generate(request) for request in requests]

    return (await observer.observe(send)).decodes


async def test_who_is_removed_gets_nothing_until_it_is_back(
    stack: Cluster, endpoints: Mapping[str, Endpoint], counted: MetricsObserver, prompts: Prompts
) -> None:
    proxy, gone = endpoints["proxy"], endpoints["decode-2"].url
    members = membership(stack, proxy)
    assert members.adds
    assert {role: set(known) for role, known in (await members.listed()).items() if known} == everybody(stack)
    await members.remove(Role.DECODE, gone)
    assert location(gone) not in (await members.listed())[Role.DECODE]
    assert await served_by(proxy, counted, prompts, 4) == {"decode": 4}
    with pytest.raises(Refused, match="there is no decode instance"):
        await members.remove(Role.DECODE, gone)
    await members.add(Role.DECODE, gone)
    async with asyncio.timeout(20):
        while "decode-2" not in await served_by(proxy, counted, prompts, 2):
            pass  # the proxy asks for its health first


async def test_vllm_router_lets_go_and_takes_nobody_back(
    stack: Cluster, endpoints: Mapping[str, Endpoint], counted: MetricsObserver, prompts: Prompts
) -> None:
    router, gone = endpoints["router"], endpoints["decode-2"].url
    members = membership(stack, router)
    assert (members.adds, members.removes) == (False, True)
    assert {role: set(known) for role, known in (await members.listed()).items()} == everybody(stack)
    try:
        await members.remove(Role.DECODE, gone)
        assert (await members.listed())[Role.DECODE] == (location(endpoints["decode"].url),)
        assert await served_by(router, counted, prompts, 4) == {"decode": 4}
        with pytest.raises(Refused, match="did not do"):
            await members.remove(Role.DECODE, gone)
        with pytest.raises(Refused, match="add_decode_server"):
            await members.add(Role.DECODE, gone)
    finally:
        await asyncio.to_thread(stack.restart, "router")
    assert {role: set(known) for role, known in (await members.listed()).items()} == everybody(stack)
