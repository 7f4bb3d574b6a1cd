"""Ascend's store connector: KV by content, in a pool that all engines share (memcache, Mooncake, Yuanrong).

Facts from vllm-ascend (August 2026), kv_pool/ascend_store/pool_scheduler.py and metrics.py.
"""

from __future__ import annotations

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.promise import cached_by_decode
from pdtest.wire.single import SingleContract

_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    transfers=Counter(
        name="vllm:ascend_store_load_get_keys",
        role=Role.DECODE,
        unit="keys",
        meaning="keys that were looked up in completed gets",
    ),
)


class AscendStoreContract(SingleContract):
    """vllm-ascend's AscendStoreConnector. No parameters: blocks are found by a hash of their tokens."""

    name = "ascend-store"
    evidence = _EVIDENCE

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole blocks of the prompt; the rest is computed.

        Where they are the whole prompt, all blocks are fetched and the last token is computed once more, and
        counted. The demand of a prompt that nobody but this handoff's prefill has put there.
        """
        cached = cached_by_decode(prompt_tokens, cached_tokens, block_size)
        stored = prompt_tokens // block_size * block_size
        loaded = (stored - 1 if stored == prompt_tokens else stored) - cached
        return Demand(
            transferred=loaded,
            cached=cached,
            computed=prompt_tokens - cached - loaded,
            blocks=(stored - cached) // block_size,
        )
