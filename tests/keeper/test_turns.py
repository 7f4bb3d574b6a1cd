"""Whose turn it is."""

from __future__ import annotations

import threading
import time

import pytest

from pdtest.keeper.turns import InUse, Turns


def take(turns: Turns, key: object, *, within_s: float = 0.0) -> list[str]:
    """Take a turn; gives whom it was waited for."""
    waited: list[str] = []
    turns.take(key, f"holder {key}", within_s=within_s, note=lambda whose, _: waited.append(whose))
    return waited


def test_one_shuts_all_others_out() -> None:
    turns = Turns("embedded")
    take(turns, "a")

    with pytest.raises(InUse, match="holder a"):
        take(turns, "b")
    assert turns.holders == ("holder a",)


def test_who_asks_again_gives_back_what_it_had() -> None:
    turns = Turns("embedded")
    take(turns, "a")

    assert take(turns, "a") == []
    assert turns.holders == ("holder a",)


def test_who_has_none_gives_back_nobody_elses() -> None:
    turns = Turns("embedded")
    take(turns, "a")

    turns.give_back("b")

    assert turns.holders == ("holder a",)


def test_one_who_waits_is_not_overtaken() -> None:
    turns = Turns("embedded")
    take(turns, "a")
    waiting = threading.Thread(target=take, args=(turns, "b"), kwargs={"within_s": 30.0})
    waiting.start()
    deadline = time.monotonic() + 20
    while not turns._queue:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    with pytest.raises(InUse):
        take(turns, "c")
    turns.give_back("a")
    waiting.join(20)

    assert turns.holders == ("holder b",)


def test_who_gave_up_stands_in_nobody_s_way() -> None:
    turns = Turns("embedded")
    take(turns, "a")
    with pytest.raises(InUse):
        take(turns, "b")
    turns.give_back("a")

    assert take(turns, "c") == []
