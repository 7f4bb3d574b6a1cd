"""What a measurement depends on beside the build that is measured: only equals are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.environment.schema import Environment


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
    raise NotImplementedError


def fingerprint(facts: Mapping[str, Any]) -> str:
    """For `Result.fingerprint`: a digest of `conditions`, 16 hex digits."""
    raise NotImplementedError
