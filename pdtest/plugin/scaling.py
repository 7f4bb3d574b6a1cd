"""The fixture that has members come and go as the router wants."""

from __future__ import annotations

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.cluster.cluster import Cluster
from pdtest.plugin.wanted import current_run
from pdtest.routing.scaler import Scaler


@pytest.fixture
def scaler(request: pytest.FixtureRequest, cluster: Cluster, proxy: Endpoint | None) -> Scaler:
    """Starts members on standby while the router wants more, and ends them again: ``with scaler: ...``.

    See `pdtest.routing.scaler.Scaler`. Skips environments without a proxy and `routing.scaling`.
    """
    scaling = cluster.environment.routing.scaling
    if proxy is None or scaling is None:
        pytest.skip(f"{cluster.environment.name} declares no routing.scaling of a proxy")
    return Scaler(cluster, proxy.name, tell=current_run(request.config).tell)
