"""Ascend's MooncakeConnectorV1: as NIXL pull, with fields of its own.

Facts from vllm-ascend (main of 22 August 2026), kv_p2p/mooncake_connector.py. The counters come with its
successor (kv_p2p/mooncake/stats.py), which no release has yet.

``aborted_request`` is sent always, as clients do that were written after vllm-ascend's load-balance proxy: it
had the ids of requests that clients gave up, from 0.9.1 to 0.20.2. No connector of any release has read it,
and the proxy sends it no more from 0.21 on.
"""

from __future__ import annotations

from typing import Any

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.fields import COUNT, OBJECT, POSITIVE, TEXT, Field, list_of
from pdtest.wire.nixl import HELD_BLOCKS, HOLD, asked_to_hold
from pdtest.wire.nixl_tampers import NIXL_TAMPERS
from pdtest.wire.promise import whole_prompt
from pdtest.wire.single import SingleContract

_TO_PREFILL = (
    *HOLD,
    Field(
        name="aborted_request",
        kind=list_of(TEXT),
        meaning="requests that clients gave up; read by nobody",
        required=False,
    ),
)
_HANDED_OVER = (
    *HELD_BLOCKS,
    Field(name="remote_ptp_size", kind=POSITIVE, meaning="tensor parallel size of prefill", required=False),
    Field(name="remote_pcp_size", kind=POSITIVE, meaning="prefill context parallel size", required=False),
    Field(name="remote_dcp_size", kind=POSITIVE, meaning="decode context parallel size", required=False),
    Field(name="last_token_id", kind=COUNT, meaning="the token that prefill generated"),
    Field(
        name="remote_multi_nodes_meta_mapping",
        kind=OBJECT,
        meaning="hosts and ports of prefill's ranks on several nodes",
        required=False,
    ),
    Field(name="num_prompt_blocks", kind=COUNT, meaning="blocks that the prompt fills", required=False),
    Field(
        name="remote_block_size",
        kind=POSITIVE,
        meaning="tokens per block on prefill",
        required=False,
        older=list_of(POSITIVE),
    ),
    Field(name="remote_num_prompt_tokens", kind=COUNT, meaning="tokens that the blocks cover", drift=True),
)

_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    moved=Counter(
        name="vllm:mooncake_bytes_transferred_sum",
        role=Role.DECODE,
        unit="bytes",
        meaning="bytes that decode read",
        drift=True,
    ),
    transfers=Counter(
        name="vllm:mooncake_bytes_transferred_count",
        role=Role.DECODE,
        unit="transfers",
        meaning="reads that succeeded",
        drift=True,
    ),
    seconds=Counter(
        name="vllm:mooncake_xfer_time_seconds_sum",
        role=Role.DECODE,
        unit="s",
        meaning="seconds that reads took",
        drift=True,
    ),
    failures=(
        Counter(
            name="vllm:mooncake_num_failed_transfers",
            role=Role.DECODE,
            unit="transfers",
            meaning="reads that failed",
        ),
    ),
)


class AscendMooncakeContract(SingleContract):
    """vllm-ascend's MooncakeConnectorV1. It says nothing of blocks that nobody came for."""

    name = "ascend-mooncake"
    speaks = "vllm-ascend's MooncakeConnectorV1: August 2026, and its clients since 0.9.1"
    prefill_min_tokens = 1  # as vllm-ascend's load-balance proxy has it
    evidence = _EVIDENCE
    tampers = NIXL_TAMPERS
    to_prefill = _TO_PREFILL
    from_prefill = _HANDED_OVER
    to_decode = _HANDED_OVER

    def params_for_prefill(self) -> dict[str, Any]:
        """As for NIXL, and that no request was given up."""
        return {**asked_to_hold(), "aborted_request": []}

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole prompt."""
        return whole_prompt(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
