"""Clients of a memcache pool that tests make: `options.client` of an `mmc-meta-service` member.

Written from memcache_hybrid 1.3.0's signatures and Ascend/memcache's source. Not run by pdtest's own CI,
because a client needs an NPU (or a RoCE card): what is promised is what the source says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import Field, field_validator

from pdtest.services.interpreter import Interpreter
from pdtest.services.mmc_local_settings import LocalSettings
from pdtest.services.mmc_settings import conf, refuse_missing_files, size_in_bytes
from pdtest.services.pool import MEMCACHE_AGENT, Agent, Count, Gauges, PoolAccess, Promises
from pdtest.services.service import Placement
from pdtest.services.set_env import SetEnv, sourced
from pdtest.services.settings import Settings

_FILE: Final = "mmc-local.conf"
#: MMC_DATA_TTL_MS of src/memcache/csrc/common/mmc_define.h: how long a read or a write keeps an object.
_LEASE_S: Final = 2.0
#: Percent, of memcache 1.3 (docs/zh/memcache_config.md), where mmc-meta.conf says nothing.
_HIGH: Final[tuple[str, int]] = ("ock.mmc.evict_threshold_high", 90)
_LOW: Final[tuple[str, int]] = ("ock.mmc.evict_threshold_low", 80)
_TIMEOUT: Final[tuple[str, int]] = ("ock.mmc.client.timeout.seconds", 60)


class MmcClientOptions(Settings):
    """How tests make clients of the pool."""

    python: Interpreter = Field(
        default="", validate_default=True, description="interpreter with memcache_hybrid"
    )
    device: int = Field(
        default=0, ge=0, description="NPU of the clients, as ASCEND_RT_VISIBLE_DEVICES counts"
    )
    set_env: SetEnv = ()
    settings: dict[str, Any] = Field(
        description="keys of mmc-local.conf, spelled as there; the URLs are the member's"
    )

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        # The URLs are not known yet: any will do to find what is wrong with the rest.
        LocalSettings.model_validate(_urls("127.0.0.1", 5000, 6000) | settings)
        return settings


def memcache_access(
    placement: Placement, client: MmcClientOptions, meta: Mapping[str, Any], *, metrics: str
) -> PoolAccess:
    """How clients are made; ``meta`` are the keys of the meta service. Raises RenderError."""
    urls = _urls(placement.address, placement.ports["meta"], placement.ports["config"])
    settings = LocalSettings.model_validate(urls | client.settings)
    refuse_missing_files(placement, settings, "client.settings")
    values = settings.values()
    agent = Agent(
        python=client.python,
        backend=MEMCACHE_AGENT,
        settings={"device": client.device},
        env={"MMC_LOCAL_CONFIG_PATH": f"{{directory}}/{_FILE}"},
        files={_FILE: conf(placement.name, values)},
    ).command()
    return PoolAccess(
        command=replace(agent, argv=sourced(client.set_env, agent.argv)),
        segment_bytes=size_in_bytes(settings.dram_size) + size_in_bytes(settings.hbm_size),
        promises=_promises(meta, values),
        gauges=_gauges(metrics),
    )


def _urls(host: str, meta: int, config: int) -> dict[str, Any]:
    return {
        "ock.mmc.meta_service_url": f"tcp://{host}:{meta}",
        "ock.mmc.local_service.config_store_url": f"tcp://{host}:{config}",
    }


def _promises(meta: Mapping[str, Any], local: Mapping[str, Any]) -> Promises:
    timeout_s = float(local.get(*_TIMEOUT))
    return Promises(
        high=meta.get(*_HIGH) / 100,
        low=meta.get(*_LOW) / 100,
        # It looks every five seconds (evict_check_interval_seconds), and when a place is asked for.
        evicts_within_s=10.0,
        refusal_evicts=True,
        lease_s=_LEASE_S,
        lease_holds_removal=True,
        empty_values=False,
        layer_by_layer=False,
        # Without its memory a client "does not support reading and writing" (memcache_python_api.md, init).
        spectators=False,
        put_timeout_s=timeout_s,
        client_timeout_s=timeout_s,
        transfer_timeout_s=timeout_s,
        remembers=False,
        recovery_s=timeout_s,
    )


def _gauges(url: str) -> Gauges:
    """Names that a meta service of 1.3.0 exports. Batches count apart, and gets are counted by requests."""
    return Gauges(
        url=url,
        objects="memcache_stored_keys",
        allocated="memcache_allocated_bytes",
        capacity="memcache_total_capacity_bytes",
        counts={"evicted": Count(of=("memcache_evict_operations_total",))},
    )
