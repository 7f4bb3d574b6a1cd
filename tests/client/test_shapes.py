from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.client.shapes import SHAPES, Bounds, Shape

BOUNDS = Bounds(block_size=32, max_model_len=2048, eos_id=2)
BY_NAME = {shape.name: shape for shape in SHAPES}

#: From the smallest that leaves room for a block and an answer.
geometries = st.builds(
    lambda block, more: Bounds(block_size=block, max_model_len=block + 24 + more, eos_id=2),
    st.sampled_from([8, 16, 32, 64, 128]),
    st.integers(0, 4096),
)


def made(name: str, bounds: Bounds = BOUNDS) -> Request:
    return BY_NAME[name].make(Prompts("seed", 512), bounds)


def test_names_are_unique_and_every_shape_says_what_hides_there() -> None:
    assert len(BY_NAME) == len(SHAPES)
    assert all(shape.hides for shape in SHAPES)
    assert [str(shape) for shape in SHAPES] == list(BY_NAME)


@given(st.sampled_from(SHAPES), geometries)
def test_every_shape_fits_the_context(one: Shape, bounds: Bounds) -> None:
    request = one.make(Prompts("seed", 512), bounds)
    if request.prompt_tokens is not None:
        assert request.prompt_tokens >= 1
        assert request.prompt_tokens + request.max_tokens <= bounds.max_model_len


@pytest.mark.parametrize("one", SHAPES, ids=str)
def test_every_request_has_a_prompt_of_its_own(one: Shape) -> None:
    prompts = Prompts("seed", 152_064)
    first, second = one.make(prompts, BOUNDS), one.make(prompts, BOUNDS)
    assert first.digest() != second.digest()


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("one-token", 1),
        ("half-block", 16),
        ("block-1", 31),
        ("block", 32),
        ("block+1", 33),
        ("3-blocks-1", 95),
        ("3-blocks", 96),
        ("3-blocks+1", 97),
        ("many-blocks", 643),
        ("longest", 2032),
        ("streamed", 69),
    ],
)
def test_lengths(name: str, tokens: int) -> None:
    assert made(name).prompt_tokens == tokens


@given(geometries)
def test_shapes_named_after_a_boundary_are_at_it(bounds: Bounds) -> None:
    for name, beside in (("3-blocks-1", -1), ("3-blocks", 0), ("3-blocks+1", 1)):
        length = made(name, bounds).prompt_tokens or 0
        assert (length - beside) % bounds.block_size == 0


def test_eos_first_is_about_the_models_own_eos() -> None:
    assert made("eos-first").extra == {"logit_bias": {"2": 100}}


def test_drawn_tokens_have_a_seed() -> None:
    for shape in SHAPES:
        request = shape.make(Prompts("seed", 512), BOUNDS)
        assert request.temperature == 0 or request.seed is not None
