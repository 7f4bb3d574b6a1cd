"""An instance that comes is used, one that goes is avoided, and no request is lost over it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.oracle.routing.changes import Changes, gone_findings, used_findings
from pdtest.oracle.routing.router import Router
from pdtest.oracle.verdict import Finding
from pdtest.plugin.fixtures import Rule
from pdtest.plugin.routing import Joined, NewChanges
from pdtest.routing.membership import Refused

#: Requests that are under way at any moment.
_AT_ONCE = 4
#: Before something changes, and after it must have been noticed. Seconds.
_BEFORE_S, _AFTER_S = 0.3, 0.5


def _roles(router: Router, names: list[str]) -> dict[str, Role]:
    return {name: router.roles[name] for name in names}


async def test_one_that_is_added_is_used(
    cluster: Cluster, joined: Joined, new_changes: NewChanges, rule: Rule
) -> None:
    """Members on standby are started and added, under load: within `takes_up_s` each serves requests."""
    names = [
        name
        for name, one in cluster.environment.members.items()
        if one.standby and one.role is not Role.PROXY
    ]
    if not names:
        pytest.skip(f"{cluster.environment.name} has no members on standby")
    await asyncio.to_thread(cluster.start, names)
    try:
        findings = await _added(joined(*names), names, new_changes)
    finally:
        await asyncio.to_thread(cluster.stop, names)
    rule("added instances are used", findings)


async def _added(router: Router, names: list[str], new_changes: NewChanges) -> list[Finding]:
    changes, within_s = new_changes(router), router.settings.takes_up_s
    added: dict[str, float] = {}

    async def change() -> None:
        await asyncio.sleep(_BEFORE_S)
        for name, role in _roles(router, names).items():
            added[name] = time.monotonic()
            await changes.add(role, name)
        await asyncio.sleep(within_s)

    try:
        traffic = await router.steadily(
            changes.any_of(_roles(router, names).values()), at_once=_AT_ONCE, during=change
        )
    finally:
        for name in added:
            # One that was never taken up cannot be removed, and the findings say more than that.
            with suppress(Refused):
                await changes.remove(router.roles[name], name)
    roles = _roles(router, names)
    used = [used_findings(traffic, roles[name], name, at_s, within_s) for name, at_s in added.items()]
    return [*traffic.answered(), *traffic.counted(), *used]


async def test_one_that_is_removed_is_avoided(router: Router, changes: Changes, rule: Rule) -> None:
    """Under load: after `takes_up_s` it gets no request any more, and all are answered."""
    names = {router.names(role)[-1]: role for role in Role if len(router.names(role)) > 1}
    if not names:
        pytest.skip("there is one instance of each kind: none can be removed")
    within_s = router.settings.takes_up_s
    removed: dict[str, float] = {}

    async def change() -> None:
        await asyncio.sleep(_BEFORE_S)
        for name, role in names.items():
            await changes.remove(role, name)
            removed[name] = time.monotonic()
        await asyncio.sleep(within_s + _AFTER_S)

    try:
        traffic = await router.steadily(changes.any_of(names.values()), at_once=_AT_ONCE, during=change)
    finally:
        for name in removed:
            await changes.add(names[name], name)
    gone = [gone_findings(traffic, names[name], name, at_s, within_s) for name, at_s in removed.items()]
    for name in removed:
        await changes.used(names[name], name)
    rule("removed instances are avoided", [*traffic.answered(), *traffic.known(*names.values()), *gone])
