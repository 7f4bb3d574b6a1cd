"""A shared directory: as a store, nothing is said on the wire."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.plain import PlainContract


class ExampleContract(PlainContract):
    """vLLM's ExampleConnector."""

    name = "example"
