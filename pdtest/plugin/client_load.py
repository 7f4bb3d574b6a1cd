"""The fixture that puts a client's load on an environment, once for all tests that ask for it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.client.prompts import Prompts
from pdtest.cluster.cluster import Cluster
from pdtest.environment.load import Watch, WatchSource
from pdtest.environment.schema import Environment, Role
from pdtest.errors import PdtestError
from pdtest.events.load import LoadMeasured
from pdtest.oracle.client_findings import ClientFindings
from pdtest.oracle.client_load import ClientLoad, put_on
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.suspects import Whereabouts
from pdtest.plugin.stash import LOADS
from pdtest.plugin.terminal import released
from pdtest.plugin.wanted import current_run
from pdtest.report import client_load as report
from pdtest.telemetry.capacity import kv_tokens_by_rank
from pdtest.telemetry.follower import Follower
from pdtest.telemetry.log import LogSource
from pdtest.telemetry.prometheus import PrometheusSource
from pdtest.telemetry.source import Source

#: The `client_load` fixture.
Measure = Callable[[], Awaitable[ClientFindings]]


class NothingToFollow(PdtestError):
    """Statistics are to come from a log that nobody has named."""

    title = "no log to follow"


@pytest.fixture
def client_load(  # noqa: PLR0913, PLR0917 - fixtures are asked for by name
    request: pytest.FixtureRequest,
    cluster: Cluster,
    environment: Environment,
    handoff: Handoffs,
    engines: Mapping[str, Endpoint],
    prompts: Prompts,
) -> Measure:
    """Puts the environment's `load` on it, led by the client, and gives findings to rule on.

    Use it as ``rule("...", (await client_load()).answered())``. Done when the first test asks; the others of
    the same environment get what was measured then. Prints the table, writes client-load.json into the run's
    directory, and gives each test the numbers as properties. Skips where a client cannot lead both legs.
    """
    if handoff.contract.obstacle is not None:
        pytest.skip(f"{handoff.contract.name}: {handoff.contract.obstacle}")
    known = request.config.stash.setdefault(LOADS, {})

    async def measured() -> ClientFindings:
        if environment.name not in known:
            decodes = {name: engines[name] for name in engines if handoff.roles[name] is Role.DECODE}
            with ExitStack() as stack:
                sources = await _sources(stack, cluster, decodes, request.config.rootpath)
                load = await put_on(handoff, prompts, sources)
            known[environment.name] = load
            _publish(request, load)
        load = known[environment.name]
        # What the fixture `record_property` does, which warns that xunit2's schema has no place for them.
        request.node.user_properties.extend(load.numbers().items())
        return ClientFindings(load, whereabouts_of(cluster))

    return measured


async def _sources(
    stack: ExitStack, cluster: Cluster, decodes: Mapping[str, Endpoint], rootdir: Path
) -> dict[str, Source]:
    """What is watched of each decode member."""
    watch = cluster.environment.watch
    if watch.source is WatchSource.METRICS:
        return {name: PrometheusSource(endpoint) for name, endpoint in decodes.items()}
    return {
        name: LogSource(
            follower=stack.enter_context(Follower(path)),
            pattern=re.compile(watch.pattern),
            capacity=await _capacity(decodes[name]),
        )
        for name, path in logs_of(cluster, decodes, watch, rootdir)
    }


def logs_of(
    cluster: Cluster, decodes: Mapping[str, Endpoint], watch: Watch, rootdir: Path
) -> Iterator[tuple[str, Path]]:
    """The log to follow of each decode member, by its name. Raises NothingToFollow."""
    if watch.file is not None:
        # One file, one member: with several each has its own, which only those that were started here do.
        yield next(iter(decodes)), rootdir / watch.file
        return
    for name in decodes:
        if not cluster.members[name].launcher.starts:
            raise NothingToFollow(
                f"the log of '{name}' is not known: pdtest did not start it",
                expected="watch.file in the environment, or watch.source: metrics",
                seen="watch.source: log, and no watch.file",
                where=cluster.environment.name,
            )
        yield name, cluster.members[name].log.path


async def _capacity(decode: Endpoint) -> Mapping[str, int]:
    """Where it cannot be asked for, KV is counted in shares of the cache."""
    with suppress(RequestFailed):
        return kv_tokens_by_rank(await decode.metrics())
    return {}


def whereabouts_of(cluster: Cluster) -> dict[str, Whereabouts]:
    """Where each member answers, and where its log is."""
    named = cluster.environment.watch.file
    whereabouts = {}
    for name, member in cluster.members.items():
        log = named if member.role is Role.DECODE else None
        if member.launcher.starts:
            log = str(member.log.path)
        whereabouts[name] = Whereabouts(url=member.url, log=log)
    return whereabouts


def _publish(request: pytest.FixtureRequest, load: ClientLoad) -> None:
    run = current_run(request.config)
    path = run.directory / load.environment.name / "client-load.json"
    path.write_text(json.dumps(report.as_json(load), indent=1) + "\n", encoding="utf-8")
    run.tell(
        LoadMeasured(
            environment=load.environment.name,
            test=request.node.nodeid,
            numbers=load.numbers(),
            file=str(path.relative_to(run.directory)),
        )
    )
    with released(request.config) as console:
        if console is not None:
            console.out(f"{report.table(load)}\n{path}")
