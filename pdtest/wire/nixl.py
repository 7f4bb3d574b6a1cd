"""NIXL, pull: decode reads the blocks that prefill holds for it under a lease.

Facts from vLLM 0.32, kv_connector/v1/nixl/pull_scheduler.py and stats.py, unless said otherwise.
"""

from __future__ import annotations

from typing import Any

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand, Leg, Params, Review
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
    review,
    word,
)
from pdtest.wire.nixl_tampers import NIXL_TAMPERS
from pdtest.wire.tamper import pick

_TO_PREFILL = (
    Field(name="do_remote_decode", kind=TRUE, meaning="hold the blocks for a decode instance"),
    Field(name="do_remote_prefill", kind=FALSE, meaning="nothing is to be fetched"),
    Field(name="remote_engine_id", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_block_ids", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_host", kind=NULL, meaning="not known yet", required=False),
    Field(name="remote_port", kind=NULL, meaning="not known yet", required=False),
    Field(
        name="aborted_request",
        kind=list_of(TEXT),
        meaning="sent by older Ascend clients",
        required=False,
        drift=True,
    ),
)

_HANDED_OVER = (
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
    Field(name="tp_size", kind=POSITIVE, meaning="tensor parallel size of prefill"),
    Field(name="dcp_size", kind=POSITIVE, meaning="decode context parallel size", drift=True),
    Field(name="pp_size", kind=POSITIVE, meaning="pipeline parallel size", drift=True),
    Field(name="remote_num_tokens", kind=COUNT, meaning="tokens that the blocks cover", drift=True),
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

_EVIDENCE = Evidence(
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


class NixlContract:
    """vLLM's NixlConnector in pull mode, as of 0.20 to 0.33."""

    name = "nixl"
    carries_params = True
    evidence = _EVIDENCE
    tampers = NIXL_TAMPERS

    def fields(self, leg: Leg) -> tuple[Field, ...]:
        """The request to decode repeats the answer of prefill."""
        return _TO_PREFILL if leg is Leg.TO_PREFILL else _HANDED_OVER

    def params_for_prefill(self) -> dict[str, Any]:
        """What vLLM's toy proxy sends."""
        return {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "remote_engine_id": None,
            "remote_block_ids": None,
            "remote_host": None,
            "remote_port": None,
        }

    def params_for_decode(self, answered: Params | None) -> dict[str, Any] | None:
        """Prefill's answer, verbatim: also the fields that this version of pdtest does not know."""
        return None if answered is None else dict(answered)

    def review(self, leg: Leg, params: Params | None) -> Review:
        """Hold one message against the contract, field by field."""
        return review(leg, params, self.fields(leg))

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """Everything that decode's prefix cache does not hold is fetched; decode computes nothing.

        The scheduler never takes the whole prompt from its prefix cache (kv_cache_manager.py,
        get_computed_blocks: at most prompt - 1, in whole blocks). So a prompt of exactly k blocks
        that is fully cached still fetches its last block: cached (k - 1) blocks, transferred one.
        The last token is computed once more for its logits after the blocks arrived; 0.32 does not
        count that as computed, some older versions count 1.

        Not for requests with ``prompt_logprobs``: for those the scheduler ignores both the prefix
        cache and the connector (skip_reading_prefix_cache), and decode computes everything.
        """
        if prompt_tokens == 1:
            # Seen at 0.32: the block is fetched, and its only token is counted as computed.
            return Demand(transferred=0, cached=0, computed=1, blocks=1)
        reusable = (prompt_tokens - 1) // block_size * block_size
        cached = min(cached_tokens // block_size * block_size, reusable)
        return Demand(
            transferred=prompt_tokens - cached,
            cached=cached,
            computed=0,
            blocks=-(-prompt_tokens // block_size) - cached // block_size,
        )

    def carrier(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> NixlContract:  # noqa: ARG002
        """Itself."""
        return self

    def tampered(self, name: str, params: Params, other: Params) -> dict[str, Any] | None:
        """``params`` falsified in the way ``name``. Raises UnknownTamper, TamperImpossible."""
        return pick(self.tampers, name).apply(params, other)
