"""Requests of one session stay together: until it is over, and no longer."""

from __future__ import annotations

import asyncio

import pytest

from pdtest import Environment
from pdtest.environment.routing import Session, Spread
from pdtest.environment.schema import Role
from pdtest.oracle.routing.chance import enough
from pdtest.oracle.routing.changes import Changes
from pdtest.oracle.routing.findings import avoided_findings
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.sessions import Sessions, ended_findings, stay_findings
from pdtest.oracle.routing.traffic import Errands
from pdtest.plugin.fixtures import Rule

_SESSIONS = 6
_ROUNDS = 3


@pytest.fixture
def session(environment: Environment, router: Router) -> Session:
    """Skips where none are declared, or where there is nobody to move to."""
    if environment.routing.session is None:
        pytest.skip(f"{environment.name} declares no routing.session")
    if not router.both:
        pytest.skip(f"{environment.name} has one instance of each kind")
    return environment.routing.session


@pytest.fixture
def visits(session: Session, handed_over: Lane, errands: Errands) -> Sessions:
    """Makes requests of sessions that are no other test's."""
    return Sessions(session=session, lane=handed_over, errands=errands)


async def test_a_session_stays(router: Router, visits: Sessions, rule: Rule) -> None:
    """All requests of a session are served by the same instances; other sessions come in between."""
    names = visits.new(_SESSIONS)
    traffic = await router.at_once(*visits.of(names))
    for _ in range(_ROUNDS - 1):
        traffic += await router.at_once(*visits.of(names))
    unsure = traffic.known(*router.both)
    stayed = stay_findings(traffic, router.both, visits)
    rule("sessions stay", [*traffic.answered(), *(unsure or stayed)])


async def test_a_session_ends(router: Router, session: Session, visits: Sessions, rule: Rule) -> None:
    """One that was not heard of for `idle_s` starts anew, wherever a new one would."""
    # A hash has one place for each, whatever was before.
    chosen = {Role.PREFILL: router.settings.prefill, Role.DECODE: router.settings.decode}
    roles = [role for role in router.both if chosen[role] is not Spread.CONSISTENT_HASH]
    if not roles:
        pytest.skip("all instances are chosen by a hash: a new session is where the old one was")
    names = visits.new(max(enough(len(router.names(role))) for role in roles))
    first = await router.at_once(*visits.of(names))
    await asyncio.sleep(session.idle_s * 1.3)
    again = await router.at_once(*visits.of(names))
    traffic = first + again
    ended = ended_findings(first, again, roles, visits)
    rule("sessions end", [*traffic.answered(), *traffic.known(*roles), *ended])


async def test_a_session_leaves_with_its_instance(
    router: Router, visits: Sessions, changes: Changes, rule: Rule
) -> None:
    """Its instance is removed: its next request is served by another one."""
    role = router.both[-1]
    name = router.names(role)[-1]
    names = visits.new(_SESSIONS)
    before = await router.at_once(*visits.of(names))
    async with changes.without(role, name):
        after = await router.at_once(*visits.of(names))
    had = f"sessions, but was removed ({before.counts(role, (name,))[name]} of {len(names)})"
    gone = avoided_findings(after, role, [name], had)
    rule("sessions leave", [*(before + after).answered(), *after.known(role), *gone])
