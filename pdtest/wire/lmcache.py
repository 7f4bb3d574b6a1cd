"""LMCache as a store that prefill and decode share: KV by content, nothing on the wire.

Facts from LMCache 0.5.6, integration/vllm/vllm_v1_adapter.py and observability.py. The demand counts in
blocks, so LMCache's chunks must be as large as the engine's (``chunk_size``, LMCACHE_CHUNK_SIZE; 256 tokens
unless told), without partial ones (``save_unfull_chunk`` false, the default). PYTHONHASHSEED must be the
same on all members.
"""

from __future__ import annotations

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.promise import whole_blocks
from pdtest.wire.single import SingleContract

#: What LMCache counts, in the same registry as vLLM.
LMCACHE_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    transfers=Counter(
        name="lmcache:num_hit_tokens",
        role=Role.DECODE,
        unit="tokens",
        meaning="tokens whose KV was retrieved",
        drift=True,
    ),
)


class LmcacheContract(SingleContract):
    """LMCacheConnectorV1 over storage that all members share: prefill of role kv_both, no parameters.

    An answer of prefill does not wait for what is saved to a remote store.
    """

    name = "lmcache"
    speaks = "LMCacheConnectorV1 over shared storage: LMCache 0.5.6"
    evidence = LMCACHE_EVIDENCE

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole blocks of the prompt."""
        return whole_blocks(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
