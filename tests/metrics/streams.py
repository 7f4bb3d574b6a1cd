"""Exchanges made by hand."""

from __future__ import annotations

from pdtest.results import Exchange, Measure, Piece


def exchange(  # noqa: PLR0913 - the parts of an exchange, by name
    *events: tuple[float, int],
    due_s: float | None = 0.0,
    sent_s: float = 0.0,
    prompt_tokens: int = 10,
    reads: tuple[int, ...] | None = None,
    usage: int | None = None,
    error: str | None = None,
    phases: dict[str, float] | None = None,
) -> Exchange:
    """``events``: when, and how many tokens; each in a read of its own unless ``reads`` says otherwise."""
    numbers = reads or tuple(range(len(events)))
    return Exchange(
        number=0,
        request_id="r",
        due_s=due_s,
        sent_s=sent_s,
        first_byte_s=events[0][0] if events else None,
        pieces=tuple(
            Piece(at_s=at_s, tokens=tokens, read=read)
            for (at_s, tokens), read in zip(events, numbers, strict=True)
        ),
        ended_s=events[-1][0] + 0.01 if events else sent_s + 0.01,
        prompt_tokens=prompt_tokens,
        max_tokens=64,
        completion_tokens=usage,
        finish_reason=None if error else "length",
        status=200,
        error=error,
        phases=phases or {},
    )


def named(measures: object, name: str) -> Measure:
    """The one of this name."""
    assert isinstance(measures, list | tuple)
    found = [one for one in measures if one.name == name]
    assert len(found) == 1, f"{name}: {len(found)} of {[one.name for one in measures]}"
    assert isinstance(found[0], Measure)
    return found[0]
