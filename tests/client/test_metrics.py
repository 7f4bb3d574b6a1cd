from __future__ import annotations

import time
from pathlib import Path

import pytest

from pdtest.client.metrics import Metrics

TEXT = (Path(__file__).parent / "samples" / "metrics.txt").read_text()
METRICS = Metrics.parse(TEXT)
BY_SOURCE = "vllm:prompt_tokens_by_source"


@pytest.mark.parametrize("name", [BY_SOURCE, f"{BY_SOURCE}_total"])
def test_counter_with_or_without_total(name: str) -> None:
    assert METRICS.total(name, source="external_kv_transfer") == 1859.0
    assert METRICS.total(name, source="local_compute") == 0.0
    assert METRICS.total(name) == 1859.0


def test_some_names_only() -> None:
    some = Metrics.parse(TEXT, ("vllm:kv_cache_usage_perc", BY_SOURCE))
    assert some.gauge("vllm:kv_cache_usage_perc") == METRICS.gauge("vllm:kv_cache_usage_perc") is not None
    assert some.total(BY_SOURCE, source="external_kv_transfer") == 1859.0
    assert some.total("vllm:nixl_bytes_transferred_sum") is None
    assert BY_SOURCE in some.families


def test_absent_is_not_zero() -> None:
    assert METRICS.total("vllm:nixl_num_failed_handshakes") is None
    assert METRICS.total(BY_SOURCE, no_such_label="x") is None
    assert METRICS.gauge("vllm:no_such_gauge") is None
    assert METRICS.by("vllm:no_such_counter", "source") == {}


def test_label_value_that_was_not_counted_yet_is_zero() -> None:
    assert METRICS.total(BY_SOURCE, source="elsewhere") == 0.0


def test_declared_without_samples_is_zero() -> None:
    assert Metrics.parse("# TYPE late counter\n").total("late") == 0.0


def test_histogram_is_asked_for_by_sample() -> None:
    assert METRICS.total("vllm:nixl_bytes_transferred_sum") == 9.17504e6
    assert METRICS.total("vllm:nixl_bytes_transferred_count") == 19.0
    assert METRICS.total("vllm:nixl_bytes_transferred") == 0.0


def test_engines_add_up_and_gauges_do_not() -> None:
    metrics = Metrics.parse(
        '# TYPE c counter\nc_total{engine="0"} 1\nc_total{engine="1"} 2\n'
        '# TYPE u gauge\nu{engine="0"} 0.2\nu{engine="1"} 0.7\n'
    )
    assert metrics.total("c") == 3.0
    assert metrics.gauge("u") == 0.7
    assert metrics.gauge("u", engine="0") == 0.2
    assert metrics.by("c", "engine") == {"0": 1.0, "1": 2.0}


def test_by_label() -> None:
    assert METRICS.by(BY_SOURCE, "source") == {
        "local_compute": 0.0,
        "local_cache_hit": 0.0,
        "external_kv_transfer": 1859.0,
    }


def test_delta_counts_new_samples_from_zero() -> None:
    before = Metrics.parse('# TYPE c counter\nc_total{s="a"} 5\n')
    later = Metrics.parse(
        '# TYPE c counter\nc_total{s="a"} 7\nc_total{s="b"} 1\n# TYPE d counter\nd_total 4\n'
    )
    change = before.delta(later)
    assert change.by("c", "s") == {"a": 2.0, "b": 1.0}
    assert change.total("d") == 4.0
    assert change.total("e") is None


def test_malformed_text() -> None:
    with pytest.raises(ValueError, match="a"):
        Metrics.parse("a{b 1")


def test_parsing_is_fast_enough_to_poll() -> None:
    # A whole page of vLLM 0.32 is 60 KB, nine times the sample.
    started = time.perf_counter()
    Metrics.parse(TEXT)
    assert time.perf_counter() - started < 0.1
