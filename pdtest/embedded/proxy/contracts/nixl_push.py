"""NIXL, push: the same messages as pull; prefill writes instead of decode reading."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.nixl import NixlContract


class NixlPushContract(NixlContract):
    """vLLM's NixlPushConnector. Both legs must carry the same X-Request-Id, by which prefill finds decode."""

    name = "nixl-push"
