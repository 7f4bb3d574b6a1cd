"""What broken handoffs look like with Mooncake: the parameters that a proxy gives to decode, falsified."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pdtest.wire.nixl_tampers import NIXL_TAMPERS
from pdtest.wire.tamper import Params, Tamper, TamperImpossible, pick


# Prefill sends what it holds under that id, as far as it fits: nothing ties it to the prompt.
def _foreign_transfer(params: dict[str, Any], other: Params) -> dict[str, Any]:
    if other.get("transfer_id") is None:
        raise TamperImpossible("foreign-transfer", "the other request has no transfer_id", params=params)
    return {**params, "transfer_id": other["transfer_id"]}


# Prefill waits for a request of that id until it gives up.
def _unknown_transfer(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    return {**params, "transfer_id": f"{params.get('transfer_id')}-unknown"}


# Ports 1 and 2 are reserved and served by nobody.
def _dead_bootstrap(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    address = urlsplit(str(params.get("remote_bootstrap_addr")))
    port = 2 if address.port == 1 else 1
    return {**params, "remote_bootstrap_addr": f"http://{address.hostname}:{port}"}


MOONCAKE_TAMPERS = (
    pick(NIXL_TAMPERS, "no-params"),
    pick(NIXL_TAMPERS, "no-remote-prefill"),
    Tamper(
        name="foreign-transfer",
        imitates="two requests whose transfer ids were swapped under load",
        falsify=_foreign_transfer,
    ),
    Tamper(
        name="unknown-transfer",
        imitates="transfer ids that differ between the legs: each side waits for the other",
        falsify=_unknown_transfer,
    ),
    pick(NIXL_TAMPERS, "wrong-engine-id"),
    Tamper(
        name="dead-bootstrap",
        imitates="a prefill instance whose bootstrap server cannot be reached",
        falsify=_dead_bootstrap,
    ),
    pick(NIXL_TAMPERS, "consumed-params"),
)
