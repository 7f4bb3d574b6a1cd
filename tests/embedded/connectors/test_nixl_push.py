from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.channel import Channel, RemoteError
from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.connectors.nixl_push import NixlPushConnector
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish
from tests.ports import free_ports

from .conftest import Started
from .fakes import make_host, make_sequence, settled
from .pairs import HERE, THERE, TO_PREFILL, pair_of

pair = partial(pair_of, NixlPushConnector)


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2)])
async def test_prefill_writes_into_what_decode_registered(
    started: Started, prefill: int, decode: int
) -> None:
    both = await pair(started, prefill=prefill, decode=decode)
    params = both.prefilled()
    assert params["transfer_mode"] == "push"
    assert "remote_blocks_expiry_time" not in params
    sequence = make_sequence(10, params=params, blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 10
    untouched = both.here.kv((1, 3)).copy()
    await both.decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))
    np.testing.assert_array_equal(both.here.kv((1, 3)), untouched)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    pairs = max(prefill, decode)
    assert both.there.metric("nixl_bytes_transferred_count") == pairs
    assert both.there.metric("nixl_bytes_transferred_sum") == 3 * 2 * 3 * 4 * 4 * 4 * 4
    assert both.here.metric("nixl_bytes_transferred_count") == 0
    for host in (both.there, both.here):
        assert host.metric("nixl_num_failed_transfers_total") == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_blocks_and_any_cached_prefix(data: st.DataObject) -> None:
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


async def test_block_ids_are_not_looked_at(started: Started) -> None:
    both = await pair(started)
    params = {**both.prefilled(), "remote_block_ids": None}
    sequence = make_sequence(10, params=params, blocks=HERE)
    assert await both.decode.match(sequence, 0) == 10
    await both.decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_each_choice_is_written_and_the_last_one_lets_prefill_go(started: Started) -> None:
    both = await pair(started)
    params = both.prefilled()
    places = [(5, 0, 2), (8, 9, 10)]
    choices = [make_sequence(10, params=params, blocks=at, choice=n) for n, at in enumerate(places)]
    for sequence in choices:
        both.decode.queued(sequence)
    await both.decode.load(choices[0], 0, 10)
    both.decode.finished(choices[0])
    await asyncio.sleep(0.05)
    assert both.there.released == []
    await both.decode.load(choices[1], 0, 10)
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    for at in places:
        np.testing.assert_array_equal(both.here.kv(at), both.there.kv(THERE))


async def test_an_aborted_decode_is_not_written_and_lets_prefill_go(started: Started) -> None:
    both = await pair(started, delay_s=0.2)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    both.decode.queued(sequence)
    before = both.here.kv(range(12)).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.05)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    both.decode.finished(sequence)
    await asyncio.sleep(0.05)
    assert both.there.released == []  # It is still being written from.
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    np.testing.assert_array_equal(both.here.kv(range(12)), before)
    assert both.there.metric("nixl_bytes_transferred_count") == 0
    assert both.there.metric("nixl_num_failed_transfers_total") == 0


async def test_a_lease_that_nobody_uses_expires(started: Started) -> None:
    both = await pair(started, kv_lease_duration=0.15)
    params = both.prefilled()
    await settled(lambda: both.there.released == ["cmpl-r-0"])
    assert both.there.metric("nixl_num_kv_expired_reqs_total") == 1
    with pytest.raises(LoadFailed, match="0 of 3 blocks are held here"):
        await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    for host in (both.there, both.here):
        assert host.metric("nixl_num_failed_transfers_total") == 1


async def test_a_prompt_longer_than_what_is_held(started: Started) -> None:
    both = await pair(started)
    with pytest.raises(LoadFailed, match="3 of 4 blocks are held here"):
        await both.decode.load(make_sequence(13, params=both.prefilled(), blocks=(*HERE, 3)), 0, 13)


async def test_a_pull_and_a_push_do_not_fit(started: Started) -> None:
    both = await pair(started)
    here = make_host()
    decode = NixlConnector({}, here)
    await started(decode)
    with pytest.raises(LoadFailed, match="mode is pull here and push there"):
        await decode.load(make_sequence(10, params=both.prefilled(), blocks=HERE), 0, 10)


async def test_a_dead_port_and_a_missing_field(started: Started) -> None:
    both = await pair(started)
    params = {**both.prefilled(), "remote_port": free_ports(1)[0]}
    with pytest.raises(LoadFailed, match="cannot reach"):
        await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    del params["remote_request_id"]
    with pytest.raises(BadParams, match="remote_request_id"):
        await both.decode.match(make_sequence(10, params=params), 0)


async def test_prefill_dies_while_it_writes(started: Started) -> None:
    both = await pair(started, delay_s=5.0)
    loading = asyncio.create_task(
        both.decode.load(make_sequence(10, params=both.prefilled(), blocks=HERE), 0, 10)
    )
    await asyncio.sleep(0.1)
    await both.prefill.close()
    with pytest.raises(LoadFailed, match="closed the connection"):
        await loading


async def test_only_registered_blocks_can_be_written(started: Started) -> None:
    both = await pair(started, delay_s=0.3)
    loading = asyncio.create_task(
        both.decode.load(make_sequence(10, params=both.prefilled(), blocks=HERE), 0, 10)
    )
    await asyncio.sleep(0.1)
    channel = await Channel.connect("127.0.0.1", both.here.side_ports[0])
    with pytest.raises(RemoteError, match=r"waits for blocks \[0, 2, 5\], not for \[4\]"):
        await channel.call("write", request_id="cmpl-r-0", blocks=[4], first_head=0, heads=4, content=b"")
    await channel.close()
    await loading
