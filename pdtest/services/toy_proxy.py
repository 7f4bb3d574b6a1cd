"""`toy-proxy`: a script with the flags of vLLM's toy proxy.

The flags are `--host --port --prefiller-hosts --prefiller-ports --decoder-hosts --decoder-ports`, the
lists paired by position, and `/healthcheck` answers (vLLM, nixl_integration/toy_proxy_server.py; the
Ascend load-balance proxy takes the same ones). The script itself is the user's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags, variables
from pdtest.services.diagnoses import COMMON
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.proxy_peers import paired_lists, prefills_and_decodes
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage

_OWNED = {
    **LISTENER,
    **dict.fromkeys(("prefiller-hosts", "prefiller-ports"), f"members with role: {Role.PREFILL}"),
    **dict.fromkeys(("decoder-hosts", "decoder-ports"), f"members with role: {Role.DECODE}"),
}


class ToyProxyOptions(BaseModel):
    """Options of a `toy-proxy` member."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    script: str | None = Field(
        default=None, description="path of the proxy script. Not needed with launcher: attach"
    )
    python: str = Field(default=sys.executable, description="interpreter that runs it")
    ready_path: str = Field(default="/healthcheck", description="path that answers 200 when it serves")


class ToyProxyService:
    """Renders any script of that shape."""

    name = "toy-proxy"
    options_type: type[BaseModel] = ToyProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules = LogRules(error=re.compile(r"\bERROR\b|^Traceback |Error occurred in disagg"))
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"Initialized \d+ prefill clients"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = COMMON

    def ports(self, member: Member) -> Mapping[str, int]:
        """The http port, and whatever the member names."""
        return {"http": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script with all prefill and decode members as paired lists."""
        member = placement.member
        options = ToyProxyOptions.model_validate(resolved(member.options, placement))
        refuse_owned(placement.name, member.args, _OWNED)
        key = api_key(placement.name, member)
        arguments = _structure(placement) | dict(resolved(member.args, placement))
        return Command(
            argv=(options.python, _script(options, placement.name), *flags(arguments)),
            # The toy proxy sends this key on to the engines.
            env=({"OPENAI_API_KEY": key} if key else {}) | variables(resolved(member.env, placement)),
            files=rendered_files(placement),
            secrets=frozenset({key} if key else ()),
        )

    def probe(self, placement: Placement) -> Probe:
        """The options' ready path, `/healthcheck` on all scripts known so far."""
        options = ToyProxyOptions.model_validate(resolved(placement.member.options, placement))
        return Probe(url=placement.url + options.ready_path)


def _script(options: ToyProxyOptions, name: str) -> str:
    if not options.script:
        raise RenderError(
            f"proxy '{name}' has no script to run",
            where=f"members.{name}.options.script",
            expected="the path of a script with the toy proxy's flags",
            seen="nothing",
            next_step="add it, or set launcher: attach and a url if the proxy runs already",
        )
    return options.script


def _structure(placement: Placement) -> dict[str, Any]:
    prefills, decodes = prefills_and_decodes(placement)
    return {
        "host": placement.address,
        "port": placement.ports["http"],
        **paired_lists("prefiller", prefills),
        **paired_lists("decoder", decodes),
    }
