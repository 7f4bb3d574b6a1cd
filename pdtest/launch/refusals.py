"""What a supervisor on a host declines, in words for the run that asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdtest.launch.claims import Denied, Exhausted
from pdtest.launch.conversation import Declined
from pdtest.launch.devices import DeviceTaken
from pdtest.launch.host_errors import HostError
from pdtest.launch.launcher import LaunchError, StillAlive, no_program, refused, still_alive
from pdtest.launch.lease import NoPortsLeft, PortTaken, none_left, taken
from pdtest.launch.session import NoProgram


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Of one host. ``way``: how a person gets there; ``greeting``: what its supervisor says of it."""

    host: str
    way: str
    greeting: Mapping[str, Any]

    def port(self, error: Declined) -> PortTaken | HostError:
        """Of `claim`."""
        return taken(_denied(error), on=self._on) if error.kind == "denied" else self.other(error)

    def ports(self, error: Declined) -> NoPortsLeft | HostError:
        """Of `take`."""
        if error.kind != "exhausted":
            return self.other(error)
        low, high = error.told["span"]
        return none_left(Exhausted(error.told["count"], (low, high)), self.greeting["claims"], self._on)

    def device(self, error: Declined, wanted: Mapping[int, str]) -> DeviceTaken | HostError:
        """Of `hold`. ``wanted``: purposes by the devices' numbers."""
        if error.kind != "denied":
            return self.other(error)
        return DeviceTaken.of(_denied(error), wanted, where=self.greeting["claims"], on=self._on)

    def no_device(self, kind: str, absent: Mapping[int, str], there: list[int]) -> HostError:
        """Before `hold` is asked: the host's greeting tells what it has. ``absent``: who asks, by number."""
        listed, asking = ", ".join(map(str, absent)), ", ".join(dict.fromkeys(absent.values()))
        return HostError(
            f"host '{self.host}' has no {kind} device {listed}, asked for by {asking}",
            seen=f"it has {', '.join(map(str, there)) or 'none'}",
            where=self.greeting["host"],
            next_step=f"correct hosts.{self.host}.devices, or the devices of its members",
        )

    def launch(self, error: Declined, program: str, script: Path) -> LaunchError:
        """Of `launch`."""
        told = error.told
        if error.kind == "no-program":
            missing = NoProgram(told["program"], found=told["found"], path=told["path"])
            return no_program(missing, script, self._on)
        if error.kind == "system" and told["file"] in {program, None}:
            return refused(program, OSError(told["errno"], told["said"]), script)
        return self.other(error)

    def end(self, error: Declined) -> StillAlive | HostError:
        """Of `end`."""
        return still_alive(error.told["pids"], self._on) if error.kind == "outlived" else self.other(error)

    def other(self, error: Declined) -> HostError:
        """Whatever it is."""
        return HostError(
            f"the supervisor{self._on} could not do what it was asked",
            seen=", ".join(f"{key}: {value}" for key, value in error.told.items() if value is not None),
            next_step=f"see the disk and the permissions there: {self.way} ls -la {self.greeting['root']}",
        )

    @property
    def _on(self) -> str:
        return f" on host '{self.host}'"


def _denied(error: Declined) -> Denied:
    told = error.told
    return Denied(told["name"], told["reason"], told["address"], told["holder"])
