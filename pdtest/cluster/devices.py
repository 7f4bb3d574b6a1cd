"""The devices that an environment's members ask for: leased where they are, before anything starts.

All or none, and nothing is held while others are waited for: runs that want the same ones in part cannot wait
for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from pdtest.cluster.incident import StartCancelled
from pdtest.cluster.snapshot import Wait
from pdtest.environment.schema import Environment
from pdtest.launch.devices import DeviceTaken
from pdtest.launch.launcher import Launcher

#: Machines are asked again, while others hold what is wanted.
_ASK_S: Final = 0.5
_LOOK_S: Final = 0.1
_OURS: Final = (
    "this run itself has it: where two hosts of the environment are one machine, give their members "
    "different devices"
)


class Rack(Protocol):
    """Where the devices of one machine are leased. ``place``: by it, everybody has machines in one order."""

    place: str

    def hold(self, kind: str, wanted: Mapping[int, str]) -> None:
        """All of them, purposes by number, or none. Raises DeviceTaken."""
        ...

    def free(self, kind: str, devices: Collection[int]) -> None:
        """Give some back."""
        ...


class Shelf(NamedTuple):
    """Devices of one kind, of one machine."""

    rack: Rack
    kind: str


#: Hears about ten times a second for what is waited.
Attend = Callable[[Wait], None]


class Devices:
    """Those of one cluster, kept until everything is stopped, as ports are."""

    def __init__(
        self, here: Rack, abroad: Mapping[str, Rack], launchers: Mapping[str, Launcher], owner: str
    ) -> None:
        """``here``: this machine's; ``abroad``: those of members that run elsewhere, by member.

        ``owner``: the run's. What it starts on hosts holds devices there in names that begin so.
        """
        self._here = here
        self._abroad = abroad
        self._launchers = launchers
        self._owner = owner
        self._held: dict[Shelf, dict[int, str]] = {}

    def hold(
        self,
        environment: Environment,
        purpose: str,
        *,
        cancelled: threading.Event,
        within_s: float = 0.0,
        attend: Attend | None = None,
    ) -> None:
        """Lease all that ``environment`` asks for and we do not have, as soon as it is free.

        Raises DeviceTaken after ``within_s`` seconds, HostError, StartCancelled, and what ``attend`` raises.
        """
        wanted = self._missing(environment, purpose)
        deadline = time.monotonic() + within_s
        while (denied := self._try(wanted)) is not None:
            if self._is_ours(denied):
                denied.next_step = _OURS
                raise denied
            if time.monotonic() >= deadline:
                denied.expected = f"it is free within {within_s:g} s" if within_s else None
                raise denied
            _pass_time(denied, deadline, attend, cancelled)
        for shelf, devices in wanted.items():
            self._held.setdefault(shelf, {}).update(devices)

    def _missing(self, environment: Environment, purpose: str) -> Mapping[Shelf, Mapping[int, str]]:
        """By number, with who asks for each. In everybody's order: of two that begin at once one gets all."""
        found: dict[Shelf, dict[int, str]] = {}
        for name, kind, device in asked_for(environment, self._launchers):
            shelf = Shelf(self._abroad.get(name, self._here), kind)
            if device not in self._held.get(shelf, {}):
                whose = f"member '{name}'" + (f" of {purpose}" if purpose else "")
                found.setdefault(shelf, {}).setdefault(device, whose)
        return {shelf: found[shelf] for shelf in sorted(found, key=lambda one: (one.rack.place, one.kind))}

    def _try(self, wanted: Mapping[Shelf, Mapping[int, str]]) -> DeviceTaken | None:
        taken: list[Shelf] = []
        try:
            for shelf, devices in wanted.items():
                shelf.rack.hold(shelf.kind, devices)
                taken.append(shelf)
        except DeviceTaken as error:
            for shelf in taken:
                shelf.rack.free(shelf.kind, wanted[shelf])
            return error
        return None

    def _is_ours(self, denied: DeviceTaken) -> bool:
        """Who waits for a device that the run itself has waits for ever."""
        owner = str(denied.holder.get("owner"))
        return owner == self._owner or owner.startswith(f"{self._owner}-")


def asked_for(environment: Environment, launchers: Mapping[str, Launcher]) -> Iterator[tuple[str, str, int]]:
    """Member, kind and number of each device of members that are started; shared ones are nobody's."""
    for name, member in environment.members.items():
        host, way = environment.hosts.get(member.host), launchers.get(member.launcher)
        devices = host.devices if host is not None else None
        if devices is None or devices.shared or way is None or not way.starts:
            continue
        for device in member.devices:
            yield name, devices.kind.value, device


def _pass_time(
    denied: DeviceTaken, deadline: float, attend: Attend | None, cancelled: threading.Event
) -> None:
    again = min(time.monotonic() + _ASK_S, deadline)
    while (now := time.monotonic()) < again:
        if attend is not None:
            attend(Wait(device=denied.device, holder=denied.holder, left_s=deadline - now))
        if cancelled.wait(_LOOK_S):
            raise StartCancelled("another thread stopped the cluster while it waited for devices")
