"""Requests take the way that their lengths demand: at the limits, near them, and in every form."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.routing import ByPhase
from pdtest.oracle.routing.findings import way_findings
from pdtest.oracle.routing.lanes import Lane, Lanes
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errand, Errands
from pdtest.plugin.fixtures import Rule

Take = Callable[[str, Sequence[Errand]], Awaitable[None]]

#: Of the lengths that are drawn.
_MANY = 16


@pytest.fixture
def take(router: Router, phase: ByPhase, rule: Rule) -> Take:
    """Sends errands, all at once, and rules on the ways that they took."""

    async def send(claim: str, errands: Sequence[Errand]) -> None:
        if not errands:
            pytest.skip("no request near these limits fits into model.max_model_len")
        traffic = await router.at_once(*errands)
        rule(claim, [*traffic.answered(), *way_findings(traffic, phase, hybrids=router.hybrids)])

    return send


def _each(errands: Errands, lanes: Sequence[Lane]) -> list[Errand]:
    return [errand for lane in lanes for errand in errands.of(lane)]


async def test_around_the_threshold(take: Take, phase: ByPhase, lanes: Lanes, errands: Errands) -> None:
    """A token below the threshold, at it, above it."""
    await take("the threshold decides", _each(errands, lanes.around_the_threshold(phase)))


async def test_around_the_ratio(take: Take, phase: ByPhase, lanes: Lanes, errands: Errands) -> None:
    """A token below the ratio, at it, above it; of short prompts and of long ones."""
    await take("the ratio decides", _each(errands, lanes.around_the_ratio(phase)))


async def test_any_lengths(
    take: Take, phase: ByPhase, lanes: Lanes, errands: Errands, prompts: Prompts
) -> None:
    """Lengths drawn near both limits; another draw with another --pdtest-seed."""
    drawn = lanes.drawn(phase, _MANY, random.Random(prompts.seed))  # noqa: S311 - reproducible on purpose
    await take("lengths decide", _each(errands, drawn))


@pytest.mark.parametrize("form", ["stream", "text", "chat"])
async def test_every_form(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    form: str, take: Take, phase: ByPhase, lanes: Lanes, errands: Errands, prompts: Prompts
) -> None:
    """Streams are counted as answers at once are; of texts only what no estimate can get wrong is asked."""
    if form == "stream":
        near = lanes.around_the_threshold(phase)
        await take(
            "the form does not matter", [one for lane in near for one in errands.of(lane, stream=True)]
        )
        return
    make = Request.chat if form == "chat" else Request.text
    requests = [
        make(prompts.text(characters)[:characters], max_tokens=answer, ignore_eos=True, logprobs=None)
        for characters, answer in lanes.texts(phase)
    ]
    await take("the form does not matter", [Errand(request=request) for request in requests])
