"""The shares of a workload that take each way: worked out from its plan, and held against what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pdtest.client.metrics import Metrics
from pdtest.environment.routing import ByPhase
from pdtest.load.ask import Ask
from pdtest.oracle.routing.expected import Lengths, expected
from pdtest.oracle.routing.traffic import Errand, Traffic
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.served import Path

#: Requests by the way that they took, as the embedded proxy counts them.
_ROUTED = "pdtest_proxy_routed_total"


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many requests of a plan take a way: at least those that must, at most those that may."""

    path: Path
    must: int
    may: int

    def __str__(self) -> str:
        return str(self.must) if self.must == self.may else f"{self.must} to {self.may}"


def shares_of(asks: Sequence[Ask], phase: ByPhase, *, hybrids: bool) -> list[Share]:
    """What the lengths of a plan's requests demand."""
    ways = [expected(phase, Lengths.of(ask.request), hybrids=hybrids) for ask in asks]
    return [
        Share(path=path, must=sum(way == {path} for way in ways), may=sum(path in way for way in ways))
        for path in Path
    ]


def errands_of(asks: Sequence[Ask]) -> list[Errand]:
    """A plan's requests, at the times at which they are due; all at once in a closed loop."""
    return [Errand(request=ask.request, due_s=ask.due_s or 0.0) for ask in asks]


def workload_findings(traffic: Traffic, shares: Sequence[Share]) -> list[Finding]:
    """As many requests took each way as the plan has for it."""
    taken = Counter(one.path for one in traffic.routed)
    return [_share(share, taken[share.path], len(traffic.routed)) for share in shares if share.may]


def metric_findings(traffic: Traffic, before: Metrics | None, after: Metrics | None) -> list[Finding]:
    """The router's own figures are those that were observed; nothing where it has none."""
    if before is None or after is None or after.total(_ROUTED) is None:
        return []
    counted = before.delta(after).by(_ROUTED, "path")
    taken = Counter(one.path for one in traffic.routed)
    wrong = [
        f"{path}: {counted.get(path, 0):g}, observed {taken[path]}"
        for path in Path
        if counted.get(path, 0) != taken[path]
    ]
    told = ", ".join(f"{path} {taken[path]}" for path in Path)
    text = f"{_ROUTED}: {'; '.join(wrong) or told}"
    return [Finding(check="figures", ruling=Ruling.FAIL if wrong else Ruling.PASS, text=text)]


def _share(share: Share, taken: int, requests: int) -> Finding:
    good = share.must <= taken <= share.may
    text = f"{taken} of {requests} requests took {share.path}, {share} must by their lengths"
    return Finding(check="share", ruling=Ruling.PASS if good else Ruling.FAIL, text=text)
