"""The shape of a model's KV cache, from its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_BYTES: Final[Mapping[str, int]] = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What decides how many bytes a block of KV has, and which tokens end an answer."""

    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    dtype_bytes: int
    eos_ids: frozenset[int]

    def block_bytes(self, block_size: int) -> int:
        """Bytes of K and V in all layers for ``block_size`` tokens, before tensor parallelism."""
        return self.layers * 2 * block_size * self.kv_heads * self.head_dim * self.dtype_bytes

    @classmethod
    def read(cls, directory: Path | str, *, dtype: str | None = None) -> Geometry | None:
        """The geometry of the model in ``directory``.

        ``dtype`` is what the engines serve with, where that is not what the file says. None when there is
        no config.json (a hub name, a remote path) or it is not of an attention model as we know them.
        """
        try:
            config = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
            return cls.from_config(config, dtype=dtype)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, dtype: str | None = None) -> Geometry:
        """From a config's content. Raises KeyError for what it lacks."""
        # Multimodal models keep the language model's numbers one level down.
        text = config.get("text_config", config)
        heads = text["num_attention_heads"]
        eos = config.get("eos_token_id", text.get("eos_token_id"))
        # transformers 5 writes `dtype`, 4 wrote `torch_dtype`.
        written = dtype or config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or "float32"
        return cls(
            layers=text["num_hidden_layers"],
            kv_heads=text.get("num_key_value_heads") or heads,
            head_dim=text.get("head_dim") or text["hidden_size"] // heads,
            vocab_size=text["vocab_size"],
            dtype_bytes=_BYTES[written],
            eos_ids=frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos]),
        )
