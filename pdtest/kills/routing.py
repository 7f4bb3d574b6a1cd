"""Bugs of routers: in how they decide who gets a request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pdtest.kills.mutant import Mutant, Place

#: Requests are answered right, whoever gets them.
_UNSEEN: Final[Mapping[str, str]] = dict.fromkeys(
    ("correctness", "transfer"), "does not ask who serves a request"
)

_router = partial(Mutant, place=Place.ROUTING, bugs=("F9",), unseen=_UNSEEN)

ROUTING: Final[tuple[Mutant, ...]] = (
    _router(
        name="routing-ignores-threshold",
        switch="ignore-threshold",
        first="test_around_the_threshold",
        does="takes every prompt for a long one",
    ),
    _router(
        name="routing-off-by-one",
        switch="off-by-one",
        first="test_around_the_threshold",
        does="takes a prompt of exactly the threshold for a short one",
    ),
    _router(
        name="routing-swaps-sides",
        switch="swap-sides",
        first="test_around_the_threshold",
        does="sends to decode alone what is to be handed over, and the other way round",
    ),
    _router(
        name="routing-always-first",
        switch="always-first",
        first="test_instances_share",
        does="always takes the first instance",
    ),
    _router(
        name="routing-forgets-removed",
        switch="forget-removed",
        first="test_one_that_is_removed",
        does="still sends requests to an instance that was removed",
    ),
    _router(
        name="routing-sticks-too-long",
        switch="sticks-too-long",
        first="test_a_session_ends",
        does="never forgets where a session was",
    ),
    _router(
        name="routing-counts-requests",
        switch="count-requests",
        first="test_long_ones_count_for_more",
        does="counts requests where it is to count the tokens of their KV",
    ),
)
