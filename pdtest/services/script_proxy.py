"""What proxies have in common that are one Python script of the user's.

vLLM, vLLM-Ascend and Mooncake each bring such scripts among their examples and tests. They differ in how they
are told of their instances, and in what answers when they serve.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import Field

from pdtest.environment.api_key import api_key
from pdtest.services.arguments import flags, variables
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.interpreter import Interpreter
from pdtest.services.owned_flags import refuse_owned
from pdtest.services.references import resolved
from pdtest.services.service import Command, LogRules, Placement, Probe
from pdtest.services.settings import Settings

#: They print what went wrong in a request, and answer 200 all the same.
SCRIPT_LOG = LogRules(error=re.compile(r"\bERROR\b|^Traceback |Error occurred in disagg"))

_ANY_STATUS = frozenset(range(100, 600))


class ScriptProxyOptions(Settings):
    """Options that all of them take."""

    script: str | None = Field(
        default=None, description="path of the proxy script. Not needed with launcher: attach"
    )
    python: Interpreter = Field(default=sys.executable, description="interpreter that runs it")

    @classmethod
    def of(cls, placement: Placement) -> Self:
        """Those of a member, with what is known of it by now."""
        return cls.model_validate(resolved(placement.member.options, placement))


def script_command(
    placement: Placement,
    options: ScriptProxyOptions,
    structure: Iterable[str],
    *,
    owned: Mapping[str, str],
) -> Command:
    """The interpreter with ``structure``, what the environment decides, and the member's own args behind it.

    Raises RenderError where args have a flag of ``owned``.
    """
    member = placement.member
    refuse_owned(placement.name, member.args, owned)
    key = api_key(placement.name, member)
    return Command(
        argv=(options.python, *structure, *flags(resolved(member.args, placement))),
        env=script_variables(key) | variables(resolved(member.env, placement)),
        files=rendered_files(placement),
        secrets=frozenset({key} if key else ()),
    )


def script(options: ScriptProxyOptions, placement: Placement) -> str:
    """The path of the script. Raises RenderError where none is given."""
    if not options.script:
        raise RenderError(
            f"proxy '{placement.name}' has no script to run",
            where=f"members.{placement.name}.options.script",
            expected=f"the path of a script that a {placement.member.service} member runs",
            seen="nothing",
            next_step="add it, or set launcher: attach and a url if the proxy runs already",
        )
    return options.script


def script_variables(key: str | None) -> dict[str, str]:
    """Variables every such script gets: it sends the key on to the engines, as these scripts do."""
    # What is printed into a file would otherwise arrive in pieces of 8 KiB, long after it happened.
    return {"PYTHONUNBUFFERED": "1"} | ({"OPENAI_API_KEY": key} if key else {})


def health_probe(placement: Placement, path: str) -> Probe:
    """``path``, which pdtest added to the script; one that was started by hand need only listen."""
    return listening_probe(placement) if placement.member.url else Probe(url=placement.url + path)


def listening_probe(placement: Placement) -> Probe:
    """Any answer shows that it listens."""
    return Probe(url=placement.url + "/", accept=_ANY_STATUS)
