"""NIXL with a planted bug in how long KV lives: given up too early or never, notifications lost or doubled.

Each is something that real connectors have done. What the programs around it say and count stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pdtest.embedded.connectors.awaited import Held
from pdtest.embedded.connectors.connector import Handover, Host
from pdtest.embedded.connectors.lifetimes import KINDS
from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.engine.sequence import Sequence as EngineSequence
from pdtest.embedded.switch import WordSwitch

#: How long KV comes after the computation that needs it, and how often the switch is looked at. Seconds.
_LATE_S: Final = 0.05
_LOOK_S: Final = 0.1


class MislaidNixlConnector(NixlConnector):
    """NIXL in pull mode, with the bug of the moment. What leaked is given back once it is healthy again."""

    def __init__(self, config: Mapping[str, Any], host: Host, how: str) -> None:
        super().__init__(config, host)
        self._lifetime = WordSwitch(how, KINDS)

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        """Late: it is said to be there at once, and written into whoever's blocks they are by then."""
        if self._lifetime.read() != "late-arrival" or not promised:
            await super().load(sequence, cached, promised)
            return
        self._background.start(self._later(sequence, cached, promised))

    async def _later(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        await asyncio.sleep(_LATE_S)
        await super().load(sequence, cached, promised)

    def finished(self, sequence: EngineSequence) -> Handover:
        """Early: prefill's blocks are nobody's. Leaked: decode's are still somebody's."""
        handover, bug = super().finished(sequence), self._lifetime.read()
        if bug == "early-release":
            return replace(handover, hold=False)
        if bug == "leaked" and not handover.hold:
            self._until_healthy(lambda: self._host.release(sequence.id))
            return replace(handover, hold=True)
        return handover

    def _hold(self, sequence: EngineSequence, blocks: Sequence[int]) -> None:
        if self._lifetime.read() != "early-release":
            super()._hold(sequence, blocks)

    async def _over(self, held: Held) -> None:
        """Lost: nothing is said. Doubled: it is said again."""
        bug = self._lifetime.read()
        for _ in range({"notification-lost": 0, "notification-doubled": 2}.get(bug, 1)):
            await super()._over(held)

    def _release(self, sequence_id: str) -> None:
        if self._lifetime.read() == "leaked":
            self._until_healthy(lambda: self._host.release(sequence_id))
        else:
            super()._release(sequence_id)

    async def _serve(self, rank: int, asked: Mapping[str, Any]) -> bytes:
        if self._lifetime.read() == "reused-in-flight":
            self._overwrite(rank, asked["blocks"][-1:])
        return await super()._serve(rank, asked)

    def _overwrite(self, rank: int, blocks: Sequence[int]) -> None:
        """As another prompt that was given them would."""
        memory = self._host.memories[rank]
        old = memory.kv[:, :, blocks]
        memory.kv[:, :, blocks] = np.random.default_rng().permuted(old, axis=3)

    def _until_healthy(self, then: Callable[[], None]) -> None:
        self._background.start(self._healed(then))

    async def _healed(self, then: Callable[[], None]) -> None:
        while self._lifetime.read() == "leaked":  # noqa: ASYNC110 - a file gives no sign
            await asyncio.sleep(_LOOK_S)
        then()
