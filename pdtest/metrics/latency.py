"""How long a user waited: for the first token, from token to token, for the whole answer. Seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise

from pdtest.metrics.samples import Samples, distribution
from pdtest.results import Exchange, Measure


class Since(StrEnum):
    """What a wait counts from."""

    #: When the request was due. A late client, or a full connection pool, is part of the user's wait.
    SCHEDULED = "scheduled"
    #: When its first byte was given to the socket.
    SENT = "sent"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Tokens that came together: all events that one read of the socket completed."""

    at_s: float
    tokens: int


def arrivals(exchange: Exchange) -> tuple[Arrival, ...]:
    """Its events with tokens, those of one read as one."""
    together = (list(pieces) for _, pieces in groupby(exchange.pieces, key=lambda piece: piece.read))
    return tuple(
        Arrival(at_s=pieces[0].at_s, tokens=sum(piece.tokens for piece in pieces)) for pieces in together
    )


def ttft(exchange: Exchange, since: Since = Since.SCHEDULED) -> float | None:
    """To the first event that brought a generated token; None of an answer without any."""
    return exchange.pieces[0].at_s - _start(exchange, since) if exchange.pieces else None


def e2e(exchange: Exchange, since: Since = Since.SCHEDULED) -> float | None:
    """To the last generated token: usage, ``[DONE]`` and the end of the connection are not waited for."""
    return exchange.pieces[-1].at_s - _start(exchange, since) if exchange.pieces else None


def tpot(exchange: Exchange) -> float | None:
    """From the first token to the last, over the tokens that came after the first arrival.

    None where all came at once: there is nothing to divide.
    """
    came = arrivals(exchange)
    if len(came) < 2:  # noqa: PLR2004 - a distance has two ends
        return None
    later = exchange.tokens - came[0].tokens
    return (came[-1].at_s - came[0].at_s) / later if later > 0 else None


def between_events(exchange: Exchange) -> Iterator[float]:
    """From each event with tokens to the next, as they were read: 0 for two of one read."""
    for earlier, later in pairwise(exchange.pieces):
        yield later.at_s - earlier.at_s


def between_tokens(exchange: Exchange) -> Iterator[tuple[float, int]]:
    """From each arrival to the next, shared evenly by its tokens: seconds and their number."""
    for earlier, later in pairwise(arrivals(exchange)):
        yield (later.at_s - earlier.at_s) / later.tokens, later.tokens


def latency_measures(answered: Sequence[Exchange]) -> Iterator[Measure]:
    """Of answered requests only: what failed has no latency, and counts in `success_rate` and `goodput`."""
    absent = "no answer brought a token"
    for since, suffix in ((Since.SCHEDULED, ""), (Since.SENT, "_from_sent")):
        yield from distribution(
            f"ttft{suffix}", "s", _known(ttft(one, since) for one in answered), absent=absent
        )
        yield from distribution(
            f"e2e{suffix}", "s", _known(e2e(one, since) for one in answered), absent=absent
        )
    single = "no answer came in more than one piece"
    yield from distribution("tpot", "s", _known(map(tpot, answered)), absent=single)
    tokens = Samples(gap for one in answered for gap in between_tokens(one))
    yield from distribution("tbt", "s", tokens, absent=single)
    events = Samples.of(gap for one in answered for gap in between_events(one))
    yield from distribution("tbt_event", "s", events, absent=single)


def _known(values: Iterable[float | None]) -> Samples:
    return Samples.of(value for value in values if value is not None)


def _start(exchange: Exchange, since: Since) -> float:
    return exchange.scheduled_s if since is Since.SCHEDULED else exchange.sent_s
