from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.ascend import MooncakeConnectorV1
from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish

from .conftest import Started
from .fakes import FakeHost, make_host, make_sequence, settled

CONFIG = {"kv_connector": "MooncakeConnectorV1"}
TO_PREFILL = {"do_remote_decode": True, "do_remote_prefill": False, "aborted_request": []}


async def prefill(started: Started, *, ranks: int = 1) -> tuple[MooncakeConnectorV1, FakeHost]:
    host = make_host(ranks=ranks, seed=1)
    connector = MooncakeConnectorV1(CONFIG, host)
    await started(connector)
    return connector, host


def answer(connector: MooncakeConnectorV1, finish: Finish = Finish.LENGTH) -> dict[str, Any]:
    done = make_sequence(10, params=TO_PREFILL, blocks=(3, 1, 7), computed=10, finish=finish)
    return dict(connector.finished(done).params or {})


async def test_the_answer_of_prefill(started: Started) -> None:
    connector, host = await prefill(started, ranks=2)
    assert answer(connector) == {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [[3, 1, 7]],
        "remote_engine_id": host.engine_id,
        "remote_request_id": "cmpl-r-0",
        "remote_host": "127.0.0.1",
        "remote_port": host.side_ports[0],
        "remote_pcp_size": 1,
        "remote_dcp_size": 1,
        "remote_ptp_size": 2,
        "last_token_id": 7,
        "remote_multi_nodes_meta_mapping": {
            "0": {"host": "127.0.0.1", "engine_id": host.engine_id},
            "1": {"host": "127.0.0.1", "engine_id": host.engine_id},
        },
        "num_prompt_blocks": 3,
        "remote_block_size": 4,
    }


async def test_a_prompt_that_ends_at_once_is_not_handed_over(started: Started) -> None:
    connector, _ = await prefill(started)
    assert answer(connector, Finish.STOP) == {}


@pytest.mark.parametrize("named", [True, False])
async def test_decode_reads_and_prefill_lets_go(started: Started, named: bool) -> None:
    """Older versions do not say how many ranks there are."""
    connector, there = await prefill(started, ranks=2)
    params = answer(connector)
    if not named:
        del params["remote_ptp_size"]
    here = make_host(seed=2)
    decode = MooncakeConnectorV1(CONFIG, here)
    await started(decode)
    sequence = make_sequence(10, params=params, blocks=(5, 0, 2))
    decode.queued(sequence)
    assert await decode.match(sequence, 0) == 10
    await decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(here.kv((5, 0, 2)), there.kv((3, 1, 7)))
    await settled(lambda: there.released == ["cmpl-r-0"])
    assert here.metric("mooncake_bytes_transferred_count") == 2
    assert here.metric("mooncake_num_failed_transfers_total") == 0


async def test_wrong_ranks(started: Started) -> None:
    connector, _ = await prefill(started)
    params = answer(connector)
    here = make_host()
    decode = MooncakeConnectorV1(CONFIG, here)
    await started(decode)
    with pytest.raises(BadParams, match="remote_ptp_size"):
        await decode.match(make_sequence(10, params={**params, "remote_ptp_size": 0}), 0)
    sequence = make_sequence(10, params={**params, "remote_ptp_size": 4}, blocks=(5, 0, 2))
    with pytest.raises(LoadFailed, match="has 1 tensor-parallel ranks, the parameters say 4"):
        await decode.load(sequence, 0, 10)
    assert here.metric("mooncake_num_failed_transfers_total") == 1


async def test_nothing_prolongs_the_hold(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "0.2")
    connector, there = await prefill(started)
    decode = MooncakeConnectorV1(CONFIG, make_host())
    await started(decode)
    decode.queued(make_sequence(10, params=answer(connector)))
    await settled(lambda: there.released == ["cmpl-r-0"])
    assert there.metric("mooncake_num_kv_expired_reqs_total") == 1


@pytest.mark.parametrize("said", ["soon", "0", "-1"])
def test_a_timeout_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", said)
    with pytest.raises(ValueError, match="VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT: expected seconds above 0"):
        MooncakeConnectorV1(CONFIG, make_host())
