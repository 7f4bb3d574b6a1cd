"""Where loads go."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from pdtest.cluster.cluster import Cluster
from pdtest.environment.routing import ByPhase, Routing
from pdtest.environment.schema import Role
from pdtest.oracle.side import PD, SINGLE, led, sides_of
from pdtest.wire.registry import contract_for

NIXL, MOONCAKE = (contract_for((name,)) for name in ("nixl", "mooncake"))


@dataclass
class Member:
    name: str
    role: Role
    alive: bool = True
    api_key: str | None = None
    standby: bool = False
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1/{self.name}"


def cluster(*members: Member, phase: ByPhase | None = None) -> Cluster:
    model = SimpleNamespace(name="tiny")
    made: Any = SimpleNamespace(
        environment=SimpleNamespace(model=model, routing=Routing(phase=phase)),
        with_role=lambda role: tuple(member for member in members if member.role is role),
        wanted=tuple(member for member in members if not member.standby),
    )
    return cast("Cluster", made)


P1, P2 = Member("p1", Role.PREFILL), Member("p2", Role.PREFILL)
D1, D2, D3 = (Member(f"d{number}", Role.DECODE) for number in (1, 2, 3))
PROXY, ALONE = Member("proxy", Role.PROXY, api_key="key"), Member("alone", Role.COLOCATED)


def test_a_proxy_leads_where_there_is_one() -> None:
    sides = sides_of(cluster(P1, D1, D2, PROXY, ALONE), NIXL)

    (way,) = sides[PD].ways
    assert (way.answers.name, way.prefill) == ("proxy", None)
    assert way.answers.headers == {"Authorization": "Bearer key"}
    assert sides[PD].engines == {"p1": Role.PREFILL, "d1": Role.DECODE, "d2": Role.DECODE}
    assert sides[SINGLE].engines == {"alone": Role.COLOCATED}
    assert sides[PD].apart
    assert not sides[SINGLE].apart


def test_a_client_leads_where_there_is_none() -> None:
    sides = sides_of(cluster(P1, D1), NIXL)

    (way,) = sides[PD].ways
    assert way.prefill is not None
    assert (way.prefill.name, way.answers.name) == ("p1", "d1")
    assert SINGLE not in sides


def test_nobody_leads_what_a_client_cannot() -> None:
    assert sides_of(cluster(P1, D1), MOONCAKE) == {}


def test_a_colocated_instance_that_is_gone_is_no_side() -> None:
    gone = Member("alone", Role.COLOCATED, alive=False)

    assert SINGLE not in sides_of(cluster(P1, D1, PROXY, gone), NIXL)
    resting = sides_of(cluster(P1, D1, PROXY, gone), NIXL, resting=True)
    assert resting[SINGLE].members == {"alone"}
    assert resting[PD].members == {"p1", "d1", "proxy"}


def test_members_on_standby_are_no_part_of_a_side_until_they_run() -> None:
    resting = Member("d4", Role.DECODE, alive=False, standby=True)
    other = Member("alone-2", Role.COLOCATED, alive=False, standby=True)
    running = Member("d5", Role.DECODE, standby=True)

    sides = sides_of(cluster(P1, D1, PROXY, ALONE, resting, other, running), NIXL, resting=True)

    assert set(sides[PD].engines) == {"p1", "d1", "d5"}
    assert set(sides[SINGLE].engines) == {"alone"}


def test_where_a_router_decides_not_every_request_moves() -> None:
    hybrid = Member("h", Role.HYBRID)

    routed = sides_of(cluster(P1, D1, hybrid, PROXY, phase=ByPhase()), NIXL)[PD]
    plain = sides_of(cluster(P1, D1, hybrid, PROXY), NIXL)[PD]

    assert routed.engines == {"p1": Role.PREFILL, "d1": Role.DECODE, "h": Role.HYBRID}
    assert routed.apart
    assert not routed.moves
    assert plain.moves


def test_engines_take_turns_with_one_another() -> None:
    side = led(cluster(), NIXL, cast("Any", [P1, P2]), cast("Any", [D1, D2, D3]), name="2p3d")

    pairs = [(way.prefill.name if way.prefill else "", way.answers.name) for way in side.ways]
    assert len(set(pairs)) == 6
    assert pairs[:3] == [("p1", "d1"), ("p2", "d2"), ("p1", "d3")]
    assert {name for pair in pairs for name in pair} == set(side.engines)
