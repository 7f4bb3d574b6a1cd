"""The seam between an engine and what brings KV in and out of it.

One file per connector implements `Connector` with the same method names; the engine knows no other. The
shape follows vLLM's KVConnectorBase_V1: asked at admission what it can bring, told when KV was computed
and when a sequence ended, it says whether the blocks must stay.

Everything runs on the engine's event loop. Methods that are not coroutines return at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pdtest.embedded.engine.sequence import Sequence as EngineSequence
    from pdtest.embedded.model.config import ModelConfig
    from pdtest.embedded.model.memory import KVMemory


class LoadFailed(Exception):
    """KV that was promised did not arrive.

    ``arrived``: tokens, counted from the first promised one, whose KV is in place all the same.
    """

    def __init__(self, reason: str, *, arrived: int = 0) -> None:
        super().__init__(reason)
        self.arrived = arrived


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What becomes of a sequence that ended.

    ``params``: the kv_transfer_params of the answer. ``hold``: its blocks stay until the connector calls
    `Host.release`. ``answer_after``: the answer's end waits until that is through; it does not raise, and
    to be cancelled does it no harm.
    """

    params: Mapping[str, Any] | None = None
    hold: bool = False
    answer_after: Awaitable[None] | None = None


class Host(Protocol):
    """What a connector may know and ask of the engine: one data-parallel rank of it."""

    @property
    def config(self) -> ModelConfig:
        """The model's numbers."""
        ...

    @property
    def block_size(self) -> int:
        """Tokens per block."""
        ...

    @property
    def engine_id(self) -> str:
        """Unique per process life and data-parallel rank: a peer that restarted has another one."""
        ...

    @property
    def data_rank(self) -> int:
        """Data-parallel rank, from 0."""
        ...

    @property
    def memories(self) -> Sequence[KVMemory]:
        """The KV of this rank, by tensor-parallel rank."""
        ...

    @property
    def address(self) -> str:
        """Where peers reach this process."""
        ...

    @property
    def http_port(self) -> int:
        """The API's port."""
        ...

    @property
    def side_ports(self) -> Sequence[int]:
        """One port per tensor-parallel rank for the connector to listen on."""
        ...

    @property
    def announced_port(self) -> int:
        """The first of ``side_ports`` as peers are told: another one where something stands in between."""
        ...

    @property
    def bootstrap_port(self) -> int:
        """Where rank 0 of all serves Mooncake's bootstrap, on ``address``."""
        ...

    @property
    def registry(self) -> CollectorRegistry:
        """Where its counters go. They take the labels of `labels`."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """model_name and engine, as on all metrics of this rank."""
        ...

    @property
    def transfer_delay_s(self) -> float:
        """Extra seconds that every transfer is to take, for timing tests."""
        ...

    def release(self, sequence_id: str) -> None:
        """Free the blocks that a `Handover` held. Unknown ids are ignored."""
        ...


class Connector(Protocol):
    """One way of moving KV between engines."""

    async def start(self) -> None:
        """Listen, register. Raises OSError, and the engine then does not start."""
        ...

    async def close(self) -> None:
        """Stop listening; cancel what is under way."""
        ...

    def queued(self, sequence: EngineSequence) -> None:
        """The sequence arrived and will wait for its turn.

        Called for all choices of a request before `match` is called for any of them: they share what
        the peer holds, which may go only when the last one has it.
        """
        ...

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        """Further prompt tokens whose KV it promises to bring, beyond the ``cached`` first ones.

        Raises ValueError when the sequence's kv_transfer_params make no sense; the request then gets a
        status of 400 with that message.
        """
        ...

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Bring the KV of prompt tokens ``cached`` to ``cached + promised - 1`` into ``sequence.blocks``.

        The blocks are allocated. ``promised`` 0: the tokens come from elsewhere, so that a peer that holds
        KV for this sequence may let go of it. Cancelled when the request is aborted: nothing may be written
        into the blocks once that is through. Raises LoadFailed.
        """
        ...

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        """KV of tokens ``start`` to ``end - 1`` is in the blocks for ``layer``. Called for prompt tokens."""
        ...

    def finished(self, sequence: EngineSequence) -> Handover:
        """The sequence ended, for the reason in ``sequence.finish``; also when it never ran."""
        ...
