"""Processes that are killed, told to end, stopped, or started again."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

from pdtest.cluster.cluster import Cluster
from pdtest.cluster.member import RunningMember
from pdtest.faults.fault import Aftermath, Refused, Unverified, seen_within
from pdtest.faults.signals import ignores, is_pending
from pdtest.launch.kin import MEMBER_VARIABLE, Kin, Kinsman, look_up

#: The kernel ends and stops processes at once; a machine with more work than cores does so a little later.
_WITHIN_S = 5.0


class ProcessFault(ABC):
    """A signal to the processes of a member that runs on this machine.

    ``part``: a pattern of the command line, or of the name that a process gave itself (`VLLM::EngineCore`);
    only those that match are hit. None: all of them.
    """

    name: str
    aftermath: Aftermath

    def __init__(self, cluster: Cluster, member: str, *, part: str | None = None) -> None:
        self.target = member if part is None else f"{member}/{part}"
        self.members = frozenset({member})
        self._cluster = cluster
        self._member = member
        self._part = None if part is None else re.compile(part)
        self._hit: list[Kinsman] = []

    async def arm(self) -> None:
        """Send the signal. Raises Refused where there is no process of ours."""
        self._hit = [process for process in self._processes() if self._is_meant(process)]
        if not self._hit:
            raise Refused(
                f"{self.name}: no process of '{self._member}' matches {self._part and self._part.pattern!r}",
                seen="\n".join(map(command_line, (process.pid for process in self._processes()))),
            )
        for process in self._hit:
            self.hit(process)

    async def verify(self) -> str:
        """All of them are as they should be, as /proc shows, and the member as a whole is."""
        said = await seen_within(self._all_hit, self.within_s)
        if said is None:
            raise Unverified(
                f"{self.name} of {self.target} took no effect",
                expected=f"processes {self._pids()} {self.effect} within {self.within_s:g} s",
                seen=", ".join(f"{process.pid}: {state(process)}" for process in self._hit),
            )
        return said

    @abstractmethod
    def hit(self, process: Kinsman) -> None:
        """Do it to one process."""

    @property
    @abstractmethod
    def effect(self) -> str:
        """What is expected of each, in words."""

    @abstractmethod
    def is_hit(self, process: Kinsman) -> bool:
        """Whether it is so."""

    @property
    def within_s(self) -> float:
        """How long it may take."""
        return _WITHIN_S

    @property
    def member(self) -> RunningMember:
        """The one that it happens to."""
        return self._cluster.members[self._member]

    def _processes(self) -> list[Kinsman]:
        return processes_of(self.member, self.name)

    def _is_meant(self, process: Kinsman) -> bool:
        return self._part is None or bool(self._part.search(command_line(process.pid)))

    def _all_hit(self) -> str | None:
        if all(map(self.is_hit, self._hit)):
            return f"{self._pids()} {self.effect}"
        return None

    def _pids(self) -> str:
        return ", ".join(str(process.pid) for process in self._hit)


class Kill(ProcessFault):
    """kill -9. Lifting starts the member again on its ports."""

    name = "kill"
    aftermath = Aftermath(new_life=True)
    effect = "ended"

    def hit(self, process: Kinsman) -> None:
        """SIGKILL."""
        process.send(signal.SIGKILL)

    def is_hit(self, process: Kinsman) -> bool:
        """It is no more, or waits to be collected."""
        return has_ended(process)

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
            self._hit = []
            await asyncio.to_thread(self._cluster.restart, self._member)

    def _noticed(self) -> str | None:
        return "dead" if self.member.dead else None


class Terminate(Kill):
    """SIGTERM: the member may finish what it does, and must end by itself within its `stop_timeout_s`.

    In effect as soon as its processes have taken the signal. What they do then is for the test to judge: what
    has not ended when it is lifted is killed, and `hung` says so.
    """

    name = "terminate"
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
        self._told: list[Kinsman] = []

    async def arm(self) -> None:
        """Send the signal. Raises Refused where there is no process of ours."""
        self._told_at = time.perf_counter()
        self.member.died.add_done_callback(self._note_end)
        await super().arm()

    def hit(self, process: Kinsman) -> None:
        """SIGTERM."""
        ignored = ignores(process.pid, signal.SIGTERM)
        if process.send(signal.SIGTERM) and not ignored:
            self._told.append(process)

    def is_hit(self, process: Kinsman) -> bool:
        """It has ended, or has the signal: sent to it, and no longer waiting to be taken."""
        return has_ended(process) or not is_pending(process.pid, signal.SIGTERM)

    async def verify(self) -> str:
        """The signal was taken by every process that does not ignore it, and by one at the least."""
        said = await seen_within(self._taken, _WITHIN_S)
        if said is None:
            raise Unverified(
                f"{self.name} of {self.target}: the signal was not delivered",
                expected=f"SIGTERM taken within {_WITHIN_S:g} s",
                seen=", ".join(map(self._seen, self._hit)),
            )
        return said

    async def lift(self) -> None:
        """Once it has ended, for which it has its `stop_timeout_s`, start it again. Raises StartFailed."""
        if not self._told:
            return
        left_s = self._told_at + self.within_s - time.perf_counter()
        if await seen_within(self._gone, max(left_s, 0.0)) is None:
            left = [process for process in self._hit if not has_ended(process)]
            self.hung = (
                f"told to end, and there after {time.perf_counter() - self._told_at:.0f} s: "
                f"{', '.join(f'{process.pid} (state {state(process)})' for process in left)}"
            )
            for process in left:
                process.send(signal.SIGKILL)
        if self._part is None:
            await seen_within(self._noticed, _WITHIN_S)
        self._told = []
        await super().lift()

    @property
    def within_s(self) -> float:
        """How long it may take to end: as long as pdtest itself would wait for it."""
        return max(_WITHIN_S, self.member.placement.member.stop_timeout_s)

    def _taken(self) -> str | None:
        if self._told and all(map(self.is_hit, self._told)):
            return f"{', '.join(str(process.pid) for process in self._told)} {self.effect}"
        return None

    def _gone(self) -> str | None:
        return "ended" if all(map(has_ended, self._hit)) else None

    def _note_end(self, _: object) -> None:
        self.ended_at = time.perf_counter()

    def _seen(self, process: Kinsman) -> str:
        if process not in self._told:
            return f"{process.pid}: ignores it"
        return f"{process.pid}: state {state(process)}, the signal waits"


class Freeze(ProcessFault):
    """SIGSTOP: it keeps its connections and answers nothing. Lifting lets it go on."""

    name = "freeze"
    aftermath = Aftermath()
    effect = "stopped (state T)"

    def hit(self, process: Kinsman) -> None:
        """SIGSTOP, which no process can refuse."""
        process.send(signal.SIGSTOP)

    def is_hit(self, process: Kinsman) -> bool:
        """As the kernel has it. One that ended meanwhile is no less still."""
        return has_ended(process) or state(process) == "T"

    async def lift(self) -> None:
        """SIGCONT."""
        for process in self._hit:
            if not has_ended(process):
                process.send(signal.SIGCONT)
        self._hit = []


class Restart:
    """The member ends in good order and is started again on its ports; others keep what they know of it."""

    name = "restart"
    aftermath = Aftermath(new_life=True)

    def __init__(self, cluster: Cluster, member: str) -> None:
        self.target = member
        self.members = frozenset({member})
        self._cluster = cluster
        self._before: tuple[int, int | None] = (0, None)

    async def arm(self) -> None:
        """End it, start it, wait until it serves. Raises StartFailed, and Refused where it is not ours."""
        member = self._cluster.members[self.target]
        processes_of(member, self.name)
        self._before = member.generation, _pid(member)
        await asyncio.to_thread(self._cluster.restart, self.target)

    async def verify(self) -> str:
        """Another process serves on the same ports, and the former one is gone."""
        member = self._cluster.members[self.target]
        generation, former = self._before
        now = _pid(member)
        if member.generation <= generation or now == former or (former and look_up(former)):
            raise Unverified(
                f"{self.target} was not started again",
                expected="another process",
                seen=f"process {now} after {former}, generation {member.generation} after {generation}",
            )
        return f"process {now} serves in place of {former}"

    async def lift(self) -> None:
        """It runs: nothing to mend."""


def processes_of(member: RunningMember, fault: str) -> list[Kinsman]:
    """All living processes of a member. Raises Refused where they are not on this machine, or not ours."""
    pid = _pid(member)
    if not member.launcher.starts or pid is None or look_up(pid) is None:
        raise Refused(
            f"{fault}: '{member.name}' has no process here that pdtest has started",
            expected="a member with launcher: local that is running",
            seen=f"launcher {member.launcher.name}, {member.state}",
            next_step="leave this test out where members are attached to, or break them by hand",
        )
    kin = Kin({MEMBER_VARIABLE: str(member.directory.resolve())})
    kin.lead(pid)
    return kin.scan()


def _pid(member: RunningMember) -> int | None:
    return member.process.pid if member.process is not None else None


def state(process: Kinsman) -> str:
    """The letter that proc(5) gives it; X when there is no such process any more."""
    try:
        stat = (Path("/proc") / str(process.pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "X"
    return stat[stat.rindex(")") + 2]


def has_ended(process: Kinsman) -> bool:
    """It is gone, its pid is another's, or it only waits to be collected."""
    now = look_up(process.pid)
    return now is None or now.ended or now.started != process.started


def command_line(pid: int) -> str:
    """What it was started with, or calls itself."""
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace")


async def refusal(member: RunningMember) -> str | None:
    """That nobody takes connections on the member's port; None when somebody does."""
    port = member.ports.get("http", next(iter(member.ports.values())))
    try:
        _, writer = await asyncio.open_connection(member.address, port)
    except OSError:
        return f"port {port} refuses"
    writer.close()
    return None
