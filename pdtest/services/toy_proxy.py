"""`toy-proxy`: a script with the flags of vLLM's toy proxy.

The flags are `--host --port --prefiller-hosts --prefiller-ports --decoder-hosts --decoder-ports`, the
lists paired by position, and `/healthcheck` answers (vLLM 0.23, nixl_integration/toy_proxy_server.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags
from pdtest.services.diagnoses import COMMON
from pdtest.services.owned_flags import LISTENER
from pdtest.services.proxy_peers import paired_lists, prefills_and_decodes
from pdtest.services.script_proxy import SCRIPT_LOG, ScriptProxyOptions, script, script_command
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage

#: Flags that say where the instances are.
PAIRED_LISTS: Mapping[str, str] = {
    **LISTENER,
    **dict.fromkeys(("prefiller-hosts", "prefiller-ports"), f"members with role: {Role.PREFILL}"),
    **dict.fromkeys(("decoder-hosts", "decoder-ports"), f"members with role: {Role.DECODE}"),
}


class ToyProxyOptions(ScriptProxyOptions):
    """Options of a `toy-proxy` member."""

    ready_path: str = Field(default="/healthcheck", description="path that answers 200 when it serves")


class ToyProxyService:
    """Renders any script of that shape."""

    name = "toy-proxy"
    options_type: type[BaseModel] = ToyProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = SCRIPT_LOG
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"Initialized \d+ prefill clients"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = COMMON

    def ports(self, member: Member) -> Mapping[str, int]:
        """The http port, and whatever the member names."""
        return {"http": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script with all prefill and decode members as paired lists."""
        options = ToyProxyOptions.of(placement)
        structure = (script(options, placement), *flags(instance_lists(placement)))
        return script_command(placement, options, structure, owned=PAIRED_LISTS)

    def probe(self, placement: Placement) -> Probe:
        """The options' ready path, `/healthcheck` on all scripts known so far."""
        return Probe(url=placement.url + ToyProxyOptions.of(placement).ready_path)


def instance_lists(placement: Placement) -> dict[str, object]:
    """Where it listens, and its instances as paired lists. Raises RenderError when a side is empty."""
    prefills, decodes = prefills_and_decodes(placement)
    return {
        "host": placement.address,
        "port": placement.ports["http"],
        **paired_lists("prefiller", prefills),
        **paired_lists("decoder", decodes),
    }
