"""Ascend's store connector: KV by content, in a pool that all engines share (memcache, Mooncake, Yuanrong).

Facts from vllm-ascend (main of 22 August 2026), kv_pool/ascend_store/pool_scheduler.py; its counters came
after that (metrics.py). Older spellings of the same connector: MooncakeConnectorStoreV1 (0.11 on, still
registered) and MemcacheConnectorStoreV1 (registered by no release; its deployments run a build of their own).
"""

from __future__ import annotations

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.promise import whole_blocks
from pdtest.wire.single import SingleContract

_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    transfers=Counter(
        name="vllm:ascend_store_load_get_keys",
        role=Role.DECODE,
        unit="keys",
        meaning="keys that were looked up in completed gets",
        drift=True,
    ),
)


class AscendStoreContract(SingleContract):
    """vllm-ascend's AscendStoreConnector. No parameters: blocks are found by a hash of their tokens."""

    name = "ascend-store"
    speaks = (
        "vllm-ascend's AscendStoreConnector: August 2026; "
        "MooncakeConnectorStoreV1 and MemcacheConnectorStoreV1 before"
    )
    evidence = _EVIDENCE

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole blocks of the prompt."""
        return whole_blocks(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
