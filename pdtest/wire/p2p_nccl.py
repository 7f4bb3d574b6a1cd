"""P2P NCCL: prefill sends layer by layer to the address that the request id names.

Facts from vLLM 0.11 to 0.23, kv_connector/v1/p2p/p2p_nccl_connector.py, and the proxy that came with it
(disagg_proxy_p2p_nccl_xpyd.py).
"""

from __future__ import annotations

import hashlib

from pdtest.wire.contract import Demand, Station
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Evidence
from pdtest.wire.promise import all_but_the_last_token
from pdtest.wire.single import SingleContract

#: What the port for KV is called among a member's ports; rank r listens r ports further on.
PORT = "p2p"


class P2pNcclContract(SingleContract):
    """vLLM's P2pNcclConnector: no parameters, the request id carries both addresses."""

    name = "p2p-nccl"
    speaks = "vLLM's P2pNcclConnector: 0.11 to 0.23, removed in 0.24"
    #: It exports no metrics of its own.
    evidence = Evidence(tokens=VLLM_TOKENS, promised=VLLM_PROMISED)

    def request_id(self, own: str, prefill: Station, decode: Station) -> str:
        """Both addresses, and 32 hexadecimal digits made of ``own``, as the proxy has it."""
        unique = hashlib.sha256(own.encode()).hexdigest()[:32]
        return f"___prefill_addr_{_address(prefill)}___decode_addr_{_address(decode)}_{unique}"

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """All but the last token."""
        return all_but_the_last_token(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)


def _address(station: Station) -> str:
    return f"{station.address}:{station.ports[PORT]}"
