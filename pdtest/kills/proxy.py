"""Bugs of proxies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pdtest.kills.mutant import Mutant, Place

_proxy = partial(Mutant, place=Place.PROXY)

_NO_STREAM: Final[Mapping[str, str]] = {"transfer": "streams nothing through the proxy"}
_PLAIN: Final[Mapping[str, str]] = {"transfer": "sends the proxy plain requests only"}
_NO_ERROR: Final[Mapping[str, str]] = {"transfer": "asks the proxy for nothing that fails"}
_FEW: Final[Mapping[str, str]] = {"transfer": "sends the proxy fewer requests than this one needs to begin"}
_LEAKS: Final[Mapping[str, str]] = {"correctness": "asks nobody whether blocks are given back"}

PROXY: Final[tuple[Mutant, ...]] = (
    _proxy(
        name="proxy-params-lost",
        bugs=("F9",),
        switch="params-lost",
        does="drops kv_transfer_params: a silent recompute",
    ),
    _proxy(
        name="proxy-params-unasked",
        bugs=("F9",),
        switch="params-unasked",
        does="does not tell prefill that decode is elsewhere: a silent recompute",
    ),
    _proxy(
        name="proxy-params-consumed",
        bugs=("F2", "F9"),
        switch="params-consumed",
        does="sends every decode the first request's parameters",
    ),
    _proxy(
        name="proxy-params-latest",
        bugs=("F3", "F6"),
        switch="params-latest",
        first="at_once",
        does="under load, decode gets what prefill answered another request",
    ),
    _proxy(
        name="proxy-blocks-reversed", bugs=("F1",), switch="blocks-reversed", does="reverses the block ids"
    ),
    _proxy(
        name="proxy-old-engine",
        bugs=("F8",),
        switch="params-old-engine",
        does="keeps the engine id of before a restart",
    ),
    _proxy(
        name="proxy-drift",
        bugs=("F12",),
        switch="params-lost,after=100",
        first="two_hundred",
        unseen=_FEW,
        does="drops kv_transfer_params after 100 requests",
    ),
    _proxy(
        name="proxy-drift-blocks",
        bugs=("F12",),
        switch="blocks-repeated,after=60",
        first="two_hundred",
        unseen=_FEW,
        does="after 60 requests every block id is the first one",
    ),
    _proxy(
        name="proxy-unknown-id",
        bugs=("F4", "F6"),
        switch="params-unknown-id",
        first="test_release",
        unseen=_LEAKS,
        does="misnames prefill's request: its blocks leak until the lease ends",
    ),
    _proxy(
        name="proxy-decode-twice",
        bugs=("F6", "F9"),
        switch="decode-twice",
        does="sends each request to decode twice",
    ),
    _proxy(
        name="proxy-prefill-twice",
        bugs=("F4", "F9"),
        switch="prefill-twice",
        first="test_release",
        unseen=_LEAKS,
        does="sends each request to prefill twice: blocks that nobody fetches",
    ),
    _proxy(
        name="proxy-error-swallowed",
        bugs=("F9",),
        switch="error-swallowed",
        first="refus",
        unseen=_NO_ERROR,
        does="an error becomes status 200 with nothing in it",
    ),
    _proxy(
        name="proxy-error-as-answer",
        bugs=("F9",),
        switch="error-as-answer",
        first="refus",
        unseen=_NO_ERROR,
        does="an error becomes status 200 with the error in it",
    ),
    _proxy(
        name="proxy-answer-of-another",
        bugs=("F3", "F9"),
        switch="answer-of-another",
        does="gives the answer of the request before",
    ),
    _proxy(name="proxy-finish-lost", bugs=("F9",), switch="finish-lost", does="loses finish_reason"),
    _proxy(name="proxy-finish-wrong", bugs=("F9",), switch="finish-wrong", does="says stop for length"),
    _proxy(name="proxy-usage-lost", bugs=("F9",), switch="usage-lost", does="loses usage"),
    _proxy(
        name="proxy-usage-wrong", bugs=("F9",), switch="usage-wrong", does="counts a token less than it gave"
    ),
    _proxy(name="proxy-text-cut", bugs=("F9",), switch="text-cut", does="loses the last character"),
    *(
        _proxy(
            name=f"proxy-{switch}", bugs=("F9",), switch=switch, first="stream", unseen=_NO_STREAM, does=does
        )
        for switch, does in (
            ("stream-chunk-split", "splits a chunk's JSON over two events"),
            ("stream-chunk-doubled", "sends a chunk of a stream twice"),
            ("stream-chunk-lost", "loses a chunk of a stream"),
            ("stream-chunks-swapped", "swaps two chunks of a stream"),
            ("stream-cut-off", "ends a stream after three chunks, as if all were well"),
            ("stream-without-done", "loses the end of a stream"),
        )
    ),
    *(
        _proxy(name=f"proxy-{switch}", bugs=("F9",), switch=switch, first=first, unseen=_PLAIN, does=does)
        for switch, first, does in (
            ("min-tokens-lost", "min-tokens", "loses min_tokens"),
            ("min-tokens-kept", "min-tokens", "leaves min_tokens in prefill's request for one token"),
            ("stop-lost", "stop", "loses stop and stop_token_ids"),
            ("bias-lost", "eos-first", "loses logit_bias"),
            ("seed-lost", "seed", "loses the seed"),
            ("prompt-logprobs-lost", "prompt-logprobs", "loses prompt_logprobs"),
        )
    ),
    _proxy(name="proxy-logprobs-lost", bugs=("F9",), switch="logprobs-lost", does="loses logprobs"),
    _proxy(
        name="proxy-decode-one-token",
        bugs=("F9",),
        switch="decode-one-token",
        does="leaves prefill's max_tokens of 1 in decode's request",
    ),
)
