from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import Call, Unreachable
from pdtest.client.metrics import Metrics
from pdtest.events import Event, QuietSought
from pdtest.oracle.quiet import Quiet, seek_quiet
from pdtest.oracle.verdict import Ruling

IDLE = (0.0, 0, 0)


@dataclass
class Engine:
    """Has these (usage, running, waiting), one after the other; the last for good. None: no answer."""

    seen: list[tuple[float, int, int] | None] = field(default_factory=lambda: [IDLE])
    exports: bool = True

    async def metrics(self, *_names: str) -> Metrics:
        seen = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        if seen is None:
            raise Unreachable(Call(member="x", method="GET", url="http://x", timeout_s=1), reason="gone")
        usage, running, waiting = seen
        text = (
            f"vllm:kv_cache_usage_perc {usage}\nvllm:num_requests_running {running}\n"
            f"vllm:num_requests_waiting {waiting}\n"
        )
        return Metrics.parse(text if self.exports else "")


async def sought(within_s: float = 5.0, **engines: Engine) -> tuple[Quiet, list[Event]]:
    told: list[Event] = []
    endpoints = {name: cast("Endpoint", engine) for name, engine in engines.items()}
    return await seek_quiet(endpoints, within_s, on_event=told.append, test="t"), told


async def test_it_waits_until_all_are_idle_at_once() -> None:
    prefill = Engine([(0.5, 0, 0), IDLE])
    decode = Engine([(0.0, 1, 0), (0.0, 0, 2), None, IDLE])

    quiet, told = await sought(prefill=prefill, decode=decode)

    assert quiet.reached
    assert {finding.ruling for finding in quiet.findings()} == {Ruling.PASS}
    assert [event.member for event in told if isinstance(event, QuietSought)] == ["prefill", "decode"]


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ((0.25, 0, 0), "KV in use: 0.25"),
        ((0.0, 3, 0), "running: 3"),
        ((0.0, 0, 1), "waiting: 1"),
        (None, "no answer"),
    ],
)
async def test_what_is_left_after_the_time_fails_and_is_named(
    seen: tuple[float, int, int] | None, said: str
) -> None:
    quiet, [told] = await sought(0.05, decode=Engine([seen]))

    assert not quiet.reached
    [finding] = quiet.findings()
    assert finding.ruling is Ruling.FAIL
    assert finding.text == f"decode is not idle after 0.05 s: {said}"
    assert isinstance(told, QuietSought)
    assert told.left == said


async def test_an_engine_that_exports_nothing_leaves_the_question_open() -> None:
    quiet, _ = await sought(0.05, decode=Engine(exports=False))
    [finding] = quiet.findings()
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "does not export vllm:kv_cache_usage_perc" in finding.text
