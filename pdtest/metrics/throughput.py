"""How much was served in a second: requests and tokens, over the whole run and over the steady window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pdtest.results import Better, Exchange, Measure


def throughput_measures(
    exchanges: Sequence[Exchange], *, lasted_s: float, steady_s: tuple[float, float] | None
) -> Iterator[Measure]:
    """Of what was answered completely; tokens of answers that broke off served nobody.

    Over the whole run, from the load's beginning to the last answer, they are those of the answered
    requests. The steady window has the events that fell into it: a prompt counts when its answer's first
    token came, a request when its last did.
    """
    answered = [one for one in exchanges if one.ok]
    output = sum(one.tokens for one in answered)
    total = output + sum(one.prompt_tokens for one in answered)
    yield _rate("requests_per_s", len(answered), "requests/s", lasted_s)
    yield _rate("output_tokens_per_s", output, "tokens/s", lasted_s)
    yield _rate("total_tokens_per_s", total, "tokens/s", lasted_s)
    yield from _steady(answered, steady_s)


def load_measures(exchanges: Sequence[Exchange], *, lasted_s: float) -> Iterator[Measure]:
    """What was asked for: told beside the rest, never judged."""
    answered = [one for one in exchanges if one.ok]
    yield _told("requests", float(len(exchanges)), "requests", len(exchanges))
    yield _told(
        "offered_requests_per_s", _offered(exchanges), "requests/s", len(exchanges), "no request had a time"
    )
    open_s = sum(one.ended_s - one.sent_s for one in exchanges)
    yield _told("concurrency_mean", open_s / lasted_s if lasted_s else None, "requests", len(exchanges))
    yield _told("prompt_tokens_mean", _mean(one.prompt_tokens for one in exchanges), "tokens", len(exchanges))
    yield _told("output_tokens_mean", _mean(one.tokens for one in answered), "tokens", len(answered))
    yield _told("tokens_seen_share", _seen(answered), "1", len(answered), "no server counted its tokens")


def _steady(answered: Sequence[Exchange], window: tuple[float, float] | None) -> Iterator[Measure]:
    def within(at_s: float) -> bool:
        return window is not None and window[0] <= at_s < window[1]

    lasted_s = window[1] - window[0] if window else 0.0
    begun = sum(one.prompt_tokens for one in answered if one.pieces and within(one.pieces[0].at_s))
    output = sum(piece.tokens for one in answered for piece in one.pieces if within(piece.at_s))
    done = sum(1 for one in answered if one.pieces and within(one.pieces[-1].at_s))
    yield _rate("requests_per_s_steady", done, "requests/s", lasted_s)
    yield _rate("output_tokens_per_s_steady", output, "tokens/s", lasted_s)
    yield _rate("total_tokens_per_s_steady", begun + output, "tokens/s", lasted_s)


def _rate(name: str, count: int, unit: str, over_s: float) -> Measure:
    steady = name.endswith("_steady")
    nothing = "there was no steady window" if steady else "the run took no time"
    return Measure(
        name=name,
        value=count / over_s if over_s > 0 else None,
        unit=unit,
        better=Better.HIGHER,
        samples=count,
        why=None if over_s > 0 else nothing,
    )


def _told(name: str, value: float | None, unit: str, samples: int, absent: str = "no request") -> Measure:
    return Measure(name=name, value=value, unit=unit, samples=samples, why=absent if value is None else None)


def _offered(exchanges: Sequence[Exchange]) -> float | None:
    """Requests per second between the first that was due and the last."""
    due = sorted(one.due_s for one in exchanges if one.due_s is not None)
    return (len(due) - 1) / (due[-1] - due[0]) if due and due[-1] > due[0] else None


def _seen(answered: Sequence[Exchange]) -> float | None:
    """Tokens in events over tokens that servers say that they made."""
    counted = [one for one in answered if one.completion_tokens is not None]
    made = sum(one.tokens for one in counted)
    return sum(piece.tokens for one in counted for piece in one.pieces) / made if made else None


def _mean(values: Iterable[int]) -> float | None:
    known = [*values]
    return sum(known) / len(known) if known else None
