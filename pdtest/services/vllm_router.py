"""`vllm-router`: the Rust router of the vLLM project, in prefill/decode mode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from pdtest.environment.api_key import api_key
from pdtest.environment.routing import Routing, Spread
from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags, variables
from pdtest.services.diagnoses import COMMON
from pdtest.services.files import rendered_files
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.programs import program_of
from pdtest.services.proxy_peers import prefills_and_decodes
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings

_OWNED = {
    **LISTENER,
    "prometheus-host": "hosts.<name>.address",
    "prometheus-port": "members.<name>.ports.prometheus",
    "prefill": f"members with role: {Role.PREFILL}",
    "decode": f"members with role: {Role.DECODE}",
    "vllm-pd-disaggregation": "the service, vllm-router",
}
#: What 0.1.17 can be told under the same name. To whatever else `routing:` says of it, it is only held.
_SPREADS = frozenset(
    {
        Spread.ROUND_ROBIN,
        Spread.RANDOM,
        Spread.POWER_OF_TWO,
        Spread.CACHE_AWARE,
        Spread.CONSISTENT_HASH,
    }
)


class VllmRouterOptions(Settings):
    """Options of a `vllm-router` member.

    Retries, and policies that `routing:` has no name for, are plain `args:`.
    """

    executable: str = Field(default="vllm-router", description="program name or path")
    through: str | None = Field(
        default=None, description="the mutant-gateway through which it reaches its engines, by member name"
    )


class VllmRouterService:
    """Renders `--vllm-pd-disaggregation` with every prefill and decode member."""

    name = "vllm-router"
    options_type: type[BaseModel] = VllmRouterOptions
    log_files: tuple[str, ...] = ()
    log_rules = LogRules(
        error=re.compile(r"\bERROR\b|panicked at"),
        # While the engines load, the router's first health checks must fail: that is the wait itself.
        harmless=(re.compile(r"(?i)health check.*(failed|error)|not healthy yet"),),
    )
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"(?i)waiting for .*workers?"), doing="waiting for the engines"),
        Stage(
            pattern=re.compile(r"(?i)(router ready|server listening|serving|starting server)"),
            doing="answering",
        ),
    )
    diagnoses: tuple[Diagnosis, ...] = COMMON

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and the port of its own metrics."""
        return {"http": 1, "prometheus": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The router's command line; each instance is a `--prefill` or `--decode` of its own.

        Raises RenderError on contradictions.
        """
        member = placement.member
        options = VllmRouterOptions.model_validate(resolved(member.options, placement))
        policies = _policies(placement.environment.routing)
        said = {flag: f"routing.{flag.removesuffix('-policy')}" for flag in policies}
        refuse_owned(placement.name, member.args, _OWNED | said)
        key = api_key(placement.name, member)
        structure: dict[str, Any] = {
            "host": placement.address,
            "port": placement.ports["http"],
            "prometheus-host": placement.address,
            "prometheus-port": placement.ports["prometheus"],
        }
        return Command(
            argv=(
                program_of(placement, options.executable),
                "--vllm-pd-disaggregation",
                *_instances(placement, options.through),
                *flags(structure | policies | dict(resolved(member.args, placement))),
            ),
            env=variables(resolved(member.env, placement)),
            files=rendered_files(placement),
            secrets=frozenset({key} if key else ()),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers once the router listens, which is after its workers are healthy."""
        return Probe(url=placement.url + "/health")


def _policies(routing: Routing) -> dict[str, Any]:
    sides = {"prefill-policy": routing.prefill, "decode-policy": routing.decode}
    return {flag: spread.value for flag, spread in sides.items() if spread is not None and spread in _SPREADS}


def _instances(placement: Placement, through: str | None) -> Iterator[str]:
    prefills, decodes = prefills_and_decodes(placement, through=through)
    for peer in prefills:
        yield from ("--prefill", peer.url)
    for peer in decodes:
        yield from ("--decode", peer.url)
