from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.embedded.model.tokenizer import (
    VOCABULARY,
    Detokenizer,
    conversation,
    decode,
    encode,
    name,
    piece,
)

TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=40)


def said(detokenizer: Detokenizer, tokens: list[int] | tuple[int, ...]) -> list[str]:
    """What it returns token by token, until it stops."""
    parts = []
    for token in tokens:
        parts.append(detokenizer.push(token))
        if detokenizer.stopped_by is not None:
            return parts
    return [*parts, detokenizer.close()]


def test_bytes_come_after_the_special_tokens() -> None:
    assert encode("A€") == (3 + 0x41, 3 + 0xE2, 3 + 0x82, 3 + 0xAC)
    assert VOCABULARY == 259


def test_special_tokens_are_silent_unless_asked_for() -> None:
    assert decode([0, 3 + 0x41, 1, 2]) == "A"
    assert decode([0, 3 + 0x41, 1, 2], skip_special=False) == "<eos>A<pad><bos>"


def test_ids_out_of_the_vocabulary_are_nothing() -> None:
    assert decode([100_000, 68]) == "A"
    assert decode([100_000, 68], skip_special=False) == "A"


def test_half_a_surrogate_pair_has_no_utf8() -> None:
    assert decode(encode("a\ud800b")) == "a?b"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives(text: str) -> None:
    assert decode(encode(text)) == text


@given(TOKENS)
def test_deltas_make_the_whole_text(tokens: list[int]) -> None:
    assert "".join(said(Detokenizer(), tokens)) == decode(tokens)


@given(TOKENS)
def test_deltas_make_the_whole_text_with_special_tokens(tokens: list[int]) -> None:
    assert "".join(said(Detokenizer(skip_special=False), tokens)) == decode(tokens, skip_special=False)


def test_an_unfinished_character_is_held_back() -> None:
    assert said(Detokenizer(), encode("x€y")) == ["x", "", "", "€", "y", ""]
    assert said(Detokenizer(), encode("€")[:2]) == ["", "", "\ufffd"]


LETTERS = st.text("ab", max_size=24)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)


@given(LETTERS, STOPS, st.booleans())
def test_stop_strings_cut_where_they_are_first_complete(text: str, stops: list[str], include: bool) -> None:
    detokenizer = Detokenizer(stop=stops, include_stop=include)
    heard = "".join(said(detokenizer, encode(text)))
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert (heard, detokenizer.stopped_by) == (text, None)
        return
    end = min(ends)
    found = next(stop for stop in stops if text[:end].endswith(stop))
    assert detokenizer.stopped_by == found
    assert heard == (text[:end] if include else text[: end - len(found)])


@given(LETTERS, STOPS)
def test_nothing_is_held_back_that_cannot_become_a_stop_string(text: str, stops: list[str]) -> None:
    detokenizer = Detokenizer(stop=stops)
    heard = ""
    for at, token in enumerate(encode(text), start=1):
        heard += detokenizer.push(token)
        if detokenizer.stopped_by is not None:
            return
        held = text[len(heard) : at]
        assert heard + held == text[:at]
        assert not held or any(stop.startswith(held) for stop in stops)


@given(LETTERS, STOPS, st.integers(0, 10))
def test_stop_strings_within_the_least_number_of_tokens_do_not_count(
    text: str, stops: list[str], least: int
) -> None:
    detokenizer = Detokenizer(stop=stops, min_tokens=least)
    heard = "".join(said(detokenizer, encode(text)))
    ends = [
        (end, stop) for end in range(least + 1, len(text) + 1) for stop in stops if text[:end].endswith(stop)
    ]
    if not ends:
        assert (heard, detokenizer.stopped_by) == (text, None)
        return
    end = ends[0][0]
    assert detokenizer.stopped_by == ends[0][1]
    assert heard == text[: end - len(ends[0][1])]


def test_a_stop_string_may_have_characters_of_several_bytes() -> None:
    detokenizer = Detokenizer(stop=["€!"])
    assert said(detokenizer, encode("a€€!b")) == ["a", "", "", "", "", "", "€", ""]
    assert detokenizer.stopped_by == "€!"


def test_all_that_was_held_back_comes_at_the_end() -> None:
    assert said(Detokenizer(stop=["aab"]), (*encode("aa"), *encode("€")[:2])) == ["", "", "", "", "aa\ufffd"]


@pytest.mark.parametrize(
    ("token", "before", "text"),
    [
        (3 + 0x41, (), "A"),
        (0, (), "<eos>"),
        (3 + 0xE2, (), ""),
        (100_000, (68,), ""),
        (3 + 0xAC, encode("€")[:2], "€"),
        (3 + 0xAC, encode("x€")[:3], "€"),
        (3 + 0xAC, (3 + 0x82,), ""),
        (3 + 0xAC, (), ""),
        (3 + 0x80, encode("é")[:1], "\u00c0"),
        (3 + 0x80, (3 + 0xF0, 3 + 0x9F, 3 + 0x98), "😀"),
    ],
)
def test_pieces(token: int, before: tuple[int, ...], text: str) -> None:
    assert piece(token, before) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=10))
def test_pieces_of_a_text_make_the_text(text: str) -> None:
    tokens = encode(text)
    assert "".join(piece(token, tokens[max(0, at - 4) : at]) for at, token in enumerate(tokens)) == text


def test_names() -> None:
    assert [name(token) for token in (0, 2, 3 + 0x41, 3 + 0xE2)] == ["<eos>", "<bos>", "A", "<0xE2>"]


def test_the_conversation_ends_with_the_assistants_turn() -> None:
    assert (
        conversation([("system", "Be brief."), ("user", "Hi")]) == "system: Be brief.\nuser: Hi\nassistant:"
    )
