"""What is said of a Ray cluster that cannot give what is asked for."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pdtest.environment.ray import Ray
from pdtest.environment.schema import Host
from pdtest.errors import MissingExtra
from pdtest.launch import bridge
from pdtest.launch.bridge import Bridge, wish
from pdtest.launch.host_errors import HostError, HostLost
from pdtest.launch.ray import RayLauncher
from pdtest.launch.ray_errors import (
    NoSuchNode,
    NoSuchResources,
    RayMismatch,
    RayUnreachable,
    ResourcesBusy,
)
from pdtest.launch.ray_line import Line
from tests.ray.nodes import HEAD, OTHER, Nodes

Case = tuple[dict[str, float], dict[str, Any], type[HostError], tuple[str, ...]]
#: Says that the cluster was started with another Ray, until its input ends.
LIAR = """
import json, ray, sys
from ray._private import ray_constants
from ray.experimental import internal_kv as kv
ray.init(address=sys.argv[1], log_to_driver=False)
key, space = b"CLUSTER_METADATA", ray_constants.KV_NAMESPACE_CLUSTER
true = kv._internal_kv_get(key, namespace=space)
told = json.dumps(json.loads(true) | {"ray_version": "2.1.0"}).encode()
kv._internal_kv_put(key, told, overwrite=True, namespace=space)
print("told", flush=True)
sys.stdin.read()
kv._internal_kv_put(key, true, overwrite=True, namespace=space)
"""


@pytest.fixture(scope="module")
def settings(nodes: Nodes) -> Ray:
    return Ray(address=nodes.address, connect_timeout_s=180.0)


@pytest.fixture(scope="module")
def open_bridge(settings: Ray) -> Iterator[Bridge]:
    opened = Bridge.start(settings)
    yield opened
    opened.stop()


@pytest.mark.parametrize(
    "case",
    [
        ({"GPU": 1, "decode": 1}, {}, NoSuchResources, ("GPU: 1, decode: 1 on one node", f"{OTHER}: CPU: 2")),
        ({"prefill": 1, "decode": 1}, {}, NoSuchResources, ("prefill: 2", "decode: 2", "(rack=one)")),
        ({"prefill": 1}, {"node": OTHER}, NoSuchResources, (f"{OTHER}: ", "decode: 2")),
        ({}, {"node": "10.9.9.9"}, NoSuchNode, ("no node 10.9.9.9", HEAD, OTHER)),
        ({}, {"labels": {"rack": "two"}}, NoSuchNode, ("label rack=two", "(rack=one)")),
        ({"NPU": 1.5}, {}, NoSuchResources, ("NPU: 1.5", "does not take")),
    ],
    ids=["gpu", "no-one-has-both", "that-node-has-not", "no-node", "no-label", "invalid"],
)
async def test_nobody_has_it(open_bridge: Bridge, settings: Ray, case: Case) -> None:
    resources, more, error, told = case
    wanted = wish("x", settings.model_copy(update=more), resources)
    with pytest.raises(error) as refusal:
        await Line.open(open_bridge, wanted, "member 'decode'")
    for part in ("member 'decode'", *told):
        assert part in str(refusal.value)


@pytest.mark.nightly
async def test_others_have_it_all(open_bridge: Bridge, settings: Ray) -> None:
    held = await Line.open(open_bridge, wish("held", settings, {"decode": 2}), "member 'a'")
    impatient = wish("x", settings.model_copy(update={"place_timeout_s": 2.0}), {"decode": 1})
    with pytest.raises(ResourcesBusy, match="within 2 s") as refusal:
        await Line.open(open_bridge, impatient, "member 'decode'")
    assert f"{OTHER}: " in str(refusal.value)
    assert "decode: 2" not in str(refusal.value)
    await held.hang_up()
    freed = await Line.open(open_bridge, wish("x", settings, {"decode": 1}), "member 'decode'")
    await freed.hang_up()


@pytest.mark.nightly
async def test_a_bridge_that_is_killed_is_told(settings: Ray) -> None:
    doomed = Bridge.start(settings)
    line = await Line.open(doomed, wish("x", settings, {}), "member 'a'")
    doomed._process.kill()
    assert "has ended" in await line.said()
    with pytest.raises(ConnectionError, match="talks to Ray"):
        await line.reader.readline()
    with pytest.raises((HostLost, OSError)):
        await Line.open(doomed, wish("x", settings, {}), "member 'a'")
    await line.hang_up()
    doomed.stop()


@pytest.mark.nightly
def test_another_version(nodes: Nodes, settings: Ray) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LIAR, nodes.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as liar:
        assert liar.stdout is not None
        assert liar.stdout.readline() == b"told\n"
        with pytest.raises(RayMismatch, match=nodes.address) as refusal:
            Bridge.start(settings)
    assert "2.1.0" in str(refusal.value)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RayUnreachable, match=f"127.0.0.1:{port}") as refusal:
        Bridge.start(Ray(address=f"127.0.0.1:{port}", connect_timeout_s=180.0))
    assert "Connection refused" in str(refusal.value)


async def test_all_who_wait_hear_of_one_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = Host(ray=Ray(address=f"127.0.0.1:{port}", connect_timeout_s=180.0))
    launcher = RayLauncher()
    reaching = [launcher.reach(name, host, owner="nobody") for name in ("a", "b", "c")]
    first, *others = await asyncio.gather(*reaching, return_exceptions=True)
    assert isinstance(first, RayUnreachable)
    assert all(other is first for other in others)


def test_somebody_else_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RayUnreachable, match="no Ray cluster answers") as refusal:
            Bridge.start(Ray(address=address, connect_timeout_s=3.0))
    assert "no answer within 3 s" in str(refusal.value)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="'ray'") as refusal:
        Bridge.start(Ray())
    assert "pdtest[ray]" in str(refusal.value)
