"""Processes that are killed, told to end, stopped, or started again."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from pdtest.cluster.cluster import Cluster, NotOurs
from pdtest.cluster.member import RunningMember
from pdtest.faults.fault import Aftermath, Refused, Unverified, seen_within
from pdtest.launch.vitals import Vitals

#: The kernel ends and stops processes at once; a machine with more work than cores does so a little later.
_WITHIN_S = 5.0


class ProcessFault(ABC):
    """A signal to the processes of a member, on whichever machine it runs.

    ``part``: a pattern of the command line, or of the name that a process gave itself (`VLLM::EngineCore`);
    only those that match are hit. None: all of them.
    """

    name: str
    aftermath: Aftermath
    number: signal.Signals

    def __init__(self, cluster: Cluster, member: str, *, part: str | None = None) -> None:
        self.target = member if part is None else f"{member}/{part}"
        self.members = frozenset({member})
        self._cluster = cluster
        self._member = member
        self._part = None if part is None else re.compile(part)
        self._hit: Sequence[Vitals] = ()

    async def arm(self) -> None:
        """Send the signal. Raises Refused where there is no process of ours."""
        there = await processes_of(self._cluster, self._member, self.name)
        hit = [process for process in there if self._part is None or self._part.search(process.command)]
        if not hit:
            raise Refused(
                f"{self.name}: no process of '{self._member}' matches {self._part and self._part.pattern!r}",
                seen="\n".join(process.command for process in there),
            )
        self._hit = hit
        await self.send(hit)

    async def verify(self) -> str:
        """All of them are as they should be, as /proc shows, and the member as a whole is."""
        said = await seen_within(self._all_hit, self.within_s)
        if said is None:
            raise Unverified(
                f"{self.name} of {self.target} took no effect",
                expected=f"processes {_pids(self._hit)} {self.effect} within {self.within_s:g} s",
                seen=", ".join(f"{process.pid}: {process.state}" for process in await self.now()),
            )
        return said

    async def send(self, those: Sequence[Vitals], number: signal.Signals | None = None) -> Sequence[Vitals]:
        """Signal them; gives those that the kernel took it for."""
        what = self.number if number is None else number
        took = await asyncio.to_thread(self._cluster.signal, self._member, those, what)
        return [process for process, told in zip(those, took, strict=False) if told]

    async def now(self) -> Sequence[Vitals]:
        """How those that were hit are now."""
        return await asyncio.to_thread(self._cluster.look_at, self._member, self._hit)

    @property
    @abstractmethod
    def effect(self) -> str:
        """What is expected of each, in words."""

    @abstractmethod
    def is_hit(self, process: Vitals) -> bool:
        """Whether it is so."""

    @property
    def within_s(self) -> float:
        """How long it may take."""
        return _WITHIN_S

    @property
    def member(self) -> RunningMember:
        """The one that it happens to."""
        return self._cluster.members[self._member]

    async def _all_hit(self) -> str | None:
        if all(map(self.is_hit, await self.now())):
            return f"{_pids(self._hit)} {self.effect}"
        return None


class Kill(ProcessFault):
    """kill -9. Lifting starts the member again on its ports."""

    name = "kill"
    aftermath = Aftermath(new_life=True)
    number = signal.SIGKILL
    effect = "ended"

    def is_hit(self, process: Vitals) -> bool:
        """It is no more, or waits to be collected."""
        return process.ended

    async def verify(self) -> str:
        """The processes are gone; where all were hit, its death was noticed and its port refuses."""
        said = await super().verify()
        if self._part is not None:
            return said
        if await seen_within(self._noticed, _WITHIN_S) is None:
            raise Unverified(f"{self.target} was killed, and nobody noticed within {_WITHIN_S:g} s")
        refused = await refusal(self.member)
        if refused is None:
            raise Unverified(
                f"{self.target} was killed, and somebody still answers on its port",
                where=self.member.url,
            )
        return f"{said}; {refused}"

    async def lift(self) -> None:
        """Start it again, unless it was never hit. Raises StartFailed."""
        if self._hit and (self.member.dead or self._part is not None):
            self._hit = ()
            await asyncio.to_thread(self._cluster.restart, self._member)

    async def _noticed(self) -> str | None:
        return "dead" if self.member.dead else None


class Terminate(Kill):
    """SIGTERM: the member may finish what it does, and must end by itself within its `stop_timeout_s`.

    In effect as soon as its processes have taken the signal. What they do then is for the test to judge: what
    has not ended when it is lifted is killed, and `hung` says so.
    """

    name = "terminate"
    number = signal.SIGTERM
    effect = "took SIGTERM"

    def __init__(self, cluster: Cluster, member: str, *, part: str | None = None) -> None:
        super().__init__(cluster, member, part=part)
        #: That it had to be killed; None until it is lifted, and where it ended by itself.
        self.hung: str | None = None
        #: `time.perf_counter` when the member was seen to have ended.
        self.ended_at: float | None = None
        self._told_at = 0.0
        #: Those that the kernel took the signal for. Helpers may ignore it and end with their parents, as
        #: multiprocessing's resource tracker does.
        self._told: Sequence[Vitals] = ()

    async def arm(self) -> None:
        """Send the signal. Raises Refused where there is no process of ours."""
        self._told_at = time.perf_counter()
        self.member.died.add_done_callback(self._note_end)
        await super().arm()

    async def send(self, those: Sequence[Vitals], number: signal.Signals | None = None) -> Sequence[Vitals]:
        """As every fault does, but those that ignore SIGTERM were not told."""
        told = await super().send(those, number)
        if number is None:
            self._told = [process for process in told if not process.ignores(signal.SIGTERM)]
        return told

    def is_hit(self, process: Vitals) -> bool:
        """It has ended, or has the signal: sent to it, and no longer waiting to be taken."""
        return process.ended or not process.has_waiting(signal.SIGTERM)

    async def verify(self) -> str:
        """The signal was taken by every process that does not ignore it, and by one at the least."""
        said = await seen_within(self._taken, _WITHIN_S)
        if said is None:
            raise Unverified(
                f"{self.name} of {self.target}: the signal was not delivered",
                expected=f"SIGTERM taken within {_WITHIN_S:g} s",
                seen=", ".join(map(self._seen, await self.now())),
            )
        return said

    async def lift(self) -> None:
        """Once it has ended, for which it has its `stop_timeout_s`, start it again. Raises StartFailed."""
        if not self._told:
            return
        left_s = self._told_at + self.within_s - time.perf_counter()
        if await seen_within(self._gone, max(left_s, 0.0)) is None:
            left = [process for process in await self.now() if not process.ended]
            self.hung = (
                f"told to end, and there after {time.perf_counter() - self._told_at:.0f} s: "
                f"{', '.join(f'{process.pid} (state {process.state})' for process in left)}"
            )
            await self.send(left, signal.SIGKILL)
        if self._part is None:
            await seen_within(self._noticed, _WITHIN_S)
        self._told = ()
        await super().lift()

    @property
    def within_s(self) -> float:
        """How long it may take to end: as long as pdtest itself would wait for it."""
        return max(_WITHIN_S, self.member.placement.member.stop_timeout_s)

    async def _taken(self) -> str | None:
        told = {process.pid for process in self._told}
        if told and all(self.is_hit(process) for process in await self.now() if process.pid in told):
            return f"{', '.join(map(str, sorted(told)))} {self.effect}"
        return None

    async def _gone(self) -> str | None:
        return "ended" if all(process.ended for process in await self.now()) else None

    def _note_end(self, _: object) -> None:
        self.ended_at = time.perf_counter()

    def _seen(self, process: Vitals) -> str:
        if process.pid not in {told.pid for told in self._told}:
            return f"{process.pid}: ignores it"
        return f"{process.pid}: state {process.state}, the signal waits"


class Freeze(ProcessFault):
    """SIGSTOP: it keeps its connections and answers nothing. Lifting lets it go on."""

    name = "freeze"
    aftermath = Aftermath()
    #: No process can refuse it.
    number = signal.SIGSTOP
    effect = "stopped (state T)"

    def is_hit(self, process: Vitals) -> bool:
        """As the kernel has it. One that ended meanwhile is no less still."""
        return process.ended or process.stopped

    async def lift(self) -> None:
        """SIGCONT."""
        if self._hit:
            await self.send(self._hit, signal.SIGCONT)
        self._hit = ()


class Restart:
    """The member ends in good order and is started again on its ports; others keep what they know of it."""

    name = "restart"
    aftermath = Aftermath(new_life=True)

    def __init__(self, cluster: Cluster, member: str) -> None:
        self.target = member
        self.members = frozenset({member})
        self._cluster = cluster
        self._former: Sequence[Vitals] = ()

    async def arm(self) -> None:
        """End it, start it, wait until it serves. Raises StartFailed, and Refused where it is not ours."""
        self._former = await processes_of(self._cluster, self.target, self.name)
        await asyncio.to_thread(self._cluster.restart, self.target)

    async def verify(self) -> str:
        """Other processes serve on the same ports, and the former ones are gone."""
        former = await asyncio.to_thread(self._cluster.look_at, self.target, self._former)
        there = await asyncio.to_thread(self._cluster.processes, self.target)
        left = [process for process in former if not process.ended]
        if left or not there:
            raise Unverified(
                f"{self.target} was not started again",
                expected="other processes",
                seen=f"{_pids(there)} after {_pids(former)}, of which there are still: {_pids(left)}",
            )
        return f"process {there[0].pid} serves in place of {former[0].pid}"

    async def lift(self) -> None:
        """It runs: nothing to mend."""


async def processes_of(cluster: Cluster, member: str, fault: str) -> Sequence[Vitals]:
    """All living processes of a member, its first one first. Raises Refused where they are not ours."""
    try:
        there = await asyncio.to_thread(cluster.processes, member)
    except NotOurs:
        there = []
    if not there:
        one = cluster.members[member]
        raise Refused(
            f"{fault}: '{member}' has no process that pdtest has started",
            expected="a member that pdtest starts, and that is running",
            seen=f"launcher {one.launcher.name}, {one.state}",
            next_step="leave this test out where members are attached to, or break them by hand",
        )
    return there


def _pids(those: Sequence[Vitals]) -> str:
    return ", ".join(str(process.pid) for process in those) or "none"


async def refusal(member: RunningMember) -> str | None:
    """That nobody takes connections on the member's port; None when somebody does."""
    port = member.ports.get("http", next(iter(member.ports.values())))
    try:
        _, writer = await asyncio.open_connection(member.address, port)
    except OSError:
        return f"port {port} refuses"
    writer.close()
    return None
