"""The seam between the proxy and a connector's contract.

One file per contract implements `Contract` with the same names. The order says which of the `flows` leads the
request; the contract says what each leg carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pdtest.embedded.proxy.instances import Instance

#: The kv_transfer_params of a message.
Params = Mapping[str, Any]


class Order(StrEnum):
    """In which order the two legs of a request are sent."""

    #: Prefill answers, and decode gets what it answered.
    PREFILL_FIRST = "prefill first"
    #: Both at once, joined by an id that both are given.
    TOGETHER = "together"
    #: Decode reports its blocks to the metaserver, and only then prefill gets its request.
    DECODE_FIRST = "decode first"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What is known before the legs are sent.

    ``to_prefill`` and ``to_decode`` are kv_transfer_params, None where the message carries none. ``headers``
    go to prefill.
    """

    to_prefill: Params | None = None
    to_decode: Params | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Contract(Protocol):
    """One connector, as a proxy has to treat it."""

    @property
    def name(self) -> str:
        """What ``--contract`` calls it."""
        ...

    @property
    def order(self) -> Order:
        """Which leg goes first."""
        ...

    @property
    def pairs(self) -> bool:
        """True where the request id names both instances, so that another decode needs another prefill."""
        ...

    @property
    def expects_params(self) -> bool:
        """True where prefill's answer carries parameters, without which decode computes everything itself."""
        ...

    @property
    def prefill_min_tokens(self) -> int:
        """``min_tokens`` of the request to prefill.

        1 where prefill gives up the blocks of a prompt whose first token ends the answer: then none does.
        """
        ...

    def request_id(self, own: str, prefill: Instance, decode: Instance) -> str:
        """What both legs are called. Only asked where it pairs."""
        ...

    async def open(self, prefill: Instance | None) -> Opening:
        """Before a request is led. ``prefill`` is None where decode goes first.

        Raises Broken when prefill had to be asked and did not answer.
        """
        ...

    def params_for_decode(self, opening: Opening, answered: Params | None) -> Params | None:
        """What decode is told. ``answered``: the kv_transfer_params of prefill's answer, if it is known."""
        ...

    def doubt(self, prefill: Instance) -> None:
        """A request failed: what was learned of ``prefill`` may be out of date."""
        ...
