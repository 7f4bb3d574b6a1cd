"""NIXL, push: decode registers its blocks with prefill, which writes into them.

Facts from vLLM 0.32, kv_connector/v1/nixl/push_scheduler.py and push_worker.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand
from pdtest.wire.evidence import Counter
from pdtest.wire.fields import Field, word
from pdtest.wire.nixl import ASKED, ENGINE, HELD_BLOCKS, NIXL_EVIDENCE, asked_to_hold
from pdtest.wire.nixl_tampers import NIXL_TAMPERS
from pdtest.wire.promise import whole_prompt
from pdtest.wire.single import SingleContract
from pdtest.wire.tamper import pick

_HANDED_OVER = (
    *HELD_BLOCKS,
    *ENGINE,
    Field(name="transfer_mode", kind=word("push"), meaning="who moves the blocks", drift=True),
)

#: The counters of pull under the same names; what counts is the side that writes.
_EVIDENCE = replace(
    NIXL_EVIDENCE,
    moved=Counter(
        name="vllm:nixl_bytes_transferred_sum",
        role=Role.PREFILL,
        unit="bytes",
        meaning="bytes that prefill wrote",
    ),
    transfers=Counter(
        name="vllm:nixl_bytes_transferred_count",
        role=Role.PREFILL,
        unit="transfers",
        meaning="writes that succeeded, one per pair of ranks",
    ),
    seconds=Counter(
        name="vllm:nixl_xfer_time_seconds_sum",
        role=Role.PREFILL,
        unit="s",
        meaning="seconds that writes took",
    ),
    failures=tuple(
        Counter(
            name="vllm:nixl_num_failed_transfers",
            role=role,
            unit="transfers",
            meaning="writes, registrations and handshakes that failed",
        )
        for role in (Role.PREFILL, Role.DECODE)
    ),
    late=None,
)


class NixlPushContract(SingleContract):
    """vLLM's NixlPushConnector. Decode ignores the block ids in what prefill answered."""

    name = "nixl-push"
    speaks = "vLLM's NixlPushConnector: 0.32 and later"
    evidence = _EVIDENCE
    #: None that falsifies block ids: nobody reads them.
    tampers = tuple(
        pick(NIXL_TAMPERS, name)
        for name in ("no-params", "no-remote-prefill", "wrong-engine-id", "dead-port", "consumed-params")
    )
    to_prefill = ASKED
    from_prefill = _HANDED_OVER
    to_decode = _HANDED_OVER

    def params_for_prefill(self) -> dict[str, Any]:
        """As for pull."""
        return asked_to_hold()

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole prompt."""
        return whole_prompt(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
