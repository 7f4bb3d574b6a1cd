"""`vllm-ascend`: vLLM on NPUs, with what its plugin needs around it.

Vendor scripts are sourced first, and the files that Mooncake and memcache read inside the engine are written
from typed options. Facts: vllm-project/vllm-ascend, kv_p2p/mooncake_connector.py and
mooncake_layerwise_connector.py, kv_pool/ascend_store (main of August 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member, Role
from pdtest.services.ascend_diagnoses import ASCEND
from pdtest.services.diagnoses import COMMON
from pdtest.services.engine_flags import ranks
from pdtest.services.kv_transfer import TRANSFERRING, kv_transfer_config
from pdtest.services.mmc_diagnoses import MMC
from pdtest.services.mmc_local_settings import LocalSettings
from pdtest.services.mmc_settings import conf, refuse_missing_files
from pdtest.services.mooncake_json import MooncakeJson
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Stage
from pdtest.services.set_env import SetEnv, sourced
from pdtest.services.store_hash import refuse_unequal_hashes
from pdtest.services.vllm import VllmOptions, VllmService
from pdtest.services.vllm_diagnoses import VLLM

_MOONCAKE, _MEMCACHE = "mooncake.json", "mmc-local.conf"


class VllmAscendOptions(VllmOptions):
    """Options of a `vllm-ascend` member."""

    set_env: SetEnv = ()
    mooncake: MooncakeJson | None = Field(
        default=None, description="mooncake.json, which MOONCAKE_CONFIG_PATH then names"
    )
    memcache: LocalSettings | None = Field(
        default=None, description="keys of mmc-local.conf, which MMC_LOCAL_CONFIG_PATH then names"
    )


class VllmAscendService(VllmService):
    """A `vllm` member, in a shell that has sourced CANN, with the files of its connectors."""

    name = "vllm-ascend"
    options_type: type[BaseModel] = VllmAscendOptions
    log_rules = LogRules(
        # E20260106 06:43:02.966156: Mooncake's errors, with the year or without.
        error=re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback |^Exception in thread |^[EF]\d{4}(\d{4})? \d\d:"),
        harmless=(
            # What torch_npu says on the way out, whatever the reason was; that has a line of its own.
            re.compile(r"ERR99999 UNKNOWN applica"),
        ),
        abandoned=VllmService.log_rules.abandoned,
        ending=VllmService.log_rules.ending,
        beginning=VllmService.log_rules.beginning,
    )
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"Platform plugin ascend is activated"), doing="loading the Ascend plugin"),
        *VllmService.stages,
        Stage(pattern=re.compile(r"Starting listening on path"), doing="listening for KV handshakes"),
    )
    diagnoses: tuple[Diagnosis, ...] = (*ASCEND, *MMC, *VLLM, *COMMON)

    def ports(self, member: Member) -> Mapping[str, int]:
        """Beside http the handshake ports, kv: one per rank, for `kv_port` in the connector's config.

        MooncakeConnectorV1 listens on prefill, so prefill always has them. MooncakeLayerwiseConnector listens
        on decode too, which then names kv under its ports.
        """
        wanted = {"http": 1} | dict.fromkeys(member.ports, 1)
        return wanted | ({"kv": ranks(member)} if member.role is Role.PREFILL or "kv" in wanted else {})

    def render(self, placement: Placement) -> Command:
        """The server's command line and files. Raises RenderError on contradictions."""
        options = self.options(placement)
        refuse_unequal_hashes(placement, kv_transfer_config(placement))
        command = super().render(placement)
        files = _files(placement, options)
        named = {name: str(placement.directory / file) for name, (file, _) in files.items()}
        return replace(
            command,
            argv=sourced(options.set_env, command.argv),
            env={**named, **command.env},
            files={**dict(files.values()), **command.files},
        )

    def options(self, placement: Placement) -> VllmAscendOptions:
        """The member's options, references resolved."""
        return VllmAscendOptions.model_validate(resolved(placement.member.options, placement))


def _files(placement: Placement, options: VllmAscendOptions) -> dict[str, tuple[str, str]]:
    """By the variable that names it: a file and its text. An engine without connector needs none."""
    files: dict[str, tuple[str, str]] = {}
    if placement.member.role not in TRANSFERRING:
        return files
    if options.mooncake is not None:
        text = options.mooncake.model_dump_json(indent=2, exclude_none=True) + "\n"
        files["MOONCAKE_CONFIG_PATH"] = (_MOONCAKE, text)
    if options.memcache is not None:
        refuse_missing_files(placement, options.memcache, "memcache")
        files["MMC_LOCAL_CONFIG_PATH"] = (_MEMCACHE, conf(placement.name, options.memcache.values()))
    return files
