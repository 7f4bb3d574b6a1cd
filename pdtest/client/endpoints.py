"""Clients for the members of a running cluster."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from pdtest.client.endpoint import Endpoint
from pdtest.cluster.cluster import Cluster
from pdtest.events.record import Event


def endpoint_of(
    cluster: Cluster,
    name: str,
    http: httpx.AsyncClient,
    *,
    on_event: Callable[[Event], None] | None = None,
    test: str = "",
) -> Endpoint:
    """A client for one member. Make it anew after a restart: it watches one generation's life."""
    member = cluster.members[name]
    return Endpoint(
        name,
        member.url,
        model=cluster.environment.model.name,
        http=http,
        ports=member.ports,
        api_key=member.api_key,
        timeout_s=cluster.environment.thresholds.request_timeout_s,
        died=member.died,
        on_event=on_event,
        test=test,
    )
