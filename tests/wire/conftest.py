from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def answered() -> dict[str, Any]:
    """What prefill answered on vLLM 0.32 to a prompt of 70 tokens, blocks of 32."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [[1, 2, 3]],
        "remote_engine_id": "582ad616-a8cf-4f8c-998d-a145d409ea94",
        "remote_request_id": "cmpl-6a5f38b6-0-a725ada0",
        "remote_host": "127.0.0.1",
        "remote_port": 15600,
        "tp_size": 1,
        "dcp_size": 1,
        "pp_size": 1,
        "remote_num_tokens": 70,
        "remote_blocks_expiry_time": None,
        "transfer_mode": "pull",
        "remote_prefill_cached_tokens": 64,
    }
