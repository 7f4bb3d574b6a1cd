"""What every engine with vLLM's flags is told: the environment's structure, and a member's own args."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdtest.environment.api_key import api_key
from pdtest.environment.schema import Member
from pdtest.services.arguments import flags, variables
from pdtest.services.files import rendered_files
from pdtest.services.kv_transfer import TRANSFERRING, kv_transfer_config
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.references import model_path, resolved
from pdtest.services.service import Command, Placement
from pdtest.services.xray import probed

#: Flags that another part of the environment file decides.
OWNED: Mapping[str, str] = {
    **LISTENER,
    "model": "model.path",
    "served-model-name": "model.served_name",
    "revision": "model.revision",
    "kv-transfer-config": "connector",
    "api-key": "members.<name>.api_key_env",
}


def engine_command(
    placement: Placement,
    program: tuple[str, ...],
    *,
    flags_of_model: Mapping[str, Any],
    environment: Mapping[str, str],
    probe: Path | None = None,
) -> Command:
    """``program`` with vLLM's flags behind it.

    ``flags_of_model`` and ``environment`` are what this kind of engine takes beside what all do. ``probe``:
    where its connector is to write an X-ray, for engines that load connectors as vLLM does. Raises
    RenderError where args contradict the rest of the file.
    """
    member = placement.member
    refuse_owned(placement.name, member.args, OWNED)
    key = api_key(placement.name, member)
    # Not --api-key: a command line is visible to everyone.
    secret = {"VLLM_API_KEY": key} if key else {}
    return Command(
        argv=(*program, *flags(_arguments(placement, flags_of_model, probe))),
        env={**environment, **_side_channel(placement), **secret}
        | variables(resolved(member.env, placement)),
        files=rendered_files(placement),
        secrets=frozenset(secret.values()),
    )


def ranks(member: Member) -> int:
    """Tensor-parallel times data-parallel: how many processes, or parts, an instance has."""
    arguments = {flag.replace("_", "-"): value for flag, value in member.args.items()}
    return int(arguments.get("tensor-parallel-size") or 1) * int(arguments.get("data-parallel-size") or 1)


def side_channel_ports(member: Member) -> Mapping[str, int]:
    """For engines that transfer KV one port per rank.

    NIXL listens on `VLLM_NIXL_SIDE_CHANNEL_PORT` .. + ranks - 1 (vLLM 0.32, nixl/base_worker.py).
    """
    return {"side_channel": ranks(member)} if member.role in TRANSFERRING else {}


def _arguments(placement: Placement, of_model: Mapping[str, Any], probe: Path | None) -> dict[str, Any]:
    model = placement.environment.model
    structure: dict[str, Any] = {
        "model": model_path(placement),
        "served-model-name": model.name,
        **of_model,
        "max-model-len": model.max_model_len,
        "block-size": model.block_size,
        "host": placement.address,
        "port": placement.ports["http"],
    }
    own = {flag.replace("_", "-"): value for flag, value in placement.member.args.items()}
    transfer = {"kv-transfer-config": probed(kv_transfer_config(placement), probe)}
    return structure | dict(resolved(own, placement)) | transfer


def _side_channel(placement: Placement) -> dict[str, str]:
    port = placement.ports.get("side_channel")
    if port is None:
        return {}
    return {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": placement.address,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(port),
    }
