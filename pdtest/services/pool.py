"""What a service says about a store besides: how its clients are made, what it promises, what it counts.

Engines are the usual clients of a store. `suites/store` tests the store without them, through clients of its
own: processes (`pdtest.stores`), because a client must be able to die in the middle of a put. A service whose
program is such a store has the shape of `PoolService` beside that of `Service`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pdtest.environment.schema import Member
from pdtest.services.service import Command, Placement

_PACKAGE = Path(__file__).parents[1]
#: The program that every client runs, and what it loads for each kind of store. It imports nothing of pdtest,
#: so that it runs with whatever interpreter has the store's package.
AGENT = _PACKAGE / "stores" / "agents" / "agent.py"
MOONCAKE_AGENT = AGENT.with_name("mooncake.py")
MEMCACHE_AGENT = AGENT.with_name("memcache.py")
EMBEDDED_AGENT = _PACKAGE / "embedded" / "store" / "agent.py"


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What a store promises, as far as stores differ. Tests ask here and never for a store's name.

    Attributes:
        high: share of the capacity beyond which objects are evicted.
        low: share down to which they are evicted, about.
        evicts_within_s: seconds until usage is below ``high`` again.
        refusal_evicts: a put that does not fit has others evicted, also where that cannot make it fit.
        lease_s: seconds for which an object is neither evicted nor (``lease_holds_removal``) removed after a
            client asked whether it exists.
        lease_holds_removal: `remove` refuses an object that is leased.
        empty_values: an object of no bytes can be put.
        layer_by_layer: layers can be put one by one; else all layers of an object come in one call.
        spectators: a client can take part that contributes no memory.
        put_timeout_s: seconds after which a put whose writer is gone no longer keeps its key.
        client_timeout_s: seconds after which a silent client is given up, with all that was in its memory.
        transfer_timeout_s: seconds until a read from memory that does not answer fails.
        remembers: what was put survives a restart of the store's own process.
        recovery_s: seconds after a restart until clients, tied to it again, can put.
        largest: share of a segment that the largest object may take.
    """

    high: float
    low: float
    evicts_within_s: float
    refusal_evicts: bool
    lease_s: float
    lease_holds_removal: bool
    empty_values: bool
    layer_by_layer: bool
    spectators: bool
    put_timeout_s: float
    client_timeout_s: float
    transfer_timeout_s: float
    remembers: bool
    recovery_s: float
    largest: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Count:
    """An operation's counter: the sum of some metrics less the sum of others."""

    of: tuple[str, ...]
    less: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """Where a store's metrics say what the tests know of their own doing.

    ``objects``, ``allocated`` and ``capacity`` are names of gauges (objects, bytes, bytes). ``counts`` has
    what a store counts of: put (objects completed), removed, evicted, found and missed (objects asked for by
    `get`). An operation that is absent is not counted by that store.
    """

    url: str
    objects: str
    allocated: str
    capacity: str
    counts: Mapping[str, Count]


@dataclass(frozen=True, kw_only=True)
class PoolAccess:
    """All that a test needs to use a store: make clients, know what to expect, read its metrics.

    ``command`` starts one client in an empty directory of its own. ``{segment}`` in its arguments stands for
    the bytes of memory that the client contributes, ``segment_bytes`` by default, and ``{directory}`` in its
    variables for that directory.
    """

    command: Command
    segment_bytes: int
    promises: Promises
    gauges: Gauges


@runtime_checkable
class PoolService(Protocol):
    """A `Service` whose program is a store that pdtest has clients for."""

    def makes_clients(self, member: Member) -> bool:
        """Whether clients can be made for this member. Asked before anything is placed."""
        ...

    def access(self, placement: Placement) -> PoolAccess:
        """How to use the placed member. Raises RenderError when the settings do not fit."""
        ...


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Which interpreter runs which agent, with which settings (JSON; `Backend` of the agent's file)."""

    python: str
    backend: Path
    settings: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> Command:
        """What starts a client; the bytes it contributes are still to be filled in."""
        return Command(
            argv=(self.python, str(AGENT), str(self.backend), "{segment}", json.dumps(dict(self.settings))),
            env=self.env,
            files=self.files,
        )
