"""How much of a prompt connectors promise to bring: the rules that several of them share.

The scheduler never takes a whole prompt from its prefix cache (vLLM 0.32, kv_cache_manager.py,
get_computed_blocks: at most prompt - 1, in whole blocks). So a prompt of exactly k blocks that is fully
cached still asks for its last block: cached (k - 1) blocks, transferred one.
"""

from __future__ import annotations

from pdtest.wire.contract import Demand


def cached_by_decode(prompt_tokens: int, cached_tokens: int, block_size: int) -> int:
    """The tokens that decode's prefix cache serves, of ``cached_tokens`` that it holds."""
    reusable = (prompt_tokens - 1) // block_size * block_size
    return min(cached_tokens // block_size * block_size, reusable)


def whole_prompt(prompt_tokens: int, *, cached_tokens: int, block_size: int) -> Demand:
    """Everything that decode's prefix cache does not hold is fetched; decode computes nothing.

    The last token is computed once more for its logits after the blocks arrived; vLLM 0.32 does not
    count that as computed, some older versions count 1.

    Not for requests with ``prompt_logprobs``: for those the scheduler ignores both the prefix cache and
    the connector (skip_reading_prefix_cache), and decode computes everything.
    """
    if prompt_tokens == 1:
        # Seen at 0.32: the block is fetched, and its only token is counted as computed.
        return Demand(transferred=0, cached=0, computed=1, blocks=1)
    cached = cached_by_decode(prompt_tokens, cached_tokens, block_size)
    return Demand(
        transferred=prompt_tokens - cached,
        cached=cached,
        computed=0,
        blocks=-(-prompt_tokens // block_size) - cached // block_size,
    )


def all_but_the_last_token(prompt_tokens: int, *, cached_tokens: int, block_size: int) -> Demand:
    """As `whole_prompt`, but the last token is left to decode, and counted."""
    cached = cached_by_decode(prompt_tokens, cached_tokens, block_size)
    fetched = prompt_tokens - 1 - cached
    return Demand(
        transferred=fetched,
        cached=cached,
        computed=1,
        blocks=-(-(prompt_tokens - 1) // block_size) - cached // block_size,
    )


def whole_blocks(prompt_tokens: int, *, cached_tokens: int, block_size: int) -> Demand:
    """A store of whole blocks, which has those of the prompt and nothing else of it; the rest is computed.

    Where they are the whole prompt, all blocks are fetched and the last token is computed once more, and
    counted. The demand of a prompt that nobody but this handoff's prefill has put there.
    """
    cached = cached_by_decode(prompt_tokens, cached_tokens, block_size)
    stored = prompt_tokens // block_size * block_size
    loaded = (stored - 1 if stored == prompt_tokens else stored) - cached
    return Demand(
        transferred=loaded,
        cached=cached,
        computed=prompt_tokens - cached - loaded,
        blocks=(stored - cached) // block_size,
    )
