from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping

import httpx
import pytest
import pytest_asyncio

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.prompts import Prompts
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.model import with_model
from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.catalogue import Catalogue
from pdtest.events import Journal
from pdtest.launch.registry import launchers
from pdtest.services.registry import services

#: Two routers over the same engines: each is seen by what it tells, and both by what the engines counted.
STACK = """
extends: embedded-2p2d
members:
  colocated: null
  router:
    role: proxy
    service: vllm-router
    args: { policy: round_robin, kv-connector: nixl, worker-startup-check-interval: 1, disable-retries: true }
reference: { kind: borrowed, member: decode }
"""


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two prefill and two decode engines, the embedded proxy and vllm-router in front of them."""
    directory = tmp_path_factory.mktemp("stack")
    file = directory / "stack.yaml"
    file.write_text(STACK)
    environments = request.config.rootpath / "environments"
    environment = Catalogue((directory, environments), vocabulary()).load(str(file))
    journal = Journal(directory / "events.jsonl")
    cluster = Cluster(
        with_model(environment, directory),
        directory,
        services=services(),
        launchers=launchers(),
        journal=journal,
        owner=f"test-{uuid.uuid4().hex}",
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        journal.close()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


@pytest.fixture
def endpoints(stack: Cluster, http: httpx.AsyncClient) -> Mapping[str, Endpoint]:
    return {name: endpoint_of(stack, name, http) for name in stack.members}


@pytest.fixture
def engines(stack: Cluster, endpoints: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
    return {name: one for name, one in endpoints.items() if stack.members[name].role != "proxy"}


@pytest.fixture
def prompts(request: pytest.FixtureRequest) -> Prompts:
    return Prompts(seed=request.node.nodeid, vocab_size=250)
