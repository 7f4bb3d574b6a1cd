"""One hash for all: engines find each other's blocks in a store by Python hashes of their tokens.

vllm-ascend, docs/source/user_guide/feature_guide/kv_pool.md: PYTHONHASHSEED must be set, and be the same, on
every member. With another one nothing is ever found, and nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pdtest.services.errors import RenderError
from pdtest.services.kv_transfer import TRANSFERRING
from pdtest.services.service import Placement

#: Of vLLM-Ascend, the older spellings too.
STORE_CONNECTORS: Final = frozenset(
    {"AscendStoreConnector", "MemcacheConnectorStoreV1", "MooncakeConnectorStoreV1"}
)
_SEED: Final = "PYTHONHASHSEED"


def refuse_unequal_hashes(placement: Placement, config: Mapping[str, Any] | None) -> None:
    """Raise RenderError where ``config`` names a store connector and seeds differ, or are no number."""
    if not STORE_CONNECTORS.intersection(_connectors(config or {})):
        return
    seeds = {
        name: member.env.get(_SEED)
        for name, member in placement.environment.members.items()
        if member.role in TRANSFERRING
    }
    if len({str(seed) for seed in seeds.values()}) > 1 or not str(seeds[placement.name]).isdigit():
        raise RenderError(
            "engines that share a store must hash alike",
            where=f"members.{placement.name}.env.{_SEED}",
            expected=f"one number on every prefill and decode member, such as {_SEED}: 0",
            seen=", ".join(
                f"{name}: {seed if seed is not None else 'not set'}" for name, seed in seeds.items()
            ),
            next_step=f"set it under defaults.{placement.member.service}.env",
        )


def _connectors(config: Mapping[str, Any]) -> Iterator[str]:
    yield str(config.get("kv_connector", ""))
    for child in config.get("kv_connector_extra_config", {}).get("connectors", ()):
        yield from _connectors(child)
