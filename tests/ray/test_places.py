"""Members at places that Ray gives."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pdtest.environment.schema import Host
from pdtest.launch.claims import Claims
from pdtest.launch.devices import DeviceTaken
from pdtest.launch.far import FarHost
from pdtest.launch.far_process import LOST
from pdtest.launch.kin import look_up
from pdtest.launch.lease import PortLeases, PortTaken
from pdtest.launch.ray import RayLauncher
from pdtest.services.service import Command
from tests.launch.conftest import python
from tests.launch.test_ssh import DEAF_CHILD, FOREVER, eventually, says
from tests.ray.conftest import there
from tests.ray.nodes import HEAD, OTHER, Nodes, start_other

pytestmark = pytest.mark.asyncio(loop_scope="module")

Reach = Callable[..., Awaitable[FarHost]]


@pytest_asyncio.fixture(loop_scope="module")
async def reach(nodes: Nodes, owner: str, tmp_path: Path) -> AsyncIterator[Reach]:
    """Gets places, and leaves them after the test."""
    async with AsyncExitStack() as stack:

        async def one(resources: dict[str, float], name: str = "a", **more: Any) -> FarHost:
            ray = {"address": nodes.address, "workdir": str(tmp_path / "work"), "connect_timeout_s": 180.0}
            host = Host.model_validate({"ray": {"place_timeout_s": 180.0} | ray | more})
            outpost = await LAUNCHER.reach(name, host, owner=owner, resources=resources)
            stack.push_async_callback(outpost.leave)
            return outpost

        yield one


LAUNCHER = RayLauncher()


@pytest_asyncio.fixture(autouse=True, scope="module", loop_scope="module")
async def bridge(nodes: Nodes) -> AsyncIterator[None]:
    """One for all tests: a place that nobody uses keeps it."""
    host = Host.model_validate({"ray": {"address": nodes.address, "connect_timeout_s": 180.0}})
    outpost = await LAUNCHER.reach("holder", host, owner=f"tests-{os.getpid()}")
    yield
    await outpost.leave()


async def test_a_member_has_what_it_asked_for_and_its_logs_arrive_here(
    reach: Reach, owner: str, nodes: Nodes, tmp_path: Path
) -> None:
    outpost = await reach({"decode": 1, "NPU": 2}, env={"SHARED": "beneath", "MINE": "lost"})
    program = (
        "import os; print(os.getcwd(), *map(os.environ.get, "
        "['SHARED', 'MINE', 'OMP_NUM_THREADS', 'ASCEND_RT_VISIBLE_DEVICES']), open('f.json').read());"
        "open('further.log', 'w').write('more')"
    )
    command = python(program, owner, env={"MINE": "own"}, files={"f.json": "{}"}, log_files=("further.log",))
    directory = tmp_path / "prefill"

    process = await outpost.launch(command, directory, log=directory / "prefill.log")

    assert await process.wait() == 0
    home = outpost.directory("prefill")
    assert home.is_relative_to(tmp_path / "work")
    said = (directory / "prefill.log").read_text(encoding="utf-8").split()
    assert said[:4] == [str(home), "beneath", "own", str(os.environ.get("OMP_NUM_THREADS"))]
    devices = [int(number) for number in said[4].split(",")]
    assert len(devices) == 2
    assert said[5] == "{}"
    assert (directory / "further.log").read_text(encoding="utf-8") == "more"
    assert outpost.address == outpost.host == OTHER, "only there is decode"
    assert f"ssh {OTHER}" in (directory / "command.sh").read_text(encoding="utf-8")
    assert abs(outpost.skew.offset_s) <= outpost.skew.error_s < 10, "it is one clock"
    claims = Claims("local", nodes.leases(OTHER))
    assert [claims.take(f"ascend-{device}", "") for device in devices] == [False, False]
    assert claims.holder(f"ascend-{devices[0]}")["purpose"] == "member 'a'"
    assert claims.take(f"ascend-{next(other for other in range(8) if other not in devices)}", "")
    claims.release_all()


async def test_a_device_that_others_hold_is_told(reach: Reach, nodes: Nodes) -> None:
    """Somebody beside Ray uses all its chips."""
    claims = Claims("local", nodes.leases(OTHER))
    assert all(claims.take(f"ascend-{device}", "a run without Ray") for device in range(8))
    try:
        with pytest.raises(DeviceTaken, match=f"ascend-. on host '{OTHER}'") as refusal:
            await reach({"decode": 1, "NPU": 1})
    finally:
        claims.release_all()
    assert "a run without Ray" in str(refusal.value)


@pytest.mark.parametrize("settings", [{"node": HEAD}, {"labels": {"rack": "one"}}], ids=["node", "labels"])
async def test_a_host_may_name_its_nodes(reach: Reach, settings: dict[str, Any]) -> None:
    assert (await reach({"NPU": 1}, **settings)).address == HEAD


async def test_ports_are_leased_on_the_node(reach: Reach, owner: str, nodes: Nodes) -> None:
    outpost = await reach({"decode": 1}, ports={"first": 21000, "last": 21009})
    first = await outpost.take(3, OTHER)
    assert 21000 <= first <= 21007
    local = PortLeases("local", nodes.leases(OTHER))
    with pytest.raises(PortTaken, match="another run") as refusal:
        local.claim(first)
    assert f"run {owner}-ray-a, process" in str(refusal.value)
    with pytest.raises(PortTaken, match=f"on host '{OTHER}'"):
        await outpost.claim(local.take(), OTHER)
    await outpost.leave()
    local.claim(first)
    local.release_all()


async def test_it_is_killed_from_here_which_is_noticed_and_starts_again(
    reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach({})
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(f"print('up')\n{FOREVER}", owner), log.parent, log=log)
    await eventually(lambda: says(log, "up"), "its log arrives")
    (there,) = await process.look()
    assert there.pid == process.far_pid
    assert await process.signal([there], signal.SIGKILL) == [True]
    async with asyncio.timeout(30):
        assert await process.wait() == -signal.SIGKILL
    assert [one.ended for one in await process.look_at([there])] == [True]
    again = await outpost.launch(python("raise SystemExit(3)", owner), log.parent, log=log)
    assert await again.wait() == 3


async def test_nothing_stays_there(reach: Reach, owner: str, tmp_path: Path) -> None:
    outpost = await reach({})
    home = outpost.directory("decode").parents[1]
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(DEAF_CHILD, owner), log.parent, log=log)
    await eventually(lambda: says(log, "deaf"), "the child runs")
    assert len(there(owner)) == 2
    await process.stop(grace_s=0.3)
    assert there(owner) == []
    assert process.returncode == -signal.SIGTERM
    await outpost.leave()
    assert not home.exists()


async def test_members_end_when_ray_ends_their_actor(reach: Reach, owner: str, tmp_path: Path) -> None:
    outpost = await reach({})
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(FOREVER, owner), log.parent, log=log)
    supervisor = look_up(process.far_pid)
    assert supervisor is not None
    actor = look_up(supervisor.parent)
    assert actor is not None
    os.kill(actor.parent, signal.SIGKILL)
    async with asyncio.timeout(60):
        assert await process.wait() == LOST
    assert says(log, "the connection to host")
    await eventually(lambda: not there(owner), "the host ends it, too")


async def test_a_missing_program_is_a_launch_error(reach: Reach, tmp_path: Path) -> None:
    outpost = await reach({"prefill": 1})
    with pytest.raises(Exception, match=f"no program 'no-such' on host '{HEAD}'"):
        await outpost.launch(Command(argv=("no-such",)), tmp_path / "m", log=tmp_path / "m" / "m.log")


@pytest.mark.nightly
async def test_a_node_that_dies_is_told_by_its_address(
    reach: Reach, owner: str, nodes: Nodes, tmp_path: Path
) -> None:
    outpost = await reach({"decode": 1}, silence_s=5.0)
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(FOREVER, owner), log.parent, log=log)
    killed_at = time.monotonic()

    nodes.kill(OTHER)

    async with asyncio.timeout(60):
        assert await process.wait() == LOST
    assert time.monotonic() - killed_at < 60
    assert says(log, f"the connection to host '{OTHER}' (ssh {OTHER}) is gone")
    await eventually(lambda: not there(owner), "what ran there has ended")
    start_other(nodes)
    again = await outpost.launch(python("print('back')", owner), log.parent, log=log)
    assert await again.wait() == 0
    assert outpost.address == OTHER
