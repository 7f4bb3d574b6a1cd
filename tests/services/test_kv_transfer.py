from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pdtest.environment.schema import Role
from pdtest.services.kv_transfer import kv_transfer_config
from pdtest.services.vllm import VllmService

from .conftest import Place

SHARED = {"kv_connector": "NixlConnector", "kv_role": "kv_both", "extra": {"lease": 30, "threads": 2}}


@pytest.mark.parametrize(
    ("by_role", "own", "becomes"),
    [
        ({}, {}, SHARED),
        ({"decode": {"kv_role": "kv_consumer"}}, {}, SHARED | {"kv_role": "kv_consumer"}),
        ({"decode": {"kv_role": "kv_consumer"}}, {"kv_role": "mine"}, SHARED | {"kv_role": "mine"}),
        ({"prefill": {"kv_role": "kv_producer"}}, {}, SHARED),
        ({"decode": {"extra": {"lease": 10}}}, {}, SHARED | {"extra": {"lease": 10, "threads": 2}}),
        ({}, {"extra": {"lease": None}}, SHARED | {"extra": {"threads": 2}}),
        ({"decode": {"extra": None}}, {"extra": {"a": 1}}, SHARED | {"extra": {"a": 1}}),
        ({}, {"extra": "text"}, SHARED | {"extra": "text"}),
        ({"decode": {"new": {"a": 1}}}, {"new": {"b": [2]}}, SHARED | {"new": {"a": 1, "b": [2]}}),
    ],
)
def test_a_members_config_is_shared_then_by_role_then_its_own(
    by_role: Mapping[str, Any], own: Mapping[str, Any], becomes: Mapping[str, Any], place: Place
) -> None:
    connector = {"config": SHARED, "by_role": by_role}
    assert kv_transfer_config(place(VllmService(), {"connector": own}, connector=connector)) == becomes


def test_null_drops_a_key_also_where_nothing_is_beneath(place: Place) -> None:
    connector = {"config": {"a": {"b": None, "c": 1}, "d": None}}
    own = {"e": {"f": None, "g": 2}, "h": None}
    config = kv_transfer_config(place(VllmService(), {"connector": own}, connector=connector))
    assert config == {"a": {"c": 1}, "e": {"g": 2}}


@pytest.mark.parametrize("role", [Role.COLOCATED, Role.PROXY, Role.STORE])
def test_roles_that_transfer_nothing_get_no_connector(role: Role, place: Place) -> None:
    placement = place(VllmService(), {"role": role}, connector={"config": SHARED})
    assert kv_transfer_config(placement) is None


def test_an_environment_that_says_nothing_gives_no_flag(place: Place) -> None:
    assert kv_transfer_config(place(VllmService(), {})) is None


def test_references_in_the_config_are_resolved_for_each_member(place: Place) -> None:
    config = {
        "path": "${self.dir}/kv",
        "port": "${self.ports.side_channel}",
        "peers": ["${members.prefill.url}"],
    }
    placement = place(
        VllmService(), {}, others={"prefill": {"role": Role.PREFILL}}, connector={"config": config}
    )
    assert kv_transfer_config(placement) == {
        "path": "/run/members/decode/kv",
        "port": 8001,
        "peers": ["http://127.0.0.1:8100"],
    }
