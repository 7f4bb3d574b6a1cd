"""Who serves in a topology, where its requests go, and whether the hardware is the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.arrivals import Closed
from pdtest.environment.distributions import Fixed
from pdtest.environment.performance import Performance
from pdtest.environment.routing import ByPhase, Routing
from pdtest.environment.schema import DeviceKind, Devices, Host, Member, Role
from pdtest.oracle.hardware import hardware_of
from pdtest.oracle.topology import load_for, topologies_of, unequal
from pdtest.oracle.verdict import Ruling
from pdtest.wire.registry import contract_for

NIXL, MOONCAKE = (contract_for((name,)) for name in ("nixl", "mooncake"))
ROLES = {
    "p": Role.PREFILL,
    "d": Role.DECODE,
    "d2": Role.DECODE,
    "h": Role.HYBRID,
    "m": Role.COLOCATED,
    "m2": Role.COLOCATED,
    "m3": Role.COLOCATED,
    "proxy": Role.PROXY,
}


def environment(*, settings: dict[str, Any] | None = None, **topologies: list[str]) -> Any:
    """``settings`` of Performance; topologies by name with their members."""
    named = {name: {"members": members} for name, members in topologies.items()}
    return SimpleNamespace(
        model=SimpleNamespace(name="tiny", max_model_len=1024),
        routing=Routing(phase=ByPhase()),
        hosts={"local": Host(devices=Devices(kind=DeviceKind.CUDA, ids=(0, 1, 2, 3)))},
        members={name: Member(role=role, service="embedded-engine") for name, role in ROLES.items()},
        performance=Performance.model_validate({**(settings or {}), "topologies": named}),
    )


def cluster(made: Any) -> Cluster:
    members = {
        name: SimpleNamespace(name=name, role=role, url=f"http://h/{name}", api_key=None, ports={})
        for name, role in ROLES.items()
    }
    return cast("Cluster", SimpleNamespace(environment=made, members=members))


def test_a_proxy_leads_and_else_the_client_goes_to_each() -> None:
    made = environment(
        mixed=["m", "m2", "m3"], two=["p", "d", "d2", "proxy"], three=["p", "d", "h", "proxy"], led=["p", "d"]
    )
    sides = topologies_of(cluster(made), NIXL)

    assert [*sides] == ["mixed", "two", "three", "led"]
    assert [way.answers.name for way in sides["mixed"].ways] == ["m", "m2", "m3"]
    assert not sides["mixed"].apart
    assert [way.answers.name for way in sides["three"].ways] == ["proxy"]
    assert sides["three"].engines == {"p": Role.PREFILL, "d": Role.DECODE, "h": Role.HYBRID}
    assert sides["three"].members == {"p", "d", "h", "proxy"}
    (way,) = sides["led"].ways
    assert way.prefill is not None
    assert (way.prefill.name, way.answers.name) == ("p", "d")


def test_what_nobody_can_lead_is_left_out() -> None:
    assert [*topologies_of(cluster(environment(mixed=["m"], two=["p", "d"])), MOONCAKE)] == ["mixed"]


def test_the_load_of_the_claim_is_as_large_as_the_engines() -> None:
    made = environment(settings={"users_per_engine": 50, "per_user": 3})

    three = load_for(made, 3)
    assert three.arrivals == Closed(pattern="closed", concurrency=150)
    assert (three.requests, three.warm_up) == (450, 3)
    assert (three.prompt, three.answer) == (
        Fixed(shape="fixed", tokens=200),
        Fixed(shape="fixed", tokens=500),
    )
    assert load_for(made, 24).arrivals == Closed(pattern="closed", concurrency=1000)

    made.model.max_model_len = 350
    assert load_for(made, 3).prompt == Fixed(shape="fixed", tokens=100)
    assert load_for(made, 3).answer == Fixed(shape="fixed", tokens=250)


def test_more_engines_are_not_the_same_hardware() -> None:
    made = environment(mixed=["m", "m2", "m3"], two=["p", "d", "d2"], four=["p", "d", "d2", "h", "proxy"])
    sides = topologies_of(cluster(made), NIXL)

    assert unequal(made, {name: sides[name] for name in ("mixed", "two")}) == []
    (finding,) = unequal(made, sides)
    assert finding.ruling is Ruling.INCONCLUSIVE
    assert "mixed: 3 engines; two: 3 engines; four: 4 engines" in finding.text


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"m": (0, 1)}, {"p": (0,), "d": (1,)}, True),  # one engine on two devices, or two on one each
        ({"m": (0, 1)}, {"p": (0,), "d": (1, 2)}, False),
        ({"m": (0,), "m2": (0,)}, {"p": (0,), "d": (1,)}, False),  # two that share a device
        ({"m": ()}, {"p": (0,)}, False),  # what one computes on is not known
    ],
)
def test_devices_count_and_not_engines_where_they_are_named(
    first: dict[str, tuple[int, ...]], second: dict[str, tuple[int, ...]], same: bool
) -> None:
    made = environment()
    for name, devices in (first | second).items():
        made.members[name] = made.members[name].model_copy(update={"devices": devices})

    assert hardware_of(made, first).same_as(hardware_of(made, second)) is same


def test_devices_that_nobody_names_are_not_guessed() -> None:
    bare, told = environment(), environment(settings={"engine_devices": 2})

    assert hardware_of(bare, ["m", "m2"]).devices == 0
    assert hardware_of(told, ["m", "m2"]).devices == 4
    bare.members["m"] = bare.members["m"].model_copy(update={"resources": {"GPU": 1.0, "CPU": 4.0}})
    assert hardware_of(bare, ["m"]).devices == 1
    assert str(hardware_of(bare, ["m"])) == "1 engine on 1 GPU, 4 CPU"
