"""What a measurement depends on beside the build that is measured: only equals are compared."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from pdtest.compare.hardware import hardware
from pdtest.compare.scrubbed import scrubbed
from pdtest.compare.series import digest
from pdtest.environment.schema import Environment
from pdtest.results import Result

#: What the client is made of.
_CLIENT: Final = ("pdtest", "httptools", "uvloop", "aiohttp")


def conditions(
    environment: Environment,
    *,
    workload: Mapping[str, Any],
    target: str = "pd",
    devices: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """For `Result.conditions`: environment without ports, paths and secrets; hardware; client's packages.

    ``workload`` is `Result.workload`: the same for all repeats. ``devices``: chips by name with what they
    are, where telemetry knows more than this machine's /proc. Versions of engines and proxies are not in
    it: they are the build (`Result.build`), which is what a comparison is about.
    """
    senders = environment.performance.senders
    return {
        "environment": scrubbed(environment),
        "target": target,
        "workload": dict(workload),
        "hardware": hardware(devices),
        "client": {
            **dict(_packages()),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            **({"senders": senders.model_dump()} if senders else {}),
        },
        "system": f"{platform.system()} {platform.machine()}",
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """For `Result.fingerprint`: a digest of `conditions`, 16 hex digits."""
    return digest(facts)


def differences(old: Result, new: Result) -> tuple[tuple[str, str, str], ...]:
    """What is not the same, as ``(where, old, new)``: ``hardware.cores``, ``4``, ``8``. Empty for equals."""
    if old.fingerprint == new.fingerprint:
        return ()
    before, after = dict(_leaves(old.conditions)), dict(_leaves(new.conditions))
    named = tuple(
        (name, before.get(name, "-"), after.get(name, "-"))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    return named or (("fingerprint", old.fingerprint, new.fingerprint),)


def _packages() -> Iterator[tuple[str, str]]:
    for name in _CLIENT:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _leaves(facts: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Values by dotted path. Lists are values: what moved in one moves all that follows."""
    if isinstance(facts, Mapping) and facts:
        for key, value in facts.items():
            yield from _leaves(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, str(facts)
