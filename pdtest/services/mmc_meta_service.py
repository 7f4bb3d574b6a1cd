"""`mmc-meta-service`: the process of memcache that knows where in the pool every object is.

The Python package starts it (`MetaService.main()` of memcache_hybrid), or the binary `mmc_meta_service`. Both
read the file that MMC_META_CONFIG_PATH names. Metrics, and with them the probe, came with the key
`ock.mmc.meta_service.metrics_url`; the first releases had neither.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member
from pdtest.services.arguments import flags, variables
from pdtest.services.diagnoses import COMMON
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.interpreter import Interpreter
from pdtest.services.mmc_clients import MmcClientOptions, memcache_access
from pdtest.services.mmc_diagnoses import MMC
from pdtest.services.mmc_meta_settings import MetaSettings
from pdtest.services.mmc_settings import conf, refuse_missing_files
from pdtest.services.pool import PoolAccess
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.set_env import SetEnv, sourced
from pdtest.services.settings import Settings

_FILE = "mmc-meta.conf"
#: `main` answers a status and never raises: without `exit` a service that did not start would end well.
_PROGRAM = "import sys; from memcache_hybrid import MetaService; sys.exit(MetaService.main())"
#: By port: the key that says it, and its scheme.
_URLS: Mapping[str, tuple[str, str]] = {
    "meta": ("ock.mmc.meta_service_url", "tcp"),
    "config": ("ock.mmc.meta_service.config_store_url", "tcp"),
    "http": ("ock.mmc.meta_service.metrics_url", "http"),
}
_LOWEST_PORT = 1025


class MmcMetaOptions(Settings):
    """Options of an `mmc-meta-service` member."""

    program: Literal["python", "binary"] = Field(
        default="python", description="python: memcache_hybrid of the interpreter; binary: mmc_meta_service"
    )
    python: Interpreter = Field(default=sys.executable, description="interpreter that has memcache_hybrid")
    binary: str = Field(
        default="mmc_meta_service", description="path, or a name on PATH once set_env is sourced"
    )
    set_env: SetEnv = ()
    settings: MetaSettings = Field(
        default=MetaSettings(), description="keys of mmc-meta.conf, spelled as there: ock.mmc.log_level"
    )
    client: MmcClientOptions | None = Field(
        default=None, description="how tests make clients of the pool; without it they make none"
    )


class MmcMetaService:
    """Renders the service and its config file; the ports are the environment's."""

    name = "mmc-meta-service"
    options_type: type[BaseModel] = MmcMetaOptions
    log_files: tuple[str, ...] = ("logs/mmc-meta.log",)
    log_rules = LogRules(
        # '2026-11-21 08:08:00.209153 22022 error [MMC ...', and ERROR before it knows where to log.
        error=re.compile(r"^\S+ \S+ \d+ (error|fatal|critical) \[|\bERROR \[|^Error, |^Traceback "),
        harmless=(
            # Somebody looked at a path that it does not have.
            re.compile(r"HandleHttpRequest\] No handler for "),
        ),
    )
    stages: tuple[Stage, ...] = tuple(
        Stage(pattern=re.compile(pattern), doing=doing)
        for pattern, doing in (
            (r"Loaded \d+ config items", "reading its config file"),
            (r"start store server success", "opening the meta port"),
            (r"Started MetaService|HTTP server started|launched successfully", "answering"),
        )
    )
    diagnoses: tuple[Diagnosis, ...] = (*MMC, *COMMON)

    def ports(self, member: Member) -> Mapping[str, int]:
        """For metrics (http), for clients (meta), and where ranks find each other (config)."""
        return dict.fromkeys((*_URLS, *member.ports), 1)

    def render(self, placement: Placement) -> Command:
        """The service with its config file. Raises RenderError when the settings do not fit."""
        options = _options(placement)
        refuse_missing_files(placement, options.settings, "settings")
        program = (options.python, "-c", _PROGRAM) if options.program == "python" else (options.binary,)
        arguments = flags(resolved(placement.member.args, placement))
        return Command(
            argv=sourced(options.set_env, (*program, *arguments)),
            env={"MMC_META_CONFIG_PATH": str(placement.directory / _FILE)}
            | variables(resolved(placement.member.env, placement)),
            files={_FILE: conf(placement.name, _values(placement, options.settings))}
            | rendered_files(placement),
        )

    def probe(self, placement: Placement) -> Probe:
        """Its metrics: the HTTP server is the last thing to start."""
        return Probe(url=placement.url + "/metrics")

    def makes_clients(self, member: Member) -> bool:
        """Only where the file says how: a client needs an NPU."""
        return member.options.get("client") is not None

    def access(self, placement: Placement) -> PoolAccess:
        """Clients with an mmc-local.conf of their own. Raises RenderError when the settings do not fit."""
        options = _options(placement)
        if options.client is None:
            raise RenderError(
                f"member '{placement.name}' has no clients for tests",
                where=f"members.{placement.name}.options.client",
                expected="settings of mmc-local.conf",
                seen="nothing",
            )
        meta = options.settings.values()
        return memcache_access(placement, options.client, meta, metrics=placement.url + "/metrics")


def _values(placement: Placement, settings: MetaSettings) -> dict[str, object]:
    # Without a path it would write to /var/log/memcache_hybrid, where few may.
    log = {"ock.mmc.log_path": str(placement.directory)}
    return _urls(placement) | log | settings.values()


def _urls(placement: Placement) -> dict[str, object]:
    host = f"[{placement.address}]" if ":" in placement.address else placement.address
    urls: dict[str, object] = {}
    for name, (key, scheme) in _URLS.items():
        port = placement.ports[name]
        if port < _LOWEST_PORT:
            raise RenderError(
                f"memcache takes no port below {_LOWEST_PORT} for {key}",
                where=f"members.{placement.name}.ports.{name}",
                expected=f"a port from {_LOWEST_PORT} to 65535, or auto",
                seen=str(port),
            )
        urls[key] = f"{scheme}://{host}:{port}"
    return urls


def _options(placement: Placement) -> MmcMetaOptions:
    return MmcMetaOptions.model_validate(resolved(placement.member.options, placement))
