"""What goes wrong with the other side, and parameters that make no sense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.connectors.params import BadParams
from tests.ports import free_ports

from .conftest import Started
from .fakes import make_host, make_sequence, settled
from .pairs import HERE, THERE, Pair, config, expect_same, pair_of

pair = partial(pair_of, NixlConnector)


async def refused(both: Pair[NixlConnector], params: Mapping[str, Any]) -> LoadFailed:
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


@pytest.mark.parametrize("duration", [0, -1, "30", True])
def test_a_lease_must_be_seconds(duration: object) -> None:
    with pytest.raises(ValueError, match="kv_lease_duration: expected seconds above 0"):
        NixlConnector(config(kv_lease_duration=duration), make_host())
