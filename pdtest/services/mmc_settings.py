"""What the config files of memcache have in common: kinds of values, TLS, how they are written.

Keys are spelled in environment files as memcache spells them, `ock.mmc.log_level`, and so are they in errors.
Facts: messages of a running memcache_hybrid 1.3.0, and Ascend/memcache, docs/zh/memcache_config.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pdtest.services.arguments import text
from pdtest.services.errors import RenderError
from pdtest.services.service import Placement
from pdtest.services.settings import Settings


def between(lowest: int, highest: int) -> AfterValidator:
    """For a whole number in a range, both ends included; the error names both."""

    def check(number: int) -> int:
        if not lowest <= number <= highest:
            bounds = {"lowest": lowest, "highest": highest}
            raise PydanticCustomError("range", "a number from {lowest} to {highest}", bounds)
        return number

    return AfterValidator(check)


LogLevel = Literal["debug", "info", "warn", "error"]
#: A path, as memcache limits it.
FilePath = Annotated[str, Field(max_length=255)] | None

_UNITS: Final[Mapping[str, int]] = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", re.IGNORECASE)
_ALIGNMENT: Final = 2 << 20
_LARGEST: Final = 1 << 40
_LOWEST_PORT: Final = 1025


def size_in_bytes(written: str) -> int:
    """'1024MB', '2.5G' or '134217728' in bytes. Raises ValueError for anything else."""
    match = _SIZE.fullmatch(written.strip())
    if match is None:
        raise ValueError(written)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _aligned(written: str) -> str:
    try:
        size = size_in_bytes(written)
    except ValueError:
        raise PydanticCustomError("size", "a size such as 134217728, 2048KB, 200MB, 2.5GB or 1TB") from None
    if size % _ALIGNMENT or size > _LARGEST:
        raise PydanticCustomError("size", "a multiple of 2 MB, from 0 to 1 TB")
    return written


#: Bytes, with or without a unit. What is not aligned, memcache rounds up.
Size = Annotated[str, AfterValidator(_aligned)]


def _tcp(written: str) -> str:
    parts = urlsplit(written)
    try:
        port = parts.port or 0
    except ValueError:
        port = 0
    if parts.scheme != "tcp" or not parts.hostname or port < _LOWEST_PORT:
        raise PydanticCustomError("url", "tcp://<host>:<port>, the port from 1025 to 65535")
    return written


Url = Annotated[str, AfterValidator(_tcp)]


def owned(where: str) -> BeforeValidator:
    """For a key that another part of the environment file decides: ``where``."""

    def refuse(_: object) -> None:
        raise PydanticCustomError("owned", "no entry: it follows from {where}", {"where": where})

    return BeforeValidator(refuse)


class MmcSettings(Settings):
    """Settings of one file. Frozen, and intolerant of keys they do not know, as memcache is."""

    #: The families of keys for TLS that this file has, by prefix.
    tls: ClassVar[tuple[str, ...]] = ()

    def values(self) -> dict[str, Any]:
        """By memcache's key, TLS at the end. What is not set is left to memcache."""
        values = self.model_dump(by_alias=True, exclude_none=True)
        return dict(sorted(values.items(), key=lambda pair: ".tls." in pair[0]))

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """The keys of families that are enabled whose file is absent, and what they say ('' for nothing)."""
        values = self.values()
        known = {field.alias for field in type(self).model_fields.values()}
        for family in self.tls:
            if values.get(f"{family}.enable"):
                yield from _absent(family, values, known)


#: Files that TLS cannot do without. Others are only wanted where they are named.
_WANTED: Final = ("ca.path", "cert.path", "key.path", "package.path")
_WHERE_NAMED: Final = ("ca.crl.path", "key.pass.path", "decrypter.path")


def _absent(family: str, values: Mapping[str, Any], known: set[str | None]) -> Iterator[tuple[str, str]]:
    top = Path(values.get(f"{family}.top.path", ""))
    for name in (*_WANTED, *_WHERE_NAMED):
        key = f"{family}.{name}"
        given = values.get(key, "")
        needed = bool(given) or (name in _WANTED and key in known)
        if needed and not (given and (top / given).exists()):
            yield key, given and str(top / given)


def conf(name: str, values: Mapping[str, Any]) -> str:
    """The text of a config file of the member ``name``: one `key = value` per line."""
    lines = [f"{key} = {text(value)}" for key, value in values.items()]
    return "\n".join([f"# Written by pdtest for the member '{name}'.", *lines]) + "\n"


def refuse_missing_files(placement: Placement, settings: MmcSettings, option: str) -> None:
    """Raise RenderError for the first file of TLS that is not there: memcache would not start."""
    for key, given in settings.missing_files():
        switch = key[: key.index(".tls.")] + ".tls.enable"
        raise RenderError(
            f"{key} of member '{placement.name}' names no file",
            where=f"members.{placement.name}.options.{option}.{key}",
            expected=f"the path of a file, because {switch} is true",
            seen=given or "nothing",
            next_step=f"correct the path, or set {switch}: false",
        )
