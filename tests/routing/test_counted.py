"""What counters of engines tell, and what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from pdtest.client.answer import Answer, Choice, Timings, Usage
from pdtest.client.endpoint import Endpoint
from pdtest.client.metrics import Metrics
from pdtest.environment.schema import Role
from pdtest.routing.counted import MetricsObserver
from pdtest.routing.served import Observation, Path

ROLES = {
    "p1": Role.PREFILL,
    "p2": Role.PREFILL,
    "d1": Role.DECODE,
    "d2": Role.DECODE,
    "h1": Role.HYBRID,
}


class Engine:
    """Counts what it is told, as vLLM does: by the reason for which a request ended."""

    def __init__(self, finished: Mapping[str, int] | None) -> None:
        self.finished = finished

    async def metrics(self, *_: str) -> Metrics:
        if self.finished is None:
            return Metrics.parse("# TYPE vllm:other counter\nvllm:other_total 1\n")
        lines = [
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}"}} {count}'
            for reason, count in self.finished.items()
        ]
        return Metrics.parse("\n".join(["# TYPE vllm:request_success counter", *lines]) + "\n")


def answer(choices: int = 1) -> Answer:
    return Answer(
        member="router",
        request_id="r",
        status=200,
        model="m",
        choices=tuple(Choice(index=at, text="", finish_reason="length") for at in range(choices)),
        usage=Usage(prompt_tokens=1, completion_tokens=1),
        timings=Timings(sent_at=0, first_byte_s=0, total_s=0),
    )


async def observed(
    counts: Mapping[str, int | None], answers: Sequence[Answer], *, aborted: int = 0, before: int = 3
) -> Observation:
    """What is seen of ``answers`` while the counters of engines rise by ``counts``."""
    engines = {name: Engine({"length": before}) for name in ROLES}

    async def send() -> Sequence[Answer]:
        for name, count in counts.items():
            own = None if count is None else {"length": before + count, "abort": aborted}
            engines[name].finished = own
        return answers

    clients = cast("Mapping[str, Endpoint]", engines)
    return await MetricsObserver(clients, ROLES, within_s=0.2).observe(send)


@pytest.mark.parametrize(
    ("counts", "served", "path"),
    [
        ({"p2": 1, "d1": 1}, ("p2", "d1"), Path.PREFILL),
        ({"d2": 1}, ("d2", "d2"), Path.DECODE),
        ({"h1": 1}, ("h1", "h1"), Path.HYBRID),
    ],
)
async def test_one_request_is_known(counts: Mapping[str, int], served: tuple[str, str], path: Path) -> None:
    seen = await observed(counts, [answer()])
    assert (seen.unknown, seen.uncounted) == ("", "")
    assert [(one.prefill, one.decode) for one in seen.served] == [served]
    assert seen.paths(ROLES) == [path]


@pytest.mark.parametrize(
    ("counts", "many", "prompts", "answers"),
    [
        ({"p1": 2, "p2": 1, "d1": 3}, 3, {"p1": 2, "p2": 1}, {"d1": 3}),
        ({"d1": 2, "d2": 1}, 3, {"d1": 2, "d2": 1}, {"d1": 2, "d2": 1}),
        ({"p1": 1, "d1": 3}, 3, {"p1": 1, "d1": 2}, {"d1": 3}),
        ({"p1": 1, "d1": 1, "h1": 2}, 3, {"p1": 1, "h1": 2}, {"d1": 1, "h1": 2}),
    ],
)
async def test_many_are_counted(
    counts: Mapping[str, int], many: int, prompts: Mapping[str, int], answers: Mapping[str, int]
) -> None:
    seen = await observed(counts, [answer()] * many)
    assert seen.uncounted == ""
    assert (seen.prefills, seen.decodes) == (prompts, answers)


@pytest.mark.parametrize(
    ("counts", "answers", "why"),
    [
        # Two decodes, of three answers one prompt their own: whose is not to be told.
        ({"p1": 2, "d1": 2, "d2": 1}, [answer()] * 3, "do not tell by which"),
        ({"p1": 1, "d1": 1}, [answer()] * 2, "engines counted 1"),
        ({"p1": 1, "d1": 2}, [answer()], "engines counted 2"),
        ({"p1": 2, "d1": 1}, [answer()], "prefill counted 2 prompts, decode 1 answers"),
        ({"p1": 1, "h1": 1}, [answer()], "prefill counted 1 prompts, decode 0 answers"),
        ({"p1": None, "d1": 1}, [answer()], "p1: no vllm:request_success_total"),
        ({"p1": -3, "d1": 1}, [answer()], "p1: no vllm:request_success_total, or it restarted"),
        ({"p1": 1, "d1": 2}, [answer(2)], "one by one"),
    ],
)
async def test_what_cannot_be_known_is_left_open(
    counts: Mapping[str, int | None], answers: Sequence[Answer], why: str
) -> None:
    seen = await observed(counts, answers)
    assert why in seen.unknown
    assert seen.uncounted == seen.unknown
    assert {(one.prefill, one.decode) for one in seen.served} == {(None, None)}


async def test_requests_that_were_given_up_are_no_answers() -> None:
    seen = await observed({"p1": 1, "d1": 1}, [answer()], aborted=2)
    assert [(one.prefill, one.decode) for one in seen.served] == [("p1", "d1")]


async def test_an_engine_that_has_counted_nothing_yet_is_no_gap() -> None:
    seen = await observed({"p1": 1, "d1": 1}, [answer()], before=0)
    assert seen.unknown == ""
