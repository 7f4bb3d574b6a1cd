"""Who a router sends requests to, and how that is changed while it runs.

Facts: vllm-router 0.1.17, tried; vllm-ascend's load_balance_proxy_server_example.py and vLLM's
disagg_proxy_demo.py, both main of August 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

from pdtest.client.endpoint import Endpoint
from pdtest.client.exchange import Reply
from pdtest.environment.schema import Environment, Role
from pdtest.errors import PdtestError
from pdtest.routing.addresses import location

#: Addresses, ``host:port``, by what the router takes them for.
Listed = Mapping[Role, tuple[str, ...]]


class Refused(PdtestError):
    """A router did not change its instances as asked, or has no way to."""

    title = "membership unchanged"


class Membership(Protocol):
    """A router's interface for its instances.

    ``adds``, ``removes``: what it can do. What was removed gets nothing new, and what it was doing goes on.
    """

    adds: bool
    removes: bool

    async def add(self, role: Role, url: str) -> None:
        """Send requests to the member at ``url``, too. Raises Refused."""
        ...

    async def remove(self, role: Role, url: str) -> None:
        """Send no more requests to the member at ``url``. Raises Refused."""
        ...

    async def listed(self) -> Listed:
        """Those that it has now. Raises Refused."""
        ...


def membership_of(environment: Environment, router: Endpoint) -> Membership | None:
    """The interface of ``router``, a proxy of the environment; None where its program has none."""
    member = environment.members[router.name]
    match member.service:
        case "embedded-proxy":
            return EmbeddedMembership(router, key=_said(member.args, "instances-key"))
        case "vllm-router":
            return VllmRouterMembership(router)
        case "ascend-lb-proxy" | "ascend-layerwise-proxy":
            return AscendMembership(router)
        case "demo-proxy":
            return DemoMembership(router, key=_said(member.env, "ADMIN_API_KEY"))
    return None


class _Posted:
    """POST /instances/add and /instances/remove, as vLLM's demo began it. ``key`` goes as ``x-api-key``."""

    adds = True
    removes = True

    def __init__(self, router: Endpoint, *, key: str | None = None) -> None:
        self._router = router
        self._headers = {"x-api-key": key} if key else {}

    async def add(self, role: Role, url: str) -> None:
        """Raises Refused."""
        await self._post("add", self._named(role, location(url)))

    async def remove(self, role: Role, url: str) -> None:
        """Raises Refused."""
        await self._post("remove", self._named(role, location(url)))

    async def _post(self, verb: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        reply = await self._router.command("POST", f"/instances/{verb}", body=body, headers=self._headers)
        return _understood(self._router, f"POST /instances/{verb} {json.dumps(body)}", reply)

    @staticmethod
    def _named(role: Role, *addresses: str) -> dict[str, Any]:
        return {"type": role.value, "instances": list(addresses)}


class EmbeddedMembership(_Posted):
    """The embedded proxy's. Instances that were added are used once they answer GET /health."""

    async def listed(self) -> Listed:
        """From GET /instances. Raises Refused."""
        reply = await self._router.command("GET", "/instances", headers=self._headers)
        return _roles(_understood(self._router, "GET /instances", reply), "{}_instances")


class AscendMembership(_Posted):
    """vllm-ascend's. What is not up yet is added later, by itself; what is busy is removed once it is not."""

    async def listed(self) -> Listed:
        """From what it answers to an addition of nobody: it has no list to ask for. Raises Refused."""
        return _roles(await self._post("add", self._named(Role.PREFILL)), "current_{}_instances")


class DemoMembership(_Posted):
    """vLLM's demo: adds one at a time, with its ADMIN_API_KEY, and removes none that works."""

    removes = False

    async def add(self, role: Role, url: str) -> None:
        """Raises Refused."""
        await self._post("add", {"type": role.value, "instance": location(url)})

    async def remove(self, role: Role, url: str) -> None:
        """Raises Refused."""
        _refuse(self._router, f"remove {role} {url}", "it has no path for that")

    async def listed(self) -> Listed:
        """From GET /status. Raises Refused."""
        reply = await self._router.command("GET", "/status")
        return _roles(_understood(self._router, "GET /status", reply), "{}_nodes")


class VllmRouterMembership:
    """vllm-router's in prefill/decode mode. It lets go of workers and takes none.

    ``POST /workers`` and ``POST /add_worker`` answer 400, "PD router requires specific add_prefill_server or
    add_decode_server methods", and nothing over HTTP leads to those (0.1.17). To have a worker back, start
    the router anew.
    """

    adds = False
    removes = True

    def __init__(self, router: Endpoint) -> None:
        self._router = router

    async def add(self, role: Role, url: str) -> None:
        """Raises Refused, always."""
        body = {"url": url, "worker_type": role.value}
        reply = await self._router.command("POST", "/workers", body=body)
        _understood(self._router, f"POST /workers {json.dumps(body)}", reply)

    async def remove(self, role: Role, url: str) -> None:
        """Raises Refused. It answers 200 also for a worker that it does not have, so that is asked first."""
        if location(url) not in (await self.listed()).get(role, ()):
            _refuse(self._router, f"remove {role} {url}", "it has no such worker")
        reply = await self._router.command("DELETE", f"/workers/{quote(url.rstrip('/'), safe='')}")
        _understood(self._router, f"DELETE /workers/{url}", reply)

    async def listed(self) -> Listed:
        """From GET /workers. Raises Refused."""
        reply = await self._router.command("GET", "/workers")
        workers = _understood(self._router, "GET /workers", reply).get("workers", [])
        found: dict[Role, tuple[str, ...]] = {}
        for worker in workers:
            role = Role(worker["worker_type"])
            found[role] = (*found.get(role, ()), location(worker["url"]))
        return found


def _said(settings: Mapping[str, Any], name: str) -> str | None:
    """A setting, however its name is spelled. None where it is not there."""
    spelled = (value for key, value in settings.items() if key.replace("_", "-") == name.replace("_", "-"))
    return next((str(value) for value in spelled if value is not None), None)


def _roles(told: Mapping[str, Any], key: str) -> Listed:
    roles = (Role.PREFILL, Role.DECODE, Role.HYBRID)
    return {role: tuple(told[key.format(role)]) for role in roles if key.format(role) in told}


def _understood(router: Endpoint, asked: str, reply: Reply) -> Mapping[str, Any]:
    """The object that was answered. vllm-ascend's proxies say ``error`` with status 200."""
    if reply.status != HTTPStatus.OK:
        _refuse(router, asked, f"status {reply.status}: {reply.text[:300]}")
    try:
        answer = json.loads(reply.content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "error" in answer:
        _refuse(router, asked, reply.text[:300] or "an empty body")
    return answer


def _refuse(router: Endpoint, asked: str, seen: str) -> NoReturn:
    raise Refused(
        f"'{router.name}' did not do what it was asked",
        expected=asked,
        seen=seen,
        where=router.url,
        next_step=f"read the log of '{router.name}'",
    )
