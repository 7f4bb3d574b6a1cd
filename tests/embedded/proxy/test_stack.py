"""The proxy over real engines, each in a process of its own: what the doubles stand for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

from .processes import Processes, ask

CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "vocab_size": 259,
    "eos_token_id": 0,
    "max_position_embeddings": 512,
    "seed": 7,
}
PROMPT = "a prompt of more than three blocks, so that some of them are whole"
CONNECTORS = {
    "nixl": "NixlConnector",
    "nixl-push": "NixlPushConnector",
    "ascend-mooncake": "MooncakeConnectorV1",
    "mooncake": "MooncakeConnector",
    "ascend-layerwise": "MooncakeLayerwiseConnector",
    "p2p-nccl": "P2pNcclConnector",
}


@dataclass(kw_only=True)
class Stack:
    contract: str
    proxy: int
    #: A proxy over the same engines that leaves to decode what is short; None where that is not allowed.
    router: int | None
    prefill: int
    decode: int
    processes: Processes

    def moved(self) -> float:
        """Tokens whose KV decode got from elsewhere."""
        pattern = r'vllm:prompt_tokens_by_source_total\{.*source="external_kv_transfer".*\} (\S+)'
        return sum(float(value) for value in re.findall(pattern, ask(self.decode, "/metrics").text))


@pytest.fixture(scope="module", params=list(CONNECTORS))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory: Path = tmp_path_factory.mktemp("stack")
    (directory / "config.json").write_text(json.dumps(CONFIG))
    processes = Processes(directory)
    contract: str = request.param
    prefill, decode, proxy, zmq, bootstrap = (free_port() for _ in range(5))
    for name, port, role in (("prefill", prefill, "kv_producer"), ("decode", decode, "kv_consumer")):
        transfer: dict[str, Any] = {"kv_connector": CONNECTORS[contract], "kv_role": role}
        if contract == "p2p-nccl":
            extra = {"proxy_ip": "127.0.0.1", "proxy_port": zmq, "http_port": port}
            transfer |= {"kv_port": free_port(), "kv_connector_extra_config": extra}
        processes.start(
            name,
            "pdtest.embedded.engine",
            *("--model", directory, "--served-model-name", "m", "--port", port),
            *("--kv-transfer-config", json.dumps(transfer)),
            env={
                "VLLM_NIXL_SIDE_CHANNEL_PORT": free_port(),
                "VLLM_MOONCAKE_BOOTSTRAP_PORT": bootstrap if name == "prefill" else free_port(),
            },
        )
    lists = (
        *("--prefiller-hosts", "127.0.0.1", "--prefiller-ports", prefill),
        *("--decoder-hosts", "127.0.0.1", "--decoder-ports", decode),
        *("--prefiller-bootstrap-ports", bootstrap),
    )
    where = ("--zmq-port", zmq) if contract == "p2p-nccl" else lists
    processes.start("proxy", "pdtest.embedded.proxy", "--port", proxy, "--contract", contract, *where)
    router = None if contract == "p2p-nccl" else free_port()
    if router is not None:
        by_phase = ("--port", router, "--phase-policy", "threshold", "--input-threshold", 1000)
        processes.start("router", "pdtest.embedded.proxy", "--contract", contract, *by_phase, *lists)
    try:
        processes.ready([port for port in (prefill, decode, proxy, router) if port is not None])
        yield Stack(
            contract=contract,
            proxy=proxy,
            router=router,
            prefill=prefill,
            decode=decode,
            processes=processes,
        )
    finally:
        processes.stop()


@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_through_the_proxy_is_the_colocated_one_and_its_kv_moved(stack: Stack, chat: bool) -> None:
    path = "/v1/chat/completions" if chat else "/v1/completions"
    asked = {"messages": [{"role": "user", "content": PROMPT}]} if chat else {"prompt": PROMPT}
    body = {"model": "m", **asked, "max_tokens": 12, "temperature": 0, "min_tokens": 3}
    before = stack.moved()
    answer = ask(stack.proxy, path, body).body
    moved = stack.moved() - before
    # Prefill can answer the whole request as well: that is the colocated answer.
    expected = ask(stack.prefill, path, body).body
    assert answer["choices"] == expected["choices"]
    prompt_tokens = answer["usage"]["prompt_tokens"]
    assert moved == prompt_tokens - (1 if stack.contract == "p2p-nccl" else 0)


def test_what_is_left_to_decode_alone_is_the_same_answer_and_nothing_moves(stack: Stack) -> None:
    if stack.router is None:
        pytest.skip(f"with {stack.contract} the request id names both instances")
    body = {"model": "m", "prompt": "y" + PROMPT, "max_tokens": 40, "temperature": 0}
    before = stack.moved()
    alone = ask(stack.router, "/v1/completions", body).body
    assert stack.moved() == before
    assert alone["choices"] == ask(stack.prefill, "/v1/completions", body).body["choices"]
    assert ask(stack.router, "/stats").body["prefill_instances"][0]["done"] == 0


def _left(stack: Stack) -> list[tuple[int, int, int]]:
    """Requests under way, tokens of their KV, and those that failed: of prefill and of decode."""
    stats = ask(stack.proxy, "/stats").body
    sides = (stats[side][0] for side in ("prefill_instances", "decode_instances"))
    return [(about["in_flight"], about["kv_length"], about["failed"]) for about in sides]


def test_nothing_is_left_behind(stack: Stack) -> None:
    body = {"model": "m", "prompt": "x" + PROMPT, "max_tokens": 4, "n": 2}
    assert ask(stack.proxy, "/v1/completions", body).status == 200
    # Where decode goes first, prefill's leg may end a moment after the answer.
    deadline = time.monotonic() + 10
    while (left := _left(stack)) != [(0, 0, 0)] * 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == [(0, 0, 0)] * 2
    for name in stack.processes.running:
        assert "ERROR" not in stack.processes.log(name)
