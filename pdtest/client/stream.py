"""Server-sent events, and the answer that they add up to."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from typing import Any

from pdtest.client.answer import Arrival

DONE = "[DONE]"
#: What of a chat's delta is made of generated tokens.
_SPOKEN = ("content", "reasoning", "reasoning_content", "tool_calls")


class EventParser:
    """Splits a byte stream into the data of its events, whatever the chunks it arrives in.

    Follows the HTML standard's event stream format as far as it matters here: lines end with LF,
    CRLF or CR; several ``data`` lines are one event; comments and other fields are skipped.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._line = ""
        self._data: list[str] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """The events that ``chunk`` completes."""
        return self._take(self._decode(chunk))

    def close(self) -> list[str]:
        """What was left without an end: normally nothing. A torn event is for the caller to judge."""
        events = self._take(self._decode(b"", final=True))
        self._end_line(events)
        self._end_event(events)
        return events

    def _take(self, text: str) -> list[str]:
        events: list[str] = []
        if self._after_cr and text:
            # The LF of a CRLF that was split between two chunks.
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            self._line += line
            self._end_line(events)
        self._line += rest
        return events

    def _end_line(self, events: list[str]) -> None:
        line, self._line = self._line, ""
        if not line:
            self._end_event(events)
            return
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))

    def _end_event(self, events: list[str]) -> None:
        if self._data:
            events.append("\n".join(self._data))
            self._data = []


class TornStream(ValueError):
    """The stream does not make a complete answer. The message says why."""


class Assembly:
    """Adds up the chunks of a streamed answer to the body of the same answer not streamed."""

    def __init__(self, *, n: int) -> None:
        self.arrivals: list[Arrival] = []
        self._n = n
        self._done = False
        self._body: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, event: str, at_s: float) -> None:
        """One event. Raises TornStream for an error in it, ValueError when it is no chunk of an answer."""
        if event == DONE:
            self._done = True
            return
        chunk = json.loads(event)
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk is not an object: {event}")  # noqa: TRY004
        if chunk.get("error"):
            raise TornStream(f"the server reported an error in the stream: {chunk['error']}")
        try:
            tokens = self._merge(chunk)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"a chunk has another shape: {event}") from error
        self.arrivals.append(Arrival(at_s=at_s, tokens=tokens))

    def body(self) -> dict[str, Any]:
        """The assembled body. Raises TornStream when chunks are missing at the end."""
        finished = [choice for choice in self._choices.values() if choice.get("finish_reason")]
        if len(finished) < self._n:
            raise TornStream(f"it ended with {len(finished)} of {self._n} choices finished")
        if not self._done:
            raise TornStream(f"it ended without 'data: {DONE}'")
        return {**self._body, "choices": [self._choices[index] for index in sorted(self._choices)]}

    def _merge(self, chunk: dict[str, Any]) -> int:
        choices = chunk.get("choices") or []
        self._body |= {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        return sum(self._merge_choice(choice) for choice in choices)

    def _merge_choice(self, delta: Mapping[str, Any]) -> int:
        choice = self._choices.setdefault(delta["index"], {})
        for key, value in delta.items():
            if value is None:
                choice.setdefault(key, None)
            elif key == "delta":
                _merge_message(choice.setdefault("message", {"content": None}), value)
            elif key == "logprobs":
                choice[key] = _merge_logprobs(choice.get(key), value)
            elif key in ("text", "token_ids"):
                choice[key] = value if choice.get(key) is None else choice[key] + value
            else:
                choice[key] = value
        return tokens_in(delta)


def _merge_message(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        if key == "content" and isinstance(value, str):
            message[key] = (message[key] or "") + value
        elif value is not None:
            message[key] = value


def _merge_logprobs(known: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Both forms hold parallel lists: 'content' of chats; 'tokens', 'token_logprobs' ... of completions."""
    merged = dict(known or {})
    for key, value in new.items():
        merged[key] = [*(merged.get(key) or []), *(value or [])]
    return merged


def tokens_in(delta: Mapping[str, Any]) -> int:
    """Tokens that a chunk's choice brings; for servers that send no ids, a chunk with text counts as one.

    Text of chats is content, reasoning or a call of a tool. vLLM 0.32's chat_completion/protocol.py still
    knows reasoning by its former name.
    """
    if delta.get("token_ids") is not None:
        return len(delta["token_ids"])
    said = delta.get("delta") or {}
    return 1 if delta.get("text") or any(said.get(name) for name in _SPOKEN) else 0
