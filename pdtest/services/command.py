"""`command`: any program with a URL that answers once it is ready."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Member
from pdtest.services.arguments import flags, variables
from pdtest.services.diagnoses import COMMON
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings


class CommandOptions(Settings):
    """Options of a `command` member."""

    # Optional, for members that are attached to. Those that are started need it: see `render`.
    argv: list[str] = Field(
        default=[],
        description="program and first arguments; `args:` are appended. Not needed with launcher: attach",
    )
    ready_path: str = Field(default="/", description="path on the http port, or a whole URL, to probe")
    ready_status: list[int] = Field(default=[200], description="statuses that mean ready")
    ports: list[str] = Field(default=[], description="names of further ports to lease")


class CommandService:
    """Renders a member whose program pdtest knows nothing about."""

    name = "command"
    options_type: type[BaseModel] = CommandOptions
    log_files: tuple[str, ...] = ()
    log_rules = LogRules(error=re.compile(r"\bERROR\b"))
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = COMMON

    def ports(self, member: Member) -> Mapping[str, int]:
        """The http port, and one for each name under options.ports."""
        options = CommandOptions.model_validate(member.options)
        return {"http": 1} | dict.fromkeys(options.ports, 1) | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The options' argv with the member's args behind it. Raises RenderError when there is none."""
        options = _options(placement)
        if not options.argv:
            raise RenderError(
                f"member '{placement.name}' has no command to run",
                where=f"members.{placement.name}.options.argv",
                expected="a list: the program and its first arguments",
                seen="nothing",
                next_step="add it, or set launcher: attach and a url if the program runs already",
            )
        key = api_key(placement.name, placement.member)
        return Command(
            argv=(*options.argv, *flags(resolved(placement.member.args, placement))),
            env=variables(resolved(placement.member.env, placement)),
            files=rendered_files(placement),
            secrets=frozenset({key} if key else ()),
        )

    def probe(self, placement: Placement) -> Probe:
        """The options' ready path."""
        options = _options(placement)
        path = options.ready_path
        url = path if "://" in path else placement.url + path
        return Probe(url=url, accept=frozenset(options.ready_status))


def _options(placement: Placement) -> CommandOptions:
    return CommandOptions.model_validate(resolved(placement.member.options, placement))
