from __future__ import annotations

import json
import signal

from prometheus_client.parser import text_string_to_metric_families

from .stores import Connect, Process


async def test_metrics_say_what_happened(process: Process, connect: Connect) -> None:
    client = await connect(process.port, segment_bytes=1000)
    await client.put_many({"a": b"x" * 100, "b": b"y" * 200})
    await client.put("a", b"x" * 100)
    await client.get_many(["a", "b", "c"])
    await client.exists("c")
    await client.remove("b")
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(process.get("/metrics"))
        for sample in family.samples
    }
    expected = {
        ("memcache_alloc_requests_total",): 3,
        ("memcache_alloc_successes_total",): 2,
        ("memcache_alloc_failures_total",): 1,
        ("memcache_puts_total",): 2,
        ("memcache_get_requests_total",): 3,
        ("memcache_get_successes_total",): 2,
        ("memcache_get_not_found_total",): 1,
        ("memcache_hits_total",): 2,
        ("memcache_misses_total",): 1,
        ("memcache_exist_key_not_found_total",): 1,
        ("memcache_remove_successes_total",): 1,
        ("memcache_checksum_failures_total",): 0,
        ("memcache_evict_operations_total",): 0,
        ("memcache_mount_successes_total",): 1,
        ("memcache_stored_keys",): 1,
        ("memcache_clients",): 1,
        ("memcache_total_capacity_bytes", "dram"): (1 << 20) + 1000,
        ("memcache_allocated_bytes", "dram"): 100,
    }
    assert {name: values[name] for name in expected} == expected
    segments = [value for name, value in values.items() if name[0] == "memcache_segment_allocated_bytes"]
    assert sorted(segments) == [0, 100]


async def test_health_and_stats(process: Process, connect: Connect) -> None:
    client = await connect(process.port, segment_bytes=1000)
    await client.put("a", b"x" * 100)
    await client.put_layer("half", 0, b"x" * 50, layers=2)
    assert json.loads(process.get("/health")) == {"status": "ok", "service_ready": True}
    stats = json.loads(process.get("/stats"))
    assert stats["objects"] == 1
    assert stats["puts_under_way"] == 1
    assert stats["used_bytes"] == 150
    assert stats["watermarks"] == {"high": 0.9, "low": 0.8}
    assert stats["segments"][1]["address"][0] == "127.0.0.1"


async def test_a_signal_ends_it_in_order(process: Process, connect: Connect) -> None:
    await connect(process.port)
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(timeout=60) == 0
