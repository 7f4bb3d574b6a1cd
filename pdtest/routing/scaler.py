"""Members on standby come and go as a router wants more and fewer of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

import httpx

from pdtest.client.endpoints import endpoint_of
from pdtest.client.rest import look_at
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.events.record import Event
from pdtest.events.scaling import Scaled
from pdtest.routing.membership import Membership, membership_of
from pdtest.routing.wants import Heard, NotScaling, Want, wants_of

#: Between two questions to the router.
_EVERY_S: Final = 0.1
#: A request that was sent just before its instance was removed has arrived after this.
_ON_ITS_WAY_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Done:
    """A change, and when the router was told: seconds of the monotonic clock."""

    at_s: float
    event: Scaled


class Scaler:
    """Starts a member on standby when its router wants one more, adds it, and the other way round.

    A context. In a thread of its own, one change after the other, and never beyond the router's bounds.
    Members that are not on standby are not touched. One that was removed is ended when it has nothing left
    to do, at the latest after ``drain_s``. When the context is left, those that were started are on standby
    again, and what went wrong meanwhile is raised.

    ``heard``: all that the router said. ``done``: what followed, removals when the context is left included.
    ``short``: roles of which it wanted one more when nobody was left on standby.
    """

    def __init__(
        self,
        cluster: Cluster,
        router: str,
        *,
        tell: Callable[[Event], None],
        drain_s: float | None = None,
    ) -> None:
        """``router``: its member. ``drain_s``: default is as long as a request may take."""
        self._cluster = cluster
        self._router = router
        self._tell = tell
        self._drain_s = cluster.environment.thresholds.request_timeout_s if drain_s is None else drain_s
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._started: list[str] = []
        self._thread = threading.Thread(target=self._run, name="pdtest-scaler", daemon=True)
        self.heard: list[Heard] = []
        self.done: list[Done] = []
        self.short: set[Role] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raises what has gone wrong so far."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._follow())
        except BaseException as failure:  # noqa: BLE001 - it is raised where the context is left
            self._failure = failure

    async def _follow(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            router = endpoint_of(self._cluster, self._router, http)
            membership = membership_of(self._cluster.environment, router)
            if membership is None or not (membership.adds and membership.removes):
                raise NotScaling(
                    f"instances of '{self._router}' cannot be added and removed",
                    where=f"members.{self._router}.service",
                    next_step="have a router that can, or drop routing.scaling",
                )
            try:
                while not self._over.is_set():
                    wants = await wants_of(router)
                    self.heard.append(Heard(at_s=time.monotonic(), wants=wants))
                    for role, want in wants.items():
                        await self._change(role, want, membership, http)
                    await asyncio.sleep(_EVERY_S)
            finally:
                for name in reversed(self._started.copy()):
                    await self._let_go(name, membership, http, wanted=0)

    async def _change(self, role: Role, want: Want, membership: Membership, http: httpx.AsyncClient) -> None:
        now = await self._count(role, membership)
        if now < min(want.wanted, want.most):
            idle = self._on_standby(role)
            if idle is None:
                self.short.add(role)
            else:
                await self._take(idle, membership, wanted=want.wanted)
        elif now > max(want.wanted, want.least):
            ours = [name for name in self._started if self._role(name) is role]
            if ours:
                await self._let_go(ours[-1], membership, http, wanted=want.wanted)

    def _on_standby(self, role: Role) -> str | None:
        members = self._cluster.members.values()
        there = (one.name for one in members if one.role is role and one.placement.member.standby)
        return next((name for name in there if not self._cluster.members[name].alive), None)

    async def _take(self, name: str, membership: Membership, *, wanted: int) -> None:
        begun = time.monotonic()
        # A start that fails ends all members, a restart only this one.
        await asyncio.to_thread(self._cluster.restart, name)
        self._started.append(name)
        told = time.monotonic()
        await membership.add(self._role(name), self._cluster.members[name].url)
        await self._note(name, "added", membership, wanted, at_s=told, took_s=told - begun)

    async def _let_go(
        self, name: str, membership: Membership, http: httpx.AsyncClient, *, wanted: int
    ) -> None:
        told = time.monotonic()
        self._started.remove(name)
        left = ""
        try:
            await membership.remove(self._role(name), self._cluster.members[name].url)
            left = await self._drained(name, http)
        finally:
            await asyncio.to_thread(self._cluster.stop, [name])
        took_s = time.monotonic() - told
        await self._note(name, "removed", membership, wanted, at_s=told, took_s=took_s, left=left)

    async def _drained(self, name: str, http: httpx.AsyncClient) -> str:
        """What it has left after it was given the time to finish; empty: nothing."""
        engine = endpoint_of(self._cluster, name, http)
        deadline = time.monotonic() + self._drain_s
        await asyncio.sleep(_ON_ITS_WAY_S)
        while not (look := await look_at(name, engine, within_s=self._drain_s)).quiet:
            if time.monotonic() >= deadline or not self._cluster.members[name].alive:
                return look.left
            await asyncio.sleep(_EVERY_S)
        return ""

    async def _note(  # noqa: PLR0913 - one thing, and by name what is said of it
        self,
        name: str,
        change: Literal["added", "removed"],
        membership: Membership,
        wanted: int,
        *,
        at_s: float,
        took_s: float,
        left: str = "",
    ) -> None:
        role = self._role(name)
        event = Scaled(
            router=self._router,
            member=name,
            role=role.value,
            change=change,
            now=await self._count(role, membership),
            wanted=wanted,
            took_s=took_s,
            left=left,
        )
        self.done.append(Done(at_s=at_s, event=event))
        self._tell(event)

    async def _count(self, role: Role, membership: Membership) -> int:
        return len((await membership.listed()).get(role, ()))

    def _role(self, name: str) -> Role:
        return self._cluster.members[name].role
