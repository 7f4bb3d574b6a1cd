from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.bootstrap import addresses
from pdtest.embedded.connectors.connector import LoadFailed
from pdtest.embedded.connectors.http import HttpCalls, HttpFailed
from pdtest.embedded.connectors.mooncake import MooncakeConnector
from pdtest.embedded.connectors.params import BadParams
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from tests.ports import free_ports

from .conftest import Started
from .fakes import FakeHost, make_host, make_sequence, settled

THERE: tuple[int, ...] = (3, 1, 7)
HERE: tuple[int, ...] = (5, 0, 2)


@dataclass
class Pair:
    prefill: MooncakeConnector
    there: FakeHost
    decode: MooncakeConnector
    here: FakeHost

    @property
    def bootstrap(self) -> str:
        return f"http://127.0.0.1:{self.there.bootstrap_port}"

    def to_prefill(self, transfer: str = "xfer-1") -> EngineSequence:
        params = {"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": transfer}
        sequence = make_sequence(10, request_id=f"p-{transfer}", params=params, blocks=THERE)
        self.prefill.queued(sequence)
        return sequence

    def end(self, sequence: EngineSequence, finish: Finish = Finish.LENGTH) -> bool:
        """Whether prefill holds the blocks."""
        sequence.computed, sequence.finish = 10, finish
        handover = self.prefill.finished(sequence)
        assert handover.params is None
        return handover.hold

    def to_decode(self, transfer: str = "xfer-1", **values: Any) -> EngineSequence:
        params = {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "transfer_id": transfer,
            "remote_engine_id": self.there.engine_id,
            "remote_bootstrap_addr": self.bootstrap,
            **values.pop("params", {}),
        }
        sequence = make_sequence(10, params=params, **{"blocks": HERE, **values})
        self.decode.queued(sequence)
        return sequence


async def pair(started: Started, *, prefill: int = 1, decode: int = 1, **values: Any) -> Pair:
    ports = free_ports(prefill + 1)
    there = make_host(ranks=prefill, seed=1, bootstrap_port=ports[0], side_ports=ports[1:], **values)
    here = make_host(ranks=decode, seed=2)
    both = Pair(
        MooncakeConnector({"kv_role": "kv_producer"}, there),
        there,
        MooncakeConnector({"kv_role": "kv_consumer"}, here),
        here,
    )
    await started(both.prefill)
    await started(both.decode)
    return both


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "0.3")


@pytest.mark.parametrize("first", ["prefill", "decode"])
@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 2), (2, 1), (2, 4)])
async def test_either_leg_may_come_first(started: Started, first: str, prefill: int, decode: int) -> None:
    both = await pair(started, prefill=prefill, decode=decode)
    leg = both.to_prefill() if first == "prefill" else None
    sequence = both.to_decode()
    assert await both.decode.match(sequence, 0) == 10
    untouched = both.here.kv((1, 3)).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.1)
    assert not loading.done()
    assert both.end(leg or both.to_prefill())
    await loading
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))
    np.testing.assert_array_equal(both.here.kv((1, 3)), untouched)
    await settled(lambda: both.there.released == ["cmpl-p-xfer-1-0"])
    assert both.there.metric("mooncake_bytes_transferred_count") == max(prefill, decode)
    assert both.there.metric("mooncake_bytes_transferred_sum") == 3 * 2 * 3 * 4 * 4 * 4 * 4
    assert both.here.metric("mooncake_num_failed_recvs_total") == 0


async def test_prefill_was_done_long_before(started: Started) -> None:
    both = await pair(started)
    assert both.end(both.to_prefill())
    sequence = both.to_decode()
    await both.decode.load(sequence, 4, 6)  # One block was cached.
    np.testing.assert_array_equal(both.here.kv(HERE[1:]), both.there.kv(THERE[1:]))
    assert both.there.metric("mooncake_bytes_transferred_sum") == 3 * 2 * 2 * 4 * 4 * 4 * 4


async def test_each_choice_is_written_and_the_last_one_lets_prefill_go(started: Started) -> None:
    both = await pair(started)
    places = [(5, 0, 2), (8, 9, 10)]
    choices = [both.to_decode(blocks=at, choice=number) for number, at in enumerate(places)]
    loading = asyncio.create_task(both.decode.load(choices[0], 0, 10))
    assert both.end(both.to_prefill())
    await loading
    await asyncio.sleep(0.05)
    assert both.there.released == []
    await both.decode.load(choices[1], 0, 10)
    for at in places:
        np.testing.assert_array_equal(both.here.kv(at), both.there.kv(THERE))
    await settled(lambda: both.there.released == ["cmpl-p-xfer-1-0"])


@pytest.mark.parametrize("finish", [Finish.STOP, Finish.ABORT, Finish.ERROR])
async def test_decode_hears_when_prefill_has_nothing(started: Started, finish: Finish) -> None:
    both = await pair(started)
    loading = asyncio.create_task(both.decode.load(both.to_decode(), 0, 10))
    leg = both.to_prefill()
    await asyncio.sleep(0.1)
    assert not both.end(leg, finish)
    with pytest.raises(LoadFailed, match=f"prefill ended with {finish}, nothing is sent"):
        await asyncio.wait_for(loading, 5)
    assert both.here.metric("mooncake_num_failed_recvs_total") == 1
    with pytest.raises(LoadFailed, match=f"prefill ended with {finish}"):
        await asyncio.wait_for(both.decode.load(both.to_decode(choice=1), 0, 10), 5)


async def test_a_decode_that_is_aborted_first(started: Started) -> None:
    """Prefill does not hold blocks that nobody will come for."""
    both = await pair(started)
    leg = both.to_prefill()
    sequence = both.to_decode()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.1)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    both.decode.finished(sequence)
    await settled(lambda: "xfer-1" in both.prefill._transfers._over)
    assert not both.end(leg)
    assert both.there.released == []
    assert both.there.metric("mooncake_num_failed_transfers_total") == 0


async def test_a_decode_that_is_aborted_later(started: Started) -> None:
    both = await pair(started, transfer_delay_s=0.3)
    assert both.end(both.to_prefill())
    sequence = both.to_decode()
    before = both.here.kv(HERE).copy()
    loading = asyncio.create_task(both.decode.load(sequence, 0, 10))
    await asyncio.sleep(0.1)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    both.decode.finished(sequence)
    await asyncio.sleep(0.05)
    assert both.there.released == []
    await settled(lambda: both.there.released == ["cmpl-p-xfer-1-0"])
    np.testing.assert_array_equal(both.here.kv(HERE), before)


@pytest.mark.usefixtures("short_timeout")
async def test_nobody_comes_for_the_blocks(started: Started) -> None:
    both = await pair(started)
    assert both.end(both.to_prefill())
    await settled(lambda: both.there.released == ["cmpl-p-xfer-1-0"])
    assert both.there.metric("mooncake_num_kv_expired_reqs_total") == 1
    with pytest.raises(LoadFailed, match="its blocks are not held any more"):
        await both.decode.load(both.to_decode(), 0, 10)


@pytest.mark.usefixtures("short_timeout")
async def test_a_transfer_that_prefill_never_hears_of(started: Started) -> None:
    both = await pair(started)
    with pytest.raises(LoadFailed, match=r"prefill had nothing for 0\.3 s"):
        await both.decode.load(both.to_decode("xfer-unknown"), 0, 10)
    # It may still come.
    assert both.end(both.to_prefill("xfer-unknown"))
    await both.decode.load(both.to_decode("xfer-unknown", choice=1), 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_a_transfer_is_consumed_once(started: Started) -> None:
    both = await pair(started)
    assert both.end(both.to_prefill())
    sequence = both.to_decode()
    await both.decode.load(sequence, 0, 10)
    both.decode.finished(sequence)
    await settled(lambda: both.there.released == ["cmpl-p-xfer-1-0"])
    with pytest.raises(LoadFailed, match="decode does not need it any more"):
        await both.decode.load(both.to_decode(request_id="again"), 0, 10)


async def test_the_bootstrap_server_tells_who_is_there(started: Started) -> None:
    both = await pair(started, prefill=2)
    second = make_host(data_rank=1, bootstrap_port=both.there.bootstrap_port)
    await started(MooncakeConnector({"kv_role": "kv_producer"}, second))
    known = await HttpCalls(timeout_s=5).get(f"{both.bootstrap}/query")
    first, other = both.there.side_ports
    assert known == {
        "0": {
            "engine_id": both.there.engine_id,
            "worker_addr": {
                "0": {"0": f"tcp://127.0.0.1:{first}"},
                "1": {"0": f"tcp://127.0.0.1:{other}"},
            },
        },
        "1": {
            "engine_id": second.engine_id,
            "worker_addr": {"0": {"0": f"tcp://127.0.0.1:{second.side_ports[0]}"}},
        },
    }
    assert {name: str(address) for name, address in addresses(known).items()} == {
        both.there.engine_id: f"engine {both.there.engine_id} at 127.0.0.1:{first}",
        second.engine_id: f"engine {second.engine_id} at 127.0.0.1:{second.side_ports[0]}",
    }


async def test_registering_again(started: Started) -> None:
    both = await pair(started)
    worker = {
        "engine_id": both.there.engine_id,
        "dp_rank": 0,
        "tp_rank": 0,
        "pp_rank": 0,
        "addr": f"tcp://127.0.0.1:{both.there.side_ports[0]}",
    }
    url = f"{both.bootstrap}/register"
    http = HttpCalls(timeout_s=5)
    assert await http.post(url, worker) == {"status": "ok"}
    for change, problem in (
        ({"engine_id": "x"}, "400.*Engine ID mismatch for dp_rank=0"),
        ({"addr": "tcp://h:1"}, "400.*already registered at"),
        ({"tp_rank": "0"}, "422.*expected engine_id, dp_rank"),
    ):
        with pytest.raises(HttpFailed, match=problem):
            await http.post(url, {**worker, **change})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"remote_engine_id": "x"}, "remote engine_id x not found from bootstrap server"),
        ({"remote_bootstrap_addr": "http://127.0.0.1:{dead}"}, r"bootstrap server: GET .*\(3 attempts\)"),
        ({"remote_bootstrap_addr": "127.0.0.1:{side}"}, "bootstrap server: GET"),
    ],
)
async def test_parameters_that_lead_nowhere(started: Started, change: dict[str, str], reason: str) -> None:
    both = await pair(started)
    dead, side = free_ports(1)[0], both.there.side_ports[0]
    params = {name: value.format(dead=dead, side=side) for name, value in change.items()}
    with pytest.raises(LoadFailed, match=reason):
        await asyncio.wait_for(both.decode.load(both.to_decode(params=params), 0, 10), 10)
    assert both.here.metric("mooncake_num_failed_recvs_total") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transfer_id": None}, "transfer_id: expected a text, got None"),
        ({"remote_engine_id": 1}, "remote_engine_id: expected a text, got 1"),
        ({"remote_bootstrap_addr": "nowhere"}, "remote_bootstrap_addr: expected http://host:port"),
        ({"remote_bootstrap_addr": "http://h:99999"}, "remote_bootstrap_addr: expected http://host:port"),
        ({"do_remote_prefill": "yes"}, "do_remote_prefill: expected true or false"),
    ],
)
async def test_ill_typed_parameters(started: Started, change: dict[str, Any], message: str) -> None:
    both = await pair(started)
    sequence = both.to_decode(params=change)
    with pytest.raises(BadParams, match=message):
        await both.decode.match(sequence, 0)
    both.decode.finished(sequence)


async def test_a_prefill_without_a_transfer_id(started: Started) -> None:
    both = await pair(started)
    leg = make_sequence(10, params={"do_remote_decode": True}, blocks=THERE)
    both.prefill.queued(leg)
    with pytest.raises(BadParams, match="transfer_id: expected a text, it is missing"):
        await both.prefill.match(leg, 0)
    assert not both.end(leg)


async def test_a_prefill_that_was_restarted(started: Started) -> None:
    both = await pair(started)
    assert both.end(both.to_prefill())
    await both.decode.load(both.to_decode(), 0, 10)
    await both.prefill.close()
    former = both.there.engine_id
    both.there = make_host(seed=3, side_ports=both.there.side_ports, bootstrap_port=both.there.bootstrap_port)
    both.prefill = MooncakeConnector({"kv_role": "kv_producer"}, both.there)
    await started(both.prefill)
    with pytest.raises(LoadFailed, match="listens there now"):
        await both.decode.load(
            both.to_decode("xfer-2", request_id="2", params={"remote_engine_id": former}), 0, 10
        )
    assert both.end(both.to_prefill("xfer-3"))
    await both.decode.load(both.to_decode("xfer-3", request_id="3"), 0, 10)
    np.testing.assert_array_equal(both.here.kv(HERE), both.there.kv(THERE))


async def test_a_bootstrap_port_that_is_taken(started: Started) -> None:
    both = await pair(started)
    late = MooncakeConnector({}, make_host(bootstrap_port=both.there.bootstrap_port))
    with pytest.raises(OSError, match="in use"):
        await late.start()
    await late.close()
