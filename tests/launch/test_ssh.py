from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pdtest.launch.devices import DeviceTaken
from pdtest.launch.far_process import LOST
from pdtest.launch.host_errors import HostError
from pdtest.launch.kin import OWNER_VARIABLE, Kin, look_up
from pdtest.launch.launcher import LaunchError
from pdtest.launch.lease import PortLeases, PortTaken
from pdtest.links import HEALTHY, Condition, Line, Relay
from pdtest.services.service import Command
from tests.launch.conftest import Reach, python
from tests.launch.sshd import SSHD, Sshd

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")

FOREVER = "import time\nwhile True: time.sleep(60)"
#: A child in a session of its own that takes no SIGTERM.
DEAF_CHILD = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('deaf', flush=True)
while True:
    time.sleep(60)
"""


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


def says(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text(encoding="utf-8")


def there(owner: str, name: str = "a") -> list[int]:
    """Processes on the host that belong to the run's members."""
    return [process.pid for process in Kin({OWNER_VARIABLE: f"{owner}-{name}"}).scan()]


async def test_a_member_runs_there_and_its_logs_arrive_here(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host(env={"SHARED": "beneath", "MINE": "lost"}))
    program = (
        "import os; print(os.getcwd(), os.environ['SHARED'], os.environ['MINE'], open('f.json').read());"
        "open('further.log', 'w').write('more'); print(oct(os.stat('f.json').st_mode & 0o777))"
    )
    command = python(
        program,
        owner,
        env={"MINE": "own"},
        files={"f.json": "s3cret"},
        secrets=frozenset({"s3cret"}),
        log_files=("further.log",),
    )
    directory = tmp_path / "prefill"
    log = directory / "prefill.log"

    process = await outpost.launch(command, directory, log=log)

    assert await process.wait() == 0
    assert process.pid is None
    home = outpost.directory("prefill")
    assert home.is_relative_to(servers[0].workdir)
    assert log.read_text(encoding="utf-8") == f"{home} beneath own s3cret\n0o600\n"
    assert (directory / "further.log").read_text(encoding="utf-8") == "more"
    script = (directory / "command.sh").read_text(encoding="utf-8")
    assert f"-p {servers[0].port}" in script
    assert "s3cret" not in script


async def test_a_death_is_noticed_with_its_last_words(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(f"print('up')\n{FOREVER}", owner), log.parent, log=log)
    await eventually(lambda: says(log, "up"), "its log arrives")
    assert process.returncode is None

    os.kill(process.far_pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        assert await process.wait() == -signal.SIGKILL

    again = await outpost.launch(
        python("print('words' * 100000); raise SystemExit(3)", owner), log.parent, log=log
    )
    assert await again.wait() == 3
    assert log.read_text(encoding="utf-8") == "up\n" + "words" * 100000 + "\n"


async def test_one_that_ends_at_once_has_ended(
    servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    log = tmp_path / "m" / "m.log"
    for _ in range(10):
        process = await outpost.launch(Command(argv=("false",)), log.parent, log=log)
        async with asyncio.timeout(20):
            assert await process.wait() == 1


async def test_stop_ends_all_that_a_member_started(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(DEAF_CHILD, owner), log.parent, log=log)
    await eventually(lambda: says(log, "deaf"), "the child runs")
    assert len(there(owner)) == 2

    await process.stop(grace_s=0.3)

    assert there(owner) == []
    assert process.returncode == -signal.SIGTERM


async def test_nothing_stays_there(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    home = outpost.directory("decode").parents[1]
    await outpost.launch(python(FOREVER, owner), tmp_path / "decode", log=tmp_path / "decode" / "d.log")
    assert home.is_dir()
    await outpost.leave()
    await outpost.leave()
    assert not home.exists()
    await eventually(lambda: not there(owner), "what was not stopped has ended")


async def test_ports_are_leased_on_the_host(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host(ports={"first": 21000, "last": 21009}))
    first = await outpost.take(3, "127.0.0.1")
    assert 21000 <= first <= 21007
    local = PortLeases("local", servers[0].directory / "leases")
    with pytest.raises(PortTaken, match="another run") as refusal:
        local.claim(first)
    assert f"run {owner}-a, process" in str(refusal.value)

    with pytest.raises(PortTaken, match="on host 'a'") as refusal:
        await outpost.claim(local.take(), "127.0.0.1")
    assert "run local" in str(refusal.value)
    with socket.create_server(("127.0.0.1", 0)) as stranger, pytest.raises(PortTaken, match="not part of"):
        await outpost.claim(stranger.getsockname()[1], "127.0.0.1")

    await outpost.leave()
    local.claim(first)
    local.release_all()


async def test_devices_are_leased_on_the_host(servers: tuple[Sshd, Sshd], reach: Reach) -> None:
    one, other = await reach(servers[0].host(), "a"), await reach(servers[0].host(), "again")
    await one.hold("core", {1: "member 'prefill'"})
    await one.hold("core", {1: "member 'prefill'"})
    both = {0: "member 'proxy'", 1: "member 'decode'"}
    with pytest.raises(DeviceTaken, match=r"core-1 on host 'again', which member 'decode'") as refusal:
        await other.hold("core", both)
    assert "for member 'prefill'" in str(refusal.value)
    await one.hold("core", {0: "member 'prefill'"})  # nothing stays of what was denied
    await one.free("core", [0])
    with pytest.raises(HostError, match="no ascend device 0, 7, asked for by member 'decode'"):
        await other.hold("ascend", dict.fromkeys([0, 7], "member 'decode'"))
    await one.leave()
    await other.hold("core", both)


async def test_clocks_are_compared(servers: tuple[Sshd, Sshd], reach: Reach) -> None:
    outpost = await reach(servers[0].host())
    assert abs(outpost.skew.offset_s) <= outpost.skew.error_s < 1  # it is one clock


async def test_a_cut_link_ends_members_on_both_sides(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    with socket.create_server((servers[0].address, 0)) as free:
        port = free.getsockname()[1]
    relay = Relay(servers[0].address, port, (servers[0].address, servers[0].port))
    await relay.start()
    known = servers[0].vouch(tmp_path / "known_hosts", port=port)
    try:
        outpost = await reach(servers[0].host(port=port, known_hosts=str(known), silence_s=1.5))
        log = tmp_path / "decode" / "decode.log"
        taken = await outpost.take(1, "127.0.0.1")
        process = await outpost.launch(python(FOREVER, owner), log.parent, log=log)

        await relay.become(Condition(up=Line(is_cut=True), down=Line(is_cut=True)))

        async with asyncio.timeout(10):
            assert await process.wait() == LOST
        assert says(log, "the connection to host 'a'")
        await eventually(lambda: not there(owner), "the host ends it, too")
        await process.stop(0.1)

        await relay.become(HEALTHY)
        again = await outpost.launch(python("print('back')", owner), log.parent, log=log)
        assert await again.wait() == 0
        assert says(log, "back")
        with pytest.raises(PortTaken):
            PortLeases("local", servers[0].directory / "leases").claim(taken)
    finally:
        await relay.close()


async def test_members_end_when_their_supervisor_is_killed(
    servers: tuple[Sshd, Sshd], reach: Reach, owner: str, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    log = tmp_path / "decode" / "decode.log"
    process = await outpost.launch(python(FOREVER, owner), log.parent, log=log)
    supervised = look_up(process.far_pid)
    assert supervised is not None

    os.kill(supervised.parent, signal.SIGKILL)

    assert await process.wait() == LOST
    await eventually(lambda: not there(owner), "the net under it ends them")


async def test_a_directory_is_brought_once(servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    (model / "sub").mkdir(parents=True)
    (model / "sub" / "weights").write_bytes(os.urandom(700_000))
    (model / "empty").touch()
    outpost = await reach(servers[0].host())

    path = Path(await outpost.bring(model))

    assert (path / "sub" / "weights").read_bytes() == (model / "sub" / "weights").read_bytes()
    assert (path / "empty").read_bytes() == b""
    written = (path / "sub" / "weights").stat().st_mtime_ns
    assert Path(await outpost.bring(model)) == path
    assert (path / "sub" / "weights").stat().st_mtime_ns == written
    (model / "empty").write_text("no more")
    assert Path(await outpost.bring(model)) != path


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
async def test_a_missing_program_is_a_launch_error(
    servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path, program: str
) -> None:
    outpost = await reach(servers[0].host())
    with pytest.raises(LaunchError, match=f"no program '{program}' on host 'a'") as refusal:
        await outpost.launch(Command(argv=(program,)), tmp_path / "m", log=tmp_path / "m" / "m.log")
    assert refusal.value.next_step


async def test_a_program_of_the_wrong_format_is_a_launch_error(
    servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00\x01")
    garbage.chmod(0o755)
    with pytest.raises(LaunchError, match="would not start"):
        await outpost.launch(Command(argv=(str(garbage),)), tmp_path / "m", log=tmp_path / "m" / "m.log")


async def test_programs_beside_the_hosts_python_come_first(
    servers: tuple[Sshd, Sshd], reach: Reach, tmp_path: Path
) -> None:
    outpost = await reach(servers[0].host())
    log = tmp_path / "m" / "m.log"
    name = Path(sys.executable).name
    program = "import sys; print(sys.executable)"
    process = await outpost.launch(Command(argv=(name, "-c", program)), log.parent, log=log)
    assert await process.wait() == 0
    assert log.read_text() == f"{Path(sys.executable).parent / name}\n"
