"""`embedded-store`: the meta process of pdtest's own store, a pool of KV by content."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from pdtest.environment.schema import Member
from pdtest.services.arguments import flags, variables
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.files import rendered_files
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage

_OWNED = {
    **LISTENER,
    "port": "members.<name>.ports.meta",
    "http-port": "members.<name>.ports.http",
}


class EmbeddedStoreOptions(BaseModel):
    """Options of an `embedded-store` member. Capacity and watermarks are plain `args:`."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    python: str = Field(default=sys.executable, description="interpreter that has pdtest[embedded] installed")


class EmbeddedStoreService:
    """Renders the meta process; engines are its clients."""

    name = "embedded-store"
    options_type: type[BaseModel] = EmbeddedStoreOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = EMBEDDED_LOG
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = EMBEDDED_DIAGNOSES

    def ports(self, member: Member) -> Mapping[str, int]:
        """One for health and metrics over HTTP, one for clients."""
        return {"http": 1, "meta": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The store's command line. Raises RenderError on contradictions."""
        member = placement.member
        options = EmbeddedStoreOptions.model_validate(resolved(member.options, placement))
        refuse_owned(placement.name, member.args, _OWNED)
        structure = {
            "host": placement.address,
            "port": placement.ports["meta"],
            "http-port": placement.ports["http"],
        }
        return Command(
            argv=(
                options.python,
                "-m",
                "pdtest.embedded.store",
                *flags(structure | dict(resolved(member.args, placement))),
            ),
            env=variables(resolved(member.env, placement)),
            files=rendered_files(placement),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once clients are served."""
        return Probe(url=placement.url + "/health")
