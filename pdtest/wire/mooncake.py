"""Mooncake: both legs at once under one transfer id; prefill sends once decode has said where to.

Facts from vLLM 0.32, kv_connector/v1/mooncake/mooncake_connector.py and mooncake_utils.py. Its counters are
exported from the version after on (mooncake/stats.py, MooncakePromMetrics).
"""

from __future__ import annotations

import uuid
from typing import Any

from pdtest.environment.schema import Role
from pdtest.wire.contract import Demand, Introduction, Order, Params
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Counter, Evidence
from pdtest.wire.fields import FALSE, TEXT, TRUE, URL, Field
from pdtest.wire.mooncake_tampers import MOONCAKE_TAMPERS
from pdtest.wire.promise import whole_prompt
from pdtest.wire.single import SingleContract

_TRANSFER_ID = Field(name="transfer_id", kind=TEXT, meaning="the same on both legs, and on no others")
_TO_PREFILL = (
    Field(name="do_remote_decode", kind=TRUE, meaning="hold the blocks for a decode instance"),
    Field(name="do_remote_prefill", kind=FALSE, meaning="nothing is to be fetched", required=False),
    _TRANSFER_ID,
)
_TO_DECODE = (
    Field(name="do_remote_prefill", kind=TRUE, meaning="the blocks are to be fetched"),
    Field(name="do_remote_decode", kind=FALSE, meaning="this is the decode leg", required=False),
    _TRANSFER_ID,
    Field(name="remote_engine_id", kind=TEXT, meaning="which engine computes the prompt"),
    Field(name="remote_bootstrap_addr", kind=URL, meaning="where prefill's ranks can be asked for"),
)

_EVIDENCE = Evidence(
    tokens=VLLM_TOKENS,
    promised=VLLM_PROMISED,
    moved=Counter(
        name="vllm:mooncake_bytes_transferred_sum",
        role=Role.PREFILL,
        unit="bytes",
        meaning="bytes that prefill sent",
        drift=True,
    ),
    transfers=Counter(
        name="vllm:mooncake_bytes_transferred_count",
        role=Role.PREFILL,
        unit="transfers",
        meaning="sends that succeeded",
        drift=True,
    ),
    seconds=Counter(
        name="vllm:mooncake_xfer_time_seconds_sum",
        role=Role.PREFILL,
        unit="s",
        meaning="seconds that sends took",
        drift=True,
    ),
    failures=(
        Counter(
            name="vllm:mooncake_num_failed_transfers",
            role=Role.PREFILL,
            unit="transfers",
            meaning="sends that failed",
        ),
        Counter(
            name="vllm:mooncake_num_failed_recvs",
            role=Role.DECODE,
            unit="transfers",
            meaning="requests whose KV did not come",
        ),
    ),
    expired=Counter(
        name="vllm:mooncake_num_kv_expired_reqs",
        role=Role.PREFILL,
        unit="requests",
        meaning="requests whose blocks nobody fetched in time",
    ),
)


def _introduced(bootstrap: str, said: Any) -> Params:
    """Out of ``{"<data rank>": {"engine_id": ..., "worker_addr": ...}}``: the first data rank's engine."""
    try:
        first = said[min(said, key=int)]
        return {"remote_bootstrap_addr": bootstrap, "remote_engine_id": first["engine_id"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected data-parallel ranks with their engine_id, seen {said!r}") from error


class MooncakeContract(SingleContract):
    """vLLM's MooncakeConnector. Prefill answers no parameters.

    It lets the blocks go, and decode wait in vain, when the finish reason is not length.
    """

    name = "mooncake"
    speaks = "vLLM's MooncakeConnector: 0.32 and later"
    prefill_min_tokens = 1
    order = Order.TOGETHER
    introduction = Introduction(port="bootstrap", path="/query", read=_introduced)
    evidence = _EVIDENCE
    tampers = MOONCAKE_TAMPERS
    to_prefill = _TO_PREFILL
    to_decode = _TO_DECODE

    def params_for_prefill(self) -> dict[str, Any]:
        """A transfer id of its own."""
        return {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "transfer_id": f"xfer-{uuid.uuid4().hex}",
        }

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:
        """The same transfer id, and who has the blocks. None where that is not known."""
        named = ("transfer_id", "remote_engine_id", "remote_bootstrap_addr")
        if known is None or any(name not in known for name in named):
            return None
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            **{name: known[name] for name in named},
        }

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole prompt."""
        return whole_prompt(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
