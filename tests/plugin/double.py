"""A double of a vLLM engine for tests of the plugin, and for nothing else.

    python double.py --port 8100 --role prefill [--does '{"logs": "ERROR no"}']

It has a notion of KV: blocks of a prompt's tokens. Prefill keeps them, decode fetches them from prefill by
the parameters it is given, and the answer is computed from what was fetched; so wrong parameters give wrong
tokens. A request misbehaves by its field ``double``, a member in all requests by ``--does``; both are a
mapping of these, that of a request by role: ``{"double": {"decode": {"wrong_token": 3}}}``.

wrong_token: k      the k-th token is another one
drift: x            all log-probabilities are off by x
miscounts: k        says that there were k tokens more than there are in the prompt
moves_nothing: true decode computes the prompt itself: the same answer, and the counters say so
logs: "line"        is printed before the answer
refuses: status     answers with this status
dies: code          exits in the middle of the request
no_metrics: true    /metrics is empty (member only)
model, max_model_len, root, block_size: what it says of itself instead of the truth (member only)
fails: "line"       prints it and exits with 3 instead of serving (member only); so it does, whatever it is
                    told, when there is a file `broken` in its directory
loads_s: x          seconds until it serves (member only)
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

BLOCK_SIZE = 16
#: One layer, one head of 8, float32: see the model's config.json in conftest.py.
BLOCK_BYTES = 1024
VOCABULARY = 4096
#: Not an argument, which would count as a setting: only the engine is another one.
VERSION_VARIABLE = "DOUBLE_VERSION"
_CANDIDATES = (-0.25, -1.75, -4.0)


@dataclass
class Engine:
    """One member."""

    role: str
    port: int
    does: dict[str, Any]
    version: str
    blocks: dict[int, list[int]] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    reads: list[int] = field(default_factory=list)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def kv_of(self, prompt: list[int], params: dict[str, Any], *, moves_nothing: bool) -> list[int]:
        """The tokens whose KV this engine has when it begins to answer, counted by where they came from."""
        if not params.get("do_remote_prefill") or moves_nothing:
            self._count("local_compute", len(prompt))
            return prompt
        wanted = [block for group in params["remote_block_ids"] for block in group]
        fetched = await _fetch(params["remote_host"], params["remote_port"], wanted)
        self._count("external_kv_transfer", len(prompt))
        self.reads.append(len(wanted) * BLOCK_BYTES)
        return fetched

    def publish(self, prompt: list[int]) -> dict[str, Any]:
        """Keep the prompt's blocks, and say where they are."""
        parts = [prompt[start : start + BLOCK_SIZE] for start in range(0, len(prompt), BLOCK_SIZE)]
        blocks = {next(self.ids): part for part in parts}
        self.blocks |= blocks
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(blocks)],
            "remote_engine_id": f"double-{self.port}",
            "remote_request_id": f"cmpl-{next(self.ids)}",
            "remote_host": "127.0.0.1",
            "remote_port": self.port,
            "tp_size": 1,
        }

    def metrics(self) -> str:
        """As vLLM names them."""
        block_size = self.does.get("block_size", BLOCK_SIZE)
        lines = [
            "# TYPE vllm:kv_cache_usage_perc gauge",
            "vllm:kv_cache_usage_perc 0.0",
            "# TYPE vllm:cache_config_info gauge",
            f'vllm:cache_config_info{{block_size="{block_size}",enable_prefix_caching="False"}} 1.0',
            "# TYPE vllm:prompt_tokens_by_source_total counter",
        ]
        for source in ("external_kv_transfer", "local_cache_hit", "local_compute"):
            count = self.sources.get(source, 0)
            lines.append(f'vllm:prompt_tokens_by_source_total{{source="{source}"}} {count}')
        lines += [
            "# TYPE vllm:nixl_bytes_transferred histogram",
            f'vllm:nixl_bytes_transferred_bucket{{le="+Inf"}} {len(self.reads)}',
            f"vllm:nixl_bytes_transferred_count {len(self.reads)}",
            f"vllm:nixl_bytes_transferred_sum {sum(self.reads)}",
        ]
        return "\n".join(lines) + "\n"

    def _count(self, source: str, tokens: int) -> None:
        self.sources[source] = self.sources.get(source, 0) + tokens


async def _fetch(host: str, port: int, blocks: list[int]) -> list[int]:
    reader, writer = await asyncio.open_connection(host, port)
    names = ",".join(map(str, blocks))
    writer.write(f"GET /kv/{names} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    tokens: list[int] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return tokens


def following(kv: list[int]) -> int:
    """The token that comes after these."""
    digest = sha256(",".join(map(str, kv)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % VOCABULARY


def continued(kv: list[int], count: int) -> list[int]:
    """So many tokens after these."""
    tokens = list(kv)
    for _ in range(count):
        tokens.append(following(tokens))
    return tokens[len(kv) :]


async def generate(http: Request) -> Response:
    """Completions and chats."""
    engine: Engine = http.app.state.engine
    body = await http.json()
    does = engine.does | body.get("double", {}).get(engine.role, {})
    if "logs" in does:
        _say(does["logs"])
    if "dies" in does:
        _say("about to die")
        os._exit(does["dies"])
    if "refuses" in does:
        return JSONResponse({"error": {"message": "not today"}}, status_code=does["refuses"])
    is_chat, params = "messages" in body, body.get("kv_transfer_params") or {}
    prompt = _tokens(body["messages"][-1]["content"] if is_chat else body["prompt"])
    kv = await engine.kv_of(prompt, params, moves_nothing="moves_nothing" in does)
    answer = continued(kv, body["max_tokens"])
    if "wrong_token" in does:
        position = does["wrong_token"]
        answer[position] = (answer[position] + 7) % VOCABULARY
    choice = _chat(answer, does, body) if is_chat else _completion(answer, does, body)
    ids = {"prompt_token_ids": prompt}
    return JSONResponse(
        {
            "id": f"cmpl-{http.headers.get('x-request-id')}",
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "length", "token_ids": answer, **ids, **choice}],
            "usage": {
                "prompt_tokens": len(prompt) + does.get("miscounts", 0),
                "completion_tokens": len(answer),
            },
            "kv_transfer_params": engine.publish(prompt) if params.get("do_remote_decode") else None,
            **ids,
        }
    )


def _completion(answer: list[int], does: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    tops = [_candidates(token, does) for token in answer]
    logprobs = {
        "tokens": [next(iter(top)) for top in tops],
        "token_logprobs": [next(iter(top.values())) for top in tops],
        "top_logprobs": tops,
    }
    return {"text": _text(answer), "logprobs": logprobs if body.get("logprobs") else None}


def _chat(answer: list[int], does: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    tops = [
        [{"token": name, "logprob": value} for name, value in _candidates(token, does).items()]
        for token in answer
    ]
    content = [{**top[0], "top_logprobs": top} for top in tops]
    message = {"role": "assistant", "content": _text(answer)}
    return {"message": message, "logprobs": {"content": content} if body.get("logprobs") else None}


def _candidates(token: int, does: dict[str, Any]) -> dict[str, float]:
    others = [(token + number) % VOCABULARY for number in range(len(_CANDIDATES))]
    drift = does.get("drift", 0.0)
    return {f"token_id:{other}": value + drift for other, value in zip(others, _CANDIDATES, strict=True)}


def _tokens(prompt: list[int] | str) -> list[int]:
    if isinstance(prompt, list):
        return prompt
    return [sum(word.encode()) % VOCABULARY for word in prompt.split()]


def _text(tokens: list[int]) -> str:
    return "".join(f" t{token}" for token in tokens)


async def kv(http: Request) -> Response:
    """What decode fetches."""
    blocks = http.app.state.engine.blocks
    wanted = [int(name) for name in http.path_params["blocks"].split(",") if name]
    return JSONResponse([token for block in wanted for token in blocks[block]])


async def probe(http: Request) -> Response:
    """The small ones."""
    engine: Engine = http.app.state.engine
    if http.url.path == "/metrics":
        return PlainTextResponse("" if "no_metrics" in engine.does else engine.metrics())
    if http.url.path == "/version":
        return JSONResponse({"version": engine.version})
    if http.url.path == "/v1/models":
        told = {"id": engine.does.get("model", "double"), "max_model_len": 256}
        return JSONResponse({"data": [told | {"root": None} | engine.does | {"id": told["id"]}]})
    return JSONResponse({"success": True})


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--role", required=True)
    parser.add_argument("--does", type=json.loads, default={})
    options = parser.parse_args()
    does: dict[str, Any] = options.does
    _say(f"{options.role} loads")
    time.sleep(does.get("loads_s", 0.0))
    if "fails" in does or Path("broken").exists():
        _say(does.get("fails", "broken"))
        sys.exit(3)
    app = Starlette(
        routes=[
            Route("/v1/completions", generate, methods=["POST"]),
            Route("/v1/chat/completions", generate, methods=["POST"]),
            Route("/kv/{blocks}", kv),
            *(Route(path, probe) for path in ("/health", "/metrics", "/version", "/v1/models")),
            Route("/reset_prefix_cache", probe, methods=["POST"]),
        ]
    )
    app.state.engine = Engine(
        role=options.role, port=options.port, does=does, version=os.environ.get(VERSION_VARIABLE, "0.0.1")
    )
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", ws="none", lifespan="off")


if __name__ == "__main__":
    main()
