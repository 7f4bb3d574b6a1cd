from __future__ import annotations

import pytest
from pydantic import ValidationError

from pdtest.services.mooncake_json import MooncakeJson

LEAST = {"local_hostname": "node1", "master_server_address": "node1:50088"}


def test_what_is_left_out_is_as_on_ascend() -> None:
    assert MooncakeJson.model_validate(LEAST).model_dump(exclude_none=True) == {
        "local_hostname": "node1",
        "metadata_server": "P2PHANDSHAKE",
        "protocol": "ascend",
        "device_name": "",
        "master_server_address": "node1:50088",
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("master_server_address", "node1", "<host>:<port>"),
        ("master_server_address", "node1:0", "<host>:<port>"),
        ("master_server_address", "node1:65536", "<host>:<port>"),
        ("protocol", "npu", "Input should be 'ascend', 'tcp' or 'rdma'"),
        ("local_hostname", "", "String should have at least 1 character"),
        ("master_server_adress", "node1:1", "Extra inputs are not permitted"),
    ],
)
def test_what_mooncake_would_not_take(key: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MooncakeJson.model_validate(LEAST | {key: value})
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [((key,), words)]
