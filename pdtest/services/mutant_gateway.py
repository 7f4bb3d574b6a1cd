"""`mutant-gateway`: stands before a proxy and between it and its engines, and has the bugs of proxies.

The proxy behind it names it in `options.through`. Which bug there is says a file in the gateway's directory
(`SWITCH`), read at each request; without it bytes pass as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member
from pdtest.services.arguments import variables
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.proxy_peers import prefills_and_decodes
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings

#: File in a member's directory that says which planted bug it has at the moment.
SWITCH: Final = "mutant.switch"
#: The same for how long an engine keeps KV.
LIFE_SWITCH: Final = "lifetime.switch"


class MutantGatewayOptions(Settings):
    """Options of a `mutant-gateway` member."""

    python: str = Field(default=sys.executable, description="interpreter that has pdtest[embedded] installed")
    before: str = Field(description="the proxy it stands before, by member name")


class MutantGatewayService:
    """Renders the gateway: three ports, before the proxy, before prefill and before decode."""

    name = "mutant-gateway"
    options_type: type[BaseModel] = MutantGatewayOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = EMBEDDED_LOG
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = EMBEDDED_DIAGNOSES

    def ports(self, member: Member) -> Mapping[str, int]:
        """Http is the client's side; the proxy behind it finds prefill and decode at the other two."""
        return {"http": 1, "prefill": 1, "decode": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The gateway's command line. Raises RenderError where there is no such proxy, or several engines."""
        options = MutantGatewayOptions.model_validate(resolved(placement.member.options, placement))
        proxy = placement.peers.get(options.before)
        if proxy is None:
            raise RenderError(
                f"gateway '{placement.name}' stands before no proxy",
                where=f"members.{placement.name}.options.before",
                expected=f"one of {', '.join(placement.peers)}",
                seen=options.before,
            )
        prefills, decodes = prefills_and_decodes(placement)
        if len(prefills) > 1 or len(decodes) > 1:
            raise RenderError(
                f"gateway '{placement.name}' has one side for prefill and one for decode",
                where=f"members.{placement.name}",
                expected="one prefill and one decode member",
                seen=f"{len(prefills)} and {len(decodes)}",
            )
        ports = placement.ports
        return Command(
            argv=(
                *(options.python, "-m", "pdtest.mutants.gateway", "--host", placement.address),
                *("--switch", str(placement.directory / SWITCH)),
                *("--front", str(ports["http"]), proxy.url),
                *("--prefill", str(ports["prefill"]), prefills[0].url),
                *("--decode", str(ports["decode"]), decodes[0].url),
            ),
            env=variables(resolved(placement.member.env, placement)),
            files=rendered_files(placement),
        )

    def probe(self, placement: Placement) -> Probe:
        """The proxy's `/health`, through the gateway."""
        return Probe(url=placement.url + "/health")
