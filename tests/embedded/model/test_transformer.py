from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.embedded.model import exact
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.exact import Floats, log_softmax
from pdtest.embedded.model.memory import KVMemory, heads_of_rank
from pdtest.embedded.model.transformer import Span, Transformer
from pdtest.embedded.model.weights import Layer, Weights

#: The default geometry.
CONFIG = ModelConfig(
    layers=4,
    hidden=64,
    heads=8,
    kv_heads=4,
    head_dim=16,
    intermediate=128,
    vocab_size=259,
    eos_id=0,
    max_positions=4096,
)
WEIGHTS = Weights.random(CONFIG)
KV = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
#: The suites compare log-probabilities at 1e-4 or closer.
VISIBLE = 1e-3


class Bench:
    """A transformer and its memory."""

    def __init__(self, *, blocks: int = 128, block_size: int = 16, ranks: int = 1, seed: int = 0) -> None:
        weights = Weights.random(replace(CONFIG, seed=seed)) if seed else WEIGHTS
        self.block_size = block_size
        self.memories = [
            KVMemory.empty(
                layers=CONFIG.layers,
                blocks=blocks,
                block_size=block_size,
                heads=heads_of_rank(CONFIG.kv_heads, ranks, rank),
                head_dim=CONFIG.head_dim,
            )
            for rank in range(ranks)
        ]
        self.transformer = Transformer(CONFIG, weights, self.memories)

    @property
    def kv(self) -> KV:
        return self.memories[0].kv

    def blocks(self, first: int, tokens: int) -> list[int]:
        return list(range(first, first - (-tokens // self.block_size)))

    def alone(self, tokens: list[int], blocks: list[int] | None = None, *, start: int = 0) -> Floats:
        """Logits after each of ``tokens`` from ``start`` on; what is before is computed already."""
        blocks = self.blocks(0, len(tokens)) if blocks is None else blocks
        (logits,) = self.transformer.forward([Span(tokens[start:], start, blocks, len(tokens) - start)])
        return logits


def prompt(length: int, seed: int = 0) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, 259, length)]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.lists(st.integers(1, 40), max_size=6), st.sampled_from([1, 2, 4]), st.data())
def test_chunks_block_sizes_and_ranks_change_no_bit(
    length: int, cuts: list[int], ranks: int, data: st.DataObject
) -> None:
    tokens = prompt(length)
    whole = Bench().alone(tokens)
    bench = Bench(block_size=data.draw(st.sampled_from([1, 4, 16, 32])), ranks=ranks)
    blocks = data.draw(st.permutations(range(128)))
    pieces, start = [], 0
    for cut in [*cuts, length]:
        end = min(start + cut, length)
        if end > start:
            span = Span(tokens[start:end], start, blocks, end - start)
            pieces += bench.transformer.forward([span])
        start = end
    assert np.array_equal(np.concatenate(pieces), whole)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 1, 1, 2, 7, 33])), min_size=1, max_size=8))
def test_company_changes_no_bit(shapes: list[tuple[int, int]]) -> None:
    bench = Bench()
    spans, expected, first = [], [], 0
    for number, (before, count) in enumerate(shapes):
        tokens = prompt(before + count, number)
        expected.append(Bench().alone(tokens)[-1:])
        blocks = bench.blocks(first, before + count)
        first += len(blocks)
        if before:
            bench.alone(tokens[:before], blocks)
        spans.append(Span(tokens[before:], before, blocks))
    for seen, wanted in zip(bench.transformer.forward(spans), expected, strict=True):
        assert np.array_equal(seen, wanted)


def test_long_contexts_in_several_pieces_change_no_bit() -> None:
    # More positions and scores than are attended to at once.
    lengths = [900, 901, 890, 3, 900, 1700]
    bench = Bench(blocks=512)
    spans, expected, first = [], [], 0
    for number, length in enumerate(lengths):
        tokens = prompt(length, number)
        blocks = bench.blocks(first, length)
        first += len(blocks)
        expected.append(bench.alone(tokens, blocks)[-1:])
        spans.append(Span(tokens[-1:], length - 1, blocks))
    for seen, wanted in zip(bench.transformer.forward(spans), expected, strict=True):
        assert np.array_equal(seen, wanted)


def test_what_lies_beyond_a_sequence_does_not_matter() -> None:
    tokens = prompt(20)
    expected = Bench().alone(tokens)
    bench = Bench()
    bench.kv[:] = 60
    assert np.array_equal(bench.alone(tokens), expected)


def test_logits_are_those_of_the_last_tokens_asked_for() -> None:
    tokens = prompt(9)
    whole = Bench().alone(tokens)
    bench = Bench()
    spans = [Span(tokens, 0, [0], 0), Span(tokens, 0, [1], 4), Span(tokens, 0, [2])]
    nothing, four, one = bench.transformer.forward(spans)
    assert nothing.shape == (0, CONFIG.vocab_size)
    assert np.array_equal(four, whole[-4:])
    assert np.array_equal(one, whole[-1:])
    (nothing,) = bench.transformer.forward([Span(tokens, 0, [0], 0)])
    assert nothing.shape == (0, CONFIG.vocab_size)


def test_each_layer_is_announced_once_its_kv_is_there() -> None:
    bench, seen = Bench(), []

    def layer_computed(layer: int) -> None:
        filled = [bool(bench.kv[number, :, 0, :3].all()) for number in range(CONFIG.layers)]
        seen.append((layer, filled.count(True)))

    bench.transformer.forward([Span(prompt(3), 0, [0])], layer_computed)
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 4)]


class Watched(np.ndarray[tuple[int, ...], np.dtype[np.float64]]):
    """Weights that look at what they are multiplied with."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:
            assert_exact(inputs[0])
        plain = [one.view(np.ndarray) if isinstance(one, Watched) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **options)


def assert_exact(values: Floats) -> None:
    assert np.array_equal(values * exact.UNITS, np.rint(values * exact.UNITS))
    assert np.abs(values).max(initial=0) <= exact.LARGEST


def test_all_that_is_summed_is_on_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    # A sum of other numbers would seldom be seen: its error is far below the grid that it is rounded to.
    watched = replace(
        WEIGHTS,
        head=WEIGHTS.head.view(Watched),
        layers=tuple(
            Layer(**{name: matrix.view(Watched) for name, matrix in vars(layer).items()})
            for layer in WEIGHTS.layers
        ),
    )
    normalised, attention_weights = exact.normalised, exact.attention_weights
    shares: list[Floats] = []

    def watched_norm(values: Floats) -> Floats:
        assert_exact(values)
        return normalised(values)

    def watched_attention(scores: Floats) -> Floats:
        shares.append(attention_weights(scores))
        return shares[-1]

    monkeypatch.setattr(exact, "normalised", watched_norm)
    monkeypatch.setattr(exact, "attention_weights", watched_attention)
    bench = Bench()
    spans = [Span(prompt(40), 0, [0, 1, 2]), Span(prompt(7, 1), 0, [3])]
    Transformer(CONFIG, watched, bench.memories).forward(spans)
    assert len(shares) == 2 * CONFIG.layers
    for one in shares:
        assert np.array_equal(one, np.rint(one))
        assert one.max() == 2**18
    assert_exact(bench.kv.astype(np.float64))


def test_kv_is_on_the_grid() -> None:
    bench = Bench()
    bench.alone(prompt(40))
    units = bench.kv.astype(np.float64) * 2**16
    assert np.array_equal(units, np.rint(units))
    assert 1 < np.abs(bench.kv).max() < 64


# What the weights must achieve: an error anywhere in the KV is seen in the answer.


def difference(one: Floats, other: Floats) -> float:
    """Of the log-probabilities of the five best tokens."""
    best = np.argsort(-one)[:5]
    return float(np.abs(log_softmax(one) - log_softmax(other))[best].max())


class Damaged:
    """A prompt whose KV is damaged after it was computed, as if on its way to decode."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.bench = Bench(seed=seed)
        self.tokens = prompt(length)
        self.before = self.bench.alone(self.tokens)[-1]
        self.sound = self.bench.kv.copy()

    def difference(self, damage: Callable[[KV], object]) -> float:
        """Between the answers that decode gives, which computes the last token once more."""
        self.bench.kv[:] = self.sound
        damage(self.bench.kv)
        return difference(self.before, self.bench.alone(self.tokens, start=self.length - 1)[-1])


@pytest.fixture(scope="module", params=[(40, 0), (400, 0), (400, 7), (1500, 0)], ids=str)
def damaged(request: pytest.FixtureRequest) -> Damaged:
    return Damaged(*request.param)


def test_sound_kv_gives_the_same_answer(damaged: Damaged) -> None:
    assert damaged.difference(lambda _: None) == 0


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize("part", [pytest.param(0, id="K"), pytest.param(1, id="V")])
def test_one_percent_of_a_layer_counts(damaged: Damaged, layer: int, part: int) -> None:
    def scale(kv: KV) -> None:
        kv[layer, part] *= np.float32(1.01)

    assert damaged.difference(scale) > VISIBLE


def test_each_block_counts(damaged: Damaged) -> None:
    for block in range(0, damaged.length // 16, max(1, damaged.length // 160)):
        assert damaged.difference(lambda kv, block=block: kv[:, :, block].fill(0)) > VISIBLE  # type: ignore[misc]


def test_the_order_of_blocks_counts(damaged: Damaged) -> None:
    def swap(kv: KV) -> None:
        kv[:, :, [0, 1]] = kv[:, :, [1, 0]]

    assert damaged.difference(swap) > VISIBLE


@pytest.mark.parametrize("layer", range(4))
def test_each_head_counts(damaged: Damaged, layer: int) -> None:
    for head in range(CONFIG.kv_heads):

        def turn(kv: KV, head: int = head) -> None:
            kv[layer, :, :, :, head] = kv[layer, :, :, :, (head + 1) % CONFIG.kv_heads]

        assert damaged.difference(turn) > VISIBLE


def test_each_token_of_the_prompt_counts(damaged: Damaged) -> None:
    length = damaged.length
    for position in range(0, length - 1, max(1, length // 6)):
        damaged.bench.kv[:] = damaged.sound
        changed = list(damaged.tokens)
        changed[position] = 3 + (changed[position] - 2) % 256
        blocks = damaged.bench.blocks(0, length)
        span = Span(changed[position:], position, blocks)
        (after,) = damaged.bench.transformer.forward([span])
        assert difference(damaged.before, after[-1]) > VISIBLE, position


@pytest.mark.parametrize("length", [8, 100, 1000])
def test_a_greedy_answer_does_not_run_in_circles(length: int) -> None:
    bench = Bench()
    tokens = prompt(length)
    blocks = bench.blocks(0, length + 64)
    answer: list[int] = []
    margins: list[float] = []
    logits = bench.alone(tokens, blocks)[-1]
    for position in range(length, length + 64):
        second, first = np.sort(log_softmax(logits))[-2:]
        margins.append(float(first - second))
        answer.append(int(logits.argmax()))
        (rows,) = bench.transformer.forward([Span(answer[-1:], position, blocks)])
        logits = rows[-1]
    assert len(set(answer)) > 24
    assert not {0, 1, 2} & set(answer)
    # Ties are rare: a tolerance of 1e-6 lets no wrong token pass for an equal one.
    assert min(margins) > 1e-5
    assert float(np.median(margins)) > 0.2


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("damage", [float("nan"), float("inf"), -1e30])
def test_kv_that_is_no_number_gives_a_wrong_answer_and_no_crash(damage: float) -> None:
    bench, tokens = Bench(), prompt(40)
    before = bench.alone(tokens)[-1]
    bench.kv[1, :, 0] = damage
    after = bench.alone(tokens, start=39)[-1]
    assert np.isfinite(after).all()
    assert difference(before, after) > VISIBLE
