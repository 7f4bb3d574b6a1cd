"""A running environment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from pdtest.cluster.abroad import Hosts, needed
from pdtest.cluster.devices import Devices
from pdtest.cluster.links import lay, through
from pdtest.cluster.making import made_of
from pdtest.cluster.member import RunningMember
from pdtest.cluster.placement import PlacementError, known, place
from pdtest.cluster.snapshot import Snapshot, Wait
from pdtest.cluster.supervisor import Supervisor
from pdtest.cluster.xray import can_be_xrayed, exposure_of
from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Environment, Role
from pdtest.errors import PdtestError
from pdtest.events import Journal, MemberDied
from pdtest.launch.devices import DeviceLeases
from pdtest.launch.guard import Guard
from pdtest.launch.kin import OWNER_VARIABLE
from pdtest.launch.launcher import Launcher, Process
from pdtest.launch.lease import PortLeases
from pdtest.launch.vitals import GONE, Vitals
from pdtest.links import Condition, Link, Relay
from pdtest.services.service import Command, Service

T = TypeVar("T")
Watch = Callable[[Snapshot], None]

#: A member that does not serve yet has nothing to finish, and whoever sees a failed start waits for it.
FAILED_START_GRACE_S = 0.5
_WATCH_INTERVAL_S = 0.1


class OtherLayout(PdtestError):
    """A running cluster cannot become what an environment asks for: its members or ports are others."""

    title = "another layout"


class NotOurs(PdtestError):
    """A member that is attached to is never started or stopped."""

    title = "attached member"

    def __init__(self, member: str, url: str) -> None:
        super().__init__(
            f"{member} cannot be started, stopped or broken: somebody else runs it",
            where=url,
            next_step="test this where pdtest starts the members itself",
        )


@dataclass(frozen=True, kw_only=True)
class _Machinery:
    """What exists from the first start to the last stop: the loop's thread, the reaper, the leases."""

    portal: BlockingPortal
    supervisor: Supervisor
    guard: Guard
    devices: Devices
    resources: ExitStack


class Cluster:
    """The members of one environment: start them, stop them, restart one, see who died.

    May be used from any thread; one of `start`, `stop` and `restart` runs at a time. A death is
    noticed at once, whatever the callers do meanwhile: it resolves the member's ``died`` and is
    written to the journal. When this process is killed, the members are ended all the same.

    Callbacks added to ``died`` run on the cluster's loop: they must not call back into the cluster.
    """

    def __init__(  # noqa: PLR0913 - two things, and by keyword what they need
        self,
        environment: Environment,
        directory: Path,
        *,
        services: Mapping[str, Service],
        launchers: Mapping[str, Launcher],
        journal: Journal,
        owner: str,
        purpose: str = "",
    ) -> None:
        """Decides and starts nothing yet.

        Args:
            environment: what to run.
            directory: receives members/<name>/ and, should it come to that, the reaper's report.
            services: by the names that the environment uses.
            launchers: by the names that the environment uses.
            journal: receives every event in a member's life.
            owner: unique to this run; tags all that it starts.
            purpose: what it is for, for those who wait for its devices.
        """
        self.environment = environment
        self.directory = directory.resolve()
        self._services = services
        self._launchers = launchers
        self._journal = journal
        self._owner = owner
        self._purpose = purpose
        self._stopped = threading.Event()
        self._lifecycle = threading.RLock()
        self._cancelled: asyncio.Event | None = None
        self._exposed = False
        self._machinery: _Machinery | None = None
        self._members: dict[str, RunningMember] = {}
        self._links: tuple[Link, ...] = ()

    @property
    def members(self) -> Mapping[str, RunningMember]:
        """By name, in the environment's order. Empty before the first start."""
        return MappingProxyType(self._members)

    @property
    def links(self) -> tuple[Link, ...]:
        """The links between members that can be broken. Empty before the first start."""
        return self._links

    def with_role(self, role: Role) -> tuple[RunningMember, ...]:
        """The members that have ``role``, started or not."""
        return tuple(member for member in self._members.values() if member.role is role)

    @property
    def wanted(self) -> tuple[RunningMember, ...]:
        """The members that run from the first start on: all but those on standby."""
        return tuple(one for one in self._members.values() if not one.placement.member.standby)

    def dead(self) -> tuple[MemberDied, ...]:
        """The deaths since each member's last start: empty when all is well."""
        return tuple(member.died.result() for member in self._members.values() if member.dead)

    def condition(self, link: Link, condition: Condition) -> None:
        """Make a link what ``condition`` says, for existing connections and for new ones."""
        if self._machinery is not None:
            for relay in link.relays:
                self._machinery.portal.call(relay.become, condition)

    def expect_probe(self, relay: Relay, port: int) -> None:
        """A connection to ``relay`` will come from this local port that is meant for nobody but the relay."""
        if self._machinery is not None:
            self._machinery.portal.call(relay.expect_probe, port)

    def start(
        self, names: Collection[str] | None = None, *, watch: Watch | None = None, within_s: float = 0.0
    ) -> None:
        """Start the members ``names`` (default: all but those on standby) that do not run yet, all at once.

        Returns when all serve. ``watch`` is called about ten times a second in this thread. Ports and
        devices are kept until everything is stopped, so members can be started in several calls. For
        devices that another run holds it waits up to ``within_s`` seconds, and holds nothing meanwhile.

        Whatever goes wrong, Ctrl-C included, everything is stopped before the exception leaves.

        Raises:
            StartFailed: a member died, or did not serve in time.
            LaunchError: one could not be started.
            PlacementError: the environment asks for something that does not exist.
            MissingApiKey: the variable that `api_key_env` names is not set.
            DeviceTaken: another run holds a device.
            PortTaken: a fixed port belongs to somebody else.
            StartCancelled: another thread called `stop`.
        """
        with self._lifecycle:
            try:
                machinery = self._open(within_s, watch)
                wanted = self.wanted if names is None else self._select(names)
                idle = [member for member in wanted if not member.alive]
                self._bring_up(machinery, idle, watch)
            except BaseException as error:
                self._give_up(error)
                raise

    def restart(self, name: str, *, watch: Watch | None = None) -> None:
        """End the member, if it still runs, and start it on the same ports; its log goes on.

        Raises as `start`; then this member is stopped and the others are left as they are. NotOurs for a
        member that is attached to.
        """
        with self._lifecycle:
            machinery = self._open()
            member = self._select([name])
            if not member[0].launcher.starts:
                raise NotOurs(name, member[0].url)
            self._take_down(machinery, member)
            try:
                self._bring_up(machinery, member, watch)
            except BaseException:
                self._take_down(machinery, member, FAILED_START_GRACE_S)
                raise

    def expose(self, *, watch: Watch | None = None) -> None:
        """From now on engines write their X-ray; those that run are started anew, all at once.

        Raises as `start`.
        """
        with self._lifecycle:
            if self._exposed:
                return
            self._exposed = True
            able = filter(can_be_xrayed, self._members.values())
            running = [member.name for member in able if member.alive]
            if running:
                self.stop(running)
                self.start(running, watch=watch)

    def renew(
        self, environment: Environment, *, watch: Watch | None = None, within_s: float = 0.0
    ) -> tuple[str, ...]:
        """Be what ``environment`` says by now; gives the members that were started anew for it.

        Those are whose command, files or code are no longer what they were started with, and those that died.
        All others go on. For devices that are wanted now and were not, as `start`.

        Raises OtherLayout where members, programs or fixed ports differ, and else as `start`.
        """
        with self._lifecycle:
            _refuse_other_layout(self.environment, environment)
            if self._machinery is not None:
                self._lease(self._machinery.devices, environment, within_s, watch)
            self.environment = environment
            for member in self._members.values():
                chosen = environment.members[member.name]
                member.placement = replace(member.placement, environment=environment, member=chosen)
            ours = [member for member in self._members.values() if member.launcher.starts]
            stale = [one.name for one in ours if one.alive and one.made_of != self._made_of(one)]
            anew = [*stale, *(one.name for one in ours if one.dead)]
            if anew:
                self.stop(anew)
                self.start(anew, watch=watch)
            return tuple(name for name in self._members if name in anew)

    def processes(self, name: str) -> list[Vitals]:
        """Those of a member that live, on whichever machine it runs, the first that started first.

        Raises NotOurs, and HostLost where its machine is out of reach.
        """
        return self._of_process(name, lambda process: process.look(), [])

    def look_at(self, name: str, those: Sequence[Vitals]) -> list[Vitals]:
        """How each of a member's processes is now, ended or not. Raises as `processes`."""
        gone = [replace(one, state=GONE) for one in those]
        return self._of_process(name, lambda process: process.look_at(those), gone)

    def signal(self, name: str, those: Sequence[Vitals], number: int) -> list[bool]:
        """Signal those of its processes; whether the kernel took it for each. Raises as `processes`."""
        return self._of_process(name, lambda process: process.signal(those, number), [False] * len(those))

    def _of_process(self, name: str, ask: Callable[[Process], Awaitable[T]], stopped: T) -> T:
        member, machinery = self._members[name], self._machinery
        if not member.launcher.starts:
            raise NotOurs(name, member.url)
        if machinery is None or member.process is None:
            return stopped
        return machinery.portal.call(ask, member.process)

    def mounted(self, directory: Path, *, there: bool) -> None:
        """A file system of this run is there, or no more: if the run is killed, the reaper unmounts it."""
        if self._machinery is not None:
            guard = self._machinery.guard
            (guard.mounted if there else guard.unmounted)(directory.resolve())

    @property
    def exposed(self) -> bool:
        """Engines that can write an X-ray do."""
        return self._exposed

    def stop(self, names: Collection[str] | None = None) -> None:
        """Stop the members ``names``, or all and give back the ports. Safe to call at any time.

        Without names it also cancels a start in another thread. Raises StillAlive when processes
        outlive SIGKILL.
        """
        if names is None:
            self._stopped.set()
            self._cancel_start()
        with self._lifecycle:
            self._stopped.clear()
            if names is None:
                self._close()
            elif self._machinery is not None:
                self._take_down(self._machinery, self._select(names))

    def _open(self, within_s: float = 0.0, watch: Watch | None = None) -> _Machinery:
        if self._machinery is None:
            with ExitStack() as stack:
                leases = PortLeases(self._owner)
                stack.callback(leases.release_all)
                self.directory.mkdir(parents=True, exist_ok=True)
                guard = Guard(self._owner, self.directory / "reaper.log")
                here = DeviceLeases(self._owner, guard)
                stack.callback(here.release_all)
                stack.callback(guard.dismiss)
                portal = stack.enter_context(start_blocking_portal(name="pdtest-cluster"))
                hosts = self._reach(portal, stack)
                devices = Devices(here, hosts.racks(), self._launchers, self._owner)
                self._lease(devices, self.environment, within_s, watch)
                self._members = self._place(leases, hosts)
                for relay in (relay for link in self._links for relay in link.relays):
                    stack.callback(portal.call, relay.close)
                    portal.call(relay.start)
                self._machinery = _Machinery(
                    portal=portal,
                    supervisor=Supervisor(self._journal, guard),
                    guard=guard,
                    devices=devices,
                    resources=stack.pop_all(),
                )
        return self._machinery

    def _close(self, grace_s: float | None = None) -> None:
        machinery = self._machinery
        if machinery is None:
            return
        try:
            self._take_down(machinery, list(self._members.values()), grace_s)
        finally:
            self._machinery = None
            machinery.resources.close()

    def _give_up(self, error: BaseException) -> None:
        try:
            self._close(FAILED_START_GRACE_S)
        except PdtestError as further:
            error.add_note(str(further))

    def _reach(self, portal: BlockingPortal, resources: ExitStack) -> Hosts:
        return Hosts.reach(
            self.environment,
            needed(self.environment, self._launchers),
            owner=self._owner,
            portal=portal,
            journal=self._journal,
            resources=resources,
        )

    def _lease(
        self, devices: Devices, environment: Environment, within_s: float, watch: Watch | None
    ) -> None:
        began = time.monotonic()

        def attend(wait: Wait) -> None:
            if watch is not None:
                watch(Snapshot(members=(), elapsed_s=time.monotonic() - began, waiting=wait))

        devices.hold(environment, self._purpose, cancelled=self._stopped, within_s=within_s, attend=attend)

    def _place(self, leases: PortLeases, hosts: Hosts) -> dict[str, RunningMember]:
        placed = place(
            self.environment,
            self.directory,
            services=self._services,
            launchers=self._launchers,
            leases=leases,
            abroad=hosts.abroad(),
        )
        self._links = lay(placed, self._services, leases)
        placed = through(placed, self._links)
        return {
            name: RunningMember(
                placement,
                directory=self.directory / "members" / name,
                url=url,
                service=known(self._services, placement.member.service, name, "service"),
                launcher=hosts.launcher(name, placement.member)
                or known(self._launchers, placement.member.launcher, name, "launcher"),
                api_key=api_key(name, placement.member),
            )
            for name, (placement, url) in placed.items()
        }

    def _select(self, names: Collection[str] | None) -> list[RunningMember]:
        unknown = sorted(set(names or ()) - set(self._members))
        if unknown:
            raise PlacementError(
                f"there is no member '{unknown[0]}' in {self.environment.name}",
                expected=f"one of: {', '.join(self._members)}",
            )
        return [member for name, member in self._members.items() if names is None or name in names]

    def _bring_up(self, machinery: _Machinery, members: list[RunningMember], watch: Watch | None) -> None:
        commands = {member.name: self._render(member) for member in members}
        for member in members:
            member.begin(commands[member.name])
            member.made_of = self._made_of(member, commands[member.name])
        self._cancelled = asyncio.Event()
        startup = machinery.portal.start_task_soon(
            machinery.supervisor.bring_up, commands, self._members, self._cancelled
        )
        try:
            _attend(startup, members, watch)
        except BaseException:
            self._cancel_start()
            wait([startup])
            raise
        finally:
            self._cancelled = None

    def _render(self, member: RunningMember) -> Command:
        if not member.launcher.starts:
            return Command(argv=())
        exposed = self._exposed and can_be_xrayed(member)
        records, arriving = exposure_of(member, self.directory) if exposed else (None, ())
        command = member.service.render(replace(member.placement, xray=records))
        env = {**command.env, OWNER_VARIABLE: self._owner}
        return replace(command, env=env, log_files=(*member.service.log_files, *arriving))

    def _made_of(self, member: RunningMember, command: Command | None = None) -> str:
        return made_of(command or self._render(member), member.placement.member.code, Path.cwd())

    def _take_down(
        self, machinery: _Machinery, members: list[RunningMember], grace_s: float | None = None
    ) -> None:
        machinery.portal.call(machinery.supervisor.take_down, members, grace_s)

    def _cancel_start(self) -> None:
        cancelled, machinery = self._cancelled, self._machinery
        if cancelled is not None and machinery is not None:
            with suppress(RuntimeError):  # the loop has just ended, and the start with it
                machinery.portal.call(cancelled.set)


def _refuse_other_layout(before: Environment, after: Environment) -> None:
    """Ports were leased for the old one. Raises OtherLayout."""
    layouts = [
        {
            "hosts": environment.hosts,
            "links": environment.links,
            "members": {
                name: (member.role, member.service, member.launcher, member.host, member.url, member.ports)
                for name, member in environment.members.items()
            },
        }
        for environment in (before, after)
    ]
    for part, was in layouts[0].items():
        if layouts[1][part] != was:
            raise OtherLayout(
                f"{after.name}: its {part} are no longer those of the cluster that stands",
                next_step=f"pdtest down {after.name}",
            )


def _attend(startup: Future[None], members: list[RunningMember], watch: Watch | None) -> None:
    """Wait in short steps, in which Ctrl-C and ``watch`` get their turn."""
    began = time.monotonic()
    over = False
    while not over:
        if watch is not None:
            watch(_snapshot(members, began))
        over = bool(wait([startup], timeout=_WATCH_INTERVAL_S).done)
    if watch is not None:
        watch(_snapshot(members, began))
    startup.result()


def _snapshot(members: list[RunningMember], began: float) -> Snapshot:
    return Snapshot(
        members=tuple(member.snapshot() for member in members), elapsed_s=time.monotonic() - began
    )
