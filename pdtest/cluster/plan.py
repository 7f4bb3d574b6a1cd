"""An environment's members as they would be started, without starting, leasing or writing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pdtest.cluster.abroad import foreseen
from pdtest.cluster.placement import place
from pdtest.environment.nearest import suggestion
from pdtest.environment.schema import Environment, ReferenceKind, Role
from pdtest.errors import PdtestError
from pdtest.launch.launcher import Launcher
from pdtest.launch.ports import Ports
from pdtest.services.service import Command, Placement, Probe, Service


class UnknownMember(PdtestError):
    """A name that no member of the environment has."""

    title = "unknown member"

    def __init__(self, name: str, environment: Environment) -> None:
        super().__init__(
            f"environment '{environment.name}' has no member '{name}'",
            expected=f"one of {', '.join(environment.members)}",
            seen=name,
            next_step=suggestion(name, environment.members),
        )


class CannotRender(PdtestError):
    """Members whose settings do not fit, all of them at once."""

    title = "cannot render"

    def __init__(self, errors: Mapping[str, PdtestError]) -> None:
        self.errors = dict(errors)
        told = "\n".join(str(error) for error in errors.values())
        super().__init__(f"{', '.join(errors)}: settings that do not fit", seen=told)


@dataclass(frozen=True, kw_only=True)
class PlannedMember:
    """One member: where it is, and what starts it. ``command`` is None for one that runs already."""

    placement: Placement
    url: str
    probe: Probe
    command: Command | None

    @property
    def name(self) -> str:
        """As the environment calls it."""
        return self.placement.name


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All members of an environment, by name in its order. ``directory`` is where their files would be."""

    environment: Environment
    directory: Path
    members: Mapping[str, PlannedMember]

    @property
    def started(self) -> tuple[PlannedMember, ...]:
        """Those that are not attached to."""
        return tuple(member for member in self.members.values() if member.command is not None)

    @property
    def together(self) -> tuple[PlannedMember, ...]:
        """Those that run from the start: a recorded reference ran before, those on standby do later."""
        recorded = self.environment.reference.kind is ReferenceKind.RECORDED
        apart = self.environment.members_with(Role.COLOCATED) if recorded else {}
        return tuple(
            one for one in self.started if one.name not in apart and not one.placement.member.standby
        )

    def only(self, names: tuple[str, ...]) -> tuple[PlannedMember, ...]:
        """The members called ``names``; all where there are none. Raises UnknownMember."""
        for name in names:
            if name not in self.members:
                raise UnknownMember(name, self.environment)
        return tuple(member for name, member in self.members.items() if not names or name in names)


def attached_to(environment: Environment, launchers: Mapping[str, Launcher]) -> tuple[str, ...]:
    """Names of the members that run already, and that nobody starts or stops."""
    ways = {name: launchers.get(member.launcher) for name, member in environment.members.items()}
    return tuple(name for name, way in ways.items() if way is not None and not way.starts)


def plan(
    environment: Environment,
    directory: Path,
    *,
    services: Mapping[str, Service],
    launchers: Mapping[str, Launcher],
    ports: Ports,
) -> Plan:
    """Where every member would be and how it would be started.

    Raises what `place` raises, and CannotRender with everything that services find wrong.
    """
    placed = place(
        environment,
        directory,
        services=services,
        launchers=launchers,
        leases=ports,
        abroad=foreseen(environment, launchers, directory, ports),
    )
    members: dict[str, PlannedMember] = {}
    errors: dict[str, PdtestError] = {}
    for name, (placement, url) in placed.items():
        service = services[placement.member.service]
        starts = launchers[placement.member.launcher].starts
        try:
            members[name] = PlannedMember(
                placement=placement,
                url=url,
                probe=service.probe(placement),
                command=service.render(placement) if starts else None,
            )
        except PdtestError as error:
            errors[name] = error
    if errors:
        raise CannotRender(errors)
    return Plan(environment=environment, directory=directory, members=members)
