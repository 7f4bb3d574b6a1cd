"""The fixtures of suites/routing: the router under test, and what tests ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx
import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.prompts import Prompts
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Environment, Role
from pdtest.oracle.routing.changes import Changes
from pdtest.oracle.routing.lanes import Lanes
from pdtest.oracle.routing.router import Router
from pdtest.oracle.routing.traffic import Errands
from pdtest.plugin.wanted import current_run
from pdtest.routing.membership import Membership, membership_of
from pdtest.routing.registry import observer_for

#: Those that a router sends requests to.
ROUTED = (Role.PREFILL, Role.DECODE, Role.HYBRID)

#: Makes the router with clients of these members, too.
Joined = Callable[..., Router]


@pytest.fixture
def joined(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    request: pytest.FixtureRequest,
    cluster: Cluster,
    environment: Environment,
    proxy: Endpoint | None,
    engines: Mapping[str, Endpoint],
    http: httpx.AsyncClient,
) -> Joined:
    """The router under test, once members were started that had been on standby: ``joined("decode-3")``."""
    if proxy is None:
        pytest.skip(f"{environment.name} has no member with role: proxy")
    run, test = current_run(request.config), request.node.nodeid

    def join(*names: str) -> Router:
        more = {name: endpoint_of(cluster, name, http, on_event=run.tell, test=test) for name in names}
        known = {**engines, **more}
        return Router(
            endpoint=proxy,
            settings=environment.routing,
            roles={name: cluster.members[name].role for name in known},
            room=environment.model.max_model_len,
            observer=observer_for(environment, known),
        )

    return join


@pytest.fixture
def router(joined: Joined) -> Router:
    """Sends errands through the proxy, and says who served them.

    See `pdtest.oracle.routing.router.Router`. Skips environments without a proxy.
    """
    return joined()


@pytest.fixture
def lanes(router: Router, environment: Environment) -> Lanes:
    """Lengths of requests that take a certain way through the router."""
    return Lanes(
        settings=router.settings,
        hybrids=router.hybrids,
        room=router.room,
        block_size=environment.model.block_size,
    )


@pytest.fixture
def errands(prompts: Prompts) -> Errands:
    """Makes errands for the router."""
    return Errands(prompts=prompts)


@pytest.fixture
def membership(environment: Environment, router: Router) -> Membership:
    """Adds instances to the router and removes them. Skips routers that have no such interface."""
    found = membership_of(environment, router.endpoint)
    if found is None:
        pytest.skip(f"{environment.name}: no instance can be added to its router, or removed")
    return found


#: Makes `changes` for a router with other members.
NewChanges = Callable[[Router], Changes]


@pytest.fixture
def new_changes(cluster: Cluster, lanes: Lanes, membership: Membership, errands: Errands) -> NewChanges:
    """`changes` of a router that has got more members."""
    serving = {role: lane for role in ROUTED if (lane := lanes.serving(role)) is not None}

    def new(router: Router) -> Changes:
        if not membership.adds:
            pytest.skip(f"{router.endpoint.name}: instances can be removed from it, but not given back")
        return Changes(
            router=router,
            membership=membership,
            urls={name: cluster.members[name].url for name in router.roles},
            lanes=serving,
            errands=errands,
        )

    return new


@pytest.fixture
def changes(router: Router, new_changes: NewChanges) -> Changes:
    """Adds instances to the router and removes them. Skips routers that cannot take one back."""
    return new_changes(router)
