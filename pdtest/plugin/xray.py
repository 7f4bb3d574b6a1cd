"""`--xray`: looks at the KV of requests, always or for tests that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

import httpx
import pytest
from anyio import create_task_group
from anyio.from_thread import start_blocking_portal

from pdtest.client.endpoints import endpoint_of
from pdtest.client.handoff import Handoff
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.xray import DIRECTORY, obstacles
from pdtest.events.record import Event
from pdtest.events.xray import XrayTaken
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.oracle.xray import xray_findings
from pdtest.plugin.record import TestRecord
from pdtest.plugin.terminal import start_up
from pdtest.report.paragraph import paragraph
from pdtest.report.replay import slug
from pdtest.report.xray import Film, develop
from pdtest.xray import Archive

#: Findings that the X-ray can say more about.
_ABOUT_KV = frozenset({"parity", "x-ray"})
#: Requests of a test that are repeated. A test of hundreds goes wrong early or by its number.
_REPEATED = 64


class XrayMode(StrEnum):
    """When engines are started with their X-ray on."""

    #: Once a test has failed on its answers: its requests are repeated, and engines go on that way.
    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Radiograph:
    """The X-ray of one environment in this run."""

    cluster: Cluster
    archive: Archive
    mode: XrayMode

    @classmethod
    def of(cls, cluster: Cluster, config: pytest.Config) -> Radiograph:
        """That of a cluster that has not started yet. It will start exposed where --xray=on."""
        mode = XrayMode(config.getoption("xray"))
        if mode is XrayMode.ON:
            cluster.expose()
        return cls(cluster=cluster, archive=Archive.from_now(cluster.directory / DIRECTORY), mode=mode)

    def findings(self, handoff: Handoff) -> Iterator[Finding]:
        """What a verdict rests on: only where --xray=on, or a test would depend on those before it."""
        if self.mode is XrayMode.ON:
            yield from xray_findings(self.archive, handoff)

    def explain(self, item: pytest.Item, record: TestRecord, tell: Callable[[Event], None]) -> str | None:
        """The section of a failed test; None where there is nothing to look at, or it is switched off.

        Restarts the engines if they are not exposed yet. Raises what that raises.
        """
        if self.mode is XrayMode.OFF or not wanted(record) or self.cluster.dead():
            return None
        hidden = obstacles(self.cluster.members.values())
        if hidden:
            return "\n".join(["its KV cannot be looked at:", *(f"  {reason}" for reason in hidden)])
        lines: list[str] = []
        repeated = not self.cluster.exposed
        if repeated:
            pairs = self._repeated(item, [one for one in record.sent if not one.tampered])
            again = sum(_alike(before, after) for before, after in pairs)
            lines += paragraph(
                "engines were restarted with their X-ray on, and the test's requests sent once more: "
                f"{again} of {len(pairs)} were answered as before"
            )
            suspects = {one.request_id for one in record.suspects}
            seen = [after for before, after in pairs if not suspects or before.request_id in suspects]
        else:
            seen = record.suspects or record.handoffs
        directory = self.cluster.directory / DIRECTORY / "pictures" / slug(item.nodeid)
        film = develop(self.archive, [handoff.request_id for handoff in seen], directory)
        tell(_event(item, film, repeated=repeated))
        return "\n".join([*lines, *film.lines])

    def _repeated(self, item: pytest.Item, handoffs: Sequence[Handoff]) -> list[tuple[Handoff, Handoff]]:
        """Before and after, with the engines exposed in between."""
        headline = f"restarting engines with X-ray, to repeat {item.name}"
        with start_up(item.config, self.cluster, headline) as watch:
            self.cluster.expose(watch=watch)
        sender = getattr(item, "funcargs", {}).get("handoff")
        if not isinstance(sender, Handoffs):
            return []
        with start_blocking_portal() as portal:
            return portal.call(_repeat, sender, self.cluster, handoffs[:_REPEATED])


def wanted(record: TestRecord) -> bool:
    """Whether a test failed for a reason that may lie in its KV."""
    return any(
        finding.ruling is Ruling.FAIL and finding.check in _ABOUT_KV
        for verdict in record.verdicts
        for finding in verdict.findings
    )


def _event(item: pytest.Item, film: Film, *, repeated: bool) -> XrayTaken:
    seen = [diagnosis.request for diagnosis in film.diagnoses]
    return XrayTaken(
        test=item.nodeid,
        repeated=repeated,
        requests=tuple(dict.fromkeys([*seen, *film.unseen])),
        equal=len(film.diagnoses) - len(film.differing),
        findings=tuple((diagnosis.request, diagnosis.lines) for diagnosis in film.differing),
        pictures=tuple(map(str, film.pictures)),
    )


async def _repeat(
    handoff: Handoffs, cluster: Cluster, before: Sequence[Handoff]
) -> list[tuple[Handoff, Handoff]]:
    """What was sent at once is sent at once again."""
    test = f"{handoff.test} (repeated)"
    pairs: list[tuple[Handoff, Handoff]] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as http:
        anew = replace(
            handoff,
            engines={
                name: endpoint_of(cluster, name, http, on_event=handoff.on_event, test=test)
                for name in handoff.engines
            },
            proxy=handoff.proxy
            and endpoint_of(cluster, handoff.proxy.name, http, on_event=handoff.on_event, test=test),
            witness=lambda _: None,
            test=test,
        )

        async def send(one: Handoff) -> None:
            pairs.append((one, await anew.send(one.request, one.route)))

        for wave in waves(before):
            async with create_task_group() as group:
                for one in wave:
                    group.start_soon(send, one)
    return pairs


def waves(handoffs: Sequence[Handoff]) -> Iterator[Sequence[Handoff]]:
    """Handoffs in the order in which they began, those together that were under way at the same time."""
    left = sorted(handoffs, key=lambda handoff: handoff.started_at)
    while left:
        end, count = _ended(left[0]), 1
        for handoff in islice(left, 1, None):
            if handoff.started_at >= end:
                break
            end, count = max(end, _ended(handoff)), count + 1
        yield left[:count]
        left = left[count:]


def _ended(handoff: Handoff) -> float:
    return handoff.started_at + (handoff.last.ended_s if handoff.last else 0.0)


def _alike(before: Handoff, after: Handoff) -> bool:
    """The same tokens, or an error again."""
    if before.answer is None or after.answer is None:
        return before.answer is after.answer
    seen = [[choice.token_ids for choice in answer.choices] for answer in (before.answer, after.answer)]
    return seen[0] == seen[1]
