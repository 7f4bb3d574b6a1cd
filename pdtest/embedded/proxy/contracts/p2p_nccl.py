"""P2P NCCL: no parameters; the request id tells each instance where the other one is.

As in vLLM up to 0.23 (disagg_proxy_p2p_nccl_xpyd.py). Prefill takes the address that follows the last
``___decode_addr_`` up to the last colon with digits, so whatever follows must have no colon.
"""

from __future__ import annotations

import re
import uuid

from pdtest.embedded.proxy.contracts.plain import PlainContract
from pdtest.embedded.proxy.instances import Instance

_SAFE = re.compile(r"[0-9A-Za-z-]{1,128}")


class P2pNcclContract(PlainContract):
    """vLLM's P2pNcclConnector."""

    name = "p2p-nccl"
    pairs = True

    def request_id(self, own: str, prefill: Instance, decode: Instance) -> str:
        """Both addresses, and what the client called it if that cannot be mistaken for an address."""
        unique = own if _SAFE.fullmatch(own) else uuid.uuid4().hex
        return f"___prefill_addr_{prefill.zmq_address}___decode_addr_{decode.zmq_address}_{unique}"
