"""A cluster that a keeper has, as its clients see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pdtest.cluster.cluster import Cluster, Watch
from pdtest.cluster.member import Reflection, RunningMember
from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Environment
from pdtest.errors import PdtestError
from pdtest.events import Journal, MemberStarting
from pdtest.events.record import Event
from pdtest.keeper.messages import Answer, Ask, Busy, News, Progress
from pdtest.keeper.socket import knock
from pdtest.keeper.standing import Standing
from pdtest.launch.launcher import Process
from pdtest.launch.registry import launchers
from pdtest.launch.vitals import Vitals
from pdtest.links import Condition, Link, Relay, Traffic
from pdtest.services.registry import services
from pdtest.services.service import Command

#: Hears who has the cluster, and for how many seconds, while it is waited for.
Note = Callable[[str, float], None]


class KeeperGone(PdtestError):
    """The process that had the cluster has ended, and its members with it."""

    title = "keeper gone"

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"the process that keeps '{directory.name}' has ended",
            where=str(directory / "keeper.log"),
            next_step="see there what happened, and start it again",
        )


@dataclass(frozen=True, kw_only=True)
class KeptProcess:
    """A member's process, which is another process's child."""

    pid: int | None
    returncode: int | None

    async def wait(self) -> int:
        """Never called: the keeper waits."""
        raise NotImplementedError

    async def stop(self, grace_s: float) -> None:
        """Never called: the keeper stops it."""
        raise NotImplementedError

    async def look(self) -> list[Vitals]:
        """Never called: the keeper looks."""
        raise NotImplementedError

    async def look_at(self, those: Sequence[Vitals]) -> list[Vitals]:
        """Never called: the keeper looks."""
        raise NotImplementedError

    async def signal(self, those: Sequence[Vitals], number: int) -> list[bool]:
        """Never called: the keeper signals."""
        raise NotImplementedError


@dataclass(kw_only=True)
class KeptLauncher:
    """The keeper's way of starting a member."""

    name: str
    starts: bool

    async def launch(self, command: Command, directory: Path, *, log: Path) -> Process:
        """Never called: the keeper launches."""
        raise NotImplementedError


class KeptRelay(Relay):
    """A relay that runs in the keeper."""

    def __init__(self, place: tuple[str, int, tuple[str, int]], traffic: Callable[[], Traffic]) -> None:
        super().__init__(*place)
        self._asked = traffic

    @property
    def traffic(self) -> Traffic:
        """What went through, as the keeper counts it."""
        return self._asked()


class KeptCluster(Cluster):
    """Looks and acts as a `Cluster`. Every change is made by the keeper; deaths are heard of at once.

    `stop` without names leaves: the members go on. `end` ends them, and the keeper.
    """

    def __init__(self, environment: Environment, directory: Path, *, journal: Journal, holder: str) -> None:
        """Connects to the keeper in ``directory``; ``holder`` is how others are told who uses it.

        Raises KeeperGone where there is none.
        """
        super().__init__(
            environment,
            directory,
            services=services(),
            launchers=launchers(),
            journal=journal,
            owner=holder,
        )
        self._holder = holder
        self._calls = threading.Lock()
        #: How the members were when the keeper last said so.
        self._seen: tuple[Reflection, ...] = ()
        #: The last start of each member that was written down.
        self._starts: dict[str, float] = {}
        try:
            self._line, self._ear = knock(self.directory), knock(self.directory)
        except OSError as error:
            raise KeeperGone(self.directory) from error
        self._hearing: threading.Thread | None = None

    @classmethod
    def joined(cls, directory: Path, *, journal: Journal, holder: str) -> Self:
        """That of a keeper whose environment is not known yet: it tells. Raises KeeperGone."""
        try:
            with knock(directory) as line:
                line.send(Ask(call="members"))
                told: Answer = line.recv()
        except (EOFError, OSError) as error:
            raise KeeperGone(directory) from error
        if told.error is not None:
            raise told.error
        cluster = cls(told.value["environment"], directory, journal=journal, holder=holder)
        cluster.join()
        return cluster

    def begin(self) -> None:
        """Tell a new keeper what to keep. Nothing starts."""
        self._ask("begin", self.environment)

    def turn(self, *, within_s: float = 0.0, note: Note | None = None) -> None:
        """Wait until nobody else uses it. Raises InUse."""
        self._ask("turn", self._holder, within_s, note=note)

    def give_back(self) -> None:
        """The turn is over."""
        self._ask("give_back")

    @property
    def holders(self) -> tuple[str, ...]:
        """Who uses it now."""
        return tuple(self._ask("holders"))

    def join(self) -> None:
        """Learn of the members that run, and hear of everything that happens to them from now on.

        The journal gets the start of each, however long ago that was: histories need it.
        """
        if self._hearing is None:
            self._ear.send(Ask(call="listen"))
            self._ear.recv()
            self._mirror()
            self._hearing = threading.Thread(target=self._hear, daemon=True, name="pdtest-keeper")
            self._hearing.start()
        else:
            self._mirror()

    def start(
        self, names: Collection[str] | None = None, *, watch: Watch | None = None, within_s: float = 0.0
    ) -> None:
        """As `Cluster.start`."""
        self._ask("start", names, within_s, watch=watch)
        self.join()

    def restart(self, name: str, *, watch: Watch | None = None) -> None:
        """As `Cluster.restart`."""
        self._ask("restart", name, watch=watch)

    def renew(
        self, environment: Environment, *, watch: Watch | None = None, within_s: float = 0.0
    ) -> tuple[str, ...]:
        """As `Cluster.renew`."""
        renewed: tuple[str, ...] = self._ask("renew", environment, within_s, watch=watch)
        self.environment = environment
        self.join()
        return renewed

    def expose(self, *, watch: Watch | None = None) -> None:
        """As `Cluster.expose`."""
        self._ask("expose", watch=watch)
        self._exposed = True

    def condition(self, link: Link, condition: Condition) -> None:
        """As `Cluster.condition`."""
        self._ask("condition", self.links.index(link), condition)

    def expect_probe(self, relay: Relay, port: int) -> None:
        """As `Cluster.expect_probe`."""
        for number, link in enumerate(self.links):
            if relay in link.relays:
                self._ask("expect_probe", number, link.relays.index(relay), port)

    def processes(self, name: str) -> list[Vitals]:
        """As `Cluster.processes`."""
        seen: list[Vitals] = self._ask("processes", name)
        return seen

    def look_at(self, name: str, those: Sequence[Vitals]) -> list[Vitals]:
        """As `Cluster.look_at`."""
        seen: list[Vitals] = self._ask("look_at", name, those)
        return seen

    def signal(self, name: str, those: Sequence[Vitals], number: int) -> list[bool]:
        """As `Cluster.signal`."""
        took: list[bool] = self._ask("signal", name, those, number)
        return took

    def mounted(self, directory: Path, *, there: bool) -> None:
        """As `Cluster.mounted`."""
        self._ask("mounted", directory.resolve(), there)

    def stop(self, names: Collection[str] | None = None) -> None:
        """Stop members; without names, leave them to whoever comes next."""
        if names is not None:
            self._ask("stop", names)
        elif not self._line.closed:
            self._line.close()
            self._ear.close()

    def end(self) -> None:
        """End all members, and the keeper; returns when both are gone."""
        standing = Standing.read(self.directory)
        self.stop()
        if standing is not None:
            standing.end()

    def _ask(self, call: str, *arguments: Any, watch: Watch | None = None, note: Note | None = None) -> Any:
        with self._calls:
            try:
                self._line.send(Ask(call=call, arguments=arguments))
                while not isinstance(said := self._line.recv(), Answer):
                    if isinstance(said, Progress) and watch is not None:
                        watch(said.snapshot)
                    if isinstance(said, Busy) and note is not None:
                        note(said.holder, said.for_s)
            except (EOFError, OSError) as error:
                raise KeeperGone(self.directory) from error
            except BaseException:
                # Ctrl-C: the keeper sees us go, and gives up what it was asked for.
                self.stop()
                raise
        self._seen = said.members
        self._reflect(self._seen)
        if said.error is not None:
            raise said.error
        return said.value

    def _mirror(self) -> None:
        """Images of the members, which others may have made other ones meanwhile."""
        kept = self._ask("members")
        self._exposed = kept["exposed"]
        for start in kept["starts"]:
            self._note(start)
        for name, (placement, directory, url, way, starts) in kept["members"].items():
            if name in self._members:
                self._members[name].placement = placement
                continue
            self._members[name] = RunningMember(
                placement,
                directory=directory,
                url=url,
                service=self._services[placement.member.service],
                launcher=KeptLauncher(name=way, starts=starts),
                api_key=api_key(name, placement.member),
            )
        self._links = tuple(self._link(number, *link) for number, link in enumerate(kept["links"]))
        self._reflect(self._seen)

    def _link(
        self,
        number: int,
        source: str | None,
        target: str,
        port: str,
        relays: list[tuple[str, int, tuple[str, int]]],
    ) -> Link:
        def traffic(relay: int) -> Callable[[], Traffic]:
            return lambda: self._ask("traffic", number, relay)

        images = tuple(KeptRelay(place, traffic(which)) for which, place in enumerate(relays))
        return Link(source=source, target=target, port=port, relays=images)

    def _reflect(self, seen: Collection[Reflection]) -> None:
        for one in seen:
            if one.name in self._members:
                process = KeptProcess(pid=one.pid, returncode=one.returncode)
                self._members[one.name].reflect(one, process)

    def _note(self, event: Event) -> None:
        """Write it down, a start once."""
        if isinstance(event, MemberStarting):
            if self._starts.get(event.member, 0.0) >= event.at:
                return
            self._starts[event.member] = event.at
        self._journal.append(event)

    def _hear(self) -> None:
        """Until the keeper ends or we leave."""
        try:
            while True:
                news: News = self._ear.recv()
                if news.member is not None:
                    self._reflect([news.member])
                self._note(news.event)
        except (EOFError, OSError, TypeError):  # TypeError: closed by us while it was being read
            return
