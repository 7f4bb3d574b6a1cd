"""What became of each test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pdtest.events.handoff import (
    HandoffFinished,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)
from pdtest.events.record import Event
from pdtest.events.session import TestEnded
from pdtest.events.verdict import VerdictReached
from pdtest.events.xray import XrayTaken
from pdtest.report.account.account import PRESSING, Claim, Finding, TestShown
from pdtest.report.account.journey import Journey, marks_of, of_handoff, of_requests
from pdtest.report.replay import slug

#: Requests of a test that are drawn.
_JOURNEYS: Final = 48
_OF_REQUESTS: Final = (RequestSent, RequestAnswered, RequestErrored, RequestAbandoned)


def tests_of(run: Path, events: Sequence[Event]) -> Iterator[TestShown]:
    """In the order in which they ended. A test that never ended has no outcome, and is not among them."""
    by_test = _by_test(events)
    for event in events:
        if isinstance(event, TestEnded):
            yield _test(run, event, by_test.get(event.test, ()), events)


def _test(run: Path, ended: TestEnded, own: Sequence[Event], events: Sequence[Event]) -> TestShown:
    shown = TestShown(
        test=ended.test,
        environment=ended.environment,
        outcome=ended.outcome,
        took_s=ended.took_s,
        message=ended.message,
        text=ended.text,
        sections=ended.sections,
        properties=ended.properties,
        claims=tuple(_claim(event) for event in own if isinstance(event, VerdictReached)),
    )
    if ended.outcome not in PRESSING:
        return shown
    begun = min(ended.at - ended.took_s, *(event.at for event in own))
    meanwhile = [event for event in events if begun <= event.at <= ended.at]
    journeys = _telling(_journeys(own, begun))
    replay = run / "repro" / slug(ended.test) / "replay.sh"
    return shown.model_copy(
        update={
            "journeys": journeys[:_JOURNEYS],
            "journeys_left_out": max(len(journeys) - _JOURNEYS, 0),
            "marks": tuple(marks_of(meanwhile, begun)),
            "pictures": (*_pictures(run, own), *_drawn(run, ended.test)),
            "replay": str(replay.relative_to(run)) if replay.is_file() else None,
        }
    )


def _by_test(events: Sequence[Event]) -> Mapping[str, Sequence[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        test = getattr(event, "test", None)
        if isinstance(test, str):
            found[test].append(event)
    return found


def _claim(event: VerdictReached) -> Claim:
    return Claim(
        claim=event.claim,
        ruling=event.ruling,
        findings=tuple(
            Finding(check=check, ruling=ruling, text=text) for check, ruling, text in event.findings
        ),
    )


def _journeys(own: Sequence[Event], begun: float) -> Iterator[Journey]:
    handoffs = [event for event in own if isinstance(event, HandoffFinished)]
    ids = {handoff.request_id for handoff in handoffs}
    alone = [event for event in own if isinstance(event, _OF_REQUESTS) and event.request_id not in ids]
    yield from (of_handoff(handoff, begun) for handoff in handoffs)
    yield from of_requests(alone, begun)


def _telling(journeys: Iterator[Journey]) -> tuple[Journey, ...]:
    """In the order in which they began; where there are too many, those that ended badly are kept."""
    ordered = sorted(journeys, key=_begin)
    if len(ordered) > _JOURNEYS:
        kept = sorted(ordered, key=lambda one: one.ok)[:_JOURNEYS]
        rest = [one for one in ordered if one not in kept]
        return (*sorted(kept, key=_begin), *rest)
    return tuple(ordered)


def _begin(journey: Journey) -> float:
    return journey.spans[0].from_s if journey.spans else 0.0


def _pictures(run: Path, own: Sequence[Event]) -> Iterator[str]:
    """Of its X-rays; where they lie now, since CI may have moved the run."""
    for event in own:
        if isinstance(event, XrayTaken):
            for picture in event.pictures:
                _, _, below = picture.partition(f"/{run.name}/")
                file = run / below if below else Path(picture)
                if file.is_file():
                    yield str(file.relative_to(run)) if file.is_relative_to(run) else str(file)


def _drawn(run: Path, test: str) -> Iterator[str]:
    """The smallest history that breaks an invariant, where one did."""
    file = run / "repro" / slug(test) / "timeline.png"
    if file.is_file():
        yield str(file.relative_to(run))
