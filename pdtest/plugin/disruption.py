"""The fixtures of tests that break something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

import httpx
import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.prompts import Prompts
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Environment, Role
from pdtest.events.fault import Recovered
from pdtest.events.record import Event
from pdtest.faults.fault import Fault, Refused, Seen, inflicted
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.recovery import Drill
from pdtest.plugin.wanted import current_run


class Inflict(Protocol):
    """The `inflict` fixture."""

    def __call__(self, fault: Fault) -> AbstractAsyncContextManager[Seen]:
        """The fault is in effect, and was seen to be, while the block runs."""
        ...


@pytest.fixture
def inflict(request: pytest.FixtureRequest) -> Inflict:
    """Breaks something for as long as a block runs.

    Use it as ``async with inflict(Freeze(cluster, "prefill")) as seen:``. A fault that cannot be seen to have
    taken effect ends the test as inconclusive; one that cannot be inflicted here skips it.
    """
    run = current_run(request.config)

    @asynccontextmanager
    async def attempt(fault: Fault) -> AsyncIterator[Seen]:
        try:
            async with inflicted(fault, tell=run.tell, test=request.node.nodeid) as seen:
                yield seen
        except Refused as error:
            pytest.skip(str(error))

    return attempt


@pytest.fixture
def renewed(
    request: pytest.FixtureRequest, cluster: Cluster, handoff: Handoffs, http: httpx.AsyncClient
) -> Callable[[], Handoffs]:
    """`handoff` with clients made anew: a client watches one life of a member, and sees it end only."""
    run, test = current_run(request.config), request.node.nodeid

    def clients(*roles: Role) -> dict[str, Endpoint]:
        names = [one.name for role in roles for one in cluster.wanted if one.role is role]
        return {name: endpoint_of(cluster, name, http, on_event=run.tell, test=test) for name in names}

    def renew() -> Handoffs:
        proxy = next(iter(clients(Role.PROXY).values()), None)
        return replace(handoff, engines=clients(Role.PREFILL, Role.DECODE), proxy=proxy)

    return renew


class NewDrill(Protocol):
    """The `drill` fixture."""

    def __call__(self, name: str) -> Drill:
        """For the scenario called ``name``."""
        ...


@pytest.fixture
def drill(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    request: pytest.FixtureRequest,
    environment: Environment,
    renewed: Callable[[], Handoffs],
    oracle: Oracle,
    inflict: Inflict,
    prompts: Prompts,
) -> NewDrill:
    """Breaks something under a request, and sees to it that everything is well again afterwards."""
    run = current_run(request.config)

    def tell(event: Event) -> None:
        run.tell(event)
        if isinstance(event, Recovered):
            run.recoveries.append(event)
            # Not by `record_property`, which warns of JUnit's newer dialect. Its readers take properties.
            request.node.user_properties.append(("recovery_s", f"{event.took_s:.3f}"))

    def new(name: str) -> Drill:
        return Drill(
            name=name,
            environment=environment,
            renew=renewed,
            oracle=oracle,
            inflict=inflict,
            prompts=prompts,
            tell=tell,
            test=request.node.nodeid,
        )

    return new
