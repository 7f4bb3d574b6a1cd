"""Lines of JSON with digests of KV; docs/xray.md says what is in them."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pdtest.probe.digests import digests
from pdtest.probe.layout import Layout, layout_of
from pdtest.probe.orders import Order

_FORM = 1
_NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """One worker: its layers, and which of the model's heads it has.

    ``group``: the KV cache group whose blocks are meant; ``layers`` are those of that group.
    """

    file: Path
    engine: str
    rank: int
    group: int
    first_layer: int
    layers: Sequence[Any]
    first_head: int
    heads: int
    block_size: int
    layout: Layout

    @classmethod
    def of(
        cls, vllm_config: Any, kv_cache_config: Any, caches: Mapping[str, Any], *, directory: str
    ) -> Recorder:
        """For the memory that a worker registers with its connector."""
        from vllm.distributed.parallel_state import get_tensor_model_parallel_rank

        parallel, model = vllm_config.parallel_config, vllm_config.model_config
        rank = get_tensor_model_parallel_rank()
        group, names = _attention_group(kv_cache_config, caches)
        # As the model has them, also where a rank has a later stage of a pipeline.
        names.sort(key=_layer)
        total = model.get_total_num_kv_heads()
        file = Path(directory) / f"{os.getpid()}-{parallel.data_parallel_rank}-{rank}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return cls(
            file=file,
            engine=str(vllm_config.kv_transfer_config.engine_id),
            rank=rank,
            group=group,
            first_layer=_layer(names[0]),
            layers=[caches[name] for name in names],
            # With more ranks than heads, several ranks have the same one.
            first_head=rank * total // parallel.tensor_parallel_size,
            heads=model.get_num_kv_heads(parallel),
            block_size=vllm_config.cache_config.block_size,
            layout=layout_of(vllm_config, kv_cache_config, caches[names[0]]),
        )

    def record(self, order: Order) -> None:
        """Look, and append a line."""
        began = time.perf_counter()
        tokens = len(order.tokens)
        blocks = order.blocks[self.group][: -(-tokens // self.block_size)]
        seen = [
            digests(half[:tokens]) for cache in self.layers for half in self.layout.rows(cache, list(blocks))
        ]
        record = {
            "form": _FORM,
            "side": order.side,
            "engine": self.engine,
            "rank": self.rank,
            "request": None,
            "sequence": order.sequence,
            "prompt": order.tokens,
            "cached": order.cached,
            "block_size": self.block_size,
            "blocks": blocks,
            "first_layer": self.first_layer,
            "layers": len(self.layers),
            "first_head": self.first_head,
            "heads": self.heads,
            "exact": _packed("<u8", [one.exact for one in seen]),
            "projection": _packed("<f4", [one.projection for one in seen]),
            "peak": _packed("<f4", [one.peak for one in seen]),
            "at": time.time(),
            "took_s": time.perf_counter() - began,
        }
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(record)}\n")


def _packed(kind: str, arrays: Sequence[npt.NDArray[Any]]) -> str:
    """(layers, 2, tokens, heads), little-endian, in base64."""
    return base64.b64encode(np.stack(arrays).astype(kind).tobytes()).decode()


def _attention_group(kv_cache_config: Any, caches: Mapping[str, Any]) -> tuple[int, list[str]]:
    """The first group of layers that keep all tokens; windows and states do not."""
    for index, group in enumerate(kv_cache_config.kv_cache_groups):
        names = [name for name in group.layer_names if name in caches]
        if names and type(group.kv_cache_spec).__name__ not in {"MambaSpec", "SlidingWindowSpec"}:
            return index, names
    raise ValueError("X-ray: no layer of this model keeps the KV of all tokens")


def _layer(name: str) -> int:
    """The layer's number in the model: model.layers.17.self_attn.attn."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0
