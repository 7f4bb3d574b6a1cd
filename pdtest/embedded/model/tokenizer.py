"""A token per byte, and text made of tokens as they come.

Ids: 0 `<eos>`, 1 `<pad>`, 2 `<bos>` (never added on its own), byte b is 3 + b. No word is learnt, so that
every text has exactly one tokenisation and prompts of a wanted length are easy to make.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

EOS: Final = 0
PAD: Final = 1
BOS: Final = 2
_FIRST_BYTE: Final = 3
VOCABULARY: Final = _FIRST_BYTE + 256

_NAMES: Final = ("<eos>", "<pad>", "<bos>")
_ASCII: Final = 0x80
_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8
_utf8_decoder = codecs.getincrementaldecoder("utf-8")


def encode(text: str) -> tuple[int, ...]:
    """The tokens of ``text``. Half a surrogate pair becomes a question mark."""
    return tuple(_FIRST_BYTE + byte for byte in text.encode("utf-8", errors="replace"))


def decode(tokens: Iterable[int], *, skip_special: bool = True) -> str:
    """The text of ``tokens``; bytes that are no UTF-8 become U+FFFD, ids out of the vocabulary nothing."""
    if skip_special:
        return bytes(_bytes(tokens)).decode("utf-8", errors="replace")
    return b"".join(_written(token) for token in tokens).decode("utf-8", errors="replace")


def _bytes(tokens: Iterable[int]) -> Iterable[int]:
    return (token - _FIRST_BYTE for token in tokens if _FIRST_BYTE <= token < VOCABULARY)


def _written(token: int) -> bytes:
    """A token's bytes, of a special one its name."""
    if token < _FIRST_BYTE:
        return _NAMES[token].encode()
    return bytes((token - _FIRST_BYTE,)) if token < VOCABULARY else b""


def name(token: int) -> str:
    """A token by itself, as `/tokenize` lists it: a character, a special one's name, or as `<0xE2>`."""
    if token < _FIRST_BYTE:
        return _NAMES[token]
    byte = token - _FIRST_BYTE
    return chr(byte) if byte < _ASCII else f"<0x{byte:02X}>"


def piece(token: int, before: Sequence[int] = ()) -> str:
    """The text that ``token`` adds after the tokens ``before``, as log-probabilities are labelled.

    Empty for a byte that leaves a character unfinished or is none; the byte that finishes one has all of it.
    vLLM 0.32 does the same (v1/engine/logprobs.py).
    """
    if token < _FIRST_BYTE:
        return _NAMES[token]
    if token >= VOCABULARY:
        return ""
    byte = token - _FIRST_BYTE
    if byte < _ASCII:
        return chr(byte)
    for length in range(1, min(_LONGEST_CHARACTER, len(before) + 1)):
        with suppress(UnicodeDecodeError):
            return bytes(_bytes((*before[-length:], token))).decode()
    return ""


def conversation(messages: Iterable[tuple[str, str]]) -> str:
    """The prompt for (role, content) pairs: a line for each, then the assistant's turn."""
    return "".join(f"{role}: {content}\n" for role, content in messages) + "assistant:"


class Detokenizer:
    """Text from tokens, one at a time, up to a stop string.

    Bytes of an unfinished character are held back, and text that may yet become a stop string, so that what
    `push` and `close` return, put together, is the whole text and no part of it has to be taken back.

    ``include_stop``: the stop string itself belongs to the text. ``min_tokens``: a stop string that ends
    within so many tokens does not count.
    """

    def __init__(
        self,
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        min_tokens: int = 0,
        skip_special: bool = True,
    ) -> None:
        self._stop = stop
        self._include_stop = include_stop
        self._min_tokens = min_tokens
        self._skip_special = skip_special
        self._utf8 = _utf8_decoder(errors="replace")
        self._held = ""
        self._count = 0
        #: The stop string that was found. Nothing comes after it.
        self.stopped_by: str | None = None

    def push(self, token: int) -> str:
        """What can be said for sure after one more token."""
        self._count += 1
        if self._skip_special and token < _FIRST_BYTE:
            return ""
        new = self._utf8.decode(_written(token))
        return self._release(new) if self._stop and new else new

    def close(self) -> str:
        """What was held back. Call once, at the end, unless a stop string was found."""
        held, self._held = self._held, ""
        return held + self._utf8.decode(b"", final=True)

    def _release(self, new: str) -> str:
        text = self._held + new
        if self._count > self._min_tokens and (found := self._find(text, len(self._held))):
            start, self.stopped_by = found
            self._held = ""
            return text[: start + len(self.stopped_by)] if self._include_stop else text[:start]
        kept = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def _find(self, text: str, old: int) -> tuple[int, str] | None:
        """Place and string of the match that ends first, and beyond the ``old`` first characters."""
        best: tuple[int, str] | None = None
        for stop in self._stop:
            start = text.find(stop, max(0, old + 1 - len(stop)))
            if start >= 0 and (best is None or start + len(stop) < best[0] + len(best[1])):
                best = (start, stop)
        return best


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` with which ``stop`` begins, short of all of ``stop``."""
    longest = min(len(stop) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
