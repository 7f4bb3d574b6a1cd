"""A member's HTTP interface: requests for tokens, metrics, and the few others that tests need."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx

from pdtest.client.answer import Answer
from pdtest.client.death import Deathwatch
from pdtest.client.errors import EXCERPT, Call, HttpStatusError, MalformedAnswer, RequestFailed
from pdtest.client.exchange import Reply, exchange
from pdtest.client.generation import Generation
from pdtest.client.metrics import Metrics
from pdtest.client.request import Request
from pdtest.client.secrets import mask_json
from pdtest.events.handoff import RequestAbandoned, RequestAnswered, RequestErrored, RequestSent
from pdtest.events.record import Event
from pdtest.wire.contract import Introduction, Params, Station

_OK = 200
_NOT_FOUND = 404


def new_request_id() -> str:
    """An id that no other request has. vLLM puts a prefix before it and random letters behind."""
    return f"pdtest-{uuid.uuid4().hex}"


@dataclass(frozen=True)
class Endpoint:
    """A member that answers HTTP. Make one per member; ``dataclasses.replace`` gives it to another test.

    ``ports`` are all that its service has, by name. ``http`` is shared, and closed by whoever made it.
    ``died`` resolves when the member ends by itself: requests that wait for it then raise MemberGone.
    ``on_event`` is told of every request for tokens, secrets masked. ``timeout_s`` is for a whole answer,
    ``probe_timeout_s`` for the other requests. Every method raises RequestFailed errors
    (`pdtest.client.errors`).
    """

    name: str
    url: str
    _: KW_ONLY
    model: str
    http: httpx.AsyncClient = field(repr=False)
    ports: Mapping[str, int] = field(default_factory=dict, repr=False)
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    probe_timeout_s: float = 10.0
    died: Future[Any] | None = field(default=None, repr=False)
    on_event: Callable[[Event], None] | None = field(default=None, repr=False)
    test: str = ""
    _watch: Deathwatch = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_watch", Deathwatch(self.died))

    @property
    def secrets(self) -> frozenset[str]:
        """What must not be written down."""
        return frozenset({self.api_key} if self.api_key else ())

    @property
    def station(self) -> Station:
        """Where its peers reach it."""
        parts = urlsplit(self.url)
        return Station(address=parts.hostname or "", ports=self.ports)

    async def generate(
        self,
        request: Request,
        *,
        kv_transfer_params: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send ``request`` and wait for the complete answer. ``headers`` go along with it.

        Raises HttpStatusError, RequestTimedOut, Unreachable, BrokenStream, MalformedAnswer and
        MemberGone. Cancelling it closes the connection, as a client that walks away does.
        """
        body = request.body(self.model)
        if kv_transfer_params is not None:
            body["kv_transfer_params"] = dict(kv_transfer_params)
        call = self._post(request.path, request_id or new_request_id(), body, headers or {})
        self._tell_sent(call, request, body.get("kv_transfer_params"))
        started = time.perf_counter()
        try:
            answer = await self._watch.guard(call, self._generate(call, request))
        except RequestFailed as error:
            self._tell_errored(error, time.perf_counter() - started)
            raise
        except asyncio.CancelledError:
            self._tell_abandoned(call, time.perf_counter() - started)
            raise
        self._tell_answered(answer)
        return answer

    async def metrics(self, *names: str) -> Metrics:
        """A snapshot of /metrics; of these names only, which is cheaper, if any are given."""
        call, reply = await self._get("/metrics")
        try:
            return Metrics.parse(reply.text, names)
        except ValueError as error:
            raise MalformedAnswer(call, reason=str(error), status=_OK, body=reply.text) from error

    async def health(self, path: str = "/health") -> bool:
        """True when the member calls itself healthy, False when it answers anything but 200."""
        return (await self._probe("GET", path))[1].status == _OK

    async def reset_prefix_cache(self) -> bool:
        """Empty the member's prefix cache.

        False when it did not: the server has no such endpoint (vLLM has it with
        VLLM_SERVER_DEV_MODE=1 only), or blocks are still in use (vLLM 0.32 says so in the body).
        """
        call, reply = await self._probe("POST", "/reset_prefix_cache")
        if reply.status == _NOT_FOUND:
            return False
        _require_ok(call, reply)
        return not reply.content or _json(call, reply).get("success") is not False

    async def version(self) -> str | None:
        """The server's version; None when it does not tell."""
        call, reply = await self._probe("GET", "/version")
        if reply.status == _NOT_FOUND:
            return None
        _require_ok(call, reply)
        return str(_json(call, reply).get("version"))

    async def models(self) -> tuple[str, ...]:
        """The names under which the member serves models."""
        call, reply = await self._get("/v1/models")
        try:
            return tuple(str(model["id"]) for model in _json(call, reply)["data"])
        except (KeyError, TypeError) as error:
            raise MalformedAnswer(call, reason="no list of models", status=_OK, body=reply.text) from error

    async def document(self, path: str) -> dict[str, Any] | None:
        """A JSON object that the member serves; None where it has no such path."""
        call, reply = await self._probe("GET", path)
        if reply.status == _NOT_FOUND:
            return None
        _require_ok(call, reply)
        return _json(call, reply)

    async def command(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A request to an interface of this member's own, and its reply, whatever its status."""
        return (await self._probe(method, path, body=body, headers=headers or {}))[1]

    async def introduced(self, introduction: Introduction) -> Params:
        """What decode must be told to find this member, from a port of its own for that."""
        base = self.station.url(introduction.port)
        call, reply = await self._probe("GET", introduction.path, base=base)
        _require_ok(call, reply)
        try:
            return introduction.read(base, _json(call, reply))
        except ValueError as error:
            raise MalformedAnswer(call, reason=str(error), status=_OK, body=reply.text) from error

    async def _generate(self, call: Call, request: Request) -> Answer:
        reply = Reply()
        generation = Generation(call, request, reply)
        await exchange(self.http, call, reply, consume=generation.consume)
        return generation.answer()

    async def _get(self, path: str) -> tuple[Call, Reply]:
        call, reply = await self._probe("GET", path)
        _require_ok(call, reply)
        return call, reply

    async def _probe(
        self,
        method: str,
        path: str,
        *,
        base: str | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[Call, Reply]:
        call = Call(
            member=self.name,
            method=method,
            url=self._at(path) if base is None else base + path,
            timeout_s=self.probe_timeout_s,
            json=body,
            headers={**self._authorization(), **headers},
            secrets=self.secrets,
        )
        reply = Reply()
        await self._watch.guard(call, exchange(self.http, call, reply))
        return call, reply

    def _post(self, path: str, request_id: str, body: dict[str, Any], headers: Mapping[str, str]) -> Call:
        return Call(
            member=self.name,
            method="POST",
            url=self._at(path),
            timeout_s=self.timeout_s,
            request_id=request_id,
            json=body,
            headers={**headers, "X-Request-Id": request_id, **self._authorization()},
            secrets=self.secrets,
        )

    def _at(self, path: str) -> str:
        return self.url.rstrip("/") + path

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def _tell(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)

    def _tell_sent(self, call: Call, request: Request, params: dict[str, Any] | None) -> None:
        self._tell(
            RequestSent(
                member=self.name,
                request_id=call.request_id or "",
                test=self.test,
                path=request.path,
                digest=request.digest(),
                prompt_tokens=request.prompt_tokens,
                max_tokens=request.max_tokens,
                n=request.n,
                stream=request.stream,
                params=mask_json(params, self.secrets),
            )
        )

    def _tell_answered(self, answer: Answer) -> None:
        self._tell(
            RequestAnswered(
                member=self.name,
                request_id=answer.request_id,
                test=self.test,
                status=answer.status,
                prompt_tokens=answer.usage.prompt_tokens,
                completion_tokens=answer.usage.completion_tokens,
                cached_tokens=answer.usage.cached_tokens,
                finish_reasons=tuple(choice.finish_reason for choice in answer.choices),
                params=mask_json(answer.kv_transfer_params, self.secrets),
                first_byte_s=answer.timings.first_byte_s,
                first_token_s=answer.timings.first_token_s,
                last_token_s=answer.timings.last_token_s,
                total_s=answer.timings.total_s,
                answer_digest=answer.digest(),
            )
        )

    def _tell_errored(self, error: RequestFailed, elapsed_s: float) -> None:
        self._tell(
            RequestErrored(
                member=self.name,
                request_id=error.request_id or "",
                test=self.test,
                error=type(error).__name__,
                message=str(error),
                status=error.status,
                body=None if error.body is None else error.body[:EXCERPT],
                elapsed_s=elapsed_s,
            )
        )

    def _tell_abandoned(self, call: Call, elapsed_s: float) -> None:
        self._tell(
            RequestAbandoned(
                member=self.name, request_id=call.request_id or "", test=self.test, elapsed_s=elapsed_s
            )
        )


def _require_ok(call: Call, reply: Reply) -> None:
    if reply.status != _OK:
        raise HttpStatusError(call, status=reply.status or 0, body=reply.text)


def _json(call: Call, reply: Reply) -> dict[str, Any]:
    try:
        parsed = json.loads(reply.content)
    except ValueError as error:
        raise MalformedAnswer(call, reason=f"not JSON: {error}", status=_OK, body=reply.text) from error
    if not isinstance(parsed, dict):
        raise MalformedAnswer(call, reason="not an object", status=_OK, body=reply.text)
    return parsed
