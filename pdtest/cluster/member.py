"""A member of a running environment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pdtest.cluster.log import LogMark, MemberLog
from pdtest.cluster.snapshot import MemberSnapshot, MemberState
from pdtest.environment.schema import Role
from pdtest.events import MemberDied
from pdtest.launch.launcher import Launcher, Process
from pdtest.services.service import Command, Placement, Probe, Service


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """What changes of a member, for its image in another process of this machine."""

    name: str
    generation: int
    state: MemberState
    doing: str
    elapsed_s: float
    took_s: float | None
    pid: int | None
    returncode: int | None
    log: MemberLog
    born: LogMark
    death: MemberDied | None


class RunningMember:
    """Where a member answers, what it logs, and how it is.

    Only the cluster that owns it changes it, through the methods at the end; everybody may read,
    from any thread.
    """

    def __init__(  # noqa: PLR0913 - by keyword, what is known of a member
        self,
        placement: Placement,
        *,
        directory: Path,
        url: str,
        service: Service,
        launcher: Launcher,
        api_key: str | None,
    ) -> None:
        """``directory``: what is kept of it on this machine. It may run in another, on another."""
        self.placement = placement
        self.name = placement.name
        self.role: Role = placement.member.role
        self.service = service
        self.launcher = launcher
        self.url = url
        self.address = placement.address
        self.ports: Mapping[str, int] = placement.ports
        self.directory = directory
        self.api_key = api_key
        self.log = MemberLog(path=directory / f"{placement.name}.log")
        self.process: Process | None = None
        self.state = MemberState.IDLE
        self.doing = ""
        self.generation = 0
        self.born = self.log.mark()
        self.died: Future[MemberDied] = _unresolved()
        #: Names what its process was made of: command, files and code. None before its first start.
        self.made_of: str | None = None
        self._started = 0.0
        self._took_s: float | None = None

    @property
    def alive(self) -> bool:
        """Launched, and neither dead nor stopped."""
        return self.state in {MemberState.STARTING, MemberState.READY}

    @property
    def dead(self) -> bool:
        """It ended without being told to; ``died`` says of what, at the latest in a moment."""
        return self.state is MemberState.DIED

    @property
    def resting(self) -> bool:
        """On standby, and not running: so it should be."""
        return self.placement.member.standby and self.state in {MemberState.IDLE, MemberState.STOPPED}

    @property
    def starting(self) -> bool:
        """Launched, and does not serve yet."""
        return self.state is MemberState.STARTING

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of this generation, or what the start took once it is over."""
        if self.state is MemberState.IDLE:
            return 0.0
        return self._took_s if self._took_s is not None else time.monotonic() - self._started

    @property
    def probe(self) -> Probe:
        """How to see from outside that it serves."""
        return self.service.probe(self.placement)

    def __repr__(self) -> str:
        return f"<RunningMember {self.name} ({self.role}) {self.state} {self.url}>"

    def snapshot(self) -> MemberSnapshot:
        """How it is now."""
        return MemberSnapshot(
            name=self.name,
            role=self.role,
            state=self.state,
            doing=self.doing,
            elapsed_s=self.elapsed_s,
            url=self.url,
        )

    def reflection(self) -> Reflection:
        """How it is now, for `reflect` on its image."""
        process = self.process
        return Reflection(
            name=self.name,
            generation=self.generation,
            state=self.state,
            doing=self.doing,
            elapsed_s=self.elapsed_s,
            took_s=self._took_s,
            pid=process.pid if process is not None else None,
            returncode=process.returncode if process is not None else None,
            log=self.log,
            born=self.born,
            death=self.died.result() if self.died.done() else None,
        )

    def reflect(self, seen: Reflection, process: Process) -> None:
        """Be what another process, which has the member, says of it. Older news than known are left out."""
        if seen.generation < self.generation:
            return
        if seen.generation > self.generation:
            self.generation, self.died = seen.generation, _unresolved()
        self.process = process
        self.state, self.doing = seen.state, seen.doing
        self.log, self.born = seen.log, seen.born
        self._started, self._took_s = time.monotonic() - seen.elapsed_s, seen.took_s
        if seen.death is not None and not self.died.done():
            self.died.set_result(seen.death)

    def begin(self, command: Command) -> None:
        """A new generation is about to be launched with ``command``."""
        self.generation += 1
        self.died = _unresolved()
        self.process = None
        self.state = MemberState.STARTING
        self.doing = "starting"
        self._started = time.monotonic()
        self._took_s = None
        self.log = MemberLog(
            path=self.log.path,
            further=tuple(self.directory / name for name in self.service.log_files),
            secrets=command.secrets | ({self.api_key} if self.api_key else set()),
        )
        self._mark_generation()
        self.born = self.log.mark()

    def progress(self, doing: str) -> bool:
        """Its log gave a stage away. False when that is no news."""
        news = self.state is MemberState.STARTING and doing != self.doing
        if news:
            self.doing = doing
        return news

    def serve(self) -> None:
        """It answered its readiness probe."""
        self._end_start(MemberState.READY)

    def die(self, event: MemberDied) -> None:
        """It ended without being told to."""
        self._end_start(MemberState.DIED)
        self.died.set_result(event)

    def retire(self) -> None:
        """It is being ended by us: from here on its end is not a death."""
        if self.alive:
            self._end_start(MemberState.STOPPED)

    def _mark_generation(self) -> None:
        self.log.path.parent.mkdir(parents=True, exist_ok=True)
        with self.log.path.open("a", encoding="utf-8") as log:
            if self.generation > 1:
                log.write(f"\n--- pdtest: {self.name} starts again, generation {self.generation} ---\n")

    def _end_start(self, state: MemberState) -> None:
        self._took_s = self.elapsed_s
        self.state = state
        if state is not MemberState.DIED:  # what it did when it died is worth keeping
            self.doing = ""


def _unresolved() -> Future[MemberDied]:
    """A future that only its member resolves: whoever waits on it cannot cancel it for the others."""
    future: Future[MemberDied] = Future()
    future.set_running_or_notify_cancel()
    return future
