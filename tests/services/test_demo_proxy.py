from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.schema import Role
from pdtest.services.demo_proxy import DemoProxyService
from pdtest.services.errors import RenderError
from pdtest.services.serving import serving

from .conftest import Place

DEMO = DemoProxyService()
OTHERS = {
    "p": {"role": Role.PREFILL},
    "d1": {"role": Role.DECODE},
    "d2": {"role": Role.DECODE, "host": "second"},
    "plain": {"role": Role.COLOCATED},
}
PROXY: dict[str, Any] = {"role": Role.PROXY, "options": {"script": "/opt/demo.py"}}


def test_it_waits_for_its_instances_and_is_told_where_they_are(place: Place) -> None:
    command = DEMO.render(place(DEMO, PROXY, name="proxy", others=OTHERS))
    assert command.argv == (
        *(sys.executable, "when_up.py"),
        "http://127.0.0.1:8100/v1/models",
        "http://127.0.0.1:8200/v1/models",
        "http://10.0.0.2:8300/v1/models",
        *("--", "/opt/demo.py", "--model", "org/model", "--port", "8000"),
        *("--prefill", "127.0.0.1:8100", "--decode", "127.0.0.1:8200", "10.0.0.2:8300"),
    )
    assert command.files == {"when_up.py": serving("when_up")}
    assert DEMO.probe(place(DEMO, PROXY, name="proxy", others=OTHERS)).url == "http://127.0.0.1:8000/status"


def test_it_cannot_listen_but_on_loopback(place: Place) -> None:
    with pytest.raises(RenderError, match=r"would not be reached at 10\.0\.0\.1") as caught:
        DEMO.render(place(DEMO, PROXY, name="proxy", others=OTHERS, address="10.0.0.1"))
    assert caught.value.where == "hosts.local.address"


@pytest.mark.parametrize("flag", ["model", "port", "prefill", "decode"])
def test_flags_that_the_members_decide_are_refused(flag: str, place: Place) -> None:
    with pytest.raises(RenderError, match="under args"):
        DEMO.render(place(DEMO, PROXY | {"args": {flag: "x"}}, name="proxy", others=OTHERS))


def test_stages() -> None:
    lines = [
        "waiting for http://127.0.0.1:8100/v1/models",
        "all instances answer",
        "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
    ]
    seen = [stage.doing for line in lines for stage in DEMO.stages if stage.pattern.search(line)]
    assert seen == ["waiting for the engines", "starting", "answering"]
