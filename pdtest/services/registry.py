"""The kinds of program pdtest can run: its own and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from pdtest.services.ascend_lb_proxy import AscendLayerwiseProxyService, AscendLbProxyService
from pdtest.services.command import CommandService
from pdtest.services.demo_proxy import DemoProxyService
from pdtest.services.embedded_engine import EmbeddedEngineService
from pdtest.services.embedded_proxy import EmbeddedProxyService
from pdtest.services.embedded_store import EmbeddedStoreService
from pdtest.services.lmcache_proxy import LmcacheProxyService
from pdtest.services.mmc_meta_service import MmcMetaService
from pdtest.services.mooncake_master import MooncakeMasterService
from pdtest.services.mooncake_proxy import MooncakeProxyService
from pdtest.services.mutant_gateway import MutantGatewayService
from pdtest.services.p2p_nccl_proxy import P2pNcclProxyService
from pdtest.services.service import Service
from pdtest.services.toy_proxy import ToyProxyService
from pdtest.services.vllm import VllmService
from pdtest.services.vllm_ascend import VllmAscendService
from pdtest.services.vllm_router import VllmRouterService

GROUP = "pdtest.services"


@cache
def services() -> Mapping[str, Service]:
    """Services by name. A package adds its own with an entry point in the group `pdtest.services`."""
    own: tuple[Service, ...] = (
        VllmService(),
        VllmAscendService(),
        VllmRouterService(),
        ToyProxyService(),
        DemoProxyService(),
        P2pNcclProxyService(),
        MooncakeProxyService(),
        LmcacheProxyService(),
        AscendLbProxyService(),
        AscendLayerwiseProxyService(),
        EmbeddedEngineService(),
        EmbeddedProxyService(),
        EmbeddedStoreService(),
        MutantGatewayService(),
        MooncakeMasterService(),
        MmcMetaService(),
        CommandService(),
    )
    others = (entry.load()() for entry in entry_points(group=GROUP))
    return {service.name: service for service in (*own, *others)}
