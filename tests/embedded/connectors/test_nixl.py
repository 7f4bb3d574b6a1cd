from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.engine.sequence import Finish

from .conftest import Started
from .fakes import make_host, make_sequence, settled
from .pairs import HERE, THERE, TO_PREFILL, config, expect_same, pair_of

pair = partial(pair_of, NixlConnector)


async def test_decode_reads_what_prefill_holds(started: Started) -> None:
    both = await pair(started)
    params = both.prefilled()
    sequence = make_sequence(10, params=params, blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 10
    untouched = both.here.kv((1, 3)).copy()
    await both.decode.load(sequence, 0, 10)
    expect_same(both, THERE, HERE)
    np.testing.assert_array_equal(both.here.kv((1, 3)), untouched)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    both.decode.finished(sequence)


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2), (4, 4)])
async def test_ranks_read_the_heads_they_own(started: Started, prefill: int, decode: int) -> None:
    both = await pair(started, prefill=prefill, decode=decode)
    params = both.prefilled()
    assert params["tp_size"] == prefill
    sequence = make_sequence(10, params=params, blocks=HERE)
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 10)
    expect_same(both, THERE, HERE)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    pairs = max(prefill, decode)
    each = 3 * 2 * 3 * 4 * 4 * 4 * 4 // pairs  # layers, K and V, blocks, tokens, heads, head size, bytes
    assert both.here.metric("nixl_bytes_transferred_count") == pairs
    assert both.here.metric("nixl_bytes_transferred_sum") == pairs * each
    assert both.here.metric("nixl_num_descriptors_sum") == pairs * 3 * 2 * 3
    assert both.there.metric("nixl_bytes_transferred_count") == 0
    assert both.there.metric("nixl_num_notifications_after_expiry_total") == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_blocks_and_any_cached_prefix(data: st.DataObject) -> None:
    """Whatever the ranks, blocks and hit: what is beyond the hit arrives, and nothing else is touched."""
    prompt = data.draw(st.integers(1, 40))
    cached = data.draw(st.integers(0, (prompt - 1) // 4)) * 4
    count = -(-prompt // 4)
    remote = data.draw(st.permutations(range(12)))[:count]
    local = data.draw(st.permutations(range(12)))[:count]
    ranks = st.sampled_from([1, 2, 4])
    sizes = {"prefill": data.draw(ranks), "decode": data.draw(ranks)}

    async def run() -> None:
        running: list[Any] = []

        async def start(connector: Any) -> None:
            await connector.start()
            running.append(connector)

        both = await pair(start, **sizes)
        before = both.here.kv(range(12)).copy()
        done = make_sequence(prompt, params=TO_PREFILL, blocks=remote, computed=prompt, finish=Finish.LENGTH)
        sequence = make_sequence(prompt, params=both.prefill.finished(done).params, blocks=local)
        assert await both.decode.match(sequence, cached) == prompt - cached
        await both.decode.load(sequence, cached, prompt - cached)
        before[:, :, local[cached // 4 :]] = both.there.kv(remote[cached // 4 :])
        np.testing.assert_array_equal(both.here.kv(range(12)), before)
        for connector in running:
            await connector.close()

    asyncio.run(run())


async def test_the_answer_of_prefill(started: Started) -> None:
    both = await pair(started)
    assert both.prefilled() == {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [[3, 1, 7]],
        "remote_engine_id": both.there.engine_id,
        "remote_request_id": "cmpl-r-0",
        "remote_host": "127.0.0.1",
        "remote_port": both.there.side_ports[0],
        "tp_size": 1,
        "dcp_size": 1,
        "pp_size": 1,
        "remote_num_tokens": 10,
        "remote_blocks_expiry_time": None,
        "transfer_mode": "pull",
    }


@pytest.mark.parametrize(
    ("finish", "given"),
    [(Finish.LENGTH, True), (Finish.STOP, True), (Finish.ABORT, False), (Finish.ERROR, False)],
)
async def test_only_a_prefill_that_ended_well_is_handed_over(
    started: Started, finish: Finish, given: bool
) -> None:
    both = await pair(started)
    assert bool(both.prefilled(finish=finish)) == given
    assert both.there.released == []


@pytest.mark.parametrize("params", [None, {}, {"do_remote_decode": False}, {"do_remote_prefill": False}])
async def test_other_requests_are_left_alone(started: Started, params: Mapping[str, Any] | None) -> None:
    both = await pair(started)
    sequence = make_sequence(10, params=params, blocks=HERE, computed=10, finish=Finish.LENGTH)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 0
    handover = both.decode.finished(sequence)
    assert handover.params is None
    assert not handover.hold


async def test_a_full_hit_reads_nothing_and_prefill_hears_of_it(started: Started) -> None:
    both = await pair(started)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 10) == 0
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.here.metric("nixl_bytes_transferred_count") == 0


async def test_tokens_from_elsewhere_let_prefill_go(started: Started) -> None:
    """MultiConnector loads from another child, and says so with nothing promised."""
    both = await pair(started)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 0)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.here.metric("nixl_bytes_transferred_count") == 0


async def test_each_choice_reads_and_the_last_one_lets_prefill_go(started: Started) -> None:
    both = await pair(started)
    params = both.prefilled()
    choices = [make_sequence(10, params=params, blocks=HERE, choice=choice) for choice in range(3)]
    for sequence in choices:
        both.decode.queued(sequence)
    for sequence in choices[:2]:
        assert await both.decode.match(sequence, 0) == 10
        await both.decode.load(sequence, 0, 10)
        both.decode.finished(sequence)
    await asyncio.sleep(0.05)
    assert both.there.released == []
    assert await both.decode.match(choices[2], 0) == 10
    await both.decode.load(choices[2], 0, 10)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.here.metric("nixl_bytes_transferred_count") == 3
    assert both.there.metric("nixl_num_notifications_after_expiry_total") == 0


async def test_an_aborted_decode_lets_prefill_go(started: Started) -> None:
    """While it loads: what is being read stays until the read is over, and nothing is written after."""
    both = await pair(started, delay_s=0.2)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 10
    before = both.here.kv(range(12)).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.05)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    sequence.finish = Finish.ABORT
    both.decode.finished(sequence)
    await asyncio.sleep(0.05)
    assert both.there.released == []
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    np.testing.assert_array_equal(both.here.kv(range(12)), before)


@pytest.mark.parametrize("queued", [True, False])
async def test_a_decode_that_never_ran_lets_prefill_go(started: Started, queued: bool) -> None:
    both = await pair(started)
    sequence = make_sequence(10, params=both.prefilled(), finish=Finish.ABORT)
    if queued:
        both.decode.queued(sequence)
    both.decode.finished(sequence)
    await settled(lambda: both.there.released == ["cmpl-r-0"])


async def test_a_lease_that_nobody_uses_expires(started: Started) -> None:
    both = await pair(started, kv_lease_duration=0.15)
    params = both.prefilled()
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.there.metric("nixl_num_kv_expired_reqs_total") == 1
    sequence = make_sequence(10, params=params, blocks=HERE)
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 10)  # One-sided: whatever is in the blocks by now.
    await settled(lambda: both.there.metric("nixl_num_notifications_after_expiry_total") == 1)
    assert both.there.released == ["cmpl-r-0"]


async def test_heartbeats_keep_a_lease(started: Started) -> None:
    both = await pair(started, kv_lease_duration=1.5)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    both.decode.queued(sequence)
    await asyncio.sleep(3.0)
    assert both.there.released == []
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 10)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.there.metric("nixl_num_kv_expired_reqs_total") == 0


async def test_a_read_keeps_its_blocks(started: Started) -> None:
    both = await pair(started, kv_lease_duration=0.1, delay_s=0.4)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))  # Not queued: no heartbeats.
    await asyncio.sleep(0.3)
    assert both.there.released == []
    await loading
    expect_same(both, THERE, HERE)
    assert both.there.metric("nixl_num_kv_expired_reqs_total") == 0


async def test_a_slow_transfer_is_seen_in_its_time(started: Started) -> None:
    both = await pair(started)
    both.here.transfer_delay_s = 0.1
    await both.decode.load(make_sequence(10, params=both.prefilled(), blocks=HERE), 0, 10)
    assert both.here.metric("nixl_xfer_time_seconds_sum") >= 0.1


async def test_data_parallel_ranks_share_a_registry() -> None:
    first = make_host()
    second = make_host(registry=first.registry, labels={"model_name": "tiny", "engine": "1"})
    NixlConnector(config(), first)
    NixlConnector(config(), second)
    for host in (first, second):
        assert host.registry.get_sample_value("vllm:nixl_num_kv_expired_reqs_total", dict(host.labels)) == 0
