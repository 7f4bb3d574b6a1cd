"""A host on which a supervisor of ours runs, and launches members."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pdtest.environment.site import Site
from pdtest.launch.clock import Skew, compare
from pdtest.launch.conversation import Conversation, Declined, Reader, Writer
from pdtest.launch.far_process import FarProcess, append
from pdtest.launch.host_errors import HostLost
from pdtest.launch.kept import file_mode, keep
from pdtest.launch.refusals import Refusals
from pdtest.launch.upload import upload
from pdtest.launch.vitals import Vitals
from pdtest.services.service import Command

#: How long the supervisor may take to say goodbye.
_GOODBYE_S: Final = 5.0
#: What drivers call the nodes of their chips.
_NODES: Final = {"cuda": "nvidia", "ascend": "davinci"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A connection over which a supervisor has greeted: with ``greeting``, what the host is and has.

    ``host``: what to call it; ``way``: how a person would get there. ``address``: where it is, if only now
    that is known. ``devices`` were given to us with the place: by kind, who has them, by number.
    """

    host: str
    way: str
    address: str | None = None
    devices: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    reader: Reader
    writer: Writer
    greeting: Mapping[str, Any]
    hang_up: Callable[[], Awaitable[None]]


#: Connects and starts a supervisor. Raises HostError.
Dial = Callable[[], Awaitable[Call]]


def orders_for(settings: Site, tag: str) -> dict[str, Any]:
    """For the supervisor's `main`. ``tag``: on all that it starts, and on its directory."""
    return {
        "owner": tag,
        "run": tag,
        "workdir": settings.workdir,
        "silence_s": settings.silence_s,
        "free_mib": settings.free_mib,
        "ports": [settings.ports.first, settings.ports.last] if settings.ports else None,
    }


class FarHost:
    """An Outpost. When a member is launched after the host was lost, it is reached once more."""

    starts = True

    def __init__(self, settings: Site, dial: Dial, *, launcher: str, address: str) -> None:
        """``address``: of the members there, unless the connection tells another."""
        self.name = launcher
        self.host = ""
        self.address = address
        self.python = ""
        self.skew = Skew(offset_s=0.0, error_s=0.0)
        self._settings = settings
        self._dial = dial
        self._way = ""
        self._call: Call | None = None
        self._conversation: Conversation | None = None
        self._greeting: Mapping[str, Any] = {}
        self._processes: dict[str, FarProcess] = {}
        self._ended_already: dict[int, int] = {}
        self._kept_in: dict[str, Path] = {}
        self._ports: list[tuple[int, str]] = []
        self._devices: dict[str, dict[int, str]] = {}
        self._reaching = asyncio.Lock()

    async def reach(self) -> None:
        """Connect; what was leased before is leased again. Raises HostError, PortTaken, DeviceTaken."""
        async with self._reaching:
            if self._conversation is not None and not self._conversation.over:
                return
            await self.leave()
            self._call = call = await self._dial()
            self.host, self._way = call.host, call.way
            self.address = call.address or self.address
            self._greeting = call.greeting
            self.python = self._greeting["python"]
            self._conversation = Conversation(
                self._call.reader,
                self._call.writer,
                host=self.host,
                silence_s=self._settings.silence_s,
                hear=self._hear,
                lose=self._lose,
            )
            try:
                self.skew = await compare(self._clock)
                for port, address in self._ports:
                    await self._claim(port, address)
                for kind, wanted in (*self._devices.items(), *call.devices.items()):
                    await self._hold(kind, wanted)
            except BaseException:
                await self.leave()
                raise

    async def leave(self) -> None:
        """The run is over, here. Whatever still runs on the host ends. Safe to call twice."""
        if self._conversation is not None:
            await self._conversation.close(_GOODBYE_S)
        call, self._call = self._call, None
        if call is not None:
            await call.hang_up()

    def directory(self, member: str) -> Path:
        """Where the member runs, on that host."""
        return Path(self._greeting["root"]) / "members" / member

    async def claim(self, port: int, address: str) -> None:
        """Lease a port that the environment fixes. Raises PortTaken."""
        await self._claim(port, address)
        self._ports.append((port, address))

    async def take(self, count: int, address: str) -> int:
        """The first of ``count`` consecutive ports, leased. Raises NoPortsLeft."""
        try:
            first = int((await self._ask("take", count=count, address=address))["port"])
        except Declined as error:
            raise self._refusals.ports(error) from None
        self._ports.extend((port, address) for port in range(first, first + count))
        return first

    async def hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        """Lease all of ``wanted``, purposes by number, or none. Raises DeviceTaken; HostError: no such."""
        greeting = self._greeting
        there = [*(range(greeting["cores"]) if kind == "core" else greeting["chips"].get(_NODES[kind], ()))]
        if absent := {device: who for device, who in wanted.items() if device not in there}:
            raise self._refusals.no_device(kind, absent, there)
        await self._hold(kind, wanted)
        self._devices.setdefault(kind, {}).update(wanted)

    async def free(self, kind: str, devices: Collection[int]) -> None:
        """Give devices back."""
        for device in devices:
            del self._devices[kind][device]
        with suppress(HostLost):  # it has lost its leases, too
            await self._ask("free", kind=kind, ids=list(devices))

    async def bring(self, directory: Path) -> str:
        """Its path on the host, with all its files, which are uploaded unless they are there."""
        try:
            return await upload(self._ask, directory)
        except Declined as error:
            raise self._refusals.other(error) from None

    async def launch(self, command: Command, directory: Path, *, log: Path) -> FarProcess:
        """Upload the member's files and start it there; what it writes arrives in ``directory``.

        Raises LaunchError, HostError.
        """
        name = directory.name
        await self.reach()
        script = keep(command, directory, runs_in=self.directory(name), heading=self._heading(name))
        variables = {key: str(value) for key, value in self._settings.env.items() if value is not None}
        logs = [log.name, *command.log_files]
        self._kept_in[name] = directory
        append(log, b"")
        try:
            answer = await self._ask(
                "launch",
                member=name,
                argv=list(command.argv),
                env=variables | dict(command.env),
                files={file: (text, file_mode(command, text)) for file, text in command.files.items()},
                logs=logs,
            )
        except Declined as error:
            raise self._refusals.launch(error, command.argv[0], script) from None
        pid = int(answer["pid"])
        process = self._processes[name] = FarProcess(self, name, pid, log)
        if pid in self._ended_already:
            process.ended(self._ended_already.pop(pid))
        return process

    async def end(self, member: str, grace_s: float) -> None:
        """End a member and all it started. Raises StillAlive. A host that was lost does so itself."""
        try:
            await self._ask("end", member=member, grace_s=grace_s)
        except HostLost:
            return
        except Declined as error:
            raise self._refusals.end(error) from None

    async def look(self, member: str) -> list[Vitals]:
        """All that a member started here and that lives. Raises HostLost."""
        answer = await self._ask("look", member=member)
        return [Vitals(**one) for one in answer["processes"]]

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """How processes here are now. Raises HostLost."""
        answer = await self._ask("look_at", those=_named(those))
        return [Vitals(**one) for one in answer["processes"]]

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Send a signal to processes here. Raises HostLost."""
        answer = await self._ask("signal", those=_named(those), number=int(number))
        return [bool(took) for took in answer["took"]]

    @property
    def _refusals(self) -> Refusals:
        return Refusals(host=self.host, way=self._way, greeting=self._greeting)

    async def _ask(self, what: str, **data: Any) -> Mapping[str, Any]:
        assert self._conversation is not None  # noqa: S101 - reached
        return await self._conversation.ask(what, **data)

    async def _clock(self) -> float:
        return float((await self._ask("clock"))["now"])

    async def _claim(self, port: int, address: str) -> None:
        try:
            await self._ask("claim", port=port, address=address)
        except Declined as error:
            raise self._refusals.port(error) from None

    async def _hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        try:
            await self._ask("hold", kind=kind, wanted=[*wanted.items()])
        except Declined as error:
            raise self._refusals.device(error, wanted) from None

    def _hear(self, message: Mapping[str, Any]) -> None:
        member = str(message["member"])
        if message["event"] == "log":
            path = self._kept_in[member] / message["file"]
            if ".." not in path.parts and path.is_relative_to(self._kept_in[member]):
                append(path, base64.b64decode(message["data"]))
            return
        process, pid = self._processes.get(member), int(message["pid"])
        if process is not None and process.far_pid == pid:
            process.ended(int(message["returncode"]))
        else:  # its end arrived together with the answer that it was launched
            self._ended_already[pid] = int(message["returncode"])

    def _lose(self, reason: str) -> None:
        for process in self._processes.values():
            process.lost(
                f"pdtest: the connection to host '{self.host}' ({self._way}) is gone: {reason}. "
                f"What runs there ends within {self._settings.silence_s:g} s."
            )

    def _heading(self, member: str) -> list[str]:
        return [
            f"Starts '{member}' as pdtest did, on the host '{self.host}':",
            f"    {self._way} bash -s < command.sh",
            "Its config files, if any, lie beside this script; they belong where it changes to.",
        ]


def _named(those: Sequence[Vitals]) -> list[tuple[int, int]]:
    return [(one.pid, one.started) for one in those]
