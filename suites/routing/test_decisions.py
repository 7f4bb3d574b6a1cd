"""A decision costs next to nothing, also while there is much to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Role
from pdtest.oracle.routing.decisions import decision_findings, figures_of
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands
from pdtest.plugin.fixtures import Rule
from pdtest.routing.decisions import HISTOGRAMS, Bound, decision_p99, measured

#: Requests under way at any moment, and for how long, seconds.
_AT_ONCE, _FOR_S = 16, 1.5
#: Of those that are measured from outside, where the router has no figures of its own.
_FROM_OUTSIDE = 100


async def test_decisions_are_quick(
    router: Router, engines: Mapping[str, Endpoint], handed_over: Lane, errands: Errands, rule: Rule
) -> None:
    """99 of 100 are made within `decision_p99_s`, under load: by the router's figures, else from outside."""
    before, bounds = await figures_of(router.endpoint), list[Bound | None]()
    asked = before is not None and any(name in before.families for name in HISTOGRAMS)

    async def look() -> None:
        if asked:
            await asyncio.sleep(_FOR_S)
            return
        engine, prompt = engines[router.names(Role.DECODE)[0]], errands.prompts.tokens(handed_over.prompt)
        bounds.append(await measured(router.endpoint, engine, requests=_FROM_OUTSIDE, prompt=prompt))

    traffic = await router.steadily(errands.endless(handed_over), at_once=_AT_ONCE, during=look)
    if asked and before is not None:
        bounds.append(decision_p99(before, await router.endpoint.metrics()))
    found = decision_findings(bounds[0], router.settings.decision_p99_s)
    rule("decisions are quick", [*traffic.answered(), *found])
