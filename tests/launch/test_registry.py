from __future__ import annotations

import pytest

from pdtest.launch import registry
from pdtest.launch.attach import AttachLauncher


class Rocket(AttachLauncher):
    name = "rocket"


def test_ours_are_known() -> None:
    assert {name: launcher.starts for name, launcher in registry.launchers().items()} == {
        "local": True,
        "ssh": True,
        "ray": True,
        "attach": False,
    }


def test_other_packages_add_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> type[Rocket]:
            return Rocket

    def entry_points(group: str) -> list[Point]:
        assert group == "pdtest.launchers"
        return [Point()]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert isinstance(registry.launchers()["rocket"], Rocket)
