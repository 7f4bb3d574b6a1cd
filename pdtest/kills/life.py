"""Bugs in how long engines keep KV, and in what they tell each other of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pdtest.kills.mutant import Mutant, Place

_LEAKS: Final[Mapping[str, str]] = {"correctness": "asks nobody whether blocks are given back"}

_prefill = partial(Mutant, place=Place.LIFE, role="prefill")
_decode = partial(Mutant, place=Place.LIFE, role="decode")

LIFE: Final[tuple[Mutant, ...]] = (
    _prefill(
        name="life-early-release",
        bugs=("F3",),
        switch="early-release",
        does="prefill does not wait for decode: its blocks are free with its answer",
    ),
    _prefill(
        name="life-reused-in-flight",
        bugs=("F3",),
        switch="reused-in-flight",
        does="the last block is another's by the time that decode reads it",
    ),
    _prefill(
        name="life-leaked-prefill",
        bugs=("F4",),
        switch="leaked",
        first="test_release",
        unseen=_LEAKS,
        does="prefill never gives blocks back",
    ),
    _decode(
        name="life-leaked-decode",
        bugs=("F4",),
        switch="leaked",
        first="test_release",
        unseen=_LEAKS,
        does="decode never gives blocks back",
    ),
    _decode(
        name="life-notification-lost",
        bugs=("F4", "F5"),
        switch="notification-lost",
        first="test_release",
        unseen=_LEAKS,
        does="decode does not say that it has read: prefill waits for the lease to end",
    ),
    _decode(
        name="life-notification-doubled",
        bugs=("F3", "F5"),
        switch="notification-doubled",
        does="decode says twice that it has read",
    ),
    _decode(
        name="life-late-arrival",
        bugs=("F3",),
        switch="late-arrival",
        does="decode computes before everything has come",
    ),
)
