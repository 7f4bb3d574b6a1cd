"""One request of a load, made before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from pdtest.client.request import Request


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request. ``due_s``: seconds of the load's clock, None in a closed loop.

    ``prompt_tokens``: what was asked for; of text, words.
    """

    number: int
    request_id: str
    due_s: float | None
    prompt_tokens: int
    request: Request
