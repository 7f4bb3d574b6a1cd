"""An adaptive router's decisions move with answers and with load, stay within bounds, and settle."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.environment.routing import ByPhase
from pdtest.environment.schema import Role
from pdtest.oracle.routing.adaptive import Middle, Probe
from pdtest.oracle.routing.findings import way_findings
from pdtest.oracle.routing.lanes import Lanes
from pdtest.oracle.routing.occupied import occupied
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands, Traffic
from pdtest.oracle.verdict import Finding
from pdtest.plugin.fixtures import Rule
from pdtest.routing.served import Path

#: Requests with answers of one length, between two looks at what came of them.
_FED = 6
#: Requests at once that keep each prefill instance busy.
_PER_PREFILL = 3
#: Tokens of an answer that is not waited for.
_LONG = 1000


@pytest.fixture
def middle(phase: ByPhase) -> Middle:
    """Lengths whose way depends on what the router has seen. Skips where lengths alone decide."""
    if phase.policy != "adaptive":
        pytest.skip("routing.phase.policy is not adaptive")
    return Middle(phase=phase)


async def test_answers_of_late_count(router: Router, middle: Middle, errands: Errands, rule: Rule) -> None:
    """After short answers a request is one-sided that may have a long one; after long answers it is not."""
    lanes = middle.by_answers()
    if lanes is None:
        pytest.skip("no short prompt has many tokens more than routing.phase.ratio")
    (lane, short, long), within_s = lanes, router.settings.settles_s
    probe = Probe(router, errands, lane)
    one_sided = Path.HYBRID if router.hybrids else Path.PREFILL
    findings = [
        await probe.until(one_sided, within_s, feed=[short] * _FED),
        await probe.until(Path.DECODE, within_s, feed=[long] * _FED),
    ]
    rule("answers of late count", [*findings, *_within_bounds(probe.seen, router)])


async def test_a_busy_prefill_is_spared(router: Router, middle: Middle, errands: Errands, rule: Rule) -> None:
    """While prefill has more to do than decode, prompts must be longer to be long; afterwards no more."""
    _need_hybrids(router)
    probe = Probe(router, errands, middle.above)
    within_s = router.settings.settles_s
    findings = [await probe.until(Path.PREFILL, within_s)]

    async def look() -> None:
        findings.append(await probe.until(Path.HYBRID, within_s))

    at_once = _PER_PREFILL * len(router.names(Role.PREFILL))
    load = await router.steadily(errands.endless(middle.long), at_once=at_once, during=look)
    findings.append(await probe.until(Path.PREFILL, within_s))
    rule("a busy prefill is spared", [*findings, *_within_bounds(load + probe.seen, router)])


async def test_a_busy_decode_is_spared(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    router: Router,
    middle: Middle,
    lanes: Lanes,
    engines: Mapping[str, Endpoint],
    errands: Errands,
    rule: Rule,
) -> None:
    """While decode has more to do than prefill, shorter prompts are long; afterwards no more."""
    _need_hybrids(router)
    probe, within_s = Probe(router, errands, middle.below), router.settings.settles_s
    decodes = {name: engines[name] for name in router.names(Role.DECODE)}
    long = lanes.occupying(prompt=8, answer=_LONG)
    if long is None:
        pytest.skip("no long answer is surely made by a decode instance, with these limits")
    findings = [await probe.until(Path.HYBRID, within_s)]
    async with occupied(router, decodes, errands.of(long, len(decodes))) as occupation:
        findings.append(await probe.until(Path.PREFILL, within_s))
    findings += occupation.lasted()
    findings.append(await probe.until(Path.HYBRID, within_s))
    rule("a busy decode is spared", [*findings, *_within_bounds(probe.seen, router)])


def _need_hybrids(router: Router) -> None:
    if not router.hybrids:
        pytest.skip("without hybrid instances one-sided prompts go one way, long or not")


def _within_bounds(traffic: Traffic, router: Router) -> list[Finding]:
    """Whatever it saw, an adaptive router keeps to its bounds."""
    return [*traffic.answered(), *way_findings(traffic, router.settings.phase, hybrids=router.hybrids)]
