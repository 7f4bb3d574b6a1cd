"""Brings members up and takes them down, and notices when one dies. Runs on the cluster's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

from pdtest.cluster.incident import StartCancelled, death, died_at_start, never_ready
from pdtest.cluster.member import RunningMember
from pdtest.cluster.readiness import until_ready
from pdtest.cluster.stages import Stages
from pdtest.events import Journal, MemberDied, MemberReady, MemberRestarted, MemberStarting, MemberStopped
from pdtest.launch.guard import Guard
from pdtest.services.service import Command

_STAGE_INTERVAL_S = 0.1
#: How long a member that is attached to may take to answer.
ATTACHED_PATIENCE_S = 5.0


class Supervisor:
    """Owns one watcher task for each member that has a process, from its launch to its end."""

    def __init__(self, journal: Journal, guard: Guard) -> None:
        self._journal = journal
        self._guard = guard
        self._watchers: dict[str, asyncio.Task[MemberDied | None]] = {}

    async def bring_up(
        self, commands: Mapping[str, Command], members: Mapping[str, RunningMember], cancelled: asyncio.Event
    ) -> None:
        """Launch the members named in ``commands`` all at once; return when all serve.

        Raises StartFailed as soon as any of ``members`` dies or one is not ready in time,
        StartCancelled, or what a launcher raises. Stops nothing: that is the caller's decision.
        """
        already_over = {task for task in self._watchers.values() if task.done()}
        launches = [self._launch(members[name], command) for name, command in commands.items()]
        # Every launch is seen to its end, so that none starts a process behind the back of a teardown.
        _raise_first(await asyncio.gather(*launches, return_exceptions=True))
        serving = {asyncio.create_task(self._serve(members[name])) for name in commands}
        cancellation = asyncio.create_task(cancelled.wait())
        deaths = set(self._watchers.values()) - already_over
        try:
            await self._all_serving(serving, deaths, cancellation, members)
        finally:
            await _cancel({*serving, cancellation})

    async def take_down(self, members: Collection[RunningMember], grace_s: float | None) -> None:
        """End members and what they left behind, all at once. ``grace_s``: None for each one's own.

        Goes through with all of them before it raises StillAlive for one.
        """
        ended = [self._end(member, grace_s) for member in members if member.name in self._watchers]
        _raise_first(await asyncio.gather(*ended, return_exceptions=True))

    async def _launch(self, member: RunningMember, command: Command) -> None:
        process = await member.launcher.launch(command, member.directory, log=member.log.path)
        member.process = process
        if process.pid is not None:
            self._guard.lead(process.pid)
        if member.generation > 1:
            self._journal.append(MemberRestarted(member=member.name, generation=member.generation))
        self._journal.append(
            MemberStarting(
                member=member.name,
                role=member.role,
                service=member.service.name,
                url=member.url,
                pid=process.pid,
                directory=str(member.directory),
                host=member.placement.member.host if member.placement.abroad else None,
            )
        )
        self._watchers[member.name] = asyncio.create_task(self._watch(member))

    async def _watch(self, member: RunningMember) -> MemberDied | None:
        """What it died of; None when it was us who ended it."""
        stages = Stages(member, self._journal)
        following = asyncio.create_task(_follow(member, stages))
        try:
            returncode = await member.process.wait() if member.process else 0
        finally:
            await _cancel({following})
        if not member.alive:
            return None
        stages.poll()  # the last lines often came after the last look
        event = death(member, returncode)
        self._journal.append(event)
        member.die(event)
        return event

    async def _serve(self, member: RunningMember) -> None:
        answers = ["none"]
        try:
            async with asyncio.timeout(_patience_s(member)):
                await until_ready(member.probe, api_key=member.api_key, note=answers.append)
        except TimeoutError:
            raise never_ready(member, answers[-1], _patience_s(member)) from None
        if member.alive:
            member.serve()
            self._journal.append(MemberReady(member=member.name, elapsed_s=member.elapsed_s))

    async def _all_serving(
        self,
        serving: set[asyncio.Task[None]],
        deaths: set[asyncio.Task[MemberDied | None]],
        cancellation: asyncio.Task[bool],
        members: Mapping[str, RunningMember],
    ) -> None:
        waiting = set(serving)
        while waiting:
            done, _ = await asyncio.wait(
                {*waiting, *deaths, cancellation}, return_when=asyncio.FIRST_COMPLETED
            )
            if cancellation in done:
                raise StartCancelled("another thread stopped the cluster while it started")
            for task in deaths & done:
                event = task.result()
                if event is not None:
                    raise died_at_start(members[event.member], event)
            deaths -= done
            for ready in waiting & done:
                ready.result()
            waiting -= done

    async def _end(self, member: RunningMember, grace_s: float | None) -> None:
        watcher = self._watchers.pop(member.name)
        process, began, lived = member.process, time.monotonic(), member.alive
        member.retire()
        try:
            if process is not None:
                await process.stop(member.placement.member.stop_timeout_s if grace_s is None else grace_s)
        finally:
            await _cancel({watcher})
        if process is None or not member.launcher.starts:
            return  # attached: it lives on
        if process.pid is not None:
            self._guard.leave(process.pid)
        if lived:
            elapsed_s = time.monotonic() - began
            self._journal.append(
                MemberStopped(member=member.name, returncode=process.returncode, elapsed_s=elapsed_s)
            )


def _patience_s(member: RunningMember) -> float:
    """What runs already loads no model: it answers, or it is not there."""
    given = member.placement.member.ready_timeout_s
    return given if member.launcher.starts else min(given, ATTACHED_PATIENCE_S)


async def _follow(member: RunningMember, stages: Stages) -> None:
    while member.starting:
        stages.poll()
        await asyncio.sleep(_STAGE_INTERVAL_S)


async def _cancel(tasks: Collection[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_first(results: Collection[object]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result
