"""What an embedded engine could reach at best: its transformer alone, and its matrices alone."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.embedded_streams import Load
from pdtest.embedded.model.config import ModelConfig
from pdtest.embedded.model.memory import KVMemory, heads_of_rank
from pdtest.embedded.model.transformer import Span, Transformer
from pdtest.embedded.model.weights import Weights

_BLOCK = 16


def decode_alone(model: Path, load: Load) -> float:
    """Tokens per second of the transformer, at contexts as the load's."""
    config = ModelConfig.read(model)
    blocks = -(-(load.prompt + load.tokens) // _BLOCK)
    memory = KVMemory.empty(
        layers=config.layers,
        blocks=blocks * load.streams,
        block_size=_BLOCK,
        heads=heads_of_rank(config.kv_heads, 1, 0),
        head_dim=config.head_dim,
    )
    transformer = Transformer(config, Weights.random(config), [memory])
    tables = [range(blocks * number, blocks * (number + 1)) for number in range(load.streams)]
    transformer.forward([Span(range(3, 3 + load.prompt), 0, table) for table in tables])
    began = time.perf_counter()
    for position in range(load.prompt, load.prompt + load.tokens):
        transformer.forward([Span((3,), position, table) for table in tables])
    return load.streams * load.tokens / (time.perf_counter() - began)


def matrices_alone(model: Path, load: Load) -> float:
    """Tokens per second if multiplying with the weights and the context's KV were all there is to do."""
    config = ModelConfig.read(model)
    dice = np.random.default_rng(0)
    wide = (config.heads + 2 * config.kv_heads) * config.head_dim
    shapes = [
        (config.hidden, wide),
        (config.heads * config.head_dim, config.hidden),
        (config.hidden, 2 * config.intermediate),
        (config.intermediate, config.hidden),
    ]
    pairs = [
        (dice.random((load.streams, rows)), dice.random((rows, columns)))
        for rows, columns in [*shapes * config.layers, (config.hidden, config.vocab_size)]
    ]
    length = load.prompt + load.tokens // 2
    queries = dice.random((load.streams, config.kv_heads, config.heads // config.kv_heads, config.head_dim))
    keys = dice.random((load.streams, config.kv_heads, length, config.head_dim))
    by_key = keys.swapaxes(2, 3)
    steps = 200
    began = time.perf_counter()
    for _ in range(steps):
        for left, right in pairs:
            left @ right
        for _ in range(config.layers):
            queries @ by_key @ keys
    return load.streams * steps / (time.perf_counter() - began)
