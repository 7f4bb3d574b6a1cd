"""The fixtures that tests use. `pytest --fixtures` shows their docstrings."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol

import httpx
import pytest
import pytest_asyncio

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.handoff import Route
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.client.shapes import Bounds
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import ENGINE_ROLES, Environment, ReferenceKind, Role
from pdtest.oracle.errors import enforce
from pdtest.oracle.gallery import Gallery
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.quiet import Quiet, seek_quiet
from pdtest.oracle.reference import BorrowedReference, CachedReference, MemberReference, Reference
from pdtest.oracle.verdict import Finding, Ruling, Verdict, conclude
from pdtest.oracle.volley import Volley
from pdtest.plugin.clusters import turn
from pdtest.plugin.mutants import mutant_of, planted
from pdtest.plugin.record import TestRecord
from pdtest.plugin.run import Run
from pdtest.plugin.stash import KILLING, RECORD
from pdtest.plugin.stores import store_of
from pdtest.plugin.wanted import (
    block_bytes,
    bounds_of,
    current_run,
    prompts_of,
    requests_of,
    requests_wanted,
)
from pdtest.stores.store import Store
from pdtest.wire.contract import Contract
from pdtest.wire.registry import contract_for


class Judge(Protocol):
    """The `judge` fixture."""

    async def __call__(self, volley: Volley, claim: str = "...") -> Verdict:
        """The verdict on ``volley``; raises Failed or Inconclusive for anything but a pass."""
        ...


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The running members of the environment under test, started once and shared by its tests.

    Tests that use it (or any fixture built on it) run once for each selected environment.
    """
    run = current_run(request.config)
    name: str = request.param
    yield run.cluster(name, lambda environment: requests_wanted(request.session, environment, run.seed))
    run.release(name)


@pytest.fixture
def pdtest_record(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[TestRecord]:
    """What this test does, kept for its report. Members that the test before ended live again."""
    run = current_run(request.config)
    with turn(run, cluster):
        run.revive(cluster)
        yield _recorded(request, run, cluster)


def _recorded(request: pytest.FixtureRequest, run: Run, cluster: Cluster) -> TestRecord:
    killing = request.config.stash[KILLING]
    if killing is not None:
        killing.plant(request.node, cluster)
    record = TestRecord(cluster=cluster, since=run.journal.mark())
    record.begin()
    request.node.stash[RECORD] = record
    return record


@pytest.fixture
def environment(cluster: Cluster) -> Environment:
    """What the environment file says, frozen."""
    return cluster.environment


@pytest.fixture
def contract(request: pytest.FixtureRequest, environment: Environment) -> Contract:
    """What the environment's connector puts on the wire."""
    own, killing = contract_for(environment.connector.contract), request.config.stash[KILLING]
    if killing is None:
        return own
    request.getfixturevalue("pdtest_record")  # which plants this test's bug
    return killing.contract(own)


@pytest.fixture
def prompts(request: pytest.FixtureRequest, environment: Environment) -> Prompts:
    """Prompts that no other request shares a prefix with, reproducible by --pdtest-seed."""
    return prompts_of(request.node, environment, current_run(request.config).seed)


@pytest.fixture
def bounds(environment: Environment) -> Bounds:
    """Block size, context length and EOS id of the engines under test."""
    return bounds_of(environment)


@pytest.fixture
def asked(request: pytest.FixtureRequest, environment: Environment) -> list[Request]:
    """The requests that the test declared with ``@pytest.mark.asks(requests=f)``.

    Declared requests can be answered by the colocated instance before anything else runs, on a box
    that has no chips left for it (``reference: {kind: recorded}``).
    """
    return requests_of(request.node, environment, current_run(request.config).seed)


@pytest.fixture
def gallery(request: pytest.FixtureRequest, environment: Environment, route: Route) -> Gallery:
    """The requests of this test and of its parameter siblings on this route, to be fired at once."""
    run, function = current_run(request.config), request.node.function
    mutant, alone = mutant_of(request.node), planted(request.node)
    key = (function.__module__, function.__qualname__, environment.name, route, request.node.name * alone)
    if key not in run.galleries:
        siblings = [
            item
            for item in request.session.items
            if isinstance(item, pytest.Function)
            and item.function is function
            and item.callspec.params["cluster"] == environment.name
            and item.callspec.params["route"] is route
            # Under a planted bug each by itself: one that notices it is enough.
            and (item is request.node if alone else mutant_of(item) == mutant)
        ]
        requests = [declared for item in siblings for declared in requests_of(item, environment, run.seed)]
        run.galleries[key] = Gallery.of(requests, route)
    return run.galleries[key]


@pytest_asyncio.fixture(loop_scope="function")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP connections of one test."""
    # A connection for each request. Servers close idle ones after a while, uvicorn and so vLLM after 5 s by
    # default, and one that is closed just as it is used again looks like a member that died. An expiry of our
    # own is no way out: httpcore 1.0 may close what it has handed out meanwhile (seen with 32 engines).
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, trust_env=False, verify=_certificates()) as client:
        yield client


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once, not anew for each test: 50 ms."""
    return httpx.create_ssl_context(trust_env=False)


@pytest.fixture
def endpoints(
    request: pytest.FixtureRequest, pdtest_record: TestRecord, http: httpx.AsyncClient
) -> Mapping[str, Endpoint]:
    """A client for each member that serves HTTP, by member name."""
    run, cluster = current_run(request.config), pdtest_record.cluster
    return {
        name: endpoint_of(cluster, name, http, on_event=run.tell, test=request.node.nodeid)
        for name, member in cluster.members.items()
        # One that has died since it was looked at: its requests say so better than its absence would.
        if member.alive or member.dead
    }


@pytest.fixture
def engines(cluster: Cluster, endpoints: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
    """Clients for the prefill and decode members, by member name."""
    roles = ENGINE_ROLES - {Role.COLOCATED}
    return {name: endpoint for name, endpoint in endpoints.items() if cluster.members[name].role in roles}


@pytest.fixture
def prefill(cluster: Cluster, endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """The first prefill member."""
    return endpoints[_first(cluster, Role.PREFILL)]


@pytest.fixture
def decode(cluster: Cluster, endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """The first decode member."""
    return endpoints[_first(cluster, Role.DECODE)]


def _first(cluster: Cluster, role: Role) -> str:
    """Of those that are not on standby."""
    return next(one.name for one in cluster.wanted if one.role is role)


@pytest.fixture
def proxy(cluster: Cluster, endpoints: Mapping[str, Endpoint]) -> Endpoint | None:
    """The proxy, or None in an environment without one."""
    members = [one.name for one in cluster.wanted if one.role is Role.PROXY]
    return endpoints[members[0]] if members else None


@pytest.fixture
def colocated(
    request: pytest.FixtureRequest, environment: Environment, endpoints: Mapping[str, Endpoint]
) -> Reference:
    """The colocated reference; ask it with ``await colocated.answer(request)``.

    A member of its own, another member asked plainly, or recorded answers: as the environment says.
    """
    run, reference = current_run(request.config), environment.reference
    if reference.kind is ReferenceKind.RECORDED:
        return run.recordings[environment.name].reference
    name = reference.member or next(iter(environment.members_with(Role.COLOCATED)))
    kind = BorrowedReference if reference.kind is ReferenceKind.BORROWED else MemberReference
    return CachedReference(kind(endpoints[name]), run.answers.setdefault(environment.name, {}))


@pytest.fixture
def handoff(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    request: pytest.FixtureRequest,
    cluster: Cluster,
    environment: Environment,
    contract: Contract,
    engines: Mapping[str, Endpoint],
    proxy: Endpoint | None,
    pdtest_record: TestRecord,
) -> Handoffs:
    """Sends requests from prefill to decode and gives a volley to judge.

    See `pdtest.oracle.handoffs.Handoffs`; ``route=Route.PROXY`` goes through the proxy.
    """
    run = current_run(request.config)
    return Handoffs(
        environment=environment,
        contract=contract,
        engines=engines,
        roles={name: cluster.members[name].role for name in engines},
        proxy=proxy,
        block_bytes=block_bytes(environment),
        witness=pdtest_record.handoffs.append,
        on_event=run.tell,
        test=request.node.nodeid,
    )


@pytest.fixture
def oracle(request: pytest.FixtureRequest, environment: Environment, colocated: Reference) -> Oracle:
    """Decides and does not raise: parity with the colocated reference, contract, evidence."""
    run = current_run(request.config)
    return Oracle(
        reference=colocated,
        tolerance=Tolerance.of(environment),
        block_size=environment.model.block_size,
        on_event=run.tell,
        test=request.node.nodeid,
        xray=run.radiographs[environment.name].findings,
    )


class SeekQuiet(Protocol):
    """The `quiet` fixture."""

    async def __call__(self, *names: str, within_s: float | None = None) -> Quiet:
        """How the members ``names`` (default: all engines) are, once idle or after ``within_s`` seconds."""
        ...


@pytest.fixture
def quiet(
    request: pytest.FixtureRequest, environment: Environment, engines: Mapping[str, Endpoint]
) -> SeekQuiet:
    """Waits until engines are idle, for at most the environment's ``release_s``.

    Use it as ``rule("blocks are given back", (await quiet()).findings())``.
    """
    run = current_run(request.config)

    async def seek(*names: str, within_s: float | None = None) -> Quiet:
        return await seek_quiet(
            {name: engines[name] for name in names or engines},
            environment.thresholds.release_s if within_s is None else within_s,
            on_event=run.tell,
            test=request.node.nodeid,
        )

    return seek


@pytest_asyncio.fixture(loop_scope="function")
async def store(request: pytest.FixtureRequest, pdtest_record: TestRecord) -> AsyncIterator[Store]:
    """The environment's store, and clients of it: processes of the test's own, closed with it.

    ``client = await store.client()``; see `pdtest.stores.store.Store`. Tests that use it run on environments
    with a store that clients can be made for.
    """
    run = current_run(request.config)
    async with store_of(pdtest_record.cluster, run, test=request.node.nodeid).in_use() as used:
        yield used


class Rule(Protocol):
    """The `rule` fixture."""

    def __call__(self, claim: str, findings: Sequence[Finding]) -> Verdict:
        """The verdict on ``findings``; raises like `judge`. No proof of a transfer is needed."""
        ...


@pytest.fixture
def rule(request: pytest.FixtureRequest, pdtest_record: TestRecord) -> Rule:
    """Ends the test unless its own findings pass, for claims that are not about an answer.

    Use it as ``rule("blocks are released", [Finding(...)])``.
    """
    run = current_run(request.config)

    def verdict(claim: str, findings: Sequence[Finding]) -> Verdict:
        __tracebackhide__ = True
        reached = conclude(claim, findings, needs_proof=False)
        keep(run, pdtest_record, request.node.nodeid, reached)
        return enforce(reached)

    return verdict


@pytest.fixture
def judge(request: pytest.FixtureRequest, oracle: Oracle, pdtest_record: TestRecord) -> Judge:
    """Ends the test unless a volley passes.

    Use it as ``await judge(volley)``.

    A pass needs answers equal to the colocated ones *and* proof that KV moved.
    """
    run = current_run(request.config)

    async def verdict(volley: Volley, claim: str = "equal to colocated, with KV moved") -> Verdict:
        __tracebackhide__ = True
        reached = await oracle.judge(volley, claim)
        if reached.ruling is Ruling.FAIL:
            pdtest_record.suspects += volley.handoffs
        keep(run, pdtest_record, request.node.nodeid, reached)
        return enforce(reached)

    return verdict


def keep(run: Run, record: TestRecord, test: str, verdict: Verdict) -> None:
    """Remember a verdict for the test's report and for verdicts.json."""
    record.verdicts.append(verdict)
    run.keep_verdict(test, verdict)
