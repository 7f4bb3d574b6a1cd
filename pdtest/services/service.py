"""The seam between pdtest and the programs it runs.

A service says what a kind of program looks like from outside: how its command line, environment
variables and config files follow from the environment file, when it is ready, what it is doing
meanwhile, which of its log lines are errors, and what its known failures mean. It starts nothing
itself (`launch/` does) and keeps no state, so rendering can be tested without the program.

To add one: a file in this room with a class of this shape, and a line in `registry.py` (or a
`pdtest.services` entry point in your own package).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from pdtest.environment.schema import Environment, Member, Role


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Where another member of the environment can be reached."""

    name: str
    role: Role
    address: str
    ports: Mapping[str, int]
    url: str
    standby: bool = False


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A member with everything decided that rendering needs: directory, ports, peers."""

    environment: Environment
    name: str
    member: Member
    directory: Path
    address: str
    ports: Mapping[str, int]
    peers: Mapping[str, Peer]
    #: Where an engine is to write its X-ray, on its own machine; None: it makes none.
    xray: Path | None = None
    #: It runs on another machine: paths mean nothing here.
    abroad: bool = False
    #: Where the model is on that machine, if not where the environment says.
    model: str | None = None
    #: Ports of this member under which its peers reach it through a relay, by name. It must tell them so.
    announced: Mapping[str, int] = field(default_factory=dict)

    def peers_with(self, role: Role) -> tuple[Peer, ...]:
        """The members of ``role``, in the environment file's order. Those on standby are not there yet."""
        return tuple(peer for peer in self.peers.values() if peer.role is role and not peer.standby)

    @property
    def url(self) -> str:
        """Base URL of the member's HTTP port."""
        return base_url(self.member, self.address, self.ports)


def base_url(member: Member, address: str, ports: Mapping[str, int]) -> str:
    """Where a member answers; the first port stands in where a program speaks no HTTP."""
    if member.url or not ports:
        return member.url or ""
    scheme, port = ("http", ports["http"]) if "http" in ports else ("tcp", min(ports.values()))
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A rendered member: what to run, with which variables and files.

    ``env`` holds additions to the inherited environment. ``files`` are relative to the member's
    directory, and so are ``log_files``, names or patterns of what the program writes beside its output.
    ``secrets`` are values that must be masked wherever the command is shown.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    log_files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Ready when GET ``url`` answers with one of ``accept``."""

    url: str
    accept: frozenset[int] = frozenset({200})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A log line that shows how far start-up has come, in the words progress should use."""

    pattern: re.Pattern[str]
    doing: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A known failure: the log line that gives it away, what it means, what to do about it."""

    name: str
    pattern: re.Pattern[str]
    meaning: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class LogRules:
    """Which log lines are errors, and which of those are harmless for this program.

    ``abandoned`` are errors that it may log once for each request whose client went away. ``ending`` is a
    line that a program writes when it is told to end: what it complains of from there on comes of ending.
    ``beginning`` is the line with which its next start makes up for that.
    """

    error: re.Pattern[str]
    harmless: tuple[re.Pattern[str], ...] = ()
    abandoned: tuple[re.Pattern[str], ...] = ()
    ending: re.Pattern[str] | None = None
    beginning: re.Pattern[str] | None = None

    def errors(self, lines: Iterable[str]) -> list[str]:
        """The errors among successive ``lines`` of one log that are not harmless."""
        found: list[str] = []
        ends = False
        for line in lines:
            ends = _says(self.ending, line) or (ends and not _says(self.beginning, line))
            if not ends and self.is_error(line):
                found.append(line)
        return found

    def is_error(self, line: str) -> bool:
        """True for an error line that is not on the list of harmless ones."""
        return bool(self.error.search(line)) and not any(p.search(line) for p in self.harmless)

    def is_of_abandoned(self, line: str) -> bool:
        """True for an error line that a client who went away may have caused."""
        return any(p.search(line) for p in self.abandoned)


def _says(pattern: re.Pattern[str] | None, line: str) -> bool:
    return bool(pattern and pattern.search(line))


class Service(Protocol):
    """What every kind of program provides. Stateless; one instance per registry."""

    name: str
    #: Typed `options:` of a member with this service.
    options_type: type[BaseModel]
    #: Further log files in the member's directory, beside its captured output.
    log_files: tuple[str, ...]
    log_rules: LogRules
    stages: tuple[Stage, ...]
    diagnoses: tuple[Diagnosis, ...]

    def ports(self, member: Member) -> Mapping[str, int]:
        """Port names and how many consecutive ports each needs. 'http' is the one that is probed."""
        ...

    def render(self, placement: Placement) -> Command:
        """The command for a placed member. Raises RenderError when the settings do not fit."""
        ...

    def probe(self, placement: Placement) -> Probe:
        """How to see from outside that the member serves."""
        ...
