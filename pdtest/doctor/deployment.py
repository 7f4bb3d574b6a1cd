"""What an environment wants of this machine: programs, model, ports, devices, members that run already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx

from pdtest.cluster.installed import importable
from pdtest.cluster.machine import is_here
from pdtest.cluster.model import located
from pdtest.cluster.plan import CannotRender, Plan, plan
from pdtest.cluster.requirements import CHECKS
from pdtest.doctor.finding import Finding, fine, from_error, note, wrong
from pdtest.environment.schema import ENGINE_ROLES, DeviceKind, Environment
from pdtest.errors import PdtestError
from pdtest.launch.devices import remedy
from pdtest.launch.held import held
from pdtest.launch.launcher import Launcher
from pdtest.launch.lease import PortLeases, PortTaken, introduced
from pdtest.launch.outpost import Reaching
from pdtest.launch.ports import CountedPorts
from pdtest.services.registry import services

_OWNER: Final = "pdtest doctor"
_ANSWER_S: Final = 5.0
#: What to do, where the environment does not say it.
_REMEDIES: Final[Mapping[str, str]] = {
    "packages": "install it for the interpreter that the environment names under requires.python",
    "ssh": "pip install 'pdtest[ssh]'",
    "ray": "pip install 'pdtest[ray]', in the cluster's version",
    "programs": "install it, or put its directory on PATH",
    "files": "put it there, or set the variable that the environment takes the path from: pdtest env show",
    "variables": "export it",
    "memory": "end what uses it, or run where there is more",
    "devices": "give members other devices, or run where these are",
}


def requirements(environment: Environment) -> Iterator[Finding]:
    """What it says the machine must have, and the devices of its members."""
    for area, check in CHECKS.items():
        lacks = [*check(environment)]
        for lack in lacks:
            yield wrong(area, lack.fact, lack.remedy or _REMEDIES[area])
        if not lacks and area in {"packages", "programs", "files", "variables"}:
            wanted = getattr(environment.requires, "executables" if area == "programs" else area)
            if wanted:
                yield fine(area, f"all {len(wanted)} that are needed are here")


def model(environment: Environment, rootdir: Path, ways: Mapping[str, Launcher]) -> Iterator[Finding]:
    """Whether engines that start here will find it."""
    starting = [
        member
        for member in environment.members_with(*ENGINE_ROLES).values()
        if (way := ways.get(member.launcher)) is not None and way.starts and not isinstance(way, Reaching)
    ]
    if not starting:
        return
    said = environment.model.path
    path = rootdir / Path(said).expanduser()
    if (path / "config.json").is_file():
        yield fine("model", str(path))
    elif environment.model.make is not None:
        yield from _to_be_made(environment.model.make, path)
    elif path.is_dir():
        yield wrong("model", f"there is no config.json in {path}", "give the directory that has it")
    elif said.startswith(("/", ".", "~")):
        yield wrong("model", f"there is no directory {path}", "put the model there, or correct model.path")
    else:
        yield note(
            "model",
            f"'{said}' is no directory here: the engines will look for it on their hub",
            "without a network, give the path of a directory (model.path)",
        )


def members(environment: Environment, rootdir: Path, ways: Mapping[str, Launcher]) -> Iterator[Finding]:
    """Whether each can be started: its settings fit, its fixed ports are free; those attached to answer."""
    leases = PortLeases(_OWNER)
    ports = _Asked(leases)
    try:
        planned = plan(
            located(environment, rootdir),
            rootdir / ".pdtest" / "doctor",
            services=services(),
            launchers=ways,
            ports=ports,
        )
    except CannotRender as error:
        yield from (from_error("members", one) for one in error.errors.values())
    except PdtestError as error:
        yield from_error("members", error)
    else:
        yield fine("members", f"{', '.join(planned.members)}: settings fit")
        yield from _attached(planned)
    finally:
        leases.release_all()
    yield from (from_error("ports", error) for error in ports.taken)
    if ports.had:
        yield fine("ports", f"{', '.join(map(str, ports.had))}: free")


def devices(environment: Environment, ways: Mapping[str, Launcher]) -> Iterator[Finding]:
    """Whether another run holds chips that members here ask for."""
    holders = held()
    for name, member in environment.members.items():
        host, way = environment.hosts.get(member.host), ways.get(member.launcher)
        kind = host.devices if host is not None else None
        if host is None or kind is None or kind.shared or way is None or isinstance(way, Reaching):
            continue
        for device in member.devices if way.starts and is_here(host.address) else ():
            holder = holders.get(f"{kind.kind.value}-{device}")
            if holder is not None:
                fact = f"'{name}' asks for {kind.kind} {device}, which is held by {introduced(dict(holder))}"
                yield wrong("devices", fact, remedy(holder))


def chips_of(environment: Environment) -> Mapping[DeviceKind, tuple[int, ...]]:
    """The devices that members ask for on hosts of this machine, by kind."""
    found: dict[DeviceKind, tuple[int, ...]] = {}
    for member in environment.members.values():
        host = environment.hosts.get(member.host)
        if host is not None and host.devices is not None and host.site is None and is_here(host.address):
            kind = host.devices.kind
            found[kind] = tuple(sorted({*found.get(kind, ()), *member.devices}))
    return found


def _to_be_made(kind: str, path: Path) -> Iterator[Finding]:
    lacking = [name for name in ("torch", "transformers") if kind == "tiny" and not importable(name)]
    if lacking:
        yield wrong(
            "model",
            f"{path} is absent, and cannot be written without {' and '.join(lacking)}",
            "pip install 'pdtest[model]', or bring the directory from where it was made: pdtest model make",
        )
    else:
        yield fine("model", f"{path} is written when members are first started")


def _attached(planned: Plan) -> Iterator[Finding]:
    with httpx.Client(trust_env=False, timeout=_ANSWER_S) as http:
        for member in planned.members.values():
            if member.command is not None:
                continue
            where = f"'{member.name}' at {member.probe.url}"
            try:
                status = http.get(member.probe.url).status_code
            except httpx.HTTPError as error:
                fact = f"{where} does not answer: {str(error) or type(error).__name__}"
                yield wrong("attached", fact, f"start it, or correct members.{member.name}.url")
                continue
            if status in member.probe.accept:
                yield fine("attached", f"{where} answers")
            else:
                yield wrong("attached", f"{where} answers with {status}", "see its log; is it still loading?")


class _Asked:
    """`Ports` that notes which are taken, and goes on. Those of other machines are asked for there."""

    def __init__(self, leases: PortLeases) -> None:
        self._leases = leases
        self._elsewhere = CountedPorts()
        self.taken: list[PortTaken] = []
        self.had: list[int] = []

    def claim(self, port: int, address: str) -> None:
        if not is_here(address):
            return
        try:
            self._leases.claim(port, address)
        except PortTaken as error:
            self.taken.append(error)
        else:
            self.had.append(port)

    def take(self, count: int, address: str) -> int:
        ports = self._leases if is_here(address) else self._elsewhere
        return ports.take(count, address)
