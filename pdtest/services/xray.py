"""Engines that can be X-rayed, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

#: What vLLM loads instead of its connector: the same, with a probe before it.
PROBE: Final = "pdtest.probe.connector"


@runtime_checkable
class Xrayed(Protocol):
    """A `Service` that renders `Placement.xray`."""

    xrayed: Literal[True]


def probed(config: Mapping[str, Any] | None, directory: Path | None) -> dict[str, Any] | None:
    """A --kv-transfer-config of vLLM's with the probe in it; as it is where there is no ``directory``.

    The interpreter that runs the engine must have pdtest installed; none of its dependencies is needed there.
    """
    if config is None or directory is None:
        return None if config is None else dict(config)
    name, module = config["kv_connector"], config.get("kv_connector_module_path")
    return {
        **config,
        "kv_connector": f"{module}:{name}" if module else name,
        "kv_connector_module_path": PROBE,
        "kv_connector_extra_config": {
            **(config.get("kv_connector_extra_config") or {}),
            "xray_directory": str(directory),
        },
    }
