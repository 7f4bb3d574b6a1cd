"""Ascend's MooncakeConnectorV1: NIXL's messages with more fields in prefill's answer."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.nixl import NixlContract


class AscendMooncakeContract(NixlContract):
    """vllm-ascend, as of August 2026."""

    name = "ascend-mooncake"
    prefill_min_tokens = 1  # as vllm-ascend's load-balance proxy has it
