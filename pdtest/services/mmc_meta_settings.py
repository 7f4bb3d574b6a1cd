"""`mmc-meta.conf`, the config file of memcache's meta service, as typed settings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pdtest.services.mmc_settings import LogLevel, between, owned
from pdtest.services.mmc_tls import ConfigStoreTls, MetaTls


class MetaSettings(MetaTls, ConfigStoreTls):
    """`options.settings` of an `mmc-meta-service`, in the ranges that memcache_hybrid 1.3.0 enforces."""

    tls: ClassVar[tuple[str, ...]] = ("ock.mmc.tls", "ock.mmc.config_store.tls")

    meta_service_url: Annotated[None, owned("the member's ports.meta")] = Field(
        default=None, alias="ock.mmc.meta_service_url"
    )
    config_store_url: Annotated[None, owned("the member's ports.config")] = Field(
        default=None, alias="ock.mmc.meta_service.config_store_url"
    )
    metrics_url: Annotated[None, owned("the member's ports.http")] = Field(
        default=None, alias="ock.mmc.meta_service.metrics_url"
    )
    metrics_report_interval_s: Annotated[int, between(0, 86400)] | None = Field(
        default=None, alias="ock.mmc.meta_service.metrics_report_interval_seconds"
    )
    ha: bool | None = Field(default=None, alias="ock.mmc.meta.ha.enable")
    lease_ttl_ms: Annotated[int, between(1, 2**31 - 1)] | None = Field(
        default=None, alias="ock.mmc.meta.lease_ttl_ms"
    )
    lru_shard_count: Annotated[int, between(1, 1024)] | None = Field(
        default=None,
        alias="ock.mmc.meta_service.lru_shard_count",
        description="a power of two",
    )
    metadata_mode: Literal["aggregated", "separated"] | None = Field(
        default=None, alias="ock.mmc.meta_service.storage.metadata_mode"
    )
    dynamic_config: bool | None = Field(default=None, alias="ock.mmc.dynamic_config.enable")

    log_level: LogLevel | None = Field(default=None, alias="ock.mmc.log_level")
    log_path: str | None = Field(
        default=None,
        alias="ock.mmc.log_path",
        description="logs/ in it gets the log; default: the member's directory",
    )
    log_rotation_file_size: Annotated[int, between(1, 500)] | None = Field(
        default=None, alias="ock.mmc.log_rotation_file_size", description="MB"
    )
    log_rotation_file_count: Annotated[int, between(1, 50)] | None = Field(
        default=None, alias="ock.mmc.log_rotation_file_count"
    )
    log_output_target: Literal["screen", "file", "both"] | None = Field(
        default=None, alias="ock.mmc.log_output_target"
    )

    # Low first: high is held against it. memcache's own defaults are 80 and 90.
    evict_threshold_low: Annotated[int, between(1, 98)] = Field(
        default=80, alias="ock.mmc.evict_threshold_low", description="percent"
    )
    evict_threshold_high: Annotated[int, between(1, 99)] = Field(
        default=90,
        alias="ock.mmc.evict_threshold_high",
        description="percent",
        validate_default=True,
    )
    evict_check_interval_s: int | None = Field(
        default=None, ge=0, alias="ock.mmc.evict_check_interval_seconds", description="0 turns it off"
    )

    @field_validator("evict_threshold_high")
    @classmethod
    def _above_low(cls, high: int, info: ValidationInfo) -> int:
        low = info.data.get("evict_threshold_low")
        if low is not None and high <= low:
            raise PydanticCustomError(
                "watermarks",
                "ock.mmc.evict_threshold_high above ock.mmc.evict_threshold_low, which is {low}",
                {"low": low},
            )
        return high

    @field_validator("lru_shard_count")
    @classmethod
    def _power_of_two(cls, count: int | None) -> int | None:
        if count is not None and count & (count - 1):
            raise PydanticCustomError("shards", "a power of two from 1 to 1024")
        return count

    @field_validator("log_path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        # memcache takes a relative path from where the interpreter is installed, not from here.
        if path is not None and not path.startswith(("/", "${")):
            raise PydanticCustomError("path", "an absolute path")
        return path
