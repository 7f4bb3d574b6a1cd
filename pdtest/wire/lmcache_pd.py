"""LMCache in its PD mode: prefill pushes KV into decode's buffer, and tells the proxy when it is there.

Facts from LMCache 0.5.6, integration/vllm/vllm_v1_adapter.py and v1/storage_backend/pd_backend.py, and the
proxy that comes with it (examples/disagg_prefill/disagg_proxy_server.py). The proxy

- has the prompt tokenized (POST /tokenize), so that both legs carry the same tokens;
- asks prefill for one token, with the address of decode's receiver: ports are lists, one per rank;
- hears from each rank over ZMQ, at the address in prefill's own configuration (``pd_proxy_host``,
  ``pd_proxy_port``), that the KV of ``req_id`` has been written;
- sends decode the prompt and prefill's token, ``max_tokens`` less one, and no parameters.

It streams every answer, with prefill's token as the first chunk.
"""

from __future__ import annotations

from typing import Any

from pdtest.wire.contract import Demand, Params
from pdtest.wire.fields import COUNT, OBJECT, PORT, TEXT, Field, Kind, list_of
from pdtest.wire.lmcache import LMCACHE_EVIDENCE
from pdtest.wire.promise import all_but_the_last_token
from pdtest.wire.single import SingleContract

#: Only that it is there counts.
_ANYTHING = Kind(expected="anything", accepts=lambda _: True)
_RECEIVER = (
    Field(name="req_id", kind=TEXT, meaning="what prefill names to the proxy when the KV is there"),
    Field(name="receiver_host", kind=TEXT, meaning="where decode's receiver is"),
    Field(name="receiver_init_port", kind=list_of(PORT), meaning="to shake hands, per rank", older=PORT),
    Field(name="receiver_alloc_port", kind=list_of(PORT), meaning="to ask for room, per rank", older=PORT),
    Field(name="receiver_query_port", kind=list_of(PORT), meaning="to read back from decode", drift=True),
)
_TO_PREFILL = (
    Field(name="disagg_spec", kind=OBJECT, meaning="whom to push the prompt's KV to", inside=_RECEIVER),
    Field(name="ret_first_tok", kind=_ANYTHING, meaning="answer with first_tok", required=False),
)
_FROM_PREFILL = (
    Field(name="first_tok", kind=COUNT, meaning="the token that prefill generated", required=False),
    Field(name="num_lmcache_cached_tokens", kind=COUNT, meaning="prefix hit on prefill", drift=True),
)


class LmcachePdContract(SingleContract):
    """LMCacheConnectorV1 with ``enable_pd``: roles kv_producer and kv_consumer, sender and receiver."""

    name = "lmcache-pd"
    speaks = "LMCacheConnectorV1 with enable_pd: LMCache 0.5.6"
    obstacle = (
        "prefill tells the proxy over ZMQ when decode has the KV, and decode goes on from prefill's first "
        "token: a client hears neither"
    )
    evidence = LMCACHE_EVIDENCE
    to_prefill = _TO_PREFILL
    from_prefill = _FROM_PREFILL

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:  # noqa: ARG002
        """None: decode finds the KV by content."""
        return None

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """All but the last token of what decode is sent, which is prefill's (``skip_last_n_tokens`` 1)."""
        return all_but_the_last_token(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
