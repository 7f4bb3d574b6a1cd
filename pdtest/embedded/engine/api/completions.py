"""/v1/completions."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from pdtest.embedded.engine.api import body, schema
from pdtest.embedded.engine.api.choice import Choice, Delta
from pdtest.embedded.engine.api.encoding import compact, quoted
from pdtest.embedded.engine.api.generation import Generation
from pdtest.embedded.engine.api.logprobs import completion_logprobs, prompt_logprobs
from pdtest.embedded.engine.api.schema import Options
from pdtest.embedded.engine.api.service import Service
from pdtest.embedded.engine.api.streaming import answer, event
from pdtest.embedded.engine.api.usage import counts


async def completions(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Raises ApiError as long as nothing was sent."""
    http = Request(scope, receive)
    request = schema.completion(await body.read(http))
    options = request.options
    service.check_model(options.model)
    request_id = service.request_id(http.headers, options)
    generation = service.generation("cmpl", request_id, options, request.prompts, http.headers)
    form = CompletionForm(service, f"cmpl-{request_id}", options, generation)
    with service.counted():
        await answer(generation, form, stream=options.stream, receive=receive, send=send)


class CompletionForm:
    """The shapes of vLLM 0.32's CompletionResponse and CompletionStreamResponse."""

    def __init__(self, service: Service, name: str, options: Options, generation: Generation) -> None:
        self._service = service
        self._options = options
        self._generation = generation
        self._head = {
            "id": name,
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.settings.served_name,
        }
        self._chunk_head = compact(self._head)[:-1] + ',"choices":[{"index":'
        #: Per choice: the offset of the next token in the text that its labels make.
        self._offsets = [0] * len(generation.choices)
        self._cached_by: Choice | None = None

    def whole(self) -> dict[str, Any]:
        """A CompletionResponse."""
        choices = self._generation.choices
        first_prompt = [choice for choice in self._generation.finished if choice.prompt_index == 0]
        last_prompt = choices[-1].prompt_index
        last = [choice for choice in self._generation.finished if choice.prompt_index == last_prompt][-1]
        details = {
            "cached_tokens": self._service.accounts.cached(last),
            "created_cache_tokens": None,
            "multimodal_tokens": None,
        }
        return {
            **self._head,
            "choices": [self._choice(choice) for choice in choices],
            "service_tier": None,
            "system_fingerprint": self._service.fingerprint,
            "usage": {
                **counts(choices),
                "prompt_tokens_details": details if self._service.accounts.details else None,
                "completion_tokens_details": None,
            },
            "kv_transfer_params": first_prompt[-1].handover,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def opening(self) -> str:
        """Nothing comes before the first token."""
        return ""

    def chunk(self, choice: Choice, delta: Delta) -> str:
        """A CompletionStreamResponse for one step."""
        options = self._options
        self._cached_by = self._cached_by or choice
        ids = compact(delta.token_ids) if options.return_token_ids else "null"
        first = len(choice.token_ids) == len(delta.token_ids)
        prompt_ids = compact(choice.sequence.prompt) if first and options.return_token_ids else "null"
        finish = "null" if delta.finish is None else f'"{delta.finish}"'
        reason = "null" if delta.stop_reason is None else compact(delta.stop_reason)
        return event(
            f'{self._chunk_head}{choice.index},"text":{quoted(delta.text)},'
            f'"logprobs":{self._chunk_logprobs(choice, delta)},"finish_reason":{finish},'
            f'"stop_reason":{reason},"prompt_token_ids":{prompt_ids},"token_ids":{ids}}}]'
            f"{self._chunk_tail(choice, delta)}}}"
        )

    def closing(self) -> str:
        """The chunk with the usage, where one was asked for."""
        if not self._options.include_usage:
            return ""
        usage = counts(self._generation.choices)
        if self._service.accounts.details and self._cached_by is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self._service.accounts.cached(self._cached_by)}
        return event(
            compact(
                {
                    **self._head,
                    "choices": [],
                    "usage": usage,
                    "system_fingerprint": self._service.fingerprint,
                }
            )
        )

    def _choice(self, choice: Choice) -> dict[str, Any]:
        options = self._options
        with_prompt = options.prompt_logprobs is not None
        return {
            "index": choice.index,
            "text": choice.text,
            "logprobs": self._logprobs(choice, tuple(choice.positions)),
            "finish_reason": choice.finish,
            "stop_reason": choice.stop_reason,
            "token_ids": choice.token_ids if options.return_token_ids else None,
            "prompt_logprobs": prompt_logprobs(choice.prompt_positions) if with_prompt else None,
            "prompt_token_ids": choice.sequence.prompt if options.return_token_ids else None,
            "routed_experts": None,
        }

    def _logprobs(self, choice: Choice, positions: tuple[Any, ...]) -> dict[str, Any] | None:
        count = self._options.logprobs
        if count is None:
            return None
        found = completion_logprobs(
            positions,
            count,
            as_ids=self._options.token_names_as_ids,
            offset=self._offsets[choice.index],
        )
        self._offsets[choice.index] += sum(map(len, found["tokens"]))
        return found

    def _chunk_logprobs(self, choice: Choice, delta: Delta) -> str:
        return "null" if self._options.logprobs is None else compact(self._logprobs(choice, delta.positions))

    def _chunk_tail(self, choice: Choice, delta: Delta) -> str:
        """The last chunk of a choice has the fingerprint, unless one with the usage will follow."""
        if self._options.continuous_usage:
            return f',"usage":{compact(counts([choice]))}'
        if delta.finish is not None and not self._options.include_usage:
            return f',"system_fingerprint":{quoted(self._service.fingerprint)}'
        return ""
