"""Planted bugs are switched on by a word on the command line, or in a file that may change meanwhile."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path


class UnknownWord(ValueError):
    """A word that switches nothing on."""

    def __init__(self, seen: str, words: Collection[str]) -> None:
        super().__init__(f"expected one of {', '.join(sorted(words))}, seen {seen!r}")


class Switch:
    """``how``: a text, or @ and a file with one. Empty, as a file that is not there: off."""

    def __init__(self, how: str) -> None:
        self._file = Path(how[1:]) if is_file(how) else None
        self._text = "" if self._file else how

    def read(self) -> str:
        """The text as it is now."""
        if self._file is None:
            return self._text
        try:
            return self._file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""


class WordSwitch(Switch):
    """A switch that knows its ``words``. Raises UnknownWord for another one that ``how`` is."""

    def __init__(self, how: str, words: Collection[str]) -> None:
        super().__init__(how if is_file(how) else checked(how, words))
        self._words = words

    def read(self) -> str:
        """The word as it is now. Raises UnknownWord."""
        return checked(super().read(), self._words)


def is_file(how: str) -> bool:
    """Whether a file has the text."""
    return how.startswith("@")


def word_or_file(words: Collection[str]) -> Callable[[str], str]:
    """A type for argparse: one of ``words``, or @ and a file."""

    def parse(text: str) -> str:
        try:
            return text if is_file(text) else checked(text, words)
        except UnknownWord as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def checked(text: str, words: Collection[str]) -> str:
    """``text``, if it is one of ``words`` or nothing. Raises UnknownWord."""
    if text and text not in words:
        raise UnknownWord(text, words)
    return text
