"""What an answer says of its own length, read while it is passed on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: A whole answer is kept until it is read; of a longer one nothing is known.
_MOST_BYTES = 4 << 20
#: Of a stream, its last chunks are: usage is in the last event but one.
_LAST_CHUNKS = 4


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens, as the engine counted them. ``cached``: of the prompt; None where engines do not tell."""

    prompt: int
    completion: int
    cached: int | None

    @classmethod
    def of(cls, body: Any) -> Usage | None:
        """Out of an answer or an event; None where it does not say."""
        usage = body.get("usage") if isinstance(body, Mapping) else None
        if not isinstance(usage, Mapping):
            return None
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
        if not isinstance(prompt, int) or not isinstance(completion, int):
            return None
        return cls(prompt=prompt, completion=completion, cached=cached if isinstance(cached, int) else None)


class Reading:
    """Of one answer, chunk by chunk."""

    def __init__(self, content_type: str) -> None:
        self._streams = content_type.startswith("text/event-stream")
        self._chunks: deque[bytes] = deque(maxlen=_LAST_CHUNKS if self._streams else None)
        self._size = 0
        self._events = 0

    def add(self, chunk: bytes) -> int:
        """It came; with so many events, which end with an empty line, as JSON cannot contain one."""
        events = chunk.count(b"\n\n")
        self._events += events
        self._size += len(chunk)
        if self._streams or self._size <= _MOST_BYTES:
            self._chunks.append(chunk)
        return events

    def usage(self) -> Usage | None:
        """At the end, what was said; None where nothing was, or too much to read."""
        if not self._streams:
            return Usage.of(_loaded(b"".join(self._chunks))) if self._size <= _MOST_BYTES else None
        lines = b"".join(self._chunks).split(b"\n\n")
        said = (_loaded(line.removeprefix(b"data: ")) for line in reversed(lines) if b'"usage"' in line)
        return next((usage for one in said if (usage := Usage.of(one)) is not None), None)

    def tokens(self) -> int | None:
        """Of the answer: as it says, else as many as it had events before [DONE]."""
        usage = self.usage()
        if usage is not None:
            return usage.completion
        return max(self._events - 1, 0) if self._streams else None


def _loaded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
