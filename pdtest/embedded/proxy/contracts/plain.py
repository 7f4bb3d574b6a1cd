"""What most contracts have in common: prefill first, and nothing to say."""

from __future__ import annotations

from pdtest.embedded.proxy.contracts.contract import Opening, Order, Params
from pdtest.embedded.proxy.instances import Instance


class PlainContract:
    """Prefill first, no parameters. Contracts override what differs."""

    name = "plain"
    order = Order.PREFILL_FIRST
    pairs = False
    expects_params = False
    prefill_min_tokens = 0

    def request_id(self, own: str, prefill: Instance, decode: Instance) -> str:  # noqa: ARG002
        """The client's."""
        return own

    async def open(self, prefill: Instance | None) -> Opening:  # noqa: ARG002
        """Nothing is known, and nothing is sent."""
        return Opening()

    def params_for_decode(self, opening: Opening, answered: Params | None) -> Params | None:  # noqa: ARG002
        """What the opening says."""
        return opening.to_decode

    def doubt(self, prefill: Instance) -> None:
        """Nothing was learned."""
