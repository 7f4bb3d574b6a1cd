"""What prompts consist of: what they share with others, and what nobody else has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from pdtest.client.prompts import Prompts
from pdtest.client.request import Prompt
from pdtest.environment.workload import Prefixes


@dataclass
class Contents:
    """Makes prompts of a ``form``. ``salt`` decides what is in them."""

    form: Literal["tokens", "text", "chat"]
    salt: str
    vocab_size: int
    _own: Prompts = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._own = self._source("own")
        self._shared = cache(self._make)

    def alone(self, tokens: int) -> Prompt:
        """A prompt that shares nothing."""
        return self._own.tokens(tokens) if self.form == "tokens" else self._as_asked(self._own.text(tokens))

    def after(self, prefix: str, length: int, tokens: int) -> Prompt:
        """A prompt that begins with the shared part named ``prefix``, of ``length`` tokens."""
        shared = self._shared(prefix, length)
        rest = tokens - length
        if not isinstance(shared, str):
            return (shared + self._own.tokens(rest)) if rest > 0 else shared[:tokens]
        words = shared.split()[:tokens] + (self._own.text(rest).split() if rest > 0 else [])
        return self._as_asked(" ".join(words))

    def of_blocks(self, blocks: Sequence[int], block: int, tokens: int) -> Prompt:
        """A prompt of shared blocks of so many tokens each, filled up where they are not enough."""
        pieces = [self._shared(f"block {name}", block) for name in blocks[: -(-tokens // block)]]
        if self.form == "tokens":
            ids = tuple(token for piece in pieces if isinstance(piece, tuple) for token in piece)[:tokens]
            return ids + self._own.tokens(tokens - len(ids))
        words = " ".join(piece for piece in pieces if isinstance(piece, str)).split()[:tokens]
        missing = tokens - len(words)
        return self._as_asked(" ".join([*words, *(self._own.text(missing).split() if missing else [])]))

    def _make(self, name: str, length: int) -> tuple[int, ...] | str:
        source = self._source(name)
        return source.tokens(length) if self.form == "tokens" else source.text(length)

    def _source(self, name: str) -> Prompts:
        return Prompts(seed=f"{self.salt}:{name}", vocab_size=self.vocab_size)

    def _as_asked(self, text: str) -> Prompt:
        return ({"role": "user", "content": text},) if self.form == "chat" else text


def kinds(prefixes: Prefixes, count: int, *, seed: int) -> list[int | None]:
    """Which beginning each of ``count`` requests has, None for none: as many of each, in random order."""
    with_one = round(prefixes.share * count)
    dealt: list[int | None] = [number % prefixes.kinds for number in range(with_one)]
    dealt += [None] * (count - with_one)
    random.Random(f"prefixes:{seed}").shuffle(dealt)  # noqa: S311 - reproducible on purpose
    return dealt
