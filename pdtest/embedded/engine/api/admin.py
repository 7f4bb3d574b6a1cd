"""What an engine answers beside completions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from pdtest.embedded.engine.api import body
from pdtest.embedded.engine.api.encoding import compact, encoded
from pdtest.embedded.engine.api.errors import Malformed, Problem
from pdtest.embedded.engine.api.fields import Fields
from pdtest.embedded.engine.api.schema import conversation
from pdtest.embedded.engine.api.service import VERSION, Service
from pdtest.embedded.model import tokenizer

_METRICS: Final = "text/plain; version=1.0.0; charset=utf-8"


class Admin:
    """Handlers for starlette's routes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _request: Request) -> Response:
        """Nothing, with status 200."""
        return Response()

    async def models(self, _request: Request) -> Response:
        """The one model that is served."""
        settings = self._service.settings
        permission = {
            "id": f"modelperm-{uuid.uuid4().hex[:16]}",
            "object": "model_permission",
            "created": self._service.started,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        card = {
            "id": settings.served_name,
            "object": "model",
            "created": self._service.started,
            "owned_by": "vllm",
            "root": str(settings.model),
            "parent": None,
            "max_model_len": settings.max_model_len,
            "permission": [permission],
        }
        return _json({"object": "list", "data": [card]})

    async def version(self, _request: Request) -> Response:
        """Whose behaviour it has."""
        return _json({"version": VERSION})

    async def server_info(self, request: Request) -> Response:
        """How it is set up, as vLLM says in development mode (0.32, serve/dev/server_info/api_router.py)."""
        settings = self._service.settings
        config = {
            "model_config": {
                "model": str(settings.model),
                "max_model_len": settings.max_model_len,
                "dtype": "torch.float32",
            },
            "cache_config": {
                "block_size": settings.block_size,
                "enable_prefix_caching": settings.prefix_caching,
            },
            "parallel_config": {
                "tensor_parallel_size": settings.tensor_ranks,
                "data_parallel_size": settings.data_ranks,
            },
            "kv_transfer_config": settings.kv_transfer_config,
        }
        as_json = request.query_params.get("config_format") == "json"
        return _json({"vllm_config": config if as_json else str(config), "vllm_env": {}, "system_env": {}})

    async def load(self, _request: Request) -> Response:
        """Requests that are being answered."""
        return _json({"server_load": self._service.load})

    async def metrics(self, _request: Request) -> Response:
        """All ranks' metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return Response(generate_latest(self._service.cores.registry), headers={"content-type": _METRICS})

    async def reset_prefix_cache(self, _request: Request) -> Response:
        """Forgets cached prefixes on all ranks."""
        done = [core.reset_prefix_cache() for core in self._service.cores]
        return _json({"success": all(done)})

    async def tokenize(self, request: Request) -> Response:
        """The tokens of a text or a conversation."""
        asked = await self._asked(request)
        fields = Fields(asked)
        text = _text(fields)
        with_names = fields.flag("return_token_strs")
        fields.check()
        tokens = tokenizer.encode(text)
        names = [tokenizer.name(token) for token in tokens] if with_names else None
        most = self._service.settings.max_model_len
        return _json({"count": len(tokens), "max_model_len": most, "tokens": tokens, "token_strs": names})

    async def detokenize(self, request: Request) -> Response:
        """The text of tokens."""
        fields = Fields(await self._asked(request))
        tokens = fields.integers("tokens")
        if not fields.present("tokens"):
            fields.wrong("tokens", "a list of token ids", None)
        fields.check()
        return _json({"prompt": tokenizer.decode(tokens, skip_special=False)})

    async def _asked(self, request: Request) -> Mapping[str, Any]:
        asked = await body.read(request)
        self._service.check_model(asked.get("model"))
        return asked


def _text(fields: Fields) -> str:
    if fields.present("messages"):
        messages = conversation(fields)
        return tokenizer.conversation((message.role, message.content) for message in messages)
    if not fields.present("prompt"):
        raise Malformed([Problem(place="body.prompt", expected="a prompt or messages", seen=None)])
    return fields.text("prompt") or ""


def _json(value: Any) -> Response:
    return Response(encoded(compact(value)), media_type="application/json")
