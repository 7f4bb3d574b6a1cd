"""A store: what prefill saves decode finds by the content's hash. Nothing is said on the wire."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.plain import PlainContract


class AscendStoreContract(PlainContract):
    """vllm-ascend's AscendStoreConnector."""

    name = "ascend-store"
