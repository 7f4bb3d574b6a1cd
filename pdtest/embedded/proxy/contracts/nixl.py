"""NIXL, pull: prefill answers where its blocks are, and decode gets that verbatim.

As in vLLM's toy proxy (tests/v1/kv_connector/nixl_integration/toy_proxy_server.py).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pdtest.embedded.proxy.contracts.contract import Opening, Params
from pdtest.embedded.proxy.contracts.plain import PlainContract
from pdtest.embedded.proxy.instances import Instance

_TO_PREFILL: MappingProxyType[str, Any] = MappingProxyType(
    {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "remote_host": None,
        "remote_port": None,
    }
)


class NixlContract(PlainContract):
    """vLLM's NixlConnector."""

    name = "nixl"
    expects_params = True

    async def open(self, prefill: Instance | None) -> Opening:  # noqa: ARG002
        """Prefill is to hold its blocks."""
        return Opening(to_prefill=dict(_TO_PREFILL))

    def params_for_decode(self, opening: Opening, answered: Params | None) -> Params | None:  # noqa: ARG002
        """Prefill's answer, also the fields that nobody here knows."""
        return answered
