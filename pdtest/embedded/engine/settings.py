"""All that can be set about an engine. The command line makes one of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The default number of blocks: 8192 tokens in blocks of 16. At the default geometry that is 16 MiB of KV,
#: which the system hands out page by page as it is used, and which keeps the process below 80 MB.
BLOCKS = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Names are short; the flags that set them are vLLM's.

    ``blocks`` are per data-parallel rank. ``seed`` decides what is sampled when a request brings no seed of
    its own. ``prefill_time`` and ``decode_time`` are seconds added to a prompt and to a step, for tests of
    timing, prompts with fewer than ``prefill_time_from`` tokens to compute left out; ``transfer_time`` is
    added to every transfer by the connector. ``announced_port`` is what peers
    are told instead of ``side_port``, where something stands between them and this process. ``data_policy``
    is one of `routing.POLICIES`. ``log_statistics_s``: seconds between lines about the ranks; None for none.
    ``xray``: where digests of KV go. ``fault_transfer``: how KV is spoiled on arrival (`CorruptedConnector`).
    ``fault_lifetime``: how it is given up at the wrong time (`MislaidNixlConnector`).
    """

    model: Path
    served_name: str
    host: str = "127.0.0.1"
    port: int = 8000
    block_size: int = 16
    max_model_len: int = 4096
    blocks: int = BLOCKS
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 256
    tensor_ranks: int = 1
    data_ranks: int = 1
    data_policy: str = "kv_length"
    kv_transfer_config: Mapping[str, Any] | None = None
    prefix_caching: bool = True
    prompt_tokens_details: bool = False
    api_key: str | None = None
    seed: int = 0
    prefill_time: float = 0.0
    prefill_time_from: int = 0
    decode_time: float = 0.0
    transfer_time: float = 0.0
    xray: Path | None = None
    fault_transfer: str | None = None
    fault_lifetime: str | None = None
    side_host: str = "127.0.0.1"
    side_port: int = 5600
    announced_port: int | None = None
    bootstrap_port: int = 8998
    log_statistics_s: float | None = None
