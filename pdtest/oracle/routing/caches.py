"""How much of their prompts engines had in their caches, by their own counters."""

from __future__ import annotations

from collections.abc import Mapping

from pdtest.client.metrics import Metrics
from pdtest.oracle.verdict import Finding, Ruling

#: Tokens, as vLLM 0.32 has them (v1/metrics/loggers.py).
_HITS = "vllm:prefix_cache_hits"
_QUERIES = "vllm:prefix_cache_queries"


def hit_findings(before: Mapping[str, Metrics], after: Mapping[str, Metrics], wanted: float) -> list[Finding]:
    """Together they found at least the share ``wanted`` of the tokens that they looked for."""
    rises = [before[name].delta(after[name]) for name in after]
    hits = [rise.total(_HITS) for rise in rises]
    queries = [rise.total(_QUERIES) for rise in rises]
    if None in hits or None in queries or not sum(filter(None, queries)):
        text = f"engines do not count {_HITS} and {_QUERIES}, or were asked for nothing"
        return [Finding(check="hit rate", ruling=Ruling.INCONCLUSIVE, text=text)]
    share = sum(filter(None, hits)) / sum(filter(None, queries))
    text = f"{share:.0%} of {sum(filter(None, queries)):g} tokens, {wanted:.0%} are wanted"
    return [Finding(check="hit rate", ruling=Ruling.PASS if share >= wanted else Ruling.FAIL, text=text)]
