"""One request of a load, as the client saw it. Times are seconds of the load's clock, 0 where it began."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pdtest.results.frozen import Frozen


class Piece(Frozen):
    """A server-sent event of an answer that brought generated tokens.

    Events with no token in them (the role alone, an empty delta, usage, ``[DONE]``) are none of these.
    ``read`` numbers the read of the socket that completed it: equal numbers mean that events came together,
    and that the times between them are the client's, not the server's.
    """

    at_s: float
    tokens: int
    read: int


class Exchange(Frozen):
    """``due_s``: when it was to be sent; None in a closed loop, where an answer is what makes it due.

    ``sent_s``: when its first byte was given to the socket. ``ended_s``: the last byte of the answer,
    or when it was given up. ``completion_tokens`` as the server counts them, None where it never said.
    ``error``: None for a complete answer with status 200. ``phases``: seconds by phase, as far as
    something told of them: ``queue``, ``prefill``, ``transfer``, ``decode``.
    """

    number: int
    request_id: str
    worker: int = 0
    due_s: float | None
    sent_s: float
    first_byte_s: float | None
    pieces: tuple[Piece, ...]
    ended_s: float
    prompt_tokens: int
    max_tokens: int
    completion_tokens: int | None
    finish_reason: str | None
    status: int | None
    error: str | None
    phases: dict[str, float] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it was answered completely."""
        return self.error is None

    @property
    def tokens(self) -> int:
        """Of the answer: as the server counts them, or as they were seen where it never said."""
        seen = sum(piece.tokens for piece in self.pieces)
        return seen if self.completion_tokens is None else self.completion_tokens

    @property
    def scheduled_s(self) -> float:
        """When a user would say that it was asked."""
        return self.sent_s if self.due_s is None else self.due_s
