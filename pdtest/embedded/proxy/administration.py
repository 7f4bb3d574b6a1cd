"""Endpoints about the proxy itself: health, figures, instances, and the metaserver."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from secrets import compare_digest
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pdtest.embedded.connections import Broken, described
from pdtest.embedded.proxy.errors import Failure
from pdtest.embedded.proxy.instances import Instance, Side, is_address
from pdtest.embedded.proxy.legs import LegFailed
from pdtest.embedded.proxy.metrics import exposition, stats
from pdtest.embedded.proxy.proxy import Proxy
from pdtest.embedded.proxy.relay import body_of

#: Who is asked for its list of models: the first side that has an instance.
_MODELS = (Side.DECODE, Side.HYBRID, Side.PREFILL)
#: For that, seconds.
_PATIENCE_S = 5.0


class Administration:
    """The handlers, over one proxy. What they raise as Failure becomes an error in OpenAI's shape."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._pool = proxy.pool

    async def health(self, _: Request) -> Response:
        """200 when requests can be served. It counts who can be used, as load-balancing proxies do."""
        usable = {f"{side}_instances": len(self._pool.usable(side)) for side in Side}
        if self._proxy.router.is_ready:
            return JSONResponse({"status": "ok", **usable})
        out = {instance.address: instance.out for instance in self._pool if instance.out is not None}
        return JSONResponse({"status": "unavailable", **usable, "out": out}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def models(self, request: Request) -> Response:
        """What an instance answers. Raises Failure."""
        side = next((side for side in _MODELS if self._pool.usable(side)), Side.PREFILL)
        instance, *_ = self._proxy.dispatcher.require(side)
        key = self._proxy.settings.key
        authorization = request.headers.get("authorization") or (f"Bearer {key}" if key else None)
        headers = {"Authorization": authorization} if authorization else {}
        try:
            answer = await self._proxy.connections.get(
                instance.address, "/v1/models", headers, timeout_s=_PATIENCE_S
            )
            content = await answer.read_all()
        except Broken as error:
            raise LegFailed(instance, f"did not tell its models ({described(error)})").failure from error
        return Response(content, answer.status, media_type=answer.header(b"content-type"))

    async def stats(self, _: Request) -> Response:
        """For people."""
        return JSONResponse(stats(self._pool, self._proxy.requests))

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(exposition(self._proxy), media_type="text/plain; version=0.0.4")

    async def instances(self, _: Request) -> Response:
        """A list per side; those that are out are among them."""
        return JSONResponse(self._listed())

    async def scaling(self, _: Request) -> Response:
        """How many instances there are, and how many there should be; of sides that have bounds."""
        return JSONResponse(
            {
                side: {
                    "now": len(self._pool.of(side)),
                    "wanted": wanted.number or wanted.bounds.least,
                    "least": wanted.bounds.least,
                    "most": wanted.bounds.most,
                }
                for side, wanted in self._proxy.pulse.wanted.items()
            }
        )

    async def add_instances(self, request: Request) -> Response:
        """They are used once they answer GET /health. Raises Failure."""
        side, addresses, ports = await self._named(request)
        for address, port in zip(addresses, ports, strict=True):
            self._pool.add(Instance(side=side, address=address, bootstrap_port=port))
        return JSONResponse(self._listed())

    async def remove_instances(self, request: Request) -> Response:
        """They get nothing more; what they are doing goes on. Raises Failure."""
        side, addresses, _ = await self._named(request)
        for address in addresses:
            instance = self._pool.find(side, address)
            if instance is None:
                raise Failure(HTTPStatus.NOT_FOUND, f"there is no {side} instance {address}")
            self._pool.remove(instance)
        return JSONResponse(self._listed())

    async def metaserver(self, request: Request) -> Response:
        """Decode's report; answered when prefill is through, so that decode hears of a failure.

        Raises Failure.
        """
        params = await self._object(request)
        named = params.get("request_id")
        meeting = self._proxy.metaserver.find(named) if isinstance(named, str) else None
        if meeting is None or meeting.leg is None:
            raise Failure(HTTPStatus.NOT_FOUND, f"no request {named!r} waits for a report")
        meeting.report(params)
        await asyncio.wait((meeting.leg,))
        if meeting.leg.cancelled():
            raise Failure(HTTPStatus.BAD_GATEWAY, f"nobody waits for {named} any more")
        if (error := meeting.leg.exception()) is not None:
            raise Failure(HTTPStatus.BAD_GATEWAY, f"prefill of {named} failed: {error}")
        return JSONResponse({"status": "ok"})

    def _listed(self) -> dict[str, list[str]]:
        return {f"{side}_instances": [one.address for one in self._pool.of(side)] for side in Side}

    async def _named(self, request: Request) -> tuple[Side, list[str], list[int | None]]:
        key = self._proxy.settings.instances_key
        given = request.headers.get("x-api-key", "")
        if key and not compare_digest(key.encode(), given.encode()):
            raise Failure(HTTPStatus.UNAUTHORIZED, "x-api-key is not the --instances-key of this proxy")
        body = await self._object(request)
        if body.get("type") not in list(Side):
            raise Failure(
                HTTPStatus.BAD_REQUEST, f"type: expected {', '.join(Side)}, seen {body.get('type')!r}"
            )
        if body["type"] == Side.HYBRID and self._proxy.contract.pairs:
            raise Failure(
                HTTPStatus.BAD_REQUEST, f"type: {self._proxy.contract.name} has no hybrid instances"
            )
        named = body.get("instances", body.get("instance"))
        addresses = [named] if isinstance(named, str) else named
        if not isinstance(addresses, list) or not all(is_address(one) for one in addresses):
            raise Failure(HTTPStatus.BAD_REQUEST, f'instances: expected ["host:port", ...], seen {named!r}')
        ports = body.get("bootstrap_ports") or [None] * len(addresses)
        if not isinstance(ports, list) or len(ports) != len(addresses):
            raise Failure(
                HTTPStatus.BAD_REQUEST, "bootstrap_ports: expected one per instance, or none at all"
            )
        return Side(body["type"]), addresses, ports

    async def _object(self, request: Request) -> dict[str, Any]:
        content = await body_of(request.receive, self._proxy.settings.most_bytes)
        try:
            body = json.loads(content or b"")
        except ValueError as error:
            raise Failure(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise Failure(HTTPStatus.BAD_REQUEST, f"expected a JSON object, seen a {type(body).__name__}")
        return body
