"""The process that has a cluster: serves calls on a socket in the cluster's directory.

    python -m pdtest.keeper DIRECTORY OWNER [PID]

It ends when it is told to, when the process PID ends, or when nobody has told it within a while what to keep.
Then its members end with it; when it is killed, its reaper ends them.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from pdtest.cluster.cluster import Cluster
from pdtest.cluster.member import Reflection
from pdtest.cluster.snapshot import Snapshot
from pdtest.environment.schema import Environment
from pdtest.errors import PdtestError
from pdtest.events import MemberDied
from pdtest.events.record import Event
from pdtest.keeper.audience import Audience
from pdtest.keeper.broadcast import Broadcast
from pdtest.keeper.messages import Answer, Ask, Busy, News, Progress
from pdtest.keeper.socket import Door
from pdtest.keeper.turns import Turns
from pdtest.launch.registry import launchers
from pdtest.launch.vitals import Vitals
from pdtest.links import Condition, Traffic
from pdtest.services.registry import services

#: Whoever starts a keeper tells it at once what to keep.
_IDLE_S: Final = 30.0
_LOOK_S: Final = 0.5


class Crashed(PdtestError):
    """A call failed for a reason that nobody thought of."""

    title = "keeper"


class Keeper:
    """Has one cluster. `CALLS` are what its clients may call, each in a thread of its own."""

    CALLS: Final = (
        *("begin", "members", "start", "stop", "restart", "renew", "expose", "condition", "expect_probe"),
        *("traffic", "processes", "look_at", "signal", "mounted", "turn", "give_back", "holders", "end"),
    )

    def __init__(self, directory: Path, owner: str, purpose: str = "") -> None:
        self.directory = directory
        self.over = threading.Event()
        self._owner = owner
        self._purpose = purpose
        self._journal = Broadcast(directory / "events.jsonl")
        self._cluster: Cluster | None = None
        self._turns = Turns(directory.name)
        self._audience = Audience()

    @property
    def begun(self) -> bool:
        """It was told what to keep."""
        return self._cluster is not None

    def close(self) -> None:
        """End the members."""
        try:
            if self._cluster is not None:
                self._cluster.stop()
        finally:
            self._journal.close()

    def serve(self, connection: Connection) -> None:
        """Answer calls until the other side hangs up."""
        with connection:
            try:
                while not self.over.is_set():
                    asked: Ask = connection.recv()
                    if asked.call == "listen":
                        self._tell(connection)
                        return
                    if asked.call == "follow":
                        self._audience.entertain(connection)
                        return
                    connection.send(self._answer(asked, connection))
            except (EOFError, OSError):
                return
            finally:
                self._turns.give_back(connection)

    def _answer(self, asked: Ask, connection: Connection) -> Answer:
        try:
            value = self._called(asked.call)(connection, *asked.arguments)
        except PdtestError as error:
            return Answer(error=error, members=self._reflections())
        except (OSError, EOFError):
            raise  # of the connection: who asked is gone
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
            told = Crashed(
                f"the keeper of {self.directory.name} failed", seen=f"{type(error).__name__}: {error}"
            )
            return Answer(error=told, members=self._reflections())
        return Answer(value=value, members=self._reflections())

    def _called(self, name: str) -> Callable[..., Any]:
        if name not in self.CALLS:
            raise Crashed(f"there is no call '{name}'", expected=f"one of {', '.join(self.CALLS)}")
        called: Callable[..., Any] = getattr(self, f"_{name}")
        return called

    def _reflections(self) -> tuple[Reflection, ...]:
        if self._cluster is None:
            return ()
        return tuple(member.reflection() for member in self._cluster.members.values())

    def _tell(self, connection: Connection) -> None:
        """Everything that happens, until nobody hears it any more."""
        heard = self._journal.listen()
        try:
            connection.send(Answer(members=self._reflections()))
            while (event := heard.get()) is not None:
                connection.send(News(event=event, member=self._image(event)))
        finally:
            self._journal.forget(heard)

    def _image(self, event: Event) -> Reflection | None:
        name = getattr(event, "member", "")
        if self._cluster is None or name not in self._cluster.members:
            return None
        member = self._cluster.members[name]
        if isinstance(event, MemberDied):
            # It is told of a moment before it counts as dead.
            with suppress(TimeoutError):
                member.died.result(timeout=_LOOK_S)
        return member.reflection()

    @property
    def _kept(self) -> Cluster:
        if self._cluster is None:
            raise Crashed("this keeper was not told what to keep", next_step="begin")
        return self._cluster

    def _watch(self, connection: Connection) -> Callable[[Snapshot], None]:
        """Sends progress. When who asked is gone, the start ends: nobody waits for it."""

        def watch(snapshot: Snapshot) -> None:
            self._audience.tell(snapshot)
            connection.send(Progress(snapshot=snapshot))

        return watch

    # The calls.

    def _begin(self, _: Connection, environment: Environment) -> None:
        if self._cluster is not None:
            raise Crashed("this keeper has a cluster already")
        self._cluster = Cluster(
            environment,
            self.directory,
            services=services(),
            launchers=launchers(),
            journal=self._journal,
            owner=self._owner,
            purpose=self._purpose,
        )

    def _members(self, _: Connection) -> Mapping[str, Any]:
        """What clients need to have images of the members and links."""
        cluster = self._kept
        return {
            "environment": cluster.environment,
            "exposed": cluster.exposed,
            "starts": tuple(self._journal.starts.values()),
            "members": {
                name: (one.placement, one.directory, one.url, one.launcher.name, one.launcher.starts)
                for name, one in cluster.members.items()
            },
            "links": [
                (link.source, link.target, link.port, [(r.address, r.port, r.target) for r in link.relays])
                for link in cluster.links
            ],
        }

    def _start(self, connection: Connection, names: Collection[str] | None, within_s: float) -> None:
        self._kept.start(names, watch=self._watch(connection), within_s=within_s)

    def _stop(self, _: Connection, names: Collection[str] | None) -> None:
        self._kept.stop(names)

    def _restart(self, connection: Connection, name: str) -> None:
        self._kept.restart(name, watch=self._watch(connection))

    def _renew(self, connection: Connection, environment: Environment, within_s: float) -> tuple[str, ...]:
        return self._kept.renew(environment, watch=self._watch(connection), within_s=within_s)

    def _expose(self, connection: Connection) -> None:
        self._kept.expose(watch=self._watch(connection))

    def _condition(self, _: Connection, number: int, condition: Condition) -> None:
        self._kept.condition(self._kept.links[number], condition)

    def _expect_probe(self, _: Connection, number: int, relay: int, port: int) -> None:
        self._kept.expect_probe(self._kept.links[number].relays[relay], port)

    def _traffic(self, _: Connection, number: int, relay: int) -> Traffic:
        return self._kept.links[number].relays[relay].traffic

    def _processes(self, _: Connection, name: str) -> list[Vitals]:
        return self._kept.processes(name)

    def _look_at(self, _: Connection, name: str, those: Sequence[Vitals]) -> list[Vitals]:
        return self._kept.look_at(name, those)

    def _signal(self, _: Connection, name: str, those: Sequence[Vitals], number: int) -> list[bool]:
        return self._kept.signal(name, those, number)

    def _mounted(self, _: Connection, directory: Path, there: bool) -> None:
        self._kept.mounted(directory, there=there)

    def _turn(self, connection: Connection, holder: str, within_s: float) -> None:
        def note(whose: str, for_s: float) -> None:
            connection.send(Busy(holder=whose, for_s=for_s))

        self._turns.take(connection, holder, within_s=within_s, note=note)

    def _give_back(self, connection: Connection) -> None:
        self._turns.give_back(connection)

    def _holders(self, _: Connection) -> tuple[str, ...]:
        return self._turns.holders

    def _end(self, _: Connection) -> None:
        """Returns once nothing runs any more."""
        if self._cluster is not None:
            self._cluster.stop()
        self.over.set()


def main() -> int:
    """Serve until it is over."""
    directory, owner = Path(sys.argv[1]), sys.argv[2]
    controller = int(sys.argv[3]) if len(sys.argv) > 3 else None  # noqa: PLR2004 - the third argument
    keeper = Keeper(directory, owner, _purpose(directory, controller))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: keeper.over.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for who started us
    with Door.open(directory) as door:
        threading.Thread(target=_welcome, args=(door, keeper), daemon=True).start()
        try:
            for _ in _while_wanted(controller, keeper):
                keeper.over.wait(_LOOK_S)
        finally:
            keeper.close()
    return 0


def _purpose(directory: Path, controller: int | None) -> str:
    """For those who wait for its devices: what has started it, and how to end it."""
    if controller is not None:
        return f"pytest with workers, process {controller}"
    name, home = directory.name, directory.parent.parent
    elsewhere = "" if home == Path.cwd() / ".pdtest" else f" --pdtest-dir={home}"
    return f"what 'pdtest up {name}{elsewhere}' has started, until 'pdtest down {name}{elsewhere}'"


def _welcome(door: Door, keeper: Keeper) -> None:
    for connection in door.visitors():
        threading.Thread(target=keeper.serve, args=(connection,), daemon=True).start()


def _while_wanted(controller: int | None, keeper: Keeper) -> Iterator[None]:
    began = time.monotonic()
    watched = os.pidfd_open(controller) if controller is not None else None
    while not keeper.over.is_set():
        if watched is not None and select.select([watched], [], [], 0)[0]:
            return
        if not keeper.begun and time.monotonic() - began > _IDLE_S:
            return
        yield


if __name__ == "__main__":
    sys.exit(main())
