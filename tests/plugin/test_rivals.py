from __future__ import annotations

from typing import Any

from pdtest.environment.schema import Environment
from pdtest.plugin.rivals import rivals
from tests.cluster.fakes import environment_of


def one(name: str, *devices: int, kind: str = "cuda", **of: Any) -> Environment:
    hosts = {"local": {"devices": {"kind": kind, "ids": [0, 1, 2, 3], **of}}}
    made = environment_of({"decode": {"devices": list(devices)}}, hosts)
    return made.model_copy(update={"name": name})


def test_who_wants_a_device_in_common_is_with_the_first_of_them_also_over_a_third() -> None:
    found = rivals([one("a", 0), one("b", 1), one("c", 2, 3), one("between", 0, 1), one("d", 1)])
    assert found == dict.fromkeys(("a", "b", "between", "d"), "a")


def test_other_kinds_shared_devices_and_none_at_all_are_in_nobodys_way() -> None:
    assert not rivals([one("a", 0), one("b", 0, kind="ascend"), one("c"), one("d")])
    assert not rivals([one(name, 0, kind="core", shared=True) for name in ("a", "b")])
