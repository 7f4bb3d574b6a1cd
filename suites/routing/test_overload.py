"""Prefill that has more to do than it can is signalled, and only then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Role
from pdtest.oracle.routing.decisions import OVERLOADED, Looks, figures_of, overloaded
from pdtest.oracle.routing.lanes import Lanes
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.plugin.fixtures import Rule

#: Prompts that wait at each prefill instance.
_PER_PREFILL = 3
#: Until it is signalled, at most; and between two looks. Seconds.
_WITHIN_S, _EVERY_S = 10.0, 0.1


async def test_an_overloaded_prefill_is_signalled(
    router: Router, engines: Mapping[str, Endpoint], lanes: Lanes, errands: Errands, rule: Rule
) -> None:
    """While a prefill instance is busier than `overload`: not before that, nor some time after it."""
    lane = lanes.handed_over(router.room * 3 // 4)
    if lane is None:
        pytest.skip("no long prompt is surely handed over, with these limits")
    prefills = router.names(Role.PREFILL)
    looks = Looks({name: engines[name] for name in prefills})
    findings = [await _says(router, expected=False)]

    async def look() -> None:
        findings.append(await _says(router, expected=True, looks=looks))

    at_once = _PER_PREFILL * len(prefills)
    traffic = await router.steadily(errands.endless(lane), at_once=at_once, during=look)
    findings.append(await _says(router, expected=False))
    unsure = looks.busy(router.settings.overload) if findings[1].ruling is Ruling.FAIL else []
    rule("overload is signalled", [*traffic.answered(), *(unsure or findings)])


async def _says(router: Router, *, expected: bool, looks: Looks | None = None) -> Finding:
    """Waits until the router says so."""
    began = time.monotonic()
    what = "overloaded" if expected else "not overloaded"
    while True:
        metrics = await figures_of(router.endpoint)
        said = None if metrics is None else overloaded(metrics)
        took = time.monotonic() - began
        if said is None:
            text = f"the router exports no {OVERLOADED}"
            return Finding(check="overload", ruling=Ruling.INCONCLUSIVE, text=text)
        if said is expected or took > _WITHIN_S:
            text = f"prefill was said to be {what} after {took:.1f} s"
            missed = f"prefill was not said to be {what} within {_WITHIN_S:g} s"
            return Finding(
                check="overload",
                ruling=Ruling.PASS if said is expected else Ruling.FAIL,
                text=text if said is expected else missed,
            )
        if looks is not None:
            await looks.once()
        await asyncio.sleep(_EVERY_S)
