from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pdtest.services.mmc_local_settings import LocalSettings
from pdtest.services.mmc_meta_settings import MetaSettings
from pdtest.services.mmc_settings import MmcSettings, conf, size_in_bytes

LOCAL: dict[str, Any] = {
    "ock.mmc.meta_service_url": "tcp://127.0.0.1:5000",
    "ock.mmc.local_service.config_store_url": "tcp://127.0.0.1:6000",
    "ock.mmc.local_service.protocol": "sdma",
    "ock.mmc.local_service.dram.size": 0,
    "ock.mmc.local_service.hbm.size": "1GB",
}


def wrong(model: type[MmcSettings], settings: dict[str, Any]) -> list[tuple[str, str]]:
    """What the model objects to: the place, as a file spells it, and the words."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(settings)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def test_what_is_said_is_written_as_memcache_spells_it_with_tls_at_the_end() -> None:
    settings = MetaSettings.model_validate(
        {"ock.mmc.tls.enable": False, "ock.mmc.meta.ha.enable": True, "ock.mmc.log_level": "warn"}
    )
    assert conf("store", settings.values()) == (
        "# Written by pdtest for the member 'store'.\n"
        "ock.mmc.meta.ha.enable = true\n"
        "ock.mmc.log_level = warn\n"
        "ock.mmc.evict_threshold_low = 80\n"
        "ock.mmc.evict_threshold_high = 90\n"
        "ock.mmc.tls.enable = false\n"
    )


@pytest.mark.parametrize(
    ("key", "inside", "outside", "words"),
    [
        ("ock.mmc.log_rotation_file_size", (1, 500), (0, 501), "a number from 1 to 500"),
        ("ock.mmc.log_rotation_file_count", (1, 50), (0, 51), "a number from 1 to 50"),
        ("ock.mmc.evict_threshold_low", (1, 89), (0, 99), "a number from 1 to 98"),
        ("ock.mmc.evict_threshold_high", (81, 99), (0, 100), "a number from 1 to 99"),
        ("ock.mmc.meta.lease_ttl_ms", (1, 2**31 - 1), (0, 2**31), "a number from 1 to 2147483647"),
        ("ock.mmc.meta_service.lru_shard_count", (1, 1024), (0, 1025), "a number from 1 to 1024"),
    ],
)
def test_numbers_of_the_meta_service_have_ranges(
    key: str, inside: tuple[int, int], outside: tuple[int, int], words: str
) -> None:
    for number in inside:
        assert MetaSettings.model_validate({key: number}).values()[key] == number
    for number in outside:
        assert (key, words) in wrong(MetaSettings, {key: number})


@pytest.mark.parametrize(
    ("key", "inside", "outside", "words"),
    [
        ("ock.mmc.client.retry_milliseconds", (0, 600_000), (-1, 600_001), "a number from 0 to 600000"),
        ("ock.mmc.client.timeout.seconds", (1, 600), (0, 601), "a number from 1 to 600"),
        ("ock.mmc.local_service.world_size", (1, 1024), (0, 1025), "a number from 1 to 1024"),
        ("ock.mmc.client.read_thread_pool.size", (1, 64), (0, 65), "a number from 1 to 64"),
    ],
)
def test_numbers_of_the_local_service_have_ranges(
    key: str, inside: tuple[int, int], outside: tuple[int, int], words: str
) -> None:
    for number in inside:
        assert LocalSettings.model_validate(LOCAL | {key: number}).values()[key] == number
    for number in outside:
        assert wrong(LocalSettings, LOCAL | {key: number}) == [(key, words)]


@pytest.mark.parametrize(("low", "high"), [(60, 60), (70, 60)])
def test_the_high_watermark_is_above_the_low_one(low: int, high: int) -> None:
    given = {"ock.mmc.evict_threshold_low": low, "ock.mmc.evict_threshold_high": high}
    words = f"ock.mmc.evict_threshold_high above ock.mmc.evict_threshold_low, which is {low}"
    assert wrong(MetaSettings, given) == [("ock.mmc.evict_threshold_high", words)]


def test_one_watermark_is_held_against_the_default_of_the_other() -> None:
    assert wrong(MetaSettings, {"ock.mmc.evict_threshold_low": 95})
    assert wrong(MetaSettings, {"ock.mmc.evict_threshold_high": 80})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "ock.mmc.meta_service_url",
            "tcp://127.0.0.1:5000",
            "no entry: it follows from the member's ports.meta",
        ),
        ("ock.mmc.log_path", "logs", "an absolute path"),
        ("ock.mmc.meta_service.lru_shard_count", 12, "a power of two from 1 to 1024"),
        ("ock.mmc.log_level", "loud", "Input should be 'debug', 'info', 'warn' or 'error'"),
        ("ock.mmc.log_levle", "info", "Extra inputs are not permitted"),
        ("log_level", "info", "Extra inputs are not permitted"),
    ],
)
def test_what_the_meta_service_would_not_take(key: str, value: object, words: str) -> None:
    assert wrong(MetaSettings, {key: value}) == [(key, words)]


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("0", 0),
        ("134217728", 1 << 27),
        ("2048KB", 1 << 21),
        ("200mb", 200 << 20),
        ("2.5G", 5 << 29),
        ("1TB", 1 << 40),
    ],
)
def test_sizes_are_written_as_memcache_takes_them(written: str, size: int) -> None:
    assert size_in_bytes(written) == size
    pool = {"ock.mmc.local_service.hbm.size": written} if size else {}
    assert pool.items() <= LocalSettings.model_validate(LOCAL | pool).model_dump(by_alias=True).items()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("1MB", "a multiple of 2 MB, from 0 to 1 TB"),
        ("2049KB", "a multiple of 2 MB, from 0 to 1 TB"),
        ("2TB", "a multiple of 2 MB, from 0 to 1 TB"),
        ("-2MB", "a size such as 134217728, 2048KB, 200MB, 2.5GB or 1TB"),
        ("much", "a size such as 134217728, 2048KB, 200MB, 2.5GB or 1TB"),
    ],
)
def test_sizes_that_would_be_rounded_or_refused(written: str, words: str) -> None:
    key = "ock.mmc.local_service.hbm.size"
    assert wrong(LocalSettings, LOCAL | {key: written}) == [(key, words)]


POOL = ("ock.mmc.local_service.protocol", "ock.mmc.local_service.dram.size", "ock.mmc.local_service.hbm.size")


@pytest.mark.parametrize(
    ("protocol", "dram", "hbm", "by_sdma"),
    [
        ("sdma", "0", "1GB", None),
        ("sdma", "1024MB", "0", True),
        ("roce", "1GB", "0", None),
        ("roce", "1GB", "0", False),
        ("device_sdma", "1GB", "0", None),
        ("device_sdma", "0", "1GB", None),
        ("host_shm", "64MB", "0", None),
    ],
)
def test_pools_that_there_are(protocol: str, dram: str, hbm: str, by_sdma: object) -> None:
    further = {} if by_sdma is None else {"ock.mmc.local_service.dram_by_sdma": by_sdma}
    pool = dict(zip(POOL, (protocol, dram, hbm), strict=True))
    assert LocalSettings.model_validate(LOCAL | pool | further).values().items() >= pool.items()


@pytest.mark.parametrize(
    ("protocol", "dram", "hbm", "words"),
    [
        (
            "sdma",
            "1GB",
            "1GB",
            "one pool: ock.mmc.local_service.hbm.size, or dram.size, which is 1GB; the other 0",
        ),
        ("sdma", "0", "0", "one pool: ock.mmc.local_service.hbm.size, or dram.size, which is 0; the other 0"),
        (
            "roce",
            "0",
            "1GB",
            "0, because ock.mmc.local_service.protocol is roce, which is for a pool in DRAM",
        ),
        (
            "host_shm",
            "0",
            "1GB",
            "0, because ock.mmc.local_service.protocol is host_shm, which is for a pool in DRAM",
        ),
        (
            "sdma",
            "1GB",
            "0",
            "a size, because ock.mmc.local_service.protocol is sdma and dram_by_sdma is not true",
        ),
    ],
)
def test_pools_that_there_are_not(protocol: str, dram: str, hbm: str, words: str) -> None:
    pool = dict(zip(POOL, (protocol, dram, hbm), strict=True))
    assert wrong(LocalSettings, LOCAL | pool) == [(POOL[2], words)]


@pytest.mark.parametrize(
    ("protocol", "by_sdma", "words"),
    [
        ("roce", True, "false, because ock.mmc.local_service.protocol is roce"),
        ("device_sdma", True, "no entry, because ock.mmc.local_service.protocol is device_sdma"),
        ("device_sdma", False, "no entry, because ock.mmc.local_service.protocol is device_sdma"),
    ],
)
def test_dram_by_sdma_belongs_to_sdma(protocol: str, by_sdma: bool, words: str) -> None:
    key = "ock.mmc.local_service.dram_by_sdma"
    given = LOCAL | dict(zip(POOL, (protocol, "1GB", "0"), strict=True)) | {key: by_sdma}
    assert wrong(LocalSettings, given) == [(key, words)]


def test_a_size_that_is_left_out_counts_as_nothing() -> None:
    settings = {key: value for key, value in LOCAL.items() if key != POOL[2]}
    words = "one pool: ock.mmc.local_service.hbm.size, or dram.size, which is 0; the other 0"
    assert [message for _, message in wrong(LocalSettings, settings)] == [words]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5000", "http://a:5000", "tcp://a", "tcp://a:80", "tcp://a:99999", "tcp://:5000"]
)
def test_urls_are_tcp_with_a_port_that_memcache_takes(url: str) -> None:
    key = "ock.mmc.meta_service_url"
    assert wrong(LocalSettings, LOCAL | {key: url}) == [
        (key, "tcp://<host>:<port>, the port from 1025 to 65535")
    ]


def test_what_a_local_service_cannot_do_without() -> None:
    assert {place for place, _ in wrong(LocalSettings, {})} >= {
        "ock.mmc.meta_service_url",
        "ock.mmc.local_service.config_store_url",
        "ock.mmc.local_service.protocol",
        "ock.mmc.local_service.dram.size",
    }


FAMILY = ("ca.path", "cert.path", "key.path", "package.path")


def test_enabled_tls_wants_its_files(tmp_path: Path) -> None:
    given: dict[str, Any] = {"ock.mmc.tls.enable": True}
    for name in FAMILY:
        assert next(MetaSettings.model_validate(given).missing_files()) == (f"ock.mmc.tls.{name}", "")
        (tmp_path / name).touch()
        given[f"ock.mmc.tls.{name}"] = str(tmp_path / name)
    assert list(MetaSettings.model_validate(given).missing_files()) == []


def test_files_that_are_named_must_be_there_though_nobody_wants_them(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    given = {f"ock.mmc.tls.{name}": str(tmp_path / "there") for name in FAMILY}
    crl = str(tmp_path / "absent")
    settings = MetaSettings.model_validate(
        given | {"ock.mmc.tls.enable": True, "ock.mmc.tls.ca.crl.path": crl}
    )
    assert list(settings.missing_files()) == [("ock.mmc.tls.ca.crl.path", crl)]


def test_paths_are_below_the_top_path_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "certs").touch()
    given = {f"ock.mmc.tls.{name}": "certs" for name in FAMILY}
    settings = MetaSettings.model_validate(
        given | {"ock.mmc.tls.enable": True, "ock.mmc.tls.top.path": str(tmp_path)}
    )
    assert list(settings.missing_files()) == []


def test_tls_that_is_off_wants_nothing() -> None:
    given = {"ock.mmc.tls.enable": False, "ock.mmc.tls.ca.path": "/absent"}
    assert list(MetaSettings.model_validate(given).missing_files()) == []


@pytest.mark.parametrize(
    "family", ["ock.mmc.tls", "ock.mmc.config_store.tls", "ock.mmc.local_service.hcom.tls"]
)
def test_a_local_service_has_three_families(family: str) -> None:
    missing = list(LocalSettings.model_validate(LOCAL | {f"{family}.enable": True}).missing_files())
    # The transport finds OpenSSL by itself: its family has no package.path.
    wanted = FAMILY[:3] if "hcom" in family else FAMILY
    assert missing == [(f"{family}.{name}", "") for name in wanted]
