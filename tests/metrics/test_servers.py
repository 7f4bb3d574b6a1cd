"""Phases and KV transfers, by counters made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pdtest.environment.schema import Role
from pdtest.metrics.phases import phase_measures
from pdtest.metrics.transfer import transfer_measures
from pdtest.wire.evidence import Counter
from pdtest.wire.registry import contract_for

from .streams import exchange, named

NIXL, MOONCAKE, P2P = (contract_for((name,)) for name in ("nixl", "mooncake", "p2p-nccl"))


@dataclass
class Told:
    """Rises by role and what a counter is printed as."""

    rises: Mapping[tuple[Role, str], float]

    def rise(self, counter: Counter) -> float | None:
        return self.rises.get((counter.role, str(counter)))

    def gap(self, counter: Counter) -> str | None:
        return None if self.rise(counter) is not None else f"no {counter}"


def times(role: Role, **seconds: float) -> dict[tuple[Role, str], float]:
    """Of 4 requests; seconds per request."""
    rises = {}
    for kind, each in seconds.items():
        rises[role, f"vllm:request_{kind}_time_seconds_sum"] = each * 4
        rises[role, f"vllm:request_{kind}_time_seconds_count"] = 4.0
    return rises


APART = Told(
    {
        **times(Role.PREFILL, queue=0.1, prefill=0.4, decode=0.0),
        **times(Role.DECODE, queue=0.6, prefill=0.1, decode=0.8),
    }
)


def test_where_time_goes_between_prefill_and_decode() -> None:
    measures = [*phase_measures([exchange((1.0, 1))], APART, NIXL)]

    means = {
        phase: named(measures, f"phase_{phase}_mean").value for phase in ("queue", "prefill", "transfer")
    }
    assert means == pytest.approx({"queue": 0.1, "prefill": 0.4, "transfer": 0.6})
    assert named(measures, "phase_decode_mean").value == pytest.approx(0.9)
    assert named(measures, "phase_decode_share").value == pytest.approx(0.45)
    shares = [one.value for one in measures if one.name.endswith("_share")]
    assert sum(value for value in shares if value is not None) == pytest.approx(1)


def test_decode_that_waits_while_prefill_works_is_not_charged_twice() -> None:
    measures = [*phase_measures([exchange((1.0, 1))], APART, MOONCAKE)]

    assert named(measures, "phase_transfer_mean").value == pytest.approx(0.6 - 0.1 - 0.4)


def test_one_instance_transfers_nothing() -> None:
    told = Told(times(Role.COLOCATED, queue=0.1, prefill=0.4, decode=0.5))

    measures = [*phase_measures([exchange((1.0, 1))], told, None)]

    assert named(measures, "phase_transfer_mean").why == "nothing is transferred"
    assert named(measures, "phase_prefill_share").value == pytest.approx(0.4)


def test_an_engine_that_does_not_tell_is_named() -> None:
    measures = [*phase_measures([exchange((1.0, 1))], Told(times(Role.PREFILL, queue=0.1)), NIXL)]

    missing = named(measures, "phase_prefill_mean")
    assert missing.value is None
    assert missing.why == "no vllm:request_prefill_time_seconds_sum"
    assert named(measures, "phase_queue_share").value == pytest.approx(1)


def test_a_client_that_led_both_legs_knows_better() -> None:
    led = exchange((1.0, 1), phases={"prefill": 0.3, "decode": 0.9})

    measures = [*phase_measures([led, led], APART, NIXL)]

    assert named(measures, "phase_prefill_mean").value == pytest.approx(0.3)
    assert named(measures, "phase_decode_share").value == pytest.approx(0.75)
    assert named(measures, "phase_queue_mean").why == "nobody told of it"


def tokens(*, moved: float, computed: float, **others: float) -> Told:
    source = "vllm:prompt_tokens_by_source{{source={}}}".format
    return Told(
        {
            (Role.DECODE, source("external_kv_transfer")): moved,
            (Role.DECODE, source("local_compute")): computed,
            (Role.DECODE, "vllm:nixl_num_failed_transfers"): others.get("failed", 0.0),
            (Role.DECODE, "vllm:nixl_bytes_transferred_sum"): 4096.0,
            (Role.DECODE, "vllm:nixl_bytes_transferred_count"): 8.0,
            (Role.DECODE, "vllm:nixl_xfer_time_seconds_sum"): 2.0,
        }
    )


ANSWERED = [exchange((1.0, 1), prompt_tokens=100)] * 4


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        (tokens(moved=400, computed=0), 1.0),
        (tokens(moved=300, computed=100), 0.75),
        (tokens(moved=0, computed=400), 0.0),
        # 300 of 400 tokens were in decode's own cache: nothing was missed.
        (tokens(moved=100, computed=0), 1.0),
        (tokens(moved=400, computed=0, failed=1), 0.75),
    ],
)
def test_what_decode_computes_itself_was_not_transferred(told: Told, rate: float) -> None:
    measures = [*transfer_measures(NIXL, ANSWERED, told, block_size=16)]

    assert named(measures, "kv_transfer_success_rate").value == pytest.approx(rate)


def test_the_tail_that_a_store_does_not_keep_is_decodes_own_to_compute() -> None:
    """Of 100 tokens, 6 blocks of 16 come from a store of whole blocks; 4 are due on decode."""
    store = contract_for(("lmcache",))

    def rate(computed: float) -> float | None:
        told = tokens(moved=4 * 96.0, computed=computed)
        return named(
            [*transfer_measures(store, ANSWERED, told, block_size=16)], "kv_transfer_success_rate"
        ).value

    assert rate(16) == pytest.approx(1.0)
    assert rate(32) == pytest.approx(384 / 400)


def test_bytes_and_time_are_the_connectors() -> None:
    measures = [*transfer_measures(NIXL, ANSWERED, tokens(moved=400, computed=0), block_size=16)]

    assert named(measures, "kv_transfer_bytes").value == 4096
    assert named(measures, "kv_transfer_bytes_mean").value == 1024
    assert named(measures, "kv_transfer_time_mean").value == pytest.approx(0.25)
    assert named(measures, "kv_transfer_bytes_per_s").value == pytest.approx(2048)
    assert named(measures, "kv_transfer_failures").value == 0


def test_a_connector_that_does_not_count_says_so() -> None:
    measures = [*transfer_measures(P2P, ANSWERED, tokens(moved=400, computed=0), block_size=16)]

    assert named(measures, "kv_transfer_bytes").why == "the connector does not count bytes"
    assert named(measures, "kv_transfer_time_mean").value is None
    assert named(measures, "kv_transfer_failures").why == "the connector exports no counter of failures"


@pytest.mark.parametrize(
    ("name", "counter"),
    [("ascend-store", "vllm:ascend_store_load_get_keys"), ("lmcache", "lmcache:num_hit_tokens")],
)
def test_keys_and_tokens_are_no_transfers(name: str, counter: str) -> None:
    store = contract_for((name,))
    assert store.evidence.transfers is not None
    assert store.evidence.transfers.name == counter
    told = Told({(Role.DECODE, counter): 7.0, (Role.DECODE, "vllm:nixl_xfer_time_seconds_sum"): 2.0})

    measures = [*transfer_measures(store, ANSWERED, told, block_size=16)]

    assert (
        named(measures, "kv_transfer_time_mean").why == "the connector does not count how long transfers take"
    )


def test_a_server_that_does_not_tell_proves_nothing() -> None:
    measures = [*transfer_measures(NIXL, ANSWERED, Told({}), block_size=16)]

    for measure in measures:
        assert measure.value is None
        assert measure.why
