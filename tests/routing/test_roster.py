"""A router is told of the members that serve, and of those that do no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.routing import roster
from pdtest.routing.roster import NotTold, keep_to

ROLES = {"p": Role.PREFILL, "d": Role.DECODE, "d2": Role.DECODE, "h": Role.HYBRID, "proxy": Role.PROXY}


@dataclass
class Router:
    """Its instances, and what was asked of it."""

    listing: dict[Role, list[str]]
    adds: bool = True
    removes: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def add(self, role: Role, url: str) -> None:
        self.asked.append(("add", role, url))

    async def remove(self, role: Role, url: str) -> None:
        self.asked.append(("remove", role, url))

    async def listed(self) -> dict[Role, tuple[str, ...]]:
        return {role: tuple(urls) for role, urls in self.listing.items()}


def cluster(*standby: str) -> Cluster:
    peers = {name: SimpleNamespace(standby=name in standby) for name in ROLES}
    members = {
        name: SimpleNamespace(
            name=name,
            role=role,
            url=f"http://{name}:80",
            ports={},
            api_key=None,
            died=None,
            placement=SimpleNamespace(peers=peers),
        )
        for name, role in ROLES.items()
    }
    environment = SimpleNamespace(
        model=SimpleNamespace(name="tiny"), thresholds=SimpleNamespace(request_timeout_s=5.0)
    )
    return cast("Cluster", SimpleNamespace(environment=environment, members=members))


def told(monkeypatch: pytest.MonkeyPatch, router: Router | None) -> None:
    monkeypatch.setattr(roster, "membership_of", lambda *_: cast("Any", router))


def engines(*names: str) -> dict[str, Role]:
    return {name: ROLES[name] for name in names}


async def test_who_is_missing_is_added_and_who_is_too_much_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router({Role.PREFILL: ["p:80"], Role.DECODE: ["d:80", "d2:80"]})
    told(monkeypatch, router)

    await keep_to(cluster(), "proxy", engines("p", "d", "h"))

    assert router.asked == [("add", "hybrid", "http://h:80"), ("remove", "decode", "http://d2:80")]


async def test_one_that_changes_its_role_is_both(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router({Role.PREFILL: ["d:80"]})
    told(monkeypatch, router)

    await keep_to(cluster(), "proxy", engines("d"))

    assert router.asked == [("add", "decode", "http://d:80"), ("remove", "prefill", "http://d:80")]


async def test_a_router_that_takes_nobody_keeps_whom_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router({Role.PREFILL: ["p:80"], Role.DECODE: ["d:80", "d2:80"]}, adds=False)
    told(monkeypatch, router)

    await keep_to(cluster(), "proxy", engines("p", "d"))
    assert router.asked == []
    with pytest.raises(NotTold, match="'proxy' does not know 'h'"):
        await keep_to(cluster(), "proxy", engines("p", "d", "h"))


async def test_nor_can_one_be_told_that_has_no_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, None)

    await keep_to(cluster("h"), "proxy", engines("p", "d"))
    with pytest.raises(NotTold, match="'h'"):
        await keep_to(cluster("h"), "proxy", engines("p", "h"))
