"""/v1/chat/completions."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from pdtest.embedded.engine.api import body, schema
from pdtest.embedded.engine.api.choice import Choice, Delta, Position
from pdtest.embedded.engine.api.encoding import compact, quoted
from pdtest.embedded.engine.api.generation import Generation
from pdtest.embedded.engine.api.logprobs import chat_logprobs, prompt_logprobs
from pdtest.embedded.engine.api.schema import ChatRequest
from pdtest.embedded.engine.api.service import Service
from pdtest.embedded.engine.api.streaming import answer, event
from pdtest.embedded.engine.api.usage import counts
from pdtest.embedded.model.tokenizer import conversation


async def chat(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Raises ApiError as long as nothing was sent."""
    http = Request(scope, receive)
    request = schema.chat(await body.read(http))
    options = request.options
    service.check_model(options.model)
    prompt = conversation((message.role, message.content) for message in request.messages)
    request_id = service.request_id(http.headers, options)
    generation = service.generation("chatcmpl", request_id, options, [prompt], http.headers)
    form = ChatForm(service, f"chatcmpl-{request_id}", request, prompt, generation)
    with service.counted():
        await answer(generation, form, stream=options.stream, receive=receive, send=send)


class ChatForm:
    """The shapes of vLLM 0.32's ChatCompletionResponse and ChatCompletionStreamResponse."""

    def __init__(
        self, service: Service, name: str, request: ChatRequest, prompt: str, generation: Generation
    ) -> None:
        self._service = service
        self._request = request
        self._options = request.options
        self._generation = generation
        self._prompt = prompt
        self._created = int(time.time())
        self._name = name
        self._chunk_head = compact(self._head("chat.completion.chunk"))[:-1] + ',"choices":[{"index":'
        self._cached_by: Choice | None = None

    def whole(self) -> dict[str, Any]:
        """A ChatCompletionResponse."""
        choices = self._generation.choices
        last = self._generation.finished[-1]
        with_prompt = self._options.prompt_logprobs is not None
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(choice) for choice in choices],
            "service_tier": None,
            "system_fingerprint": self._service.fingerprint,
            "usage": {
                **counts(choices),
                "prompt_tokens_details": self._details(last, multimodal_tokens=None),
                "completion_tokens_details": None,
            },
            "prompt_logprobs": prompt_logprobs(last.prompt_positions) if with_prompt else None,
            "prompt_token_ids": last.sequence.prompt if self._options.return_token_ids else None,
            "prompt_text": self._prompt if self._request.return_prompt_text else None,
            "kv_transfer_params": last.handover,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def opening(self) -> str:
        """For each choice a chunk with the role."""
        prompt = self._generation.choices[0].sequence.prompt
        usage = ""
        if self._options.continuous_usage:
            usage = f',"usage":{compact(_running(len(prompt), 0))}'
        ids = compact(prompt) if self._options.return_token_ids else "null"
        text = quoted(self._prompt) if self._request.return_prompt_text else "null"
        delta = compact({"role": self._request.role, "content": ""})
        return "".join(
            event(
                f'{self._chunk_head}{choice.index},"delta":{delta},"logprobs":null,"finish_reason":null}}]'
                f'{usage},"prompt_token_ids":{ids},"prompt_text":{text}}}'
            )
            for choice in self._generation.choices
        )

    def chunk(self, choice: Choice, delta: Delta) -> str:
        """A ChatCompletionStreamResponse for one step."""
        options = self._options
        self._cached_by = self._cached_by or choice
        logprobs = "null" if options.logprobs is None else compact(self._logprobs(delta.positions))
        token_ids = compact(delta.token_ids) if options.return_token_ids else "null"
        finish = "null"
        if delta.finish is not None:
            finish = f'"{delta.finish}","stop_reason":{compact(delta.stop_reason)}'
        return event(
            f'{self._chunk_head}{choice.index},"delta":{{"content":{quoted(delta.text)}}},'
            f'"logprobs":{logprobs},"finish_reason":{finish},"token_ids":{token_ids}}}]'
            f"{self._chunk_tail(choice, delta)}}}"
        )

    def closing(self) -> str:
        """The chunk with the usage, where one was asked for."""
        if not self._options.include_usage:
            return ""
        usage = counts(self._generation.choices)
        if self._service.accounts.details and self._cached_by is not None:
            usage["prompt_tokens_details"] = self._details(self._cached_by)
        chunk = {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}
        return event(compact({**chunk, "system_fingerprint": self._service.fingerprint}))

    def _head(self, kind: str) -> dict[str, Any]:
        model = self._service.settings.served_name
        return {"id": self._name, "object": kind, "created": self._created, "model": model}

    def _details(self, choice: Choice, **more: Any) -> dict[str, Any] | None:
        accounts = self._service.accounts
        if not accounts.details:
            return None
        cached, created = accounts.cached(choice), accounts.created(choice)
        return {"cached_tokens": cached, "created_cache_tokens": created, **more}

    def _choice(self, choice: Choice) -> dict[str, Any]:
        return {
            "index": choice.index,
            "message": {
                "role": self._request.role,
                "content": choice.text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": None,
            },
            "logprobs": self._logprobs(tuple(choice.positions)),
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
            "token_ids": choice.token_ids if self._options.return_token_ids else None,
            "routed_experts": None,
        }

    def _logprobs(self, positions: tuple[Position, ...]) -> dict[str, Any] | None:
        count = self._options.logprobs
        if count is None:
            return None
        return chat_logprobs(positions, count, as_ids=self._options.token_names_as_ids)

    def _chunk_tail(self, choice: Choice, delta: Delta) -> str:
        """The last chunk of a choice has the fingerprint, unless one with the usage will follow."""
        if self._options.continuous_usage:
            usage = _running(len(choice.sequence.prompt), len(choice.token_ids))
            return f',"usage":{compact(usage)}'
        if delta.finish is not None and not self._options.include_usage:
            return f',"system_fingerprint":{quoted(self._service.fingerprint)}'
        return ""


def _running(prompt: int, completion: int) -> dict[str, Any]:
    """The usage so far, as each chunk carries it."""
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "completion_tokens_details": None,
    }
