from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from pdtest.services import registry
from pdtest.services.command import CommandService


class Theirs(CommandService):
    name = "theirs"


@pytest.fixture
def _fresh() -> Iterator[None]:
    registry.services.cache_clear()
    yield
    registry.services.cache_clear()


def test_every_service_is_found_under_its_own_name() -> None:
    assert {"vllm", "vllm-router", "toy-proxy", "command"} <= set(registry.services())
    assert all(name == service.name for name, service in registry.services().items())


@pytest.mark.usefixtures("_fresh")
def test_an_installed_package_adds_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", f"{__name__}:Theirs", registry.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _: Theirs)
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [entry] if group == registry.GROUP else [])
    assert isinstance(registry.services()["theirs"], Theirs)
