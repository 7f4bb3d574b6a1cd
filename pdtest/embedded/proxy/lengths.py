"""How long a prompt is, before an engine has counted it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: How much a new observation counts against those before.
_WEIGHT = 0.1


class PromptLengths:
    """Estimates tokens out of characters, and learns the rate from what engines report.

    Prompts that come as token ids are counted.
    """

    def __init__(self) -> None:
        self.tokens_per_character = 0.25

    def estimate(self, body: Mapping[str, Any]) -> int:
        """Tokens in the prompt of a request."""
        tokens, characters = size(body)
        return tokens + round(characters * self.tokens_per_character)

    def learn(self, body: Mapping[str, Any], prompt_tokens: int) -> None:
        """An engine counted ``prompt_tokens`` in this body."""
        tokens, characters = size(body)
        if characters and prompt_tokens > tokens:
            seen = (prompt_tokens - tokens) / characters
            self.tokens_per_character += _WEIGHT * (seen - self.tokens_per_character)


def size(body: Mapping[str, Any]) -> tuple[int, int]:
    """Token ids and characters in a prompt or in messages."""
    return _size(body["prompt"]) if "prompt" in body else _size(body.get("messages"))


def _size(part: Any) -> tuple[int, int]:
    if isinstance(part, str):
        return 0, len(part)
    if isinstance(part, int):
        return 1, 0
    if isinstance(part, dict):
        return _size(part.get("content", part.get("text")))
    if isinstance(part, list):
        if part and isinstance(part[0], int):
            return len(part), 0
        sizes = [_size(one) for one in part]
        return sum(tokens for tokens, _ in sizes), sum(characters for _, characters in sizes)
    return 0, 0
