"""Request shapes in which handoff bugs hide.

Each came from a bug of the field (vLLM, vllm-ascend, Mooncake and SGLang trackers). A shape is a recipe:
it makes a fresh request from a source of prompts and the geometry of the engines under test.

To add one: an entry in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pdtest.client.prompts import Prompts
from pdtest.client.request import Request

_ANSWER = 16
#: What the prompts of two blocks and a bit have beyond them.
_BIT = 5


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a shape must know of the engines: tokens per block and per request, the token that ends."""

    block_size: int
    max_model_len: int
    eos_id: int


@dataclass(frozen=True, kw_only=True)
class Shape:
    """``make`` gives a request with a prompt of its own; ``hides`` says what breaks there."""

    name: str
    hides: str
    make: Callable[[Prompts, Bounds], Request]

    def __str__(self) -> str:
        return self.name


def _blocks(bounds: Bounds, wanted: int) -> int:
    """Tokens in ``wanted`` whole blocks, or in as many as leave room for a bit more and the answer."""
    room = (bounds.max_model_len - _ANSWER - _BIT) // bounds.block_size
    return max(1, min(wanted, room)) * bounds.block_size


def _length(name: str, hides: str, length: Callable[[Bounds], int]) -> Shape:
    """A completion of as many token ids as ``length`` says."""
    return Shape(
        name=name, hides=hides, make=lambda prompts, bounds: Request.tokens(prompts.tokens(length(bounds)))
    )


def _variant(name: str, hides: str, **settings: object) -> Shape:
    """A completion of two blocks and a bit, with these settings."""
    return Shape(
        name=name,
        hides=hides,
        make=lambda prompts, bounds: Request.tokens(prompts.tokens(_blocks(bounds, 2) + _BIT), **settings),
    )


SHAPES: tuple[Shape, ...] = (
    _length("one-token", "nothing to transfer before the last token", lambda _: 1),
    _length("half-block", "a block that is never full", lambda b: b.block_size // 2),
    _length("block-1", "rounding down to no block at all", lambda b: b.block_size - 1),
    _length("block", "the last token is the block's last", lambda b: b.block_size),
    _length("block+1", "a silent miss: length - 1 is a whole block", lambda b: b.block_size + 1),
    _length("3-blocks-1", "the tail block is partial", lambda b: _blocks(b, 3) - 1),
    _length("3-blocks", "no tail block", lambda b: _blocks(b, 3)),
    _length("3-blocks+1", "a tail block of one token", lambda b: _blocks(b, 3) + 1),
    _length(
        "many-blocks",
        "order and number of blocks",
        lambda b: _blocks(b, 20) + 3,
    ),
    _length("longest", "limits: the prompt fills the context", lambda b: b.max_model_len - _ANSWER),
    _variant("single-token-answer", "decode's first token is its last", max_tokens=1),
    _variant("min-tokens", "min_tokens must not reach prefill's one token", min_tokens=8, ignore_eos=True),
    _variant("top-5-logprobs", "candidates come from decode, not prefill", logprobs=5),
    _variant("no-logprobs", "the plainest request there is", logprobs=None),
    _variant("prompt-logprobs", "needs every position, so nothing may be skipped", prompt_logprobs=1),
    _variant("streamed", "chunks: split, duplicated, lost", stream=True),
    _variant("sampled-with-seed", "sampling state starts on decode", temperature=0.8, seed=7, logprobs=20),
    Shape(
        name="eos-first",
        hides="prefill's one token ends the answer, and it frees the blocks before decode has them",
        make=lambda prompts, bounds: Request.tokens(
            prompts.tokens(_blocks(bounds, 2) + _BIT), extra={"logit_bias": {str(bounds.eos_id): 100}}
        ),
    ),
    Shape(
        name="eos-first-min-tokens",
        hides="min_tokens is lost on the way to decode, or reaches prefill",
        make=lambda prompts, bounds: Request.tokens(
            prompts.tokens(_blocks(bounds, 2) + _BIT),
            min_tokens=5,
            extra={"logit_bias": {str(bounds.eos_id): 100}},
        ),
    ),
    Shape(
        name="eos-first-stop-token",
        hides="stop_token_ids are lost on the way to decode",
        make=lambda prompts, bounds: Request.tokens(
            prompts.tokens(_blocks(bounds, 2) + _BIT),
            min_tokens=3,
            stop_token_ids=(bounds.eos_id + 1,),
            extra={"logit_bias": {str(bounds.eos_id + 1): 100}},
        ),
    ),
    Shape(
        name="text",
        hides="decode tokenizes again",
        make=lambda prompts, _: Request.text(prompts.text(24)),
    ),
    Shape(
        name="chat",
        hides="the chat template is applied on both sides",
        make=lambda prompts, _: Request.chat(prompts.text(24)),
    ),
    Shape(
        name="chat-streamed",
        hides="the role chunk, and deltas",
        make=lambda prompts, _: Request.chat(prompts.text(24), stream=True),
    ),
)
