"""NIXL, pull: decode reads the blocks that prefill holds for it under a lease.

Facts from vLLM 0.32, kv_connector/v1/nixl/pull_scheduler.py and stats.py, unless said otherwise.
"""

from __future__ import annotations

from typing import Any

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.fields import (
    COUNT,
    FALSE,
    INTEGER,
    NULL,
    NUMBER,
    PORT,
    POSITIVE,
    TEXT,
    TRUE,
    Field,
    list_of,
    nullable,
    word,
)
from pdtest.wire.nixl_tampers import NIXL_TAMPERS
from pdtest.wire.promise import whole_prompt
from pdtest.wire.single import SingleContract

#: What prefill is asked, in the words of NIXL and of those that took them over.
HOLD = (
    Field(name="do_remote_decode", kind=TRUE, meaning="hold the blocks for a decode instance"),
    Field(name="do_remote_prefill", kind=FALSE, meaning="nothing is to be fetched"),
    Field(name="remote_engine_id", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_block_ids", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_host", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_port", kind=NULL, meaning="not known yet", required=False),
)

#: What every connector answers whose prefill holds blocks until decode has them.
HELD_BLOCKS = (
    Field(name="do_remote_prefill", kind=TRUE, meaning="the blocks are to be fetched"),
    Field(name="do_remote_decode", kind=FALSE, meaning="this is the decode leg"),
    Field(
        name="remote_block_ids",
        kind=list_of(list_of(INTEGER)),
        meaning="block ids on prefill, per KV group, in prompt order",
        older=list_of(INTEGER),
    ),
    Field(name="remote_engine_id", kind=TEXT, meaning="which engine holds the blocks"),
    Field(name="remote_request_id", kind=TEXT, meaning="what to name when the blocks were read"),
    Field(name="remote_host", kind=TEXT, meaning="side channel of the prefill instance"),
    Field(name="remote_port", kind=PORT, meaning="side channel of the prefill instance"),
)

#: What NIXL says of the engine that holds them.
ENGINE = (
    Field(name="tp_size", kind=POSITIVE, meaning="tensor parallel size of prefill"),
    Field(name="dcp_size", kind=POSITIVE, meaning="decode context parallel size", drift=True),
    Field(name="pp_size", kind=POSITIVE, meaning="pipeline parallel size", drift=True),
    Field(name="remote_num_tokens", kind=COUNT, meaning="tokens that the blocks cover", drift=True),
)

_HANDED_OVER = (
    *HELD_BLOCKS,
    *ENGINE,
    Field(
        name="remote_blocks_expiry_time",
        kind=nullable(NUMBER),
        meaning="end of the lease, seconds on the holder's clock; only when decode holds the blocks",
        drift=True,
    ),
    Field(name="transfer_mode", kind=word("pull"), meaning="who moves the blocks", drift=True),
    Field(
        name="remote_prefill_cached_tokens",
        kind=nullable(COUNT),
        meaning="prefix hit on prefill; decode repeats it in usage",
        drift=True,
    ),
    Field(
        name="remote_registration_generation",
        kind=nullable(COUNT),
        meaning="which registration of its memory prefill speaks of",
        drift=True,
    ),
)

NIXL_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    moved=Counter(
        name="vllm:nixl_bytes_transferred_sum",
        role=Role.DECODE,
        unit="bytes",
        meaning="bytes that decode read",
    ),
    transfers=Counter(
        name="vllm:nixl_bytes_transferred_count",
        role=Role.DECODE,
        unit="transfers",
        meaning="reads that succeeded, one per decode rank",
    ),
    seconds=Counter(
        name="vllm:nixl_xfer_time_seconds_sum",
        role=Role.DECODE,
        unit="s",
        meaning="seconds that reads took",
    ),
    failures=(
        Counter(
            name="vllm:nixl_num_failed_transfers",
            role=Role.DECODE,
            unit="transfers",
            # From 0.32 on the handshakes and notifications are counted here too.
            meaning="transfers, handshakes and notifications that failed",
        ),
        Counter(
            name="vllm:nixl_num_failed_notifications",
            role=Role.DECODE,
            unit="notifications",
            meaning="prefill could not be told that its blocks were read",
        ),
    ),
    late=Counter(
        name="vllm:nixl_num_notifications_after_expiry",
        role=Role.PREFILL,
        unit="notifications",
        meaning="blocks were read after prefill had given them up: their content may be another's",
    ),
    expired=Counter(
        name="vllm:nixl_num_kv_expired_reqs",
        role=Role.PREFILL,
        unit="requests",
        meaning="requests whose blocks nobody fetched within the lease",
    ),
)


def asked_to_hold() -> dict[str, Any]:
    """What vLLM's toy proxy sends to prefill."""
    return {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "remote_host": None,
        "remote_port": None,
    }


ASKED = (
    *HOLD,
    # Clients that were written for Ascend and came here: NIXL has never read it.
    Field(name="aborted_request", kind=list_of(TEXT), meaning="sent by Ascend's clients", drift=True),
)


class NixlContract(SingleContract):
    """vLLM's NixlConnector in pull mode, as of 0.20 to 0.33. The request to decode repeats the answer."""

    name = "nixl"
    speaks = "vLLM's NixlConnector, pull: 0.20 to 0.33"
    evidence = NIXL_EVIDENCE
    tampers = NIXL_TAMPERS
    to_prefill = ASKED
    from_prefill = _HANDED_OVER
    to_decode = _HANDED_OVER

    def params_for_prefill(self) -> dict[str, Any]:
        """What vLLM's toy proxy sends."""
        return asked_to_hold()

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole prompt."""
        return whole_prompt(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
