"""A prompt in blocks, each known by all that is before it, as caches of prefixes know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Tokens of a block, and characters that are about as long.
_TOKENS = 16
_CHARACTERS = 64
#: Of a longer prompt the rest does not count: its first 8192 tokens tell it from others.
_MOST = 512


def blocks_of(body: Mapping[str, Any]) -> tuple[int, ...]:
    """A number for each whole block of a request's first prompt, the same where all up to its end is."""
    content = _content(body)
    size = _CHARACTERS if isinstance(content, str) else _TOKENS
    blocks: list[int] = []
    before = 0
    for start in range(0, min(len(content) // size, _MOST) * size, size):
        part = content[start : start + size]
        before = hash((before, part if isinstance(part, str) else tuple(part)))
        blocks.append(before)
    return tuple(blocks)


def _content(body: Mapping[str, Any]) -> str | Sequence[int]:
    if "prompt" not in body:
        return _text(body.get("messages"))
    prompt = body["prompt"]
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    return prompt if isinstance(prompt, list) and all(isinstance(one, int) for one in prompt) else ""


def _text(part: Any) -> str:
    """Messages as text: who says what."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_text, part))
    if not isinstance(part, dict):
        return ""
    text = _text(part.get("content", part.get("text")))
    return f"{part['role']}: {text}\n" if "role" in part else text
