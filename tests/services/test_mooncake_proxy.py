from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Role
from pdtest.services.errors import RenderError
from pdtest.services.mooncake_proxy import MooncakeProxyService
from pdtest.services.service import Probe
from pdtest.services.serving import serving

from .conftest import Place

MOONCAKE = MooncakeProxyService()
OTHERS = {
    "p1": {"role": Role.PREFILL, "ports": {"bootstrap": 8998}},
    "d1": {"role": Role.DECODE},
    "p2": {"role": Role.PREFILL, "host": "second", "ports": {"bootstrap": 9998}},
    "elsewhere": {"role": Role.PREFILL, "launcher": "attach", "url": "http://10.0.0.5:8100"},
}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/mc.py"}}


def test_each_instance_is_a_flag_of_its_own_and_prefill_has_its_bootstrap_port(place: Place) -> None:
    command = MOONCAKE.render(place(MOONCAKE, PROXY, name="proxy", others=OTHERS))
    assert command.argv == (
        *(sys.executable, "serve.py", "/opt/mc.py", "--host", "127.0.0.1", "--port", "8000"),
        *("--prefill", "http://127.0.0.1:8100", "8998"),
        *("--prefill", "http://10.0.0.2:8300", "9998"),
        *("--prefill", "http://10.0.0.5:8100", "8998"),
        *("--decode", "http://127.0.0.1:8200"),
    )
    assert command.files == {"serve.py": serving("mooncake")}


@pytest.mark.parametrize("flag", ["host", "port", "prefill", "decode"])
def test_flags_that_the_members_decide_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        MOONCAKE.render(place(MOONCAKE, PROXY | {"args": {flag: "x"}}, name="proxy", others=OTHERS))


def test_it_is_ready_when_it_says_so(place: Place) -> None:
    probe = MOONCAKE.probe(place(MOONCAKE, PROXY, name="proxy", others=OTHERS))
    assert probe == Probe(url="http://127.0.0.1:8000/health")


def test_stages_as_the_script_prints_them() -> None:
    lines = [
        "Got 1 prefill clients and 1 decode clients.",
        "Inited prefiller http://127.0.0.1:8100 with dp_size=1",
        "All prefiller instances are ready.",
    ]
    seen = [stage.doing for line in lines for stage in MOONCAKE.stages if stage.pattern.search(line)]
    assert seen == ["asking prefill who it is", "answering"]
