"""`embedded-proxy`: pdtest's own proxy, with the toy proxy's flags, for every contract."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags, variables
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.embedded_routing import routing_flags
from pdtest.services.files import rendered_files
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.proxy_peers import paired_lists, prefills_and_decodes
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings
from pdtest.wire.multi import leading
from pdtest.wire.registry import contract_for

_OWNED = {
    **LISTENER,
    **dict.fromkeys(
        ("prefiller-hosts", "prefiller-ports", "prefiller-bootstrap-ports"),
        f"members with role: {Role.PREFILL}",
    ),
    **dict.fromkeys(("decoder-hosts", "decoder-ports"), f"members with role: {Role.DECODE}"),
    **dict.fromkeys(("hybrid-hosts", "hybrid-ports"), f"members with role: {Role.HYBRID}"),
    "contract": "connector.contract",
    "zmq-port": "members.<name>.ports.zmq",
}


class EmbeddedProxyOptions(Settings):
    """Options of an `embedded-proxy` member. How it decides is the environment's `routing:`."""

    python: str = Field(default=sys.executable, description="interpreter that has pdtest[embedded] installed")
    through: str | None = Field(
        default=None, description="the mutant-gateway through which it reaches its engines, by member name"
    )
    registration: bool = Field(
        default=False, description="engines say themselves where they are (P2P NCCL), on the port zmq"
    )


class EmbeddedProxyService:
    """Renders the proxy with the environment's instances, contract and routing."""

    name = "embedded-proxy"
    options_type: type[BaseModel] = EmbeddedProxyOptions
    #: It sends requests to hybrid instances, too.
    hybrids = True
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = EMBEDDED_LOG
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = EMBEDDED_DIAGNOSES

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and the one that engines register at."""
        return {"http": 1, "zmq": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The proxy's command line. Raises RenderError on contradictions."""
        member = placement.member
        options = EmbeddedProxyOptions.model_validate(resolved(member.options, placement))
        decided = routing_flags(placement.environment.routing)
        refuse_owned(placement.name, member.args, _OWNED | dict.fromkeys(decided, "routing"))
        key = api_key(placement.name, member)
        arguments = _structure(placement, options) | decided | dict(resolved(member.args, placement))
        return Command(
            argv=(options.python, "-m", "pdtest.embedded.proxy", *flags(arguments)),
            # As with the toy proxy: it sends this key on to the engines.
            env=({"OPENAI_API_KEY": key} if key else {}) | variables(resolved(member.env, placement)),
            files=rendered_files(placement),
            secrets=frozenset({key} if key else ()),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once there is an instance of each kind to send requests to."""
        return Probe(url=placement.url + "/health")


def _structure(placement: Placement, options: EmbeddedProxyOptions) -> dict[str, Any]:
    contract = leading(contract_for(placement.environment.connector.contract))
    structure: dict[str, Any] = {
        "host": placement.address,
        "port": placement.ports["http"],
        "contract": contract.name,
    }
    prefills, decodes = prefills_and_decodes(placement, through=options.through)
    if options.registration:
        return structure | {"zmq-port": placement.ports["zmq"]}
    structure |= paired_lists("prefiller", prefills) | paired_lists("decoder", decodes)
    structure |= paired_lists("hybrid", placement.peers_with(Role.HYBRID))
    if contract.introduction is not None:
        port = contract.introduction.port
        structure["prefiller-bootstrap-ports"] = [peer.ports[port] for peer in prefills]
    return structure
