"""`embedded-engine`: pdtest's own engine, which takes vLLM's flags and needs neither GPU nor vLLM."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.engine_flags import engine_command, ranks, side_channel_ports
from pdtest.services.kv_transfer import TRANSFERRING
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings


class EmbeddedEngineOptions(Settings):
    """Options of an `embedded-engine` member."""

    python: str = Field(default=sys.executable, description="interpreter that has pdtest[embedded] installed")


class EmbeddedEngineService:
    """Renders an engine of the embedded stack, for any connector that it has."""

    name = "embedded-engine"
    options_type: type[BaseModel] = EmbeddedEngineOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = EMBEDDED_LOG
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = EMBEDDED_DIAGNOSES
    xrayed: Literal[True] = True

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and for engines that transfer KV what their connectors listen on.

        ``side_channel`` and ``p2p`` (`kv_port` of P2pNcclConnector) have a port per rank. Which connector it
        will be is not known here; a port that none listens on costs nothing.
        """
        needs = {"http": 1} | dict.fromkeys(member.ports, 1) | dict(side_channel_ports(member))
        if member.role in TRANSFERRING:
            needs |= {"bootstrap": 1, "p2p": ranks(member)}
        return needs

    def render(self, placement: Placement) -> Command:
        """The engine's command line. Raises RenderError on contradictions."""
        options = EmbeddedEngineOptions.model_validate(resolved(placement.member.options, placement))
        ports = {
            "VLLM_MOONCAKE_BOOTSTRAP_PORT": placement.ports.get("bootstrap"),
            "PDTEST_ANNOUNCED_PORT": placement.announced.get("side_channel"),
        }
        return engine_command(
            placement,
            (options.python, "-m", "pdtest.embedded.engine"),
            # No dtype: it computes in float32, whatever the model says.
            flags_of_model={"xray": placement.xray},
            environment={name: str(port) for name, port in ports.items() if port is not None},
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once the engine does."""
        return Probe(url=placement.url + "/health")
