"""The two requests that a handoff is made of, each sent to one instance."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pdtest.embedded.connections import Broken, Connections, Response, Unreached, described
from pdtest.embedded.proxy.contracts.contract import Params
from pdtest.embedded.proxy.dispatch import Dispatcher
from pdtest.embedded.proxy.errors import Failure, PassedOn
from pdtest.embedded.proxy.instances import Instance, Side
from pdtest.embedded.proxy.lengths import PromptLengths
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.path import Path
from pdtest.embedded.proxy.usage import Reading, Usage
from pdtest.embedded.proxy.work import Outcome, Work

log = logging.getLogger(__name__)


class LegFailed(Exception):
    """An instance did not do its leg. ``unreached``: it never saw the request."""

    def __init__(self, instance: Instance, reason: str, *, unreached: bool = False) -> None:
        super().__init__(f"{instance.side} leg: {instance.address} {reason}")
        self.instance = instance
        self.unreached = unreached

    @property
    def may_be_repeated(self) -> bool:
        """By another instance. What decode has begun is not."""
        return self.unreached or self.instance.side is Side.PREFILL

    @property
    def failure(self) -> Failure:
        """What the client is told when nobody else is there: 503 if nothing was tried, else 502."""
        status = HTTPStatus.SERVICE_UNAVAILABLE if self.unreached else HTTPStatus.BAD_GATEWAY
        return Failure(status, str(self))


@dataclass(frozen=True, kw_only=True)
class PrefillAnswer:
    """What prefill said that matters: its kv_transfer_params."""

    params: Params | None


class Decoding:
    """Decode's answer, whose status is known, and whose body is still coming.

    ``prefill`` is who computed the prompt, None while that is not known. ``path`` is the way that the
    request took. ``on_end`` hears whether it came to a good end, ``on_answer`` of a good answer, once it is
    there.
    """

    def __init__(self, response: Response, work: Work) -> None:
        self.response = response
        self.decode = work.instance
        self.prefill: Instance | None = None
        self.path = Path.PREFILL
        self.on_end: Callable[[bool], None] = lambda _: None
        self.on_answer: Callable[[Reading], None] = lambda _: None
        self._reading = Reading(response.header(b"content-type"))
        self._work = work
        self._held: bytes | None = None

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.response.status

    @property
    def is_good(self) -> bool:
        """Whether the answer is one, and not an error."""
        return self.status < HTTPStatus.BAD_REQUEST

    async def begin(self) -> None:
        """Wait for the first bytes; `read` gives them. May be cancelled without loss. Raises Broken."""
        self._held = await self.response.read()

    async def read(self) -> bytes:
        """What has come since; waits for something. Empty at the end. Raises Broken."""
        if self._held is None:
            chunk = await self.response.read()
        else:
            chunk, self._held = self._held, None
        self._work.generated(self._reading.add(chunk))  # an event brings about a token
        return chunk

    def end(self, outcome: Outcome) -> None:
        """It is over; unless it is done, the connection is closed, which aborts the request."""
        if outcome is not Outcome.DONE:
            self.response.close()
        elif self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            outcome = Outcome.FAILED
        self._work.end(outcome)
        well = outcome is Outcome.DONE and self.is_good
        self.on_end(well)
        if well:
            self.on_answer(self._reading)


class Legs:
    """Sends legs, books them, and leaves out instances that cannot be reached."""

    def __init__(self, connections: Connections, dispatcher: Dispatcher, lengths: PromptLengths) -> None:
        self._connections = connections
        self._dispatcher = dispatcher
        self._lengths = lengths

    async def prefill(
        self, instance: Instance, request: ClientRequest, content: bytes, headers: Mapping[str, str]
    ) -> PrefillAnswer:
        """Prefill's answer. Raises LegFailed, and PassedOn when the request itself is at fault."""
        with self._dispatcher.begin(instance, request) as work:
            try:
                response = await self._connections.send(
                    "POST", instance.address, request.path, headers, content
                )
                answered = await response.read_all()
            except Broken as error:
                raise self._broken(instance, error) from error
            if response.status != HTTPStatus.OK:
                self._refused(work, response, answered)
            return self._understood(instance, request, answered)

    async def decode(
        self, instance: Instance, request: ClientRequest, params: Params | None, request_id: str
    ) -> Decoding:
        """Decode's answer as soon as its status is known, whatever it is. Raises LegFailed."""
        work = self._dispatcher.begin(instance, request)
        try:
            response = await self._connections.send(
                "POST",
                instance.address,
                request.path,
                request.headers(request_id),
                request.for_decode(params),
            )
        except Broken as error:
            work.end(Outcome.FAILED)
            raise self._broken(instance, error) from error
        except BaseException:
            work.end(Outcome.ABORTED)
            raise
        return Decoding(response, work)

    def _broken(self, instance: Instance, error: Broken) -> LegFailed:
        if isinstance(error, Unreached):
            why = f"cannot be reached ({error})"
            self._dispatcher.pool.take_out(instance, why)
            log.warning("%s %s is out: it %s", instance.side, instance.address, why)
            return LegFailed(instance, why, unreached=True)
        return LegFailed(instance, f"broke the connection ({described(error)})")

    @staticmethod
    def _refused(work: Work, response: Response, answered: bytes) -> None:
        if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            work.end(Outcome.DONE)
            raise PassedOn(response.status, answered, response.header(b"content-type") or "text/plain")
        said = answered[:500].decode(errors="replace")
        raise LegFailed(work.instance, f"answered {response.status}: {said}")

    def _understood(self, instance: Instance, request: ClientRequest, answered: bytes) -> PrefillAnswer:
        try:
            body: Mapping[str, Any] = json.loads(answered)
            params = body.get("kv_transfer_params")
            usage = Usage.of(body)
        except (AttributeError, ValueError) as error:
            raise LegFailed(instance, f"answered 200 and no JSON object: {answered[:200]!r}") from error
        if usage is not None:
            instance.computed(usage)
            self._lengths.learn(request.body, usage.prompt)
            request.prompt_tokens = usage.prompt
        return PrefillAnswer(params=params)
