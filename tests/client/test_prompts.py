from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.client.prompts import Prompts

SIZES = st.sampled_from([512, 32_000, 152_064])


@given(st.text(max_size=8), SIZES, st.integers(0, 300))
def test_prompts_are_reproducible_from_their_seed(seed: str, size: int, length: int) -> None:
    one, other = Prompts(seed, size), Prompts(seed, size)
    for _ in range(3):
        assert one.tokens(length) == other.tokens(length)
        assert one.text(5) == other.text(5)


@given(SIZES, st.integers(1, 300))
def test_tokens_are_as_many_as_asked_and_none_is_special(size: int, length: int) -> None:
    tokens = Prompts("seed", size).tokens(length)
    assert len(tokens) == length
    assert all(size // 32 <= token < size // 2 for token in tokens)


def test_no_two_prompts_start_with_the_same_block() -> None:
    sources = [Prompts(seed, 512) for seed in ("a", "b")]
    starts = {source.tokens(16) for source in sources for _ in range(500)}
    assert len(starts) == 1000


def test_no_two_texts_start_alike() -> None:
    # A block of a byte-level tokenizer may be no more than two words.
    sources = [Prompts(seed, 512) for seed in ("a", "b")]
    starts = {source.text(24)[:8] for source in sources for _ in range(500)}
    assert len(starts) == 1000


@pytest.mark.parametrize("words", [1, 2, 24])
def test_texts_are_plain_words_with_single_spaces(words: int) -> None:
    text = Prompts("seed", 512).text(words)
    assert len(text.split(" ")) == words
    assert text.isascii()
    assert all(word.isalnum() for word in text.split(" "))
