"""`mooncake.json`, from which vllm-ascend's engines learn of Mooncake, as typed settings.

Keys as in vllm-ascend, examples/disaggregated_prefill_v1 and docs/source/user_guide/feature_guide/kv_pool.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pdtest.services.settings import Settings

_HOST_AND_PORT = re.compile(r"(.+):(\d{1,5})")
_HIGHEST_PORT = 65535


def _host_and_port(written: str) -> str:
    match = _HOST_AND_PORT.fullmatch(written)
    if match is None or not 1 <= int(match[2]) <= _HIGHEST_PORT:
        raise PydanticCustomError("address", "<host>:<port>")
    return written


class MooncakeJson(Settings):
    """`options.mooncake` of a `vllm-ascend` member."""

    local_hostname: str = Field(min_length=1, description="by which the other members reach this one")
    metadata_server: str = Field(
        default="P2PHANDSHAKE", min_length=1, description="P2PHANDSHAKE, or the URL of a metadata server"
    )
    protocol: Literal["ascend", "tcp", "rdma"] = "ascend"
    device_name: str = ""
    master_server_address: Annotated[str, AfterValidator(_host_and_port)]
    use_ascend_direct: bool | None = None
    global_segment_size: int | str | None = Field(default=None, description="bytes, or a size such as 1GB")
