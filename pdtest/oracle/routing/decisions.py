"""Is a router quick enough, and does it say when prefill has too much to do?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.client.metrics import Metrics
from pdtest.oracle.routing.occupied import load_of
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.routing.decisions import Bound

#: Decisions of which one in a hundred can be told.
_ENOUGH = 100
#: By instance, 1 while its load is more than it should be (embedded proxy).
OVERLOADED = "pdtest_proxy_overloaded"


def decision_findings(bound: Bound | None, limit_s: float) -> list[Finding]:
    """99 of 100 decisions are made within ``limit_s``."""
    check = "decision"
    if bound is None:
        text = "the router tells nothing of its decisions, and refused requests could not be measured"
        return [Finding(check=check, ruling=Ruling.INCONCLUSIVE, text=text)]
    text = f"{bound}; {limit_s * 1e3:g} ms are allowed"
    within = bound.within(limit_s) if bound.requests >= _ENOUGH else None
    ruling = {True: Ruling.PASS, False: Ruling.FAIL, None: Ruling.INCONCLUSIVE}[within]
    return [Finding(check=check, ruling=ruling, text=text)]


async def figures_of(router: Endpoint) -> Metrics | None:
    """What a router tells of itself; None where it tells nothing on its own port."""
    try:
        return await router.metrics()
    except RequestFailed:
        return None


def overloaded(metrics: Metrics) -> bool | None:
    """Whether the router says of any prefill instance that it has too much to do; None: it never does."""
    value = metrics.total(OVERLOADED, leg="prefill")
    return None if value is None else value > 0


@dataclass
class Looks:
    """How busy engines were found: at each look those with nothing to do are counted."""

    engines: Mapping[str, Endpoint]
    looks: int = 0
    idle: dict[str, int] = field(default_factory=dict)

    async def once(self) -> None:
        """One more look."""
        self.looks += 1
        for name, engine in self.engines.items():
            if not (await load_of(engine)).requests:
                self.idle[name] = self.idle.get(name, 0) + 1

    def busy(self, share: float) -> list[Finding]:
        """Nothing where some engine was busy in more than ``share`` of the looks, else an open question."""
        least = min(self.idle.get(name, 0) for name in self.engines)
        if self.looks and 1 - least / self.looks > share:
            return []
        text = f"of {self.looks} looks even the busiest had nothing to do in {least}"
        return [Finding(check="busy", ruling=Ruling.INCONCLUSIVE, text=text)]
