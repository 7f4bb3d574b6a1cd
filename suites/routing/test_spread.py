"""Which instance gets a request: as `routing.prefill` and `routing.decode` say, and a fair share for each."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.environment.routing import Spread
from pdtest.environment.schema import Environment, Role
from pdtest.oracle.routing.caches import hit_findings
from pdtest.oracle.routing.chance import enough
from pdtest.oracle.routing.findings import (
    alone_findings,
    avoided_findings,
    choices_findings,
    home_findings,
    share_findings,
    turn_findings,
)
from pdtest.oracle.routing.lanes import Lane, Lanes
from pdtest.oracle.routing.occupied import fullest, occupied
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errand, Errands
from pdtest.plugin.fixtures import Rule

#: Tokens of a short prompt, and of an answer that keeps an instance busy for as long as a test looks.
_SHORT, _LONG = 8, 400
#: Requests that are sent while one instance is busy.
_LOOKS = 16
#: With two choices out of three, the idle instance is not always among them: so many tell this for certain.
_CHOICES = 48
#: Prompts that have their beginning in common with an earlier one, each with one of its own.
_FAMILIAR = 10

either = pytest.mark.parametrize("role", [Role.PREFILL, Role.DECODE], ids=str)
of_decode = pytest.mark.parametrize("role", [Role.DECODE], ids=str)


@either
async def test_instances_share(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role, spread: Spread, router: Router, handed_over: Lane, errands: Errands, rule: Rule
) -> None:
    """Each gets its share of requests that have nothing in common: in turn exactly, else as chance allows."""
    names = router.names(role)
    sent = errands.of(handed_over, enough(len(names)))
    in_turn = spread is Spread.ROUND_ROBIN
    traffic = await (router.in_turn(*sent) if in_turn else router.at_once(*sent))
    findings = [*traffic.answered(), *traffic.counted(), *share_findings(traffic.counts(role, names), spread)]
    if in_turn:
        findings += [*traffic.known(role), *turn_findings(traffic, role, len(names))]
    rule(f"{role} instances share the requests", findings)


@of_decode
async def test_the_busy_one_is_avoided(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    spread: Spread,
    router: Router,
    watched: Mapping[str, Endpoint],
    lanes: Lanes,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """While one instance has a long answer to make, requests go to the others."""
    if spread not in {Spread.LEAST_LOADED, Spread.POWER_OF_TWO}:
        pytest.skip(f"routing.{role} is {spread}, which does not look at who is busy")
    long = _occupying(lanes, _SHORT)
    async with occupied(router, watched, errands.of(long)) as occupation:
        traffic = await router.in_turn(*errands.of(handed_over, _LOOKS))
    busy = [name for name, requests in occupation.requests.items() if requests]
    given = avoided_findings(traffic, role, busy, "a long answer to make")
    unsure = [*occupation.lasted(), *traffic.known(role)]
    rule("the busy one is avoided", [*traffic.answered(), *(unsure or given)])


@of_decode
async def test_two_are_looked_at(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    spread: Spread,
    router: Router,
    watched: Mapping[str, Endpoint],
    lanes: Lanes,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """The only idle one of many gets all requests for which it is one of the two that are looked at."""
    names = router.names(role)
    if spread is not Spread.POWER_OF_TWO or len(names) < 3:
        pytest.skip(f"routing.{role} is {spread}, or there are no three of them")
    busy_ones = errands.of(_occupying(lanes, _SHORT), len(names) - 1)
    async with occupied(router, watched, busy_ones) as occupation:
        traffic = await router.in_turn(*errands.of(handed_over, _CHOICES))
    idle = [name for name, requests in occupation.requests.items() if not requests]
    unsure = [*occupation.lasted(), *traffic.known(role), *alone_findings(idle)]
    hits = sum(one.by(role) in idle for one in traffic.routed)
    what = f"requests went to {', '.join(idle)}, the only idle one of {len(names)}"
    chosen = choices_findings(hits, len(traffic.routed), 2 / len(names), what)
    rule("two are looked at", [*traffic.answered(), *(unsure or chosen)])


@of_decode
async def test_long_ones_count_for_more(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    spread: Spread,
    router: Router,
    watched: Mapping[str, Endpoint],
    lanes: Lanes,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """One instance has a long request, each other one several short ones, which are less KV: they get more.

    Who counts requests gives the short ones to all alike, and then the next ones to the one with the long
    request, too.
    """
    if spread is not Spread.KV_LENGTH:
        pytest.skip(f"routing.{role} is {spread}, which does not look at lengths")
    names = router.names(role)
    long, short = _occupying(lanes, router.room * 3 // 4), _occupying(lanes, _SHORT)
    busy_ones = [*errands.of(long), *errands.of(short, 3 * (len(names) - 1))]
    async with occupied(router, watched, busy_ones) as occupation:
        traffic = await router.in_turn(*errands.of(handed_over, _LOOKS))
    name, unsure = fullest(occupation)
    unsure += [*occupation.lasted(), *traffic.known(role)]
    given = avoided_findings(traffic, role, [name], "the most KV")
    rule("long ones count for more", [*traffic.answered(), *(unsure or given)])


@either
async def test_prompts_go_where_their_beginning_is(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    spread: Spread,
    environment: Environment,
    router: Router,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """A prompt whose first three quarters were computed on one instance goes there, while all are idle."""
    if spread is not Spread.CACHE_AWARE:
        pytest.skip(f"routing.{role} is {spread}, which does not look at caches")
    length = _shared(handed_over, environment.model.block_size)
    beginnings = [errands.prompts.tokens(length) for _ in range(enough(len(router.names(role))))]
    first = await router.at_once(*(errands.after(one, handed_over) for one in beginnings))
    again = await router.in_turn(*(errands.after(one, handed_over) for one in beginnings[:_FAMILIAR]))
    traffic = first + again
    of_request = [one.errand.request.prompt[:length] for one in traffic.routed]
    homes = home_findings(traffic, [role], of_request, "beginnings")
    findings = [*traffic.answered(), *traffic.known(role), *homes]
    rule(
        "prompts go where their beginning is",
        [*findings, *share_findings(first.counts(role, router.names(role)), spread)],
    )


@either
async def test_one_key_is_one_place(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    role: Role,
    spread: Spread,
    environment: Environment,
    router: Router,
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """What is hashed decides, and nothing else: the session, or where none are declared the prompt."""
    if spread is not Spread.CONSISTENT_HASH:
        pytest.skip(f"routing.{role} is {spread}, which hashes nothing")
    session = environment.routing.session
    names = router.names(role)
    keys = [errands.prompts.tokens(handed_over.prompt) for _ in range(enough(len(names)))]

    def keyed(key: tuple[int, ...]) -> Errand:
        if session is None:
            return errands.after(key, handed_over)
        return errands.after((), handed_over, headers={session.header: f"pdtest-{hash(key)}"})

    first = await router.at_once(*map(keyed, keys))
    traffic = first + await router.at_once(*map(keyed, reversed(keys)))
    of_request = [
        one.errand.request.prompt if session is None else one.errand.headers[session.header]
        for one in traffic.routed
    ]
    findings = [
        *traffic.answered(),
        *traffic.known(role),
        *home_findings(traffic, [role], of_request, "keys"),
    ]
    rule("one key is one place", [*findings, *share_findings(first.counts(role, names), spread)])


async def test_caches_are_hit(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    environment: Environment,
    router: Router,
    engines: Mapping[str, Endpoint],
    handed_over: Lane,
    errands: Errands,
    rule: Rule,
) -> None:
    """Where prompts repeat their beginnings, caches have `routing.hit_rate` of their tokens."""
    if environment.routing.prefill is None:
        pytest.skip(f"{environment.name} declares no routing.prefill")
    length = _shared(handed_over, environment.model.block_size)
    beginnings = [errands.prompts.tokens(length) for _ in range(len(router.names(Role.PREFILL)) + 2)]
    watched = {name: engines[name] for name in router.names(Role.PREFILL)}
    before = {name: await engine.metrics() for name, engine in watched.items()}
    traffic = await router.at_once(*(errands.after(one, handed_over) for one in beginnings))
    for _ in range(2):
        repeated = [errands.after(one, handed_over) for one in beginnings * 2]
        traffic += await router.at_once(*repeated)
    after = {name: await engine.metrics() for name, engine in watched.items()}
    rates = hit_findings(before, after, environment.routing.hit_rate)
    rule("caches are hit", [*traffic.answered(), *rates])


def _occupying(lanes: Lanes, prompt: int) -> Lane:
    """Lengths that keep a decode instance busy. Skips where no such request is surely made by one."""
    lane = lanes.occupying(prompt=prompt, answer=_LONG)
    if lane is None:
        pytest.skip("no long answer is surely made by a decode instance, with these limits")
    return lane


def _shared(lane: Lane, block_size: int) -> int:
    """Tokens of a beginning, in whole blocks. Skips where a prompt has none to share."""
    length = lane.prompt * 3 // 4 // block_size * block_size
    if not length:
        pytest.skip(f"prompts of {lane.prompt} tokens have no block of {block_size} to share")
    return length
