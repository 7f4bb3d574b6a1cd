"""`mmc-local.conf`, the config file of memcache's local service inside each engine, as typed settings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pdtest.services.mmc_settings import LogLevel, Size, Url, between, size_in_bytes
from pdtest.services.mmc_tls import ConfigStoreTls, HcomTls, MetaTls

#: The first two are of the first releases: a pool in device memory, and one in DRAM. The rest is of 1.3.0.
Protocol = Literal[
    "sdma",
    "roce",
    "device_sdma",
    "device_rdma",
    "device_urma",
    "device_uboe",
    "host_rdma",
    "host_urma",
    "host_tcp",
    "host_shm",
]

#: Protocols that move data of a pool in DRAM only.
_OF_DRAM: Final = frozenset({"roce", "host_rdma", "host_urma", "host_tcp", "host_shm"})


class LocalSettings(MetaTls, ConfigStoreTls, HcomTls):
    """`options.memcache` of a `vllm-ascend` member. Ranges as in memcache_hybrid 1.3.0.

    `sdma`, `roce` and `dram_by_sdma` are of the first releases; 1.3.0 refuses them. It rounds sizes up to
    1 GB with a device protocol, where the first releases did to 2 MB.
    """

    tls: ClassVar[tuple[str, ...]] = (
        "ock.mmc.tls",
        "ock.mmc.config_store.tls",
        "ock.mmc.local_service.hcom.tls",
    )

    meta_service_url: Url = Field(alias="ock.mmc.meta_service_url", description="as the meta service listens")
    config_store_url: Url = Field(
        alias="ock.mmc.local_service.config_store_url", description="as the meta service listens"
    )
    log_level: LogLevel | None = Field(default=None, alias="ock.mmc.log_level")
    world_size: Annotated[int, between(1, 1024)] | None = Field(
        default=None,
        alias="ock.mmc.local_service.world_size",
        description="most ranks that may join; the same on every member",
    )
    hcom_url: Url | None = Field(
        default=None,
        alias="ock.mmc.local_service.hcom_url",
        description="of the network card, for a DRAM pool",
    )

    # In this order: each is held against those above it.
    protocol: Protocol = Field(alias="ock.mmc.local_service.protocol")
    dram_by_sdma: bool | None = Field(default=None, alias="ock.mmc.local_service.dram_by_sdma")
    dram_size: Size = Field(alias="ock.mmc.local_service.dram.size")
    hbm_size: Size = Field(default="0", alias="ock.mmc.local_service.hbm.size", validate_default=True)
    max_dram_size: Size | None = Field(
        default=None,
        alias="ock.mmc.local_service.max.dram.size",
        description="the largest dram.size of all members, where they differ",
    )
    max_hbm_size: Size | None = Field(default=None, alias="ock.mmc.local_service.max.hbm.size")

    retry_milliseconds: Annotated[int, between(0, 600_000)] | None = Field(
        default=None,
        alias="ock.mmc.client.retry_milliseconds",
        description="how long in all a request is tried again without connection; 0: not at all",
    )
    timeout_seconds: Annotated[int, between(1, 600)] | None = Field(
        default=None, alias="ock.mmc.client.timeout.seconds"
    )
    read_threads: Annotated[int, between(1, 64)] | None = Field(
        default=None, alias="ock.mmc.client.read_thread_pool.size"
    )
    write_threads: Annotated[int, between(1, 64)] | None = Field(
        default=None, alias="ock.mmc.client.write_thread_pool.size"
    )
    aggregate_io: bool | None = Field(default=None, alias="ock.mmc.client.aggregate.io")
    aggregate_num: Annotated[int, between(1, 131_072)] | None = Field(
        default=None, alias="ock.mmc.client.aggregate.num"
    )

    @field_validator("dram_by_sdma")
    @classmethod
    def _only_with_sdma(cls, by_sdma: bool | None, info: ValidationInfo) -> bool | None:
        protocol = info.data.get("protocol")
        of_first_releases = protocol in {None, "sdma", "roce"}
        if by_sdma is not None and not (of_first_releases and (not by_sdma or protocol != "roce")):
            raise PydanticCustomError(
                "exclusive",
                "{instead}, because ock.mmc.local_service.protocol is {protocol}",
                {"protocol": protocol, "instead": "false" if of_first_releases else "no entry"},
            )
        return by_sdma

    @field_validator("hbm_size")
    @classmethod
    def _one_pool(cls, hbm: str, info: ValidationInfo) -> str:
        dram, protocol = info.data.get("dram_size"), info.data.get("protocol")
        if dram is None or protocol is None:  # wrong themselves
            return hbm
        in_dram, in_hbm = size_in_bytes(dram) > 0, size_in_bytes(hbm) > 0
        if in_dram == in_hbm:
            raise PydanticCustomError(
                "pools",
                "one pool: ock.mmc.local_service.hbm.size, or dram.size, which is {dram}; the other 0",
                {"dram": dram},
            )
        if in_hbm and protocol in _OF_DRAM:
            raise PydanticCustomError(
                "pools",
                "0, because ock.mmc.local_service.protocol is {protocol}, which is for a pool in DRAM",
                {"protocol": protocol},
            )
        if in_dram and protocol == "sdma" and not info.data.get("dram_by_sdma"):
            raise PydanticCustomError(
                "pools",
                "a size, because ock.mmc.local_service.protocol is sdma and dram_by_sdma is not true",
            )
        return hbm
