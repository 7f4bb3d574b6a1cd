from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pdtest.environment.schema import Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.mmc_meta_service import MmcMetaService
from pdtest.services.service import Probe

from .conftest import Place

META = MmcMetaService()
STORE: dict[str, Any] = {"role": Role.STORE}


def _rendered(place: Place, **settings: Any) -> Any:
    return META.render(place(META, STORE | settings, name="store"))


def test_the_least_a_member_can_say(place: Place) -> None:
    command = _rendered(place)
    assert command.argv[:2] == (sys.executable, "-c")
    assert "sys.exit(MetaService.main())" in command.argv[2]
    assert command.env == {"MMC_META_CONFIG_PATH": "/run/members/store/mmc-meta.conf"}
    assert command.files == {
        "mmc-meta.conf": (
            "# Written by pdtest for the member 'store'.\n"
            "ock.mmc.meta_service_url = tcp://127.0.0.1:8000\n"
            "ock.mmc.meta_service.config_store_url = tcp://127.0.0.1:8001\n"
            "ock.mmc.meta_service.metrics_url = http://127.0.0.1:8002\n"
            "ock.mmc.log_path = /run/members/store\n"
            "ock.mmc.evict_threshold_low = 80\n"
            "ock.mmc.evict_threshold_high = 90\n"
        )
    }


def test_the_binary_with_its_set_env(place: Place) -> None:
    options = {"program": "binary", "binary": "/opt/bin/mmc_meta_service", "set_env": ["/opt/set_env.sh"]}
    argv = _rendered(place, options=options).argv
    assert argv[:2] == ("bash", "-c")
    assert "source /opt/set_env.sh" in argv[2]
    assert argv[-1] == "/opt/bin/mmc_meta_service"


def test_settings_win_where_they_may_and_references_are_resolved(place: Place) -> None:
    options = {"settings": {"ock.mmc.log_path": "${self.dir}/elsewhere", "ock.mmc.log_rotation_file_size": 7}}
    text = _rendered(place, options=options).files["mmc-meta.conf"]
    assert "ock.mmc.log_path = /run/members/store/elsewhere\n" in text
    assert "ock.mmc.log_rotation_file_size = 7\n" in text


def test_variables_of_the_member_win(place: Place) -> None:
    command = _rendered(place, env={"MMC_META_CONFIG_PATH": "/etc/other.conf", "A": 1})
    assert command.env == {"MMC_META_CONFIG_PATH": "/etc/other.conf", "A": "1"}


def test_a_port_that_memcache_does_not_take(place: Place) -> None:
    with pytest.raises(RenderError, match=r"no port below 1025 for ock\.mmc\.meta_service_url") as caught:
        _rendered(place, ports={"meta": 500})
    assert caught.value.where == "members.store.ports.meta"


def test_a_tls_file_that_is_not_there_is_named_by_its_key(place: Place, tmp_path: Path) -> None:
    (tmp_path / "ca").touch()
    settings = {"ock.mmc.tls.enable": True, "ock.mmc.tls.ca.path": str(tmp_path / "ca")}
    settings["ock.mmc.tls.cert.path"] = str(tmp_path / "cert")
    with pytest.raises(RenderError) as caught:
        _rendered(place, options={"settings": settings})
    assert str(caught.value) == (
        "cannot render: ock.mmc.tls.cert.path of member 'store' names no file\n"
        "  where    members.store.options.settings.ock.mmc.tls.cert.path\n"
        "  expected the path of a file, because ock.mmc.tls.enable is true\n"
        f"  seen     {tmp_path / 'cert'}\n"
        "  next     correct the path, or set ock.mmc.tls.enable: false"
    )


def test_where_it_is_probed_and_which_ports_it_has(place: Place) -> None:
    assert META.probe(place(META, STORE, name="store")) == Probe(url="http://127.0.0.1:8002/metrics")
    member = Member(role=Role.STORE, service=META.name)
    assert META.ports(member) == {"meta": 1, "config": 1, "http": 1}


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ("2026-11-21 08:08:00.209153 22022 error [MMC mmc_meta_service.cpp:208 Start] Failed to start", True),
        (
            "2026-11-21 08:13:42.441976 ERROR [29914-29914][MMC mmc_configuration.cpp:578 Validate] ca",
            True,
        ),
        ("Error, failed to load config.", True),
        (
            "2026-11-21 08:08:00.2 22022 warning [MMC mmc_meta_service.cpp:491 Stop] has not been started",
            False,
        ),
        (
            "2026-11-21 07:53:04.676676 INFO [6983-6983][MMC mmc_configuration.cpp:159 LoadFromFile] error",
            False,
        ),
        (
            "2026-11-21 08:21:39.5 1981 error [AccLink a.cpp:255 HandleHttpRequest] No handler for GET:/x",
            False,
        ),
    ],
)
def test_which_lines_are_errors(line: str, is_error: bool) -> None:
    assert META.log_rules.is_error(line) is is_error


def test_the_stages_of_a_start() -> None:
    lines = [
        "INFO [6983-6983][MMC mmc_configuration.cpp:159 LoadFromFile] Loaded 12 config items:",
        "6983 info [SMEM smem_tcp_config_store.cpp:294 Startup] start store server success",
        "6983 warning [MMC m.cpp:132 MainForPython] Meta Service launched successfully",
    ]
    assert [stage.doing for line in lines for stage in META.stages if stage.pattern.search(line)] == [
        "reading its config file",
        "opening the meta port",
        "answering",
    ]
