"""Mooncake: both legs at once under one transfer id. Decode is told where prefill's ranks can be asked for.

As in vLLM 0.32 (mooncake_connector_proxy.py, mode concurrent): the proxy asks prefill's bootstrap server
for the engine ids, and deals requests out to the data-parallel ranks in turn.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pdtest.embedded.connections import Broken, Connections
from pdtest.embedded.proxy.contracts.contract import Opening, Order
from pdtest.embedded.proxy.contracts.plain import PlainContract
from pdtest.embedded.proxy.instances import Instance

#: A prefill that was started again has another engine id, and nothing says so until a request fails.
_FRESH_S = 0.5
_PATIENCE_S = 5.0
#: Where vLLM listens unless VLLM_MOONCAKE_BOOTSTRAP_PORT says otherwise.
DEFAULT_BOOTSTRAP_PORT = 8998


class StrangeBootstrap(Broken):
    """The bootstrap server answered, but not what it should."""


@dataclass(kw_only=True)
class _Ranks:
    """What a bootstrap server said: engine ids by data-parallel rank."""

    engine_ids: Mapping[int, str]
    turns: Iterator[int]
    life: int
    asked_at: float


class MooncakeContract(PlainContract):
    """vLLM's MooncakeConnector."""

    name = "mooncake"
    prefill_min_tokens = 1  # decode would wait in vain for blocks that prefill gave up
    order = Order.TOGETHER

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._ranks: dict[Instance, _Ranks] = {}

    async def open(self, prefill: Instance | None) -> Opening:
        """A transfer id for both, and prefill's rank in turn."""
        if prefill is None:
            return Opening()
        ranks = await self._known(prefill)
        rank = next(ranks.turns)
        transfer_id = f"xfer-{uuid.uuid4().hex}"
        return Opening(
            to_prefill={"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": transfer_id},
            to_decode={
                "do_remote_decode": False,
                "do_remote_prefill": True,
                "transfer_id": transfer_id,
                "remote_bootstrap_addr": f"http://{_bootstrap(prefill)}",
                "remote_engine_id": ranks.engine_ids[rank],
            },
            headers={"X-data-parallel-rank": str(rank)},
        )

    def doubt(self, prefill: Instance) -> None:
        """Ask its bootstrap server again before the next request."""
        self._ranks.pop(prefill, None)

    async def _known(self, prefill: Instance) -> _Ranks:
        known = self._ranks.get(prefill)
        now = time.monotonic()
        if known and known.life == prefill.lives and now - known.asked_at < _FRESH_S:
            return known
        engine_ids = await self._ask(prefill)
        turns: Iterator[int] = itertools.cycle(sorted(engine_ids))
        if known and known.engine_ids.keys() == engine_ids.keys():
            turns = known.turns
        ranks = _Ranks(engine_ids=engine_ids, turns=turns, life=prefill.lives, asked_at=now)
        self._ranks[prefill] = ranks
        return ranks

    async def _ask(self, prefill: Instance) -> dict[int, str]:
        address = _bootstrap(prefill)
        url = f"GET http://{address}/query"
        answer = await self._connections.get(address, "/query", {}, timeout_s=_PATIENCE_S)
        content = await answer.read_all()
        if answer.status != HTTPStatus.OK:
            raise StrangeBootstrap(f"{url} answered {answer.status}, expected 200")
        try:
            said: Any = json.loads(content)
            ranks = {int(rank): str(entry["engine_id"]) for rank, entry in said.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            ranks = {}
        if not ranks:
            raise StrangeBootstrap(f"{url} answered {content[:200]!r}, expected ranks with engine_id")
        return ranks


def _bootstrap(prefill: Instance) -> str:
    return f"{prefill.host}:{prefill.bootstrap_port or DEFAULT_BOOTSTRAP_PORT}"
