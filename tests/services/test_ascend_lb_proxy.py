from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Role
from pdtest.services.ascend_lb_proxy import AscendLayerwiseProxyService, AscendLbProxyService
from pdtest.services.errors import RenderError
from pdtest.services.service import Probe

from .conftest import Place

BALANCE, LAYERWISE = AscendLbProxyService(), AscendLayerwiseProxyService()
OTHERS = {"p1": {"role": Role.PREFILL}, "d1": {"role": Role.DECODE, "host": "second"}}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/proxy.py"}}


@pytest.mark.parametrize("service", [BALANCE, LAYERWISE], ids=lambda service: service.name)
def test_instances_are_paired_lists_and_further_flags_are_args(
    service: AscendLbProxyService, place: Place
) -> None:
    settings = PROXY | {"args": {"max-retries": 3, "retry-delay": 0.001}}
    command = service.render(place(service, settings, name="proxy", others=OTHERS))
    assert command.argv == (
        *(sys.executable, "/opt/proxy.py", "--host", "127.0.0.1", "--port", "8000"),
        *("--prefiller-hosts", "127.0.0.1", "--prefiller-ports", "8100"),
        *("--decoder-hosts", "10.0.0.2", "--decoder-ports", "8200"),
        *("--max-retries", "3", "--retry-delay", "0.001"),
    )


@pytest.mark.parametrize("service", [BALANCE, LAYERWISE], ids=lambda service: service.name)
def test_where_it_is_probed(service: AscendLbProxyService, place: Place) -> None:
    placement = place(service, PROXY, name="proxy", others=OTHERS)
    assert service.probe(placement) == Probe(url="http://127.0.0.1:8000/healthcheck")


def test_decode_must_be_able_to_call_the_layerwise_proxy_back(place: Place) -> None:
    with pytest.raises(RenderError, match="an address that decode can call back") as caught:
        LAYERWISE.render(place(LAYERWISE, PROXY, name="proxy", others=OTHERS, address="::"))
    assert caught.value.where == "hosts.local.address"
    assert "::" in BALANCE.render(place(BALANCE, PROXY, name="proxy", others=OTHERS, address="::")).argv


def test_the_stages_as_the_scripts_print_them() -> None:
    lines = [
        "INFO:     Waiting for application startup.",
        "INFO [__main__] Initialized 1 prefill clients and 1 decode clients in worker 7",
    ]
    for service in (BALANCE, LAYERWISE):
        assert [stage.doing for line in lines for stage in service.stages if stage.pattern.search(line)] == [
            "starting",
            "answering",
        ]


def test_errors_as_the_scripts_print_them() -> None:
    line = "2026-08-22 10:00:00,000 ERROR [__main__] Error during streaming from decoder 10.0.0.2:8200: boom"
    assert BALANCE.log_rules.is_error(line)
    assert not BALANCE.log_rules.is_error(line.replace("ERROR", "WARNING"))
