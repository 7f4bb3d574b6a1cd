from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish

from .conftest import Started
from .fakes import FakeHost, free_ports, make_host, make_sequence, settled

#: Blocks on prefill and on decode for a prompt of 10 tokens, 4 to a block.
THERE, HERE = (3, 1, 7), (5, 0, 2)
TO_PREFILL = {"do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None}


def config(**extra: Any) -> dict[str, Any]:
    return {"kv_connector": "NixlConnector", "kv_connector_extra_config": extra}


@dataclass
class Pair:
    """A prefill and a decode instance that are up."""

    prefill: NixlConnector
    there: FakeHost
    decode: NixlConnector
    here: FakeHost

    def prefilled(
        self, *, request_id: str = "r", prompt: int = 10, finish: Finish = Finish.LENGTH
    ) -> dict[str, Any]:
        """The parameters that prefill answers."""
        blocks = THERE[: -(-prompt // 4)]
        sequence = make_sequence(
            prompt, request_id=request_id, params=TO_PREFILL, blocks=blocks, computed=prompt, finish=finish
        )
        handover = self.prefill.finished(sequence)
        assert handover.hold == (handover.params is not None)
        return dict(handover.params or {})


async def pair(
    started: Started, *, prefill: int = 1, decode: int = 1, delay_s: float = 0.0, **extra: Any
) -> Pair:
    there = make_host(ranks=prefill, seed=1, transfer_delay_s=delay_s)
    here = make_host(ranks=decode, seed=2)
    both = Pair(NixlConnector(config(**extra), there), there, NixlConnector(config(**extra), here), here)
    await started(both.prefill)
    await started(both.decode)
    return both


def expect_same(both: Pair, remote: tuple[int, ...], local: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(both.here.kv(local), both.there.kv(remote))


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


async def refused(both: Pair, params: Mapping[str, Any]) -> LoadFailed:
    sequence = make_sequence(10, params=params, blocks=HERE)
    both.decode.queued(sequence)
    assert await both.decode.match(sequence, 0) == 10
    before = both.here.kv(range(12)).copy()
    failures = both.here.metric("nixl_num_failed_transfers_total")
    with pytest.raises(LoadFailed) as caught:
        await asyncio.wait_for(both.decode.load(sequence, 0, 10), 5.0)
    np.testing.assert_array_equal(both.here.kv(range(12)), before)
    assert both.here.metric("nixl_num_failed_transfers_total") == failures + 1
    both.decode.finished(sequence)
    return caught.value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"remote_engine_id": "another"}, "listens there now"),
        ({"remote_block_ids": [[3, 1]]}, "2 blocks of 4 tokens were named, 3 are needed"),
        ({"remote_block_ids": [[3, 1, 12]]}, "block 12 does not exist"),
        ({"remote_block_ids": [[3, 1, -1]]}, "block -1 does not exist"),
        ({"tp_size": 2}, "has 1 tensor-parallel ranks, the parameters say 2"),
        ({"remote_host": "256.0.0.1.invalid"}, "cannot reach"),
        ({"remote_host": "\ud800"}, "cannot reach"),
    ],
)
async def test_parameters_that_lead_nowhere(started: Started, change: dict[str, Any], reason: str) -> None:
    both = await pair(started)
    params = both.prefilled()
    assert reason in str(await refused(both, {**params, **change}))
    assert both.there.released == []
    # Nobody died of it, and the right ones still work.
    await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    expect_same(both, THERE, HERE)


async def test_a_dead_port(started: Started) -> None:
    both = await pair(started)
    params = {**both.prefilled(), "remote_port": free_ports(1)[0]}
    assert "cannot reach" in str(await refused(both, params))


async def test_a_port_that_says_nothing(started: Started) -> None:
    both = await pair(started, handshake_timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        params = {**both.prefilled(), "remote_port": silent.getsockname()[1]}
        assert "did not answer within 0.2 s" in str(await refused(both, params))


async def test_a_read_that_does_not_end(started: Started) -> None:
    both = await pair(started, delay_s=2.0, transfer_timeout=0.2)
    assert "nothing came for 0.2 s" in str(await refused(both, both.prefilled()))


async def test_engines_that_do_not_fit(started: Started) -> None:
    there, here = make_host(block_size=8), make_host()
    prefill, decode = NixlConnector(config(), there), NixlConnector(config(), here)
    await started(prefill)
    await started(decode)
    both = Pair(prefill, there, decode, here)
    reason = str(await refused(both, both.prefilled()))
    assert "block_size is 4 here and 8 there" in reason


async def test_foreign_block_ids_give_foreign_content(started: Started) -> None:
    """Reads are one-sided: prefill does not look whose blocks they are."""
    both = await pair(started)
    params = {**both.prefilled(), "remote_block_ids": [[9, 9, 8]]}
    await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    expect_same(both, (9, 9, 8), HERE)


async def test_an_unknown_request_id_is_served_and_prefill_keeps_its_blocks(started: Started) -> None:
    both = await pair(started)
    params = {**both.prefilled(), "remote_request_id": "cmpl-other-0"}
    await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    expect_same(both, THERE, HERE)
    sequence = make_sequence(10, params=params, blocks=HERE)
    both.decode.queued(sequence)
    both.decode.finished(sequence)
    await settled(lambda: both.there.metric("nixl_num_notifications_after_expiry_total") == 1)
    assert both.there.released == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remote_request_id": None}, "remote_request_id: expected a text, got None"),
        ({"remote_engine_id": 5}, "remote_engine_id: expected a text, got 5"),
        ({"remote_host": ""}, "remote_host: expected a text, got ''"),
        ({"remote_port": "5600"}, "remote_port: expected an integer from 1 to 65535, got '5600'"),
        ({"remote_port": 0}, "remote_port: expected an integer from 1 to 65535, got 0"),
        ({"tp_size": True}, "tp_size: expected an integer from 1, got True"),
        ({"remote_block_ids": []}, "remote_block_ids: expected a list of block ids"),
        ({"remote_block_ids": [[]]}, "remote_block_ids: expected a list of block ids"),
        ({"remote_block_ids": None}, "remote_block_ids: expected a list of block ids"),
        ({"remote_block_ids": [[1], [2]]}, "remote_block_ids: expected a list of block ids"),
        ({"remote_block_ids": [["1"]]}, "remote_block_ids: expected a list of block ids"),
        ({"remote_block_ids": [[10**30]]}, "remote_block_ids: expected a list of block ids"),
        ({"do_remote_prefill": "yes"}, "do_remote_prefill: expected true or false, got 'yes'"),
        ({"do_remote_decode": 1}, "do_remote_decode: expected true or false, got 1"),
    ],
)
async def test_ill_typed_parameters(started: Started, change: dict[str, Any], message: str) -> None:
    both = await pair(started)
    sequence = make_sequence(10, params={**both.prefilled(), **change}, blocks=HERE)
    both.decode.queued(sequence)
    with pytest.raises(BadParams, match=f"kv_transfer_params.{message}"):
        await both.decode.match(sequence, 0)
    both.decode.finished(sequence)


@pytest.mark.parametrize(
    "field",
    ["remote_request_id", "remote_engine_id", "remote_host", "remote_port", "remote_block_ids", "tp_size"],
)
async def test_missing_parameters(started: Started, field: str) -> None:
    both = await pair(started)
    params = both.prefilled()
    del params[field]
    with pytest.raises(BadParams, match=rf"kv_transfer_params.{field}: expected .*, it is missing"):
        await both.decode.match(make_sequence(10, params=params, blocks=HERE), 0)


async def test_flat_block_ids_of_older_versions(started: Started) -> None:
    both = await pair(started)
    params = {**both.prefilled(), "remote_block_ids": list(THERE)}
    await both.decode.load(make_sequence(10, params=params, blocks=HERE), 0, 10)
    expect_same(both, THERE, HERE)


async def test_a_peer_that_was_restarted(started: Started) -> None:
    both = await pair(started)
    former = both.prefilled()
    await both.decode.load(make_sequence(10, params=former, blocks=HERE), 0, 10)
    await both.prefill.close()
    both.there = make_host(seed=3, side_ports=both.there.side_ports)
    both.prefill = NixlConnector(config(), both.there)
    await started(both.prefill)
    assert "listens there now" in str(await refused(both, former))
    await both.decode.load(make_sequence(10, params=both.prefilled(), blocks=HERE), 0, 10)
    expect_same(both, THERE, HERE)


async def test_prefill_dies_while_it_is_read(started: Started) -> None:
    both = await pair(started, delay_s=5.0)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.1)
    await both.prefill.close()
    with pytest.raises(LoadFailed, match="closed the connection"):
        await loading


async def test_a_notification_that_fails_is_counted(started: Started) -> None:
    both = await pair(started)
    sequence = make_sequence(10, params=both.prefilled(), blocks=HERE)
    both.decode.queued(sequence)
    await both.prefill.close()
    both.decode.finished(sequence)
    await settled(lambda: both.here.metric("nixl_num_failed_notifications_total") == 1)
    assert both.here.metric("nixl_num_failed_transfers_total") == 1


async def test_data_parallel_ranks_share_a_registry() -> None:
    first = make_host()
    second = make_host(registry=first.registry, labels={"model_name": "tiny", "engine": "1"})
    NixlConnector(config(), first)
    NixlConnector(config(), second)
    for host in (first, second):
        assert host.registry.get_sample_value("vllm:nixl_num_kv_expired_reqs_total", dict(host.labels)) == 0


@pytest.mark.parametrize("duration", [0, -1, "30", True])
def test_a_lease_must_be_seconds(duration: object) -> None:
    with pytest.raises(ValueError, match="kv_lease_duration: expected seconds above 0"):
        NixlConnector(config(kv_lease_duration=duration), make_host())
