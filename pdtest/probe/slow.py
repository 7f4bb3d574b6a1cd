"""NIXL's connector, pulling, in no hurry: so that a fault falls into a phase of a request by intent.

On CPU a tiny model is through a phase before anybody has looked. Engines are told so in --kv-transfer-config:

    kv_connector: SlowNixlConnector
    kv_connector_module_path: pdtest.probe.slow
    kv_connector_extra_config: {slow_step_s: 0.2, slow_transfer_s: 0.5}

`slow_step_s`: so many seconds pass before each step that computes something; with a small
--max-num-batched-tokens a prompt takes several. `slow_transfer_s`: so long a request waits before its KV is
read; the engine does other things meanwhile. Both are 0 unless given. What is sent, read and answered is the
connector's own doing.

Facts: vLLM 0.32, distributed/kv_transfer/kv_connector/v1/nixl/pull_worker.py (reads begin in `start_load_kv`,
one for each of the metadata's `reqs_to_recv`) and v1/worker/kv_connector_model_runner_mixin.py (a step that
computes nothing has a forward context without attention metadata).
"""

from __future__ import annotations

import time
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.nixl import NixlConnector


class SlowNixlConnector(NixlConnector):  # type: ignore[misc]  # vLLM is not installed where this is checked
    """Does what NixlConnector does, later."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any = None) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        setting = vllm_config.kv_transfer_config.get_from_extra_config
        self._slow_step_s = float(setting("slow_step_s", 0))
        self._slow_transfer_s = float(setting("slow_transfer_s", 0))
        #: By request: when it may be read, and what the connector was told of it.
        self._slow_held: dict[str, tuple[float, Any]] = {}

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Keep new reads back, begin those that have waited for long enough."""
        wanted, now = self._connector_metadata.reqs_to_recv, time.monotonic()
        for request, meta in wanted.items():
            self._slow_held[request] = now + self._slow_transfer_s, meta
        wanted.clear()
        wanted.update({request: meta for request, (due, meta) in self._slow_held.items() if due <= now})
        for request in wanted:
            del self._slow_held[request]
        if getattr(forward_context, "attn_metadata", None) is not None:
            time.sleep(self._slow_step_s)
        super().start_load_kv(forward_context, **kwargs)
