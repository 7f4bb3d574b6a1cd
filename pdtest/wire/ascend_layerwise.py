"""Ascend's layer-wise connector: decode goes first, and prefill sends each layer as soon as it is computed.

Decode reports where its blocks are to a metaserver, whose URL came with its request; the proxy is that
server, and sends prefill what decode reported. Facts from vllm-ascend (August 2026),
kv_p2p/mooncake_layerwise_connector.py.
"""

from __future__ import annotations

from pdtest.wire.contract import Demand, Order
from pdtest.wire.evidence import VLLM_PROMISED, VLLM_TOKENS, Evidence
from pdtest.wire.fields import COUNT, FALSE, INTEGER, PORT, POSITIVE, TEXT, TRUE, URL, Field, list_of
from pdtest.wire.promise import whole_prompt
from pdtest.wire.single import SingleContract

_TO_DECODE = (
    Field(name="do_remote_prefill", kind=TRUE, meaning="the blocks will be sent"),
    Field(name="do_remote_decode", kind=FALSE, meaning="this is the decode leg", required=False),
    Field(name="metaserver", kind=URL, meaning="where decode reports its blocks"),
)
_TO_PREFILL = (
    Field(name="do_remote_decode", kind=TRUE, meaning="send the blocks to a decode instance"),
    Field(name="do_remote_prefill", kind=FALSE, meaning="nothing is to be fetched"),
    Field(
        name="remote_block_ids",
        kind=list_of(list_of(INTEGER)),
        meaning="block ids on decode, per KV group, in prompt order",
        older=list_of(INTEGER),
    ),
    Field(name="remote_engine_id", kind=TEXT, meaning="which engine waits for the blocks"),
    Field(name="remote_host", kind=TEXT, meaning="where decode can be reached"),
    Field(name="remote_port", kind=PORT, meaning="where decode can be reached"),
    Field(name="remote_cached_tokens", kind=COUNT, meaning="tokens that decode has already"),
    Field(name="request_id", kind=TEXT, meaning="what decode calls the request"),
    Field(name="token_ids", kind=list_of(INTEGER), meaning="the prompt, or nothing", required=False),
    Field(name="remote_tp_size", kind=POSITIVE, meaning="tensor parallel size of decode", required=False),
    Field(name="remote_pcp_size", kind=POSITIVE, meaning="context parallel size of decode", required=False),
    Field(name="remote_dcp_size", kind=POSITIVE, meaning="context parallel size of decode", required=False),
    Field(
        name="remote_block_size",
        kind=list_of(POSITIVE),
        meaning="tokens per block on decode, per KV group",
        required=False,
        older=POSITIVE,
    ),
)


class AscendLayerwiseContract(SingleContract):
    """vllm-ascend's MooncakeLayerwiseConnector."""

    name = "ascend-layerwise"
    speaks = "vllm-ascend's MooncakeLayerwiseConnector: August 2026"
    prefill_min_tokens = 1  # as vllm-ascend's layer-wise proxy has it
    order = Order.DECODE_FIRST
    obstacle = "decode goes first and reports its blocks to a metaserver, which is part of the proxy"
    #: It exports no metrics of its own.
    evidence = Evidence(tokens=VLLM_TOKENS, promised=VLLM_PROMISED)
    to_prefill = _TO_PREFILL
    to_decode = _TO_DECODE

    def demand(self, prompt_tokens: int, *, cached_tokens: int = 0, block_size: int) -> Demand:
        """The whole prompt."""
        return whole_prompt(prompt_tokens, cached_tokens=cached_tokens, block_size=block_size)
