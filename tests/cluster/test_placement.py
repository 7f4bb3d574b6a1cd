from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pdtest.cluster.abroad import Abroad
from pdtest.cluster.placement import PlacementError, place
from pdtest.environment.api_key import MissingApiKey
from pdtest.environment.schema import Host, Role
from pdtest.launch.lease import PortLeases, PortTaken
from pdtest.launch.ports import CountedPorts
from pdtest.launch.registry import launchers
from pdtest.services.programs import program_of
from pdtest.services.references import model_path
from pdtest.services.service import Placement

from .conftest import Workshop
from .fakes import FakeService, Script, environment_of


@pytest.fixture
def leases() -> Iterator[PortLeases]:
    ours = PortLeases("this run")
    yield ours
    ours.release_all()


def placed(members: Mapping[str, Mapping[str, Any]], leases: PortLeases) -> dict[str, Placement]:
    environment = environment_of(members).model_copy(
        update={"hosts": {"local": Host(), "second": Host(address="127.0.0.2")}}
    )
    places = place(
        environment, Path("run"), services={"fake": FakeService()}, launchers=launchers(), leases=leases
    )
    return {name: placement for name, (placement, _) in places.items()}


def test_ports_that_are_not_given_are_chosen_apart(leases: PortLeases) -> None:
    members = placed({"prefill": {}, "decode": {}}, leases)
    used = [
        port for p in members.values() for port in (p.ports["http"], p.ports["side"], p.ports["side"] + 1)
    ]
    assert len(set(used)) == 6
    assert members["decode"].directory == Path("run/members/decode")
    assert members["decode"].url == f"http://127.0.0.1:{members['decode'].ports['http']}"


def test_each_member_sees_the_others(leases: PortLeases) -> None:
    members = placed({"prefill": {"role": "prefill"}, "decode": {"host": "second"}}, leases)
    (prefill,) = members["decode"].peers_with(Role.PREFILL)
    assert (prefill.name, prefill.url, prefill.ports) == (
        "prefill",
        members["prefill"].url,
        members["prefill"].ports,
    )
    assert members["prefill"].peers["decode"].address == "127.0.0.2"
    assert "prefill" not in members["prefill"].peers


def test_fixed_ports_are_kept(leases: PortLeases) -> None:
    port = leases.take(1)
    leases.release_all()
    members = placed({"decode": {"ports": {"http": port}}, "other": {}}, leases)
    assert members["decode"].ports["http"] == port


def test_two_members_may_use_a_port_on_two_addresses_only(leases: PortLeases) -> None:
    port = leases.take(1)
    leases.release_all()
    fixed = {"ports": {"http": port}}
    with pytest.raises(PortTaken, match="two members"):
        placed({"prefill": fixed, "decode": fixed}, leases)
    leases.release_all()
    members = placed({"prefill": fixed, "decode": fixed | {"host": "second"}}, leases)
    assert {p.url for p in members.values()} == {f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}"}


def test_an_attached_member_is_where_its_url_says(leases: PortLeases) -> None:
    members = placed({"decode": {"launcher": "attach", "url": "https://engine.example"}}, leases)
    assert (members["decode"].address, members["decode"].ports) == ("engine.example", {"http": 443})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"service": "fakee"}, "service 'fakee', which is not known"),
        ({"launcher": "lokal"}, "launcher 'lokal', which is not known"),
        ({"host": "moon"}, "host 'moon', which is not under hosts"),
        ({"ports": {"htpp": 1}}, "port 'htpp', which fake does not have"),
        ({"launcher": "attach"}, "no usable url"),
    ],
)
def test_what_does_not_exist_is_named(settings: dict[str, Any], message: str, leases: PortLeases) -> None:
    with pytest.raises(PlacementError, match=message):
        placed({"decode": settings}, leases)


def test_two_runs_never_share_a_port(workshop: Workshop) -> None:
    first = workshop.cluster({"decode": {}}, "first")
    first.start()
    port = first.members["decode"].ports["http"]
    second = workshop.cluster({"decode": {"ports": {"http": port}}}, "second")

    with pytest.raises(PortTaken, match=f"another run holds port {port}") as refusal:
        second.start()
    assert workshop.owner in str(refusal.value)

    first.stop()
    second.start()
    assert second.members["decode"].ports["http"] == port


def test_a_port_that_a_stranger_serves_is_refused(workshop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        cluster = workshop.cluster({"decode": {"ports": {"http": port}}})
        with pytest.raises(PortTaken, match="not part of a run"):
            cluster.start()


def test_an_api_key_that_is_not_set_is_named(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_API_KEY", raising=False)
    cluster = workshop.cluster({"decode": {"api_key_env": "FAKE_API_KEY"}})
    with pytest.raises(MissingApiKey, match="'decode' takes its API key from FAKE_API_KEY"):
        cluster.start()
    monkeypatch.setenv("FAKE_API_KEY", "hunter2")
    cluster.start()
    assert cluster.members["decode"].api_key == "hunter2"


def test_a_member_elsewhere_takes_its_ports_directory_python_and_model_from_there(leases: PortLeases) -> None:
    class WithPython(FakeService):
        options_type: type[BaseModel] = InterpretedScript

    environment = environment_of(
        {"prefill": {"host": "there"}, "named": {"host": "there", "python": "/mine"}, "decode": {}},
        {"local": {}, "there": {"address": "127.0.0.2"}},
    )
    abroad = Abroad(
        address="127.0.0.2",
        ports=CountedPorts(30_000),
        members=Path("/far/members"),
        python="/far/python",
        model="/far/model",
    )
    places = place(
        environment,
        Path("run"),
        services={"fake": WithPython()},
        launchers=launchers(),
        leases=leases,
        abroad={"prefill": abroad, "named": abroad},
    )
    prefill, named, decode = (places[name][0] for name in ("prefill", "named", "decode"))
    assert prefill.directory == Path("/far/members/prefill")
    assert dict(prefill.ports) == {"http": 30_000, "side": 30_001}
    assert decode.peers["prefill"].url == "http://127.0.0.2:30000"
    assert (prefill.member.options["python"], named.member.options["python"]) == ("/far/python", "/mine")
    assert "python" not in decode.member.options
    assert (model_path(prefill), model_path(decode)) == ("/far/model", "none")
    assert program_of(prefill, "sh") == "sh"
    assert program_of(decode, "sh") == shutil.which("sh")


class InterpretedScript(Script):
    python: str = ""
