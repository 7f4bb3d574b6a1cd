"""Long and short prompts at once, led over prefill and decode by the client: mission system 1.

The load is put on once; each test looks at one of the things that must come of it. What that is, the
environment says: `load`, `watch` and `thresholds.client`.
"""

from __future__ import annotations

import pytest

from pdtest.plugin.client_load import Measure
from pdtest.plugin.fixtures import Rule


async def test_requests_are_answered(client_load: Measure, rule: Rule) -> None:
    """More than `success_rate` of them."""
    rule("requests are answered", (await client_load()).answered())


async def test_both_legs_carry_one_request_id(client_load: Measure, rule: Rule) -> None:
    """Each answer is named after the X-Request-Id that its two legs had."""
    rule("both legs carry one X-Request-Id", (await client_load()).named())


async def test_kv_is_transferred(client_load: Measure, rule: Rule) -> None:
    """At least `kv_transfer_rate`, told from parameters and counters: status 200 proves nothing."""
    rule("KV is transferred", (await client_load()).transferred())


async def test_answers_come_in_time(client_load: Measure, rule: Rule) -> None:
    """The mean over both phases is below `mean_latency_s`."""
    rule("answers come in time", (await client_load()).in_time())


async def test_the_load_is_as_asked(client_load: Measure, rule: Rule) -> None:
    """At least `requests_per_s` arrive, on average."""
    rule("the load is as asked", (await client_load()).put_on())


async def test_kv_statistics_are_fresh(client_load: Measure, rule: Rule) -> None:
    """Statistics of decode's ranks are never older than `statistics_age_s`."""
    rule("KV statistics are fresh", (await client_load()).fresh())


async def test_ranks_share_by_kv_length(client_load: Measure, rule: Rule) -> None:
    """Decode's data-parallel ranks are alike in KV, not only in the number of requests."""
    findings = (await client_load()).spread()
    if not findings:
        pytest.skip("each decode member has one data-parallel rank, or gave no statistics of them")
    rule("ranks share the load by KV length", findings)
