from __future__ import annotations

import sys
from dataclasses import replace

import httpx
import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Via
from pdtest.faults import inflicted, network
from pdtest.faults.network import LinkFault, missing
from pdtest.faults.probe import Measured
from pdtest.links import HEALTHY, Condition, Line, Manner

from .conftest import LITTLE, Start, little, unverified


@pytest.fixture
def linked(start: Start) -> Cluster:
    """A proxy that is told where decode is, and goes there through a link."""
    argv = [sys.executable, "-S", "-E", str(LITTLE), "${self.ports.http}", "${members.decode.url}"]
    return start(
        links=(Via(source="proxy", target="decode", port="http"),),
        proxy=little("proxy", options={"argv": argv}),
        decode=little(),
    )


def answers(url: str) -> bool:
    return httpx.get(url).status_code == 200


def through(linked: Cluster, timeout_s: float = 5.0) -> int | None:
    """The status of decode as the proxy would see it; None for no answer."""
    relay = linked.links[0].relays[0]
    try:
        return httpx.get(f"http://{relay.address}:{relay.port}/", timeout=timeout_s).status_code
    except httpx.HTTPError:
        return None


def test_only_the_source_of_a_link_is_told_of_it(linked: Cluster) -> None:
    [link] = linked.links
    decode, proxy = linked.members["decode"], linked.members["proxy"]
    assert link.name == "proxy -> decode:http"
    assert proxy.placement.peers["decode"].url.endswith(f":{link.relays[0].port}")
    assert proxy.placement.peers["decode"].ports["http"] == link.relays[0].port
    assert decode.url.endswith(f":{decode.ports['http']}")
    assert decode.ports["http"] != link.relays[0].port
    assert decode.placement.announced == {}
    assert str(link.relays[0].port) in (proxy.directory / "command.sh").read_text(encoding="utf-8")


def test_a_link_from_everybody_is_announced_by_its_target(start: Start) -> None:
    cluster = start(
        links=(Via(target="decode", port="side"),),
        prefill=little("prefill"),
        decode=little(options={"argv": little().options["argv"], "ports": ["side"]}),
    )
    [link] = cluster.links
    port = link.relays[0].port
    assert cluster.members["decode"].placement.announced == {"side": port}
    assert cluster.members["prefill"].placement.peers["decode"].ports["side"] == port
    assert cluster.members["decode"].placement.ports["side"] == link.relays[0].target[1] != port


@pytest.mark.parametrize("make", [network.cut, network.half_open, network.reset, network.refused])
async def test_a_broken_link_answers_nothing_until_it_is_mended(linked: Cluster, make: object) -> None:
    assert through(linked) == 200
    async with inflicted(make(linked, linked.links[0])) as seen:  # type: ignore[operator]
        assert seen.what
        assert through(linked, timeout_s=0.3) is None
        assert answers(linked.members["decode"].url)
    assert through(linked) == 200


async def test_one_direction_cut_answers_nothing(linked: Cluster) -> None:
    assert through(linked) == 200
    async with inflicted(network.deaf(linked, linked.links[0])):
        carried = linked.links[0].relays[0].traffic
        assert through(linked, timeout_s=0.3) is None
        assert linked.links[0].relays[0].traffic.down > carried.down
    assert through(linked) == 200


async def test_a_slow_link_is_slow(linked: Cluster) -> None:
    assert through(linked) == 200
    async with inflicted(network.slow(linked, linked.links[0])) as seen:
        assert "round trips of" in seen.what
        assert through(linked) == 200


async def test_a_link_that_nobody_uses_proves_nothing(linked: Cluster) -> None:
    assert "nobody has ever connected" in str(await unverified(network.cut(linked, linked.links[0])))


@pytest.mark.parametrize(
    "condition",
    [
        Condition(up=Line(latency_s=0.02)),
        Condition(down=Line(is_cut=True)),
        Condition(up=Line(bytes_per_s=1e5)),
        Condition(down=Line(slice_bytes=100, pause_s=0.0001)),
        Condition(manner=Manner.HALF_OPEN),
        Condition(manner=Manner.RESETS),
        Condition(manner=Manner.REFUSES),
    ],
)
async def test_a_link_that_was_not_changed_is_not_taken_for_broken(
    linked: Cluster, monkeypatch: pytest.MonkeyPatch, condition: Condition
) -> None:
    assert through(linked) == 200
    monkeypatch.setattr(Cluster, "condition", lambda *_: None)
    error = await unverified(LinkFault(linked, linked.links[0], condition, name="nothing"))
    assert "took no effect" in str(error)


WELL = Measured(round_trip_s=(0.001, 0.002), bulk_s=0.01, largest=65536)


def test_what_a_probe_must_see() -> None:
    assert missing(HEALTHY, WELL) is None
    slow = Condition(up=Line(latency_s=0.1), down=Line(latency_s=0.1))
    assert missing(slow, WELL) == "round trips of at least 200 ms"
    assert missing(slow, replace(WELL, round_trip_s=(0.2, 0.21))) is None
    jittery = Condition(up=Line(jitter_s=0.1))
    assert missing(jittery, replace(WELL, round_trip_s=(0.05, 0.05))) == "round trips that differ"
    assert missing(HEALTHY, Measured()) == "bytes that come back"


def test_a_probe_says_what_it_saw() -> None:
    assert str(Measured(refused=True)) == "connection refused"
    assert str(Measured(reset=True)) == "connection reset"
    assert str(Measured()) == "connected, and nothing came back"
    assert str(WELL) == "round trips of 1.0 to 2.0 ms, 64 KiB in 10 ms, pieces of up to 65536 bytes"
