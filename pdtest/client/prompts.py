"""Prompts that no other request shares a prefix with."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

#: Words for text and chat prompts. Plain ASCII, so that byte-level tokenizers agree on them.
_WORDS = (  # noqa: SIM905 - a line of words reads better than a column of quotes
    "river stone lamp window garden copper signal harbor winter mirror engine paper forest bridge "
    "silver candle market orbit pepper velvet anchor thunder basket meadow crystal ladder island"
).split()


@dataclass
class Prompts:
    """A source of prompts, reproducible from its seed.

    Each prompt starts with a nonce, random tokens or words of its own: the engines' prefix caches
    cannot know it, and an answer that belongs to another request shows.

    ``vocab_size`` is the model's. Only the lower half of it is used, without the first few ids:
    special tokens stand at either end of all common vocabularies.
    """

    seed: str
    vocab_size: int
    _count: int = field(default=0, repr=False)

    def tokens(self, length: int) -> tuple[int, ...]:
        """``length`` random token ids."""
        dice = self._dice()
        return tuple(dice.randrange(self.vocab_size // 32, self.vocab_size // 2) for _ in range(length))

    def text(self, words: int) -> str:
        """``words`` random words, the first a number that no other prompt has; at least that many tokens."""
        dice = self._dice()
        # Three words of the list fill a block of 16 byte-level tokens: of a hundred prompts two would agree.
        nonce = f"{dice.getrandbits(32):08x}"
        return " ".join([nonce, *(dice.choice(_WORDS) for _ in range(words - 1))])

    def _dice(self) -> random.Random:
        self._count += 1
        digest = hashlib.sha256(f"{self.seed}:{self._count}".encode()).digest()
        return random.Random(digest)  # noqa: S311 - reproducible on purpose
