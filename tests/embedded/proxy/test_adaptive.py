"""Decisions that go by what there is to do and by what answers were of late."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.adaptive import Adaptive
from pdtest.embedded.proxy.routing.answers import RecentAnswers
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.routing.pressure import Pressure
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.usage import Reading, Usage

from .conftest import Workshop
from .doubles import DONE, answers, event, prefills, streams, until
from .test_phases import body, served

SHARES = st.floats(0, 1)
STEP_S = 0.1


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def rule(clock: Clock | None = None) -> tuple[Adaptive, Pressure, RecentAnswers]:
    pressure, recent = Pressure(), RecentAnswers(5, clock=clock or Clock())
    adaptive = Adaptive(input_threshold=100, ratio=4, flex=2, pressure=pressure, answers=recent)
    return adaptive, pressure, recent


def asks(prompt_tokens: int, most: int) -> ClientRequest:
    said = {"max_tokens": most, "prompt": []}
    return ClientRequest(path="", body=said, request_id="", prompt_tokens=prompt_tokens)


@given(st.lists(st.tuples(SHARES, SHARES, st.floats(0, 30)), max_size=30))
def test_the_threshold_stays_within_its_factor(seen: list[tuple[float, float, float]]) -> None:
    adaptive, pressure, _ = rule()
    for prefill, decode, dt_s in seen:
        pressure.follow(prefill, decode, dt_s)
        assert -1 <= pressure.level <= 1
        assert 50 <= adaptive.threshold <= 200


@given(before=st.lists(st.tuples(SHARES, SHARES), max_size=10), prefill=SHARES, more=SHARES, decode=SHARES)
def test_the_more_prefill_has_to_do_the_higher_it_is(
    before: list[tuple[float, float]], prefill: float, more: float, decode: float
) -> None:
    (low, first, _), (high, second, _) = rule(), rule()
    for pressure in (first, second):
        for shares in before:
            pressure.follow(*shares, STEP_S)
    first.follow(min(prefill, more), decode, STEP_S)
    second.follow(max(prefill, more), decode, STEP_S)
    assert low.threshold <= high.threshold
    # A hundredth is where it snaps: nearer than that, order does not matter.
    assert first.level <= second.level + 0.01


@given(before=st.lists(st.tuples(SHARES, SHARES), max_size=20), prefill=SHARES, decode=SHARES)
def test_where_the_load_is_steady_it_comes_to_rest_without_swinging(
    before: list[tuple[float, float]], prefill: float, decode: float
) -> None:
    _, pressure, _ = rule()
    for shares in before:
        pressure.follow(*shares, STEP_S)
    goal, levels = prefill - decode, [pressure.level]
    for _ in range(60):
        pressure.follow(prefill, decode, STEP_S)
        levels.append(pressure.level)
    assert levels[-1] == goal
    distances = [goal - level for level in levels]
    assert distances == sorted(distances) or distances == sorted(distances, reverse=True)  # from one side


@settings(max_examples=30, deadline=None)
@given(steepness=st.floats(0.1, 3), middle=st.floats(60, 160), heavy=SHARES)
def test_where_the_load_depends_on_the_threshold_it_comes_to_rest(
    steepness: float, middle: float, heavy: float
) -> None:
    """Prefill's share falls with the threshold, and is seen as the mean of the last two seconds.

    At its steepest by 4 per level: what `Pressure` says to be too steep is 5.
    """
    adaptive, pressure, _ = rule()

    def prefill() -> float:
        return heavy / (1 + math.exp(steepness * (adaptive.threshold - middle) / 20))

    seen = [0.0] * 20
    thresholds = []
    for _ in range(600):
        seen = [*seen[1:], prefill()]
        pressure.follow(sum(seen) / len(seen), 0.2, STEP_S)
        thresholds.append(adaptive.threshold)
    assert max(thresholds[-50:]) - min(thresholds[-50:]) <= 1


def test_an_answer_counts_as_long_as_answers_were_of_late() -> None:
    clock = Clock()
    adaptive, _, recent = rule(clock)

    def paths() -> tuple[Path, ...]:
        return tuple(adaptive.path(asks(100, most)) for most in (25, 26, 1000))

    one_sided, not_so = Path.PREFILL, Path.HYBRID
    assert paths() == (one_sided, not_so, not_so)
    for tokens in (20, 30):
        recent.add(tokens)
    assert paths() == (one_sided, one_sided, one_sided)
    recent.add(28)
    assert paths() == (one_sided, not_so, not_so)  # it may not become longer than 25
    clock.now += 5.1
    assert paths() == (one_sided, not_so, not_so)
    assert recent.mean is None


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10**6)), max_size=60))
def test_the_mean_is_that_of_the_last_seconds(told: list[tuple[float, int]]) -> None:
    clock = Clock()
    recent = RecentAnswers(5, clock=clock)
    every = []
    for pause_s, tokens in told:
        clock.now += pause_s
        recent.add(tokens)
        every.append((clock.now, tokens))
        late = [tokens for at, tokens in every if at >= clock.now - 5]
        assert recent.mean == sum(late) / len(late)


def test_it_remembers_only_so_many() -> None:
    recent = RecentAnswers(5, clock=Clock())
    for tokens in [1000] * 10 + [2] * 4096:
        recent.add(tokens)
    assert recent.mean == 2


async def test_what_answers_were_moves_decisions(workshop: Workshop) -> None:
    usage = {"usage": {"prompt_tokens": 8, "completion_tokens": 3}}
    routing = RoutingSettings(phase="adaptive", input_threshold=8, ratio=4.0, recall_s=600)
    there = await workshop.deploy(decode=streams("a", "b"), hybrid=answers(200, usage), routing=routing)
    assert served(await there.post(body(8, 100)))[0] == Path.HYBRID
    await until(lambda: there.proxy.answers.mean == 3)
    assert served(await there.post(body(1, 100)))[0] == Path.DECODE  # events, of which the last is no token
    await until(lambda: there.proxy.answers.mean == 2.5)
    assert served(await there.post(body(9, 100)))[0] == Path.HYBRID
    for _ in range(8):
        await there.post(body(1, 100))
    await until(lambda: (there.proxy.answers.mean or 9) < 2.25)
    assert served(await there.post(body(9, 100)))[0] == Path.PREFILL


async def test_a_busy_prefill_is_sent_less(workshop: Workshop) -> None:
    release = asyncio.Event()

    async def slow(exchange: object) -> None:
        await release.wait()
        await prefills()(exchange)  # type: ignore[arg-type]

    routing = RoutingSettings(phase="adaptive", input_threshold=8, ratio=4.0, busy_window_s=0.2)
    there = await workshop.deploy(prefill=slow, hybrid=streams("h"), routing=routing)
    waiting = asyncio.create_task(there.post(body(40, 1)))
    await until(lambda: (there.proxy.router.phase.threshold or 0) > 10)
    assert served(await there.post(body(10, 1)))[0] == Path.HYBRID
    release.set()
    assert served(await waiting)[0] == Path.PREFILL
    await until(lambda: there.proxy.router.phase.threshold == 8)
    assert served(await there.post(body(8, 1)))[0] == Path.PREFILL


def _read(content_type: str, *chunks: bytes) -> Reading:
    reading = Reading(content_type)
    for chunk in chunks:
        reading.add(chunk)
    return reading


TOLD = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}}\n\n'


def test_a_stream_tells_in_its_last_events_or_is_counted() -> None:
    said = _read("text/event-stream; charset=utf-8", *[event("a")] * 9, TOLD[:30], TOLD[30:] + DONE)
    assert said.usage() == Usage(prompt=9, completion=7, cached=None)
    assert said.tokens() == 7
    counted = _read("text/event-stream", *[event("a")] * 9, DONE)
    assert (counted.usage(), counted.tokens()) == (None, 9)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"usage": {"prompt_tokens": 9, "completion_tokens": 7}}', (9, 7, None)),
        (b'{"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}}', (9, 0, 3)),
        (b'{"usage": {"prompt_tokens": 9, "prompt_tokens_details": null}}', (9, 0, None)),
        (b'{"usage": null}', None),
        (b'{"usage": {"prompt_tokens": "nine"}}', None),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_an_answer_tells(body: bytes, usage: tuple[int, int, int | None] | None) -> None:
    said = _read("application/json", body[:5], body[5:]).usage()
    assert (said and (said.prompt, said.completion, said.cached)) == usage


def test_of_an_answer_that_is_too_long_nothing_is_known() -> None:
    huge = _read("application/json", b" " * (5 << 20), b'{"usage": {"prompt_tokens": 1}}')
    assert (huge.usage(), huge.tokens()) == (None, None)
