"""The model that the embedded engine serves: a config.json, and weights that follow from its seed.

Names are those of Hugging Face configs, so that everything else reads it as it reads any model. The engine
makes the weights itself (pdtest/embedded/model/weights.py); no package is needed to write this.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pdtest.models.recipe import Recipe

MARKER: Final = "pdtest-embedded.json"
RECIPE: Final = 1

_CONFIG: Final[dict[str, Any]] = {
    "model_type": "pdtest-embedded",
    # Three special tokens, then one for each byte.
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "dtype": "float32",
}


def _write(directory: Path, seed: int) -> None:
    config = json.dumps({**_CONFIG, "seed": seed}, indent=2)
    (directory / "config.json").write_text(config + "\n", encoding="utf-8")


_RECIPE: Final = Recipe(kind="embedded", marker=MARKER, version=RECIPE, write=_write)

exists = _RECIPE.exists
ensure = _RECIPE.ensure
make = _RECIPE.make
