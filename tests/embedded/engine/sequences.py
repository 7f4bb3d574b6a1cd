"""Sequences, and what became of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

from pdtest.embedded.engine.core import Core
from pdtest.embedded.engine.sequence import Finish, Sampling, Sequence, Step

_numbers = itertools.count()


def sequence(prompt: Iterable[int], max_tokens: int = 6, **sampling: Any) -> Sequence:
    """One that is not submitted yet. ``params``: kv_transfer_params; ``id``: its id."""
    name = sampling.pop("id", None) or f"cmpl-{next(_numbers)}-0"
    params = sampling.pop("params", None)
    return Sequence(
        id=name,
        request_id=name.split("-")[1],
        prompt=tuple(prompt),
        sampling=Sampling(max_tokens=max_tokens, **sampling),
        kv_transfer_params=params,
    )


def text(length: int, seed: int = 0) -> list[int]:
    """Tokens of a prompt; another ``seed`` gives another from the first one on."""
    return [
        3 + (seed * 101 + (position + 7) * (position + seed * 31 + 3)) % 256 for position in range(length)
    ]


async def steps(one: Sequence) -> list[Step]:
    """All its steps. Raises TimeoutError when the last one does not come."""
    seen: list[Step] = []
    while not seen or seen[-1].finish is None:
        seen.append(await asyncio.wait_for(one.steps.get(), 20))
    assert one.steps.empty()
    assert one.finish == seen[-1].finish
    return seen


async def run(core: Core, *them: Sequence) -> list[list[Step]]:
    """Submits them at once."""
    for one in them:
        core.submit(one)
    return list(await asyncio.gather(*(steps(one) for one in them)))


async def tokens(core: Core, prompt: Iterable[int], max_tokens: int = 6, **sampling: Any) -> list[int]:
    """The answer to a prompt."""
    (seen,) = await run(core, sequence(prompt, max_tokens, **sampling))
    assert seen[-1].finish in {Finish.LENGTH, Finish.STOP}, seen[-1]
    return [step.token for step in seen if step.token is not None]
