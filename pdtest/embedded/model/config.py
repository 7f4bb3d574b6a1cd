"""The model's numbers, read from the config.json of a model directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class BadModel(ValueError):
    """A model directory that the engine cannot serve. The message says what was expected and seen."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer with grouped-query attention. Names are those of Hugging Face configs.

    ``seed`` decides all weights: two engines with equal configs compute the same numbers.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab_size: int
    eos_id: int
    max_positions: int
    rope_theta: float = 10000.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise BadModel(
                f"num_attention_heads {self.heads} is not a multiple of num_key_value_heads {self.kv_heads}"
            )
        if self.head_dim % 2:
            raise BadModel(f"head_dim {self.head_dim} is odd; rotary embedding turns pairs")

    @classmethod
    def read(cls, directory: Path | str) -> ModelConfig:
        """From ``directory``/config.json. Raises BadModel."""
        file = Path(directory) / "config.json"
        try:
            config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadModel(f"cannot read {file}: {error.strerror}") from error
        except ValueError as error:
            raise BadModel(f"{file} is not JSON: {error}") from error
        try:
            heads = config["num_attention_heads"]
            return cls(
                layers=config["num_hidden_layers"],
                hidden=config["hidden_size"],
                heads=heads,
                kv_heads=config.get("num_key_value_heads", heads),
                head_dim=config.get("head_dim") or config["hidden_size"] // heads,
                intermediate=config["intermediate_size"],
                vocab_size=config["vocab_size"],
                eos_id=config["eos_token_id"],
                max_positions=config["max_position_embeddings"],
                rope_theta=config.get("rope_theta", 10000.0),
                seed=config.get("seed", 0),
            )
        except KeyError as error:
            raise BadModel(f"{file} has no {error}") from error
