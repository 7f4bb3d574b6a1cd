"""ExampleConnector: prefill writes KV to a shared directory, decode finds it by the prompt's hash.

Facts from vLLM 0.32, kv_connector/v1/example_connector.py.
"""

from __future__ import annotations

from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Evidence
from pdtest.wire.single import SingleContract


class ExampleContract(SingleContract):
    """vLLM's ExampleConnector. Nothing on the wire: the directory is found by content.

    Decode must run without prefix caching.
    """

    name = "example"
    speaks = "vLLM's ExampleConnector: 0.32 (SharedStorageConnector before)"
    #: It exports no metrics of its own: how many tokens came from outside is all there is.
    evidence = Evidence(tokens=VLLM_TOKENS, promised=VLLM_PROMISED)

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole blocks before the last token but one are loaded, the rest is computed.

        Saved are the first (n - 1) // B blocks, under their hash; looked for are the first
        (n - 2) // B. The two differ when n - 1 is a multiple of B: then the look-up misses in
        silence and decode computes everything. (Unless another prompt happened to save just that
        prefix: the demand is that of a prompt that meets an otherwise empty directory.)
        """
        saved = (prompt_tokens - 1) // block_size * block_size
        sought = max(0, (prompt_tokens - 2) // block_size * block_size)
        loaded = max(0, sought - cached_tokens) if saved == sought else 0
        return Demand(
            transferred=loaded,
            cached=cached_tokens,
            computed=prompt_tokens - cached_tokens - loaded,
            blocks=loaded // block_size,
        )
