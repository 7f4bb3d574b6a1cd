"""Requests that the tests of this suite share."""

from __future__ import annotations

import pytest

from pdtest import Environment, Prompts, Request
from pdtest.wire.contract import Contract


@pytest.fixture
def block_size(environment: Environment) -> int:
    """Tokens per KV block."""
    return environment.model.block_size


@pytest.fixture
def prompts_of_a_block_and_a_bit(prompts: Prompts, block_size: int) -> Request:
    """A fresh prompt that needs two blocks."""
    return Request.tokens(prompts.tokens(block_size + 5))


@pytest.fixture
def led_by_hand(contract: Contract) -> None:
    """For tests that see both legs: skips where only a proxy can lead a handoff."""
    if contract.obstacle is not None:
        pytest.skip(f"{contract.name}: {contract.obstacle}")
