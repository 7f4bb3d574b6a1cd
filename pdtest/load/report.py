"""What a process of the load's client gives back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pdtest.load.heard import Heard, heard
from pdtest.load.journey import Seen
from pdtest.results import Exchange, Piece


@dataclass(frozen=True, kw_only=True)
class Report:
    """``rows``: exchanges as JSON. ``lags_s``: of its event loop, ranked. ``cpu_s``: while the load was on.

    ``events`` brought tokens; ``coalesced`` of them came together with an earlier one of the same answer.
    """

    worker: int
    rows: tuple[str, ...]
    lags_s: tuple[float, ...]
    cpu_s: float
    lasted_s: float
    events: int
    coalesced: int

    def exchanges(self) -> Iterator[Exchange]:
        """What it saw."""
        return (Exchange.model_validate_json(row) for row in self.rows)


def reported(  # noqa: PLR0913 - the parts of a report
    worker: int,
    seen: Iterable[Seen],
    *,
    begun_at: float,
    lags_s: Iterable[float],
    cpu_s: float,
    lasted_s: float,
) -> Report:
    """Now that the load is over, its answers are read. ``begun_at``: when its clock was 0."""
    rows, events, coalesced = [], 0, 0
    for one in seen:
        told = heard(one.answer)
        events += len(told.pieces)
        coalesced += told.coalesced
        rows.append(_exchange(worker, one, told, begun_at).model_dump_json())
    return Report(
        worker=worker,
        rows=tuple(rows),
        lags_s=tuple(sorted(lags_s)),
        cpu_s=cpu_s,
        lasted_s=lasted_s,
        events=events,
        coalesced=coalesced,
    )


def _exchange(worker: int, seen: Seen, told: Heard, begun_at: float) -> Exchange:
    ask, answer = seen.ask, seen.answer
    first_byte = answer.parts[0][0] - begun_at if answer.parts else None
    prompt = told.prompt_tokens
    return Exchange(
        number=ask.number,
        request_id=ask.request_id,
        worker=worker,
        due_s=ask.due_s,
        sent_s=seen.sent_at - begun_at,
        first_byte_s=first_byte,
        pieces=tuple(Piece(at_s=at - begun_at, tokens=tokens, read=read) for at, tokens, read in told.pieces),
        ended_s=seen.ended_at - begun_at,
        prompt_tokens=ask.prompt_tokens if prompt is None else prompt,
        max_tokens=ask.request.max_tokens,
        completion_tokens=told.completion_tokens,
        finish_reason=told.finish_reason,
        status=answer.status if seen.prefill is None or answer.status is not None else seen.prefill.status,
        error=told.error,
        phases=_phases(seen, told),
    )


def _phases(seen: Seen, told: Heard) -> dict[str, float]:
    """Of a handoff that was led from here.

    ``transfer`` is the time from the request to decode to its first token: what decode waits, receives, and
    needs for the first token.
    """
    prefill, decode = seen.prefill, seen.answer
    if prefill is None or not told.pieces:
        return {}
    first, last = told.pieces[0][0], told.pieces[-1][0]
    return {
        "prefill": prefill.ended_at - prefill.sent_at,
        "transfer": first - decode.sent_at,
        "decode": last - first,
    }
