from __future__ import annotations

from typing import Any

from pdtest.client.handoff import Route
from pdtest.environment.scenarios import SCENARIOS
from pdtest.environment.schema import Environment
from pdtest.faults.cases import cases_of


def environment(*roles: str, **more: Any) -> Environment:
    whole = {
        "name": "some",
        "model": {"path": "x", "dtype": "float32", "block_size": 16, "max_model_len": 64},
        "connector": {"contract": ["nixl"]},
        "members": {role: {"role": role, "service": "vllm"} for role in roles},
        "phases": {"prefill": 0.1},
    }
    return Environment.model_validate(whole | more, strict=False)


def names(found: Environment) -> set[str]:
    return {str(case) for case in cases_of(found)}


def test_only_what_is_there_breaks() -> None:
    pair = names(environment("prefill", "decode"))
    assert "prefill-killed-in-transfer-client" in pair
    assert not [name for name in pair if name.startswith(("proxy", "store", "link"))]
    whole = names(environment("prefill", "decode", "proxy", "store", links=[{"target": "prefill"}]))
    assert {"store-frozen-in-decode-client", "link-cut-in-transfer-client"} <= whole


def test_a_proxy_leads_what_it_may_answer_in_its_own_way() -> None:
    found = names(environment("prefill", "decode", "proxy"))
    assert {"decode-killed-in-prefill-proxy", "proxy-frozen-in-decode-proxy"} <= found
    assert "decode-frozen-in-prefill-proxy" not in found
    assert not [name for name in found if name.startswith("proxy") and name.endswith("client")]


def test_where_only_a_proxy_can_lead_it_leads_all() -> None:
    found = cases_of(environment("prefill", "decode", "proxy", connector={"contract": ["ascend-layerwise"]}))
    assert {case.route for case in found} == {Route.PROXY}
    assert "prefill-frozen-in-decode-proxy" in set(map(str, found))


def test_an_environment_that_says_nothing_has_no_cases() -> None:
    assert cases_of(environment("prefill", "decode", phases={})) == ()
    assert cases_of(environment("prefill", "decode", phases={}, recovery={"burst": ["error"]}))


def test_scenarios_go_by_their_names() -> None:
    assert all(str(scenario) == name for name, scenario in SCENARIOS.items())
    assert len(SCENARIOS) == 31
