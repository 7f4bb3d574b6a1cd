"""One request on its way, as bars on a time line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pdtest.events.fault import FaultArmed, FaultLifted
from pdtest.events.handoff import (
    HandoffFinished,
    HopRecord,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)
from pdtest.events.member import MemberDied, MemberReady, MemberRestarted
from pdtest.events.record import Event
from pdtest.report.account.frozen import Shown
from pdtest.results import Exchange

#: What a request may be in. ``waiting``: nothing told what it was in.
PHASES: Final = ("queue", "prefill", "transfer", "decode", "waiting")


class Span(Shown):
    """Seconds since the beginning of the picture."""

    phase: str
    from_s: float
    to_s: float


class Journey(Shown):
    """``said``: what came of it, in words. ``ok``: it was answered."""

    name: str
    way: str
    ok: bool
    said: str
    spans: tuple[Span, ...]


class Mark(Shown):
    """Something that happened to a member, at a moment."""

    at_s: float
    kind: str
    member: str
    text: str


def of_handoff(handoff: HandoffFinished, zero: float) -> Journey:
    """Of a request that pdtest led itself, or sent to the proxy."""
    start = handoff.at - handoff.total_s - zero
    spans: list[Span] = []
    if handoff.prefill is not None:
        hop = handoff.prefill
        spans.append(Span(phase="prefill", from_s=start + hop.started_s, to_s=start + hop.ended_s))
    if handoff.decode is not None:
        spans += _answering(handoff.decode, start, before="transfer")
    if handoff.proxy is not None:
        spans += _answering(handoff.proxy, start, before="waiting")
    tokens = f", {handoff.prompt_tokens} -> {handoff.completion_tokens} tokens"
    return Journey(
        name=handoff.request_id.removeprefix("pdtest-")[:8],
        way=handoff.route + (", falsified" if handoff.tampered else ""),
        ok=handoff.error is None,
        said=handoff.error or f"{handoff.outcome}{tokens if handoff.completion_tokens is not None else ''}",
        spans=tuple(spans),
    )


def of_requests(events: Iterable[Event], zero: float) -> Iterator[Journey]:
    """Of requests that are part of no handoff, such as those to a reference."""
    sent: dict[tuple[str, str], RequestSent] = {}
    for event in events:
        if isinstance(event, RequestSent):
            sent[event.member, event.request_id] = event
        elif isinstance(event, RequestAnswered | RequestErrored | RequestAbandoned):
            begun = sent.pop((event.member, event.request_id), None)
            if begun is not None:
                yield _ended(begun, event, zero)
    for begun in sent.values():
        span = Span(phase="waiting", from_s=begun.at - zero, to_s=begun.at - zero)
        yield _journey(begun, ok=False, said="no end", spans=(span,))


def of_exchange(exchange: Exchange) -> Journey:
    """Of a request of a load, on the load's clock; its phases as far as something told of them."""
    first = exchange.pieces[0].at_s if exchange.pieces else None
    spans = []
    if exchange.sent_s > exchange.scheduled_s:
        spans.append(Span(phase="waiting", from_s=exchange.scheduled_s, to_s=exchange.sent_s))
    spans += _until_first(exchange, exchange.ended_s if first is None else first)
    if first is not None:
        spans.append(Span(phase="decode", from_s=first, to_s=exchange.ended_s))
    tokens = f"{exchange.prompt_tokens} -> {exchange.completion_tokens} tokens"
    return Journey(
        name=str(exchange.number), way="", ok=exchange.ok, said=exchange.error or tokens, spans=tuple(spans)
    )


def marks_of(events: Iterable[Event], zero: float) -> Iterator[Mark]:
    """What befell members."""
    for event in events:
        told = _told(event)
        if told is not None:
            kind, member, text = told
            yield Mark(at_s=event.at - zero, kind=kind, member=member, text=text)


def _told(event: Event) -> tuple[str, str, str] | None:
    match event:
        case MemberDied():
            return "died", event.member, f"{event.member} died, exit {event.returncode}"
        case MemberRestarted():
            return "restarted", event.member, f"{event.member} starts again"
        case MemberReady():
            return "ready", event.member, f"{event.member} ready after {event.elapsed_s:.1f} s"
        case FaultArmed():
            return "armed", event.target, f"{event.fault} on {event.target}"
        case FaultLifted():
            return "lifted", event.target, f"{event.fault} on {event.target} lifted"
    return None


def _answering(hop: HopRecord, start: float, *, before: str) -> Iterator[Span]:
    begin, end = start + hop.started_s, start + hop.ended_s
    if hop.first_token_s is None:
        yield Span(phase="waiting" if before == "waiting" else "decode", from_s=begin, to_s=end)
        return
    first = start + hop.first_token_s
    yield Span(phase=before, from_s=begin, to_s=first)
    yield Span(phase="decode", from_s=first, to_s=end)


def _until_first(exchange: Exchange, first_s: float) -> Iterator[Span]:
    """The phases before the first token, one after the other and ending with it; before them it waits."""
    told: Sequence[tuple[str, float]] = [
        (phase, exchange.phases[phase])
        for phase in ("queue", "prefill", "transfer")
        if phase in exchange.phases
    ]
    at = first_s - sum(took for _, took in told)
    if at > exchange.sent_s:
        yield Span(phase="waiting", from_s=exchange.sent_s, to_s=at)
    for phase, took in told:
        begin = max(at, exchange.sent_s)
        at += took
        if at > begin:
            yield Span(phase=phase, from_s=begin, to_s=at)


def _ended(begun: RequestSent, event: Event, zero: float) -> Journey:
    start, end = begun.at - zero, event.at - zero
    if isinstance(event, RequestAnswered):
        first = end if event.first_token_s is None else start + event.first_token_s
        spans = [Span(phase="waiting", from_s=start, to_s=first)]
        if first < end:
            spans.append(Span(phase="decode", from_s=first, to_s=end))
        return _journey(begun, ok=True, said=f"{event.completion_tokens} tokens", spans=tuple(spans))
    said = "given up"
    if isinstance(event, RequestErrored):
        said = f"{event.error} {event.status or ''}".strip()
    return _journey(begun, ok=False, said=said, spans=(Span(phase="waiting", from_s=start, to_s=end),))


def _journey(begun: RequestSent, *, ok: bool, said: str, spans: tuple[Span, ...]) -> Journey:
    return Journey(
        name=begun.request_id.removeprefix("pdtest-")[:8],
        way=f"to {begun.member}",
        ok=ok,
        said=said,
        spans=spans,
    )
