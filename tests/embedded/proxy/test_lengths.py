from __future__ import annotations

from typing import Any

import pytest

from pdtest.embedded.proxy.lengths import PromptLengths, size


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prompt": "four"}, (0, 4)),
        ({"prompt": [1, 2, 3]}, (3, 0)),
        ({"prompt": [[1, 2], [3]]}, (3, 0)),
        ({"prompt": ["ab", "c"]}, (0, 3)),
        ({"prompt": []}, (0, 0)),
        ({"prompt": None}, (0, 0)),
        ({"messages": [{"role": "user", "content": "abc"}, {"role": "user", "content": None}]}, (0, 3)),
        ({"messages": [{"content": [{"type": "text", "text": "ab"}, {"type": "image_url"}]}]}, (0, 2)),
        ({"messages": "odd"}, (0, 3)),
        ({}, (0, 0)),
    ],
)
def test_what_counts_as_prompt(body: dict[str, Any], expected: tuple[int, int]) -> None:
    assert size(body) == expected


def test_token_ids_are_counted() -> None:
    assert PromptLengths().estimate({"prompt": [5] * 40}) == 40


def test_the_rate_is_learned() -> None:
    lengths = PromptLengths()
    body = {"prompt": "x" * 100}
    assert lengths.estimate(body) == 25
    for _ in range(100):
        lengths.learn(body, 100)
    assert lengths.estimate(body) == 100


def test_nothing_is_learned_where_nothing_can_be() -> None:
    lengths = PromptLengths()
    lengths.learn({"prompt": [1, 2]}, 2)
    lengths.learn({}, 5)
    lengths.learn({"prompt": ["ab", "cd"]}, 0)
    assert lengths.tokens_per_character == 0.25
