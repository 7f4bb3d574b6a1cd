"""Engines that notice late are made to, those that need it and no others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pdtest.client.errors import Call, Unreachable
from pdtest.client.request import Request
from pdtest.environment.schema import Role
from pdtest.plugin import noticing
from pdtest.services.embedded_engine import EmbeddedEngineService
from pdtest.services.vllm import VllmService


class Engine:
    """Remembers what it was asked; does not answer at all, or not well."""

    def __init__(self, name: str, asked: list[tuple[str, int]]) -> None:
        self.name, self._asked = name, asked

    async def generate(self, request: Request) -> None:
        self._asked.append((self.name, len(request.prompt)))
        if self.name == "silent":
            await asyncio.Event().wait()
        raise Unreachable(
            Call(member=self.name, method="POST", url="http://none", timeout_s=1), reason="gone"
        )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """By whom, and of how many tokens."""
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(noticing, "endpoint_of", lambda _, name, __: Engine(name, seen))
    monkeypatch.setattr(noticing, "_PATIENCE_S", 0.1)
    return seen


def cluster(*contract: str, service: Any = None, **members: tuple[Role, bool]) -> Any:
    runs = service or VllmService()
    return SimpleNamespace(
        environment=SimpleNamespace(connector=SimpleNamespace(contract=contract)),
        members={
            name: SimpleNamespace(role=role, alive=alive, service=runs)
            for name, (role, alive) in members.items()
        },
    )


def test_prefill_of_nixl_is_asked_for_a_token(asked: list[tuple[str, int]]) -> None:
    members = {
        "prefill": (Role.PREFILL, True),
        "silent": (Role.PREFILL, True),
        "dead": (Role.PREFILL, False),
        "decode": (Role.DECODE, True),
        "colocated": (Role.COLOCATED, True),
    }
    noticing.make_notice(cluster("nixl", "example", **members))
    assert sorted(asked) == [("prefill", 1), ("silent", 1)]


def test_an_engine_that_hears_of_it_at_once_is_not_asked(asked: list[tuple[str, int]]) -> None:
    noticing.make_notice(cluster("nixl", service=EmbeddedEngineService(), prefill=(Role.PREFILL, True)))
    assert asked == []


def test_where_nobody_counts_late_reads_nobody_is_asked(asked: list[tuple[str, int]]) -> None:
    noticing.make_notice(cluster("p2p-nccl", prefill=(Role.PREFILL, True)))
    assert asked == []
