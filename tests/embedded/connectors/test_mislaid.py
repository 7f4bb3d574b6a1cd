from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pdtest.embedded.connectors.lifetimes import KINDS
from pdtest.embedded.connectors.mislaid import MislaidNixlConnector
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.registry import connector_for
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.switch import UnknownWord, WordSwitch

from .conftest import Started
from .fakes import make_host, make_sequence, settled
from .pairs import HERE, THERE, TO_PREFILL, Pair, expect_same, pair_of

Both = Pair[MislaidNixlConnector]
SENT = "cmpl-r-0"


async def both_of(started: Started, how: str, *, on: str = "decode") -> Both:
    """A pair of which one side has the bug, and the other one's switch is a file that there is not."""
    both: Both = await pair_of(partial(MislaidNixlConnector, how="@/there/is/no/file"), started)  # type: ignore[arg-type]
    getattr(both, on)._lifetime = WordSwitch(how, KINDS)
    return both


async def fetched(both: Both) -> None:
    """A prompt goes all the way."""
    params = both.prefilled()
    sequence = make_sequence(10, params=params, blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 10)
    both.decode.finished(sequence)


async def test_with_no_bug_it_is_nixl(started: Started, tmp_path: Path) -> None:
    both = await both_of(started, f"@{tmp_path / 'switch'}")
    await fetched(both)
    expect_same(both, THERE, HERE)
    await settled(lambda: both.there.released == [SENT])


async def test_released_early_nothing_is_held_and_the_notification_comes_too_late(started: Started) -> None:
    both = await both_of(started, "early-release", on="prefill")
    prompt = make_sequence(10, params=TO_PREFILL, blocks=THERE, computed=10, finish=Finish.LENGTH)
    handover = both.prefill.finished(prompt)
    assert handover.params
    assert not handover.hold
    sequence = make_sequence(10, params=dict(handover.params), blocks=HERE)
    await both.decode.match(sequence, 0)
    await both.decode.load(sequence, 0, 10)
    await settled(lambda: both.there.metric("nixl_num_notifications_after_expiry_total") == 1)


async def test_reused_in_flight_the_last_block_is_not_what_it_was(started: Started) -> None:
    both = await both_of(started, "reused-in-flight", on="prefill")
    before = both.there.kv(THERE).copy()
    await fetched(both)
    received = both.here.kv(HERE)
    np.testing.assert_array_equal(received[:, :, :2], before[:, :, :2])
    assert not np.array_equal(received[:, :, 2], before[:, :, 2])


async def test_leaked_blocks_come_back_once_it_is_healthy(started: Started, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.write_text("leaked")
    both = await both_of(started, f"@{switch}", on="prefill")
    await fetched(both)
    await settled(lambda: both.prefill._background._tasks)
    assert both.there.released == []
    switch.write_text("")
    await settled(lambda: both.there.released == [SENT])


async def test_decode_leaks_what_it_should_free(started: Started) -> None:
    both = await both_of(started, "leaked")
    assert both.decode.finished(make_sequence(10, blocks=HERE)).hold
    both.decode._lifetime = WordSwitch("", KINDS)
    await settled(lambda: both.here.released)
    assert not both.decode.finished(make_sequence(10, blocks=HERE)).hold


@pytest.mark.parametrize(("how", "late"), [("notification-lost", 0), ("notification-doubled", 1)])
async def test_notifications_are_lost_or_doubled(started: Started, how: str, late: int) -> None:
    both = await both_of(started, how)
    held = both.decode._held(both.prefilled())
    assert held is not None
    await both.decode._over(held)
    assert both.there.released == [SENT] * late
    assert both.there.metric("nixl_num_notifications_after_expiry_total") == late


async def test_what_comes_late_is_not_there_when_it_is_said_to_be(started: Started) -> None:
    both = await both_of(started, "late-arrival")
    before = both.here.kv(HERE).copy()
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    await both.decode.match(sequence, 0)
    await both.decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), before)
    await settled(lambda: both.there.released == [SENT])
    expect_same(both, THERE, HERE)


def test_it_is_nixl_that_can_have_them() -> None:
    made = connector_for({"kv_connector": "NixlConnector"}, make_host(), "leaked")
    assert isinstance(made, MislaidNixlConnector)
    with pytest.raises(BadConfig, match="--fault-lifetime"):
        connector_for({"kv_connector": "NixlPushConnector"}, make_host(), "leaked")


def test_words_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownWord, match="early-release"):
        WordSwitch("leeked", KINDS)
    file = tmp_path / "switch"
    lifetime = WordSwitch(f"@{file}", KINDS)
    assert lifetime.read() == ""
    for kind in KINDS:
        file.write_text(f"{kind}\n")
        assert lifetime.read() == kind
    file.write_text("leeked")
    with pytest.raises(UnknownWord):
        lifetime.read()
