"""A prefill and a decode instance whose prefill holds blocks until decode has them, for tests of NIXL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from pdtest.embedded.connectors.nixl import NixlConnector
from pdtest.embedded.engine.sequence import Finish

from .conftest import Started
from .fakes import FakeHost, make_host, make_sequence

#: Blocks on prefill and on decode for a prompt of 10 tokens, 4 to a block.
THERE: tuple[int, ...] = (3, 1, 7)
HERE: tuple[int, ...] = (5, 0, 2)
TO_PREFILL = {"do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None}

Kind = TypeVar("Kind", bound=NixlConnector)


def config(**extra: Any) -> dict[str, Any]:
    return {"kv_connector_extra_config": extra}


@dataclass
class Pair(Generic[Kind]):
    """Both are up."""

    prefill: Kind
    there: FakeHost
    decode: Kind
    here: FakeHost

    def prefilled(
        self, *, request_id: str = "r", prompt: int = 10, finish: Finish = Finish.LENGTH
    ) -> dict[str, Any]:
        """The parameters that prefill answers."""
        blocks = THERE[: -(-prompt // 4)]
        sequence = make_sequence(
            prompt, request_id=request_id, params=TO_PREFILL, blocks=blocks, computed=prompt, finish=finish
        )
        handover = self.prefill.finished(sequence)
        assert handover.hold == (handover.params is not None)
        return dict(handover.params or {})


async def pair_of(
    kind: type[Kind],
    started: Started,
    *,
    prefill: int = 1,
    decode: int = 1,
    delay_s: float = 0.0,
    **extra: Any,
) -> Pair[Kind]:
    """``prefill`` and ``decode``: how many ranks each has; ``delay_s`` of prefill's transfers."""
    there = make_host(ranks=prefill, seed=1, transfer_delay_s=delay_s)
    here = make_host(ranks=decode, seed=2)
    both = Pair(kind(config(**extra), there), there, kind(config(**extra), here), here)
    await started(both.prefill)
    await started(both.decode)
    return both


def expect_same(both: Pair[Any], remote: tuple[int, ...], local: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(both.here.kv(local), both.there.kv(remote))
