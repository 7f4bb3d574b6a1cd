"""Whose turn it is."""

from __future__ import annotations

import threading
import time

import pytest

from pdtest.keeper.turns import InUse, Turns


def take(turns: Turns, key: object, *, alone: bool, within_s: float = 0.0) -> list[str]:
    """Take a turn; gives whom it was waited for."""
    waited: list[str] = []
    turns.take(
        key, f"holder {key}", alone=alone, within_s=within_s, note=lambda whose, _: waited.append(whose)
    )
    return waited


def test_one_who_must_be_alone_shuts_all_others_out() -> None:
    turns = Turns("embedded")
    take(turns, "a", alone=True)

    for alone in (True, False):
        with pytest.raises(InUse, match="holder a"):
            take(turns, "b", alone=alone)
    assert turns.holders == ("holder a",)


def test_those_who_mind_nobody_share_and_keep_others_out() -> None:
    turns = Turns("embedded")
    take(turns, "a", alone=False)
    take(turns, "b", alone=False)

    with pytest.raises(InUse):
        take(turns, "c", alone=True)
    assert turns.holders == ("holder a", "holder b")


def test_who_asks_again_gives_back_what_it_had() -> None:
    turns = Turns("embedded")
    take(turns, "a", alone=True)

    take(turns, "a", alone=False)
    take(turns, "b", alone=False)

    assert turns.holders == ("holder a", "holder b")


def test_one_who_waits_to_be_alone_is_not_overtaken() -> None:
    turns = Turns("embedded")
    take(turns, "a", alone=False)
    waiting = threading.Thread(target=take, args=(turns, "b"), kwargs={"alone": True, "within_s": 30.0})
    waiting.start()
    deadline = time.monotonic() + 20
    while not turns._queue:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    with pytest.raises(InUse):
        take(turns, "c", alone=False)
    turns.give_back("a")
    waiting.join(20)

    assert turns.holders == ("holder b",)


def test_who_gave_up_stands_in_nobody_s_way() -> None:
    turns = Turns("embedded")
    take(turns, "a", alone=True)
    with pytest.raises(InUse):
        take(turns, "b", alone=True)
    turns.give_back("a")

    assert take(turns, "c", alone=True) == []
