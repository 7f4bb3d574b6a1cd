"""Ascend's layer-wise connector: decode first; it reports to the metaserver, which is this proxy.

As in vllm-ascend (load_balance_proxy_layerwise_server_example.py). What decode reports becomes the
kv_transfer_params of the request to prefill: see `pdtest.embedded.proxy.metaserver`.
"""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.contract import Opening, Order
from pdtest.embedded.proxy.contracts.plain import PlainContract
from pdtest.embedded.proxy.instances import Instance


class AscendLayerwiseContract(PlainContract):
    """vllm-ascend's MooncakeLayerwiseConnector. ``metaserver`` is the URL that decode can reach."""

    name = "ascend-layerwise"
    prefill_min_tokens = 1  # as vllm-ascend's layer-wise proxy has it
    order = Order.DECODE_FIRST

    def __init__(self, metaserver: str) -> None:
        self._metaserver = metaserver

    async def open(self, prefill: Instance | None) -> Opening:  # noqa: ARG002
        """Decode is told where to report."""
        return Opening(
            to_decode={
                "do_remote_decode": False,
                "do_remote_prefill": True,
                "metaserver": self._metaserver,
            }
        )
