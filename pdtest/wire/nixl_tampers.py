"""What broken handoffs look like with NIXL. What came of each on vLLM 0.32 is in the comments.

The comments describe pull, float32 and the load failure policy ``fail``; which outcomes a deployment
may show is for its environment file to say.
"""

from __future__ import annotations

import uuid
from typing import Any

from pdtest.wire.tamper import Params, Tamper, TamperImpossible

Blocks = list[list[int]]


def _groups(name: str, params: Params) -> Blocks:
    """Block ids per KV group; a flat list, as older versions send it, is one group."""
    blocks = params.get("remote_block_ids")
    if not isinstance(blocks, list) or not blocks:
        raise TamperImpossible(name, "there are no remote_block_ids", params=params)
    return blocks if isinstance(blocks[0], list) else [blocks]


def _with_groups(params: dict[str, Any], groups: Blocks) -> dict[str, Any]:
    flat = not isinstance(params["remote_block_ids"][0], list)
    return {**params, "remote_block_ids": groups[0] if flat else groups}


def _present(name: str, params: Params, field: str) -> Any:
    if params.get(field) is None:
        raise TamperImpossible(name, f"there is no {field}", params=params)
    return params[field]


# 200 and the right text: decode computes the prompt itself. Only the counters tell.
def _no_params(_params: dict[str, Any], _other: Params) -> None:
    return None


# As no-params.
def _no_remote_prefill(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    return {**params, "do_remote_prefill": False}


# 200, counters as usual, wrong from the first token. The number of blocks stays, so that nothing
# but the content can give it away.
def _foreign_blocks(params: dict[str, Any], other: Params) -> dict[str, Any]:
    own, foreign = _groups("foreign-blocks", params), _groups("foreign-blocks", other)
    pairs = list(zip(own, foreign, strict=False))
    if len(own) != len(foreign) or any(len(ours) > len(theirs) for ours, theirs in pairs):
        raise TamperImpossible("foreign-blocks", "the other request has fewer blocks", params=params)
    return _with_groups(params, [theirs[: len(ours)] for ours, theirs in pairs])


# As foreign-blocks.
def _reversed_blocks(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    return _with_groups(params, [group[::-1] for group in _groups("reversed-blocks", params)])


# As foreign-blocks: every block is the first one.
def _duplicated_blocks(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    groups = _groups("duplicated-blocks", params)
    return _with_groups(params, [group[:1] * len(group) for group in groups])


# 200 and right, but prefill never hears that its blocks were read: it holds them until the lease ends.
def _unknown_request_id(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    known = _present("unknown-request-id", params, "remote_request_id")
    return {**params, "remote_request_id": f"{known}-unknown"}


# 500 within 0.1 s; nixl_num_failed_transfers rises.
def _wrong_engine_id(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    engine = str(_present("wrong-engine-id", params, "remote_engine_id"))
    return {**params, "remote_engine_id": str(uuid.uuid5(uuid.NAMESPACE_OID, engine))}


# 500 after 13.6 s. Ports 1 and 2 are reserved and served by nobody.
def _dead_port(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    return {**params, "remote_port": 2 if params.get("remote_port") == 1 else 1}


# 500 and the decode engine dies.
def _last_block_dropped(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    return _with_groups(params, [group[:-1] for group in _groups("last-block-dropped", params)])


# Hangs; decode dies when the client gives up.
def _request_id_dropped(params: dict[str, Any], _other: Params) -> dict[str, Any]:
    _present("request-id-dropped", params, "remote_request_id")
    return {key: value for key, value in params.items() if key != "remote_request_id"}


# 200 and wrong: the blocks belong to somebody else by now.
def _consumed_params(_params: dict[str, Any], other: Params) -> dict[str, Any]:
    return dict(other)


NIXL_TAMPERS = (
    Tamper(
        name="no-params",
        imitates="a proxy that drops kv_transfer_params on the way to decode",
        falsify=_no_params,
    ),
    Tamper(
        name="no-remote-prefill",
        imitates="a proxy or connector that forgets do_remote_prefill: decode recomputes everything",
        falsify=_no_remote_prefill,
    ),
    Tamper(
        name="foreign-blocks",
        imitates="two requests whose block ids were swapped under load",
        falsify=_foreign_blocks,
    ),
    Tamper(
        name="reversed-blocks",
        imitates="blocks mapped in the wrong order",
        falsify=_reversed_blocks,
    ),
    Tamper(
        name="duplicated-blocks",
        imitates="a mapping that lands on the first block every time",
        falsify=_duplicated_blocks,
    ),
    Tamper(
        name="unknown-request-id",
        imitates="request ids that differ between the sides, so that prefill is never notified",
        falsify=_unknown_request_id,
    ),
    Tamper(
        name="wrong-engine-id",
        imitates="stale parameters of a prefill instance that was restarted",
        falsify=_wrong_engine_id,
    ),
    Tamper(
        name="dead-port",
        imitates="a prefill instance whose side channel cannot be reached",
        falsify=_dead_port,
    ),
    Tamper(
        name="last-block-dropped",
        imitates="an off-by-one in the number of blocks that prefill announces",
        falsify=_last_block_dropped,
    ),
    Tamper(
        name="request-id-dropped",
        imitates="a proxy that forwards only the fields it knows",
        falsify=_request_id_dropped,
    ),
    Tamper(
        name="consumed-params",
        imitates="a client or proxy that reuses parameters that were already consumed",
        spent=True,
        falsify=_consumed_params,
    ),
)
