from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

import httpx
import pytest

from pdtest.cluster.incident import StartCancelled, StartFailed
from pdtest.cluster.placement import PlacementError
from pdtest.cluster.snapshot import MemberState, Snapshot
from pdtest.environment.schema import Role
from pdtest.launch.launcher import LaunchError
from pdtest.services.service import Command, Placement

from .conftest import Workshop
from .fakes import FakeService, refusing_server, survivors, until


def test_all_members_start_together(workshop: Workshop) -> None:
    names = ["prefill", "decode", "proxy"]
    cluster = workshop.cluster({name: {"role": name, "meets": names} for name in names})

    cluster.start()

    for member in cluster.members.values():
        assert httpx.get(f"{member.url}/health").status_code == 200
        assert member.state is MemberState.READY
    assert [member.name for member in cluster.with_role(Role.DECODE)] == ["decode"]
    assert workshop.kinds("decode") == ["MemberStarting", "MemberReady"]


def test_who_is_on_standby_is_started_by_name_and_nobodys_peer(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {}, "decode-2": {"standby": True}, "proxy": {"role": "proxy"}})

    cluster.start()
    resting = cluster.members["decode-2"]

    assert [member.name for member in cluster.wanted] == ["decode", "proxy"]
    assert (resting.state, resting.resting) == (MemberState.IDLE, True)
    assert [one.name for one in cluster.members["proxy"].placement.peers_with(Role.DECODE)] == ["decode"]

    cluster.start(["decode-2"])
    assert httpx.get(f"{resting.url}/health").status_code == 200
    assert not resting.resting
    cluster.stop(["decode-2"])
    cluster.start()
    assert (resting.state, resting.resting) == (MemberState.STOPPED, True)


def test_a_death_fails_the_start_while_another_member_loads(workshop: Workshop) -> None:
    cluster = workshop.cluster(
        {
            "prefill": {"loads_s": 60.0, "ignores_sigterm": True},
            "decode": {"says": ["Loading weights", "CUDA out of memory", "bye"], "exits": 3},
        }
    )

    with pytest.raises(StartFailed) as failure:
        cluster.start()

    assert time.time() - cluster.dead()[0].at < 10.0, "the other one would load for a minute"
    assert survivors(workshop.owner) == []
    message = str(failure.value)
    for part in (
        "decode died",
        "last seen loading weights",
        "exit code 3",
        "| bye",
        "too little free memory",
        "Lower gpu-memory-utilization",
        str(cluster.members["decode"].log.path),
    ):
        assert part in message
    death = cluster.dead()[0]
    assert (death.member, death.returncode) == ("decode", 3)
    assert death.last_lines[-1] == "bye"
    assert death.diagnosis is not None
    assert death.diagnosis.startswith("out-of-memory")
    assert workshop.kinds("decode") == ["MemberStarting", "MemberProgressed", "MemberDied"]
    assert workshop.kinds("prefill") == ["MemberStarting", "MemberStopped"]


def test_a_death_of_a_ready_member_fails_the_start_of_the_others(workshop: Workshop) -> None:
    cluster = workshop.cluster({"prefill": {}, "decode": {"loads_s": 60.0}})

    def kill_prefill(snapshot: Snapshot) -> None:
        if snapshot.members[0].state is MemberState.READY:
            with suppress(httpx.HTTPError):
                httpx.get(f"{snapshot.members[0].url}/exit/7")

    with pytest.raises(StartFailed, match="prefill died"):
        cluster.start(watch=kill_prefill)


def test_a_member_that_never_answers_is_reported_with_its_last_answer(workshop: Workshop) -> None:
    with refusing_server() as url:
        cluster = workshop.cluster({"proxy": {"launcher": "attach", "url": url, "ready_timeout_s": 0.3}})
        with pytest.raises(StartFailed) as failure:
            cluster.start()

    assert "proxy was not ready within 0.3 s" in str(failure.value)
    assert "the last answer was: HTTP 503" in str(failure.value)
    assert f"curl -i {url}/health" in str(failure.value)


def test_stop_leaves_nothing_not_even_a_daemon_that_ignores_sigterm(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"daemon": True, "ignores_sigterm": True, "stop_timeout_s": 0.2}})
    cluster.start()
    daemon = int((cluster.members["decode"].directory / "daemon").read_text(encoding="ascii"))
    assert daemon in survivors(workshop.owner)

    cluster.stop()

    assert survivors(workshop.owner) == []
    assert workshop.kinds("decode")[-1] == "MemberStopped"


def test_stop_is_safe_at_any_time(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {}})
    cluster.stop()
    cluster.start()
    cluster.stop(["decode"])
    cluster.stop(["decode"])
    cluster.stop()
    cluster.stop()
    assert workshop.kinds("decode").count("MemberStopped") == 1


def test_stop_in_another_thread_cancels_the_start(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"loads_s": 60.0}})
    started = cluster.directory / "members" / "decode" / "started"

    def stop_once_started() -> None:
        until(started.exists, "the member starts")
        cluster.stop()

    stopper = threading.Thread(target=stop_once_started)
    stopper.start()
    with pytest.raises(StartCancelled):
        cluster.start()
    stopper.join()
    assert survivors(workshop.owner) == []


def test_a_watch_that_raises_tears_everything_down(workshop: Workshop) -> None:
    cluster = workshop.cluster({"prefill": {"loads_s": 60.0}, "decode": {"loads_s": 60.0}})
    directory = cluster.directory / "members"

    def interrupt(snapshot: Snapshot) -> None:
        if all((directory / member.name / "started").exists() for member in snapshot.members):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster.start(watch=interrupt)

    assert survivors(workshop.owner) == []


def test_watch_sees_what_each_member_does(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"says": ["Loading weights"], "meets": ["gate"]}})
    gate = cluster.directory / "members" / "gate"
    seen: list[tuple[MemberState, str]] = []

    def open_gate_once_seen(snapshot: Snapshot) -> None:
        seen.append((snapshot.members[0].state, snapshot.members[0].doing))
        if seen[-1][1] == "loading weights":
            gate.mkdir(parents=True, exist_ok=True)
            (gate / "started").touch()

    cluster.start(watch=open_gate_once_seen)

    assert seen[0] == (MemberState.STARTING, "starting")
    assert seen[-1] == (MemberState.READY, "")


def test_members_can_start_one_after_the_other_on_kept_ports(workshop: Workshop) -> None:
    cluster = workshop.cluster({"colocated": {"role": "colocated"}, "decode": {}})

    cluster.start(["colocated"])
    ports = {name: member.ports for name, member in cluster.members.items()}
    assert cluster.members["decode"].state is MemberState.IDLE
    cluster.stop(["colocated"])
    cluster.start(["decode"])

    assert cluster.members["colocated"].state is MemberState.STOPPED
    assert {name: member.ports for name, member in cluster.members.items()} == ports


def test_restart_keeps_ports_and_goes_on_in_the_same_log(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"says": ["hello"]}})
    cluster.start()
    member = cluster.members["decode"]
    first_pid, url = member.process and member.process.pid, member.url
    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/exit/9")

    death = member.died.result(timeout=5)
    assert (death.returncode, death.last_lines[-1]) == (9, "asked to exit")
    assert cluster.dead() == (death,)

    cluster.restart("decode")

    assert cluster.dead() == ()
    assert (member.generation, member.url) == (2, url)
    assert member.process is not None
    assert member.process.pid != first_pid
    assert httpx.get(f"{url}/health").status_code == 200
    lines = member.log.tail(10)
    assert lines[:2] == ["hello", "asked to exit"]
    assert "generation 2" in lines[2]
    assert lines[3:] == ["hello"]
    assert workshop.kinds("decode")[-4:] == ["MemberDied", "MemberRestarted", "MemberStarting", "MemberReady"]


def test_restart_ends_a_member_that_hangs(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"stop_timeout_s": 30.0}})
    cluster.start()
    member = cluster.members["decode"]
    assert member.process is not None
    assert member.process.pid is not None
    began = time.monotonic()

    os.kill(member.process.pid, signal.SIGSTOP)
    cluster.restart("decode")

    assert time.monotonic() - began < 10.0, "a stopped process must be continued to take its SIGTERM"
    assert httpx.get(f"{member.url}/health").status_code == 200


def test_a_failed_restart_stops_that_member_and_no_other(workshop: Workshop) -> None:
    cluster = workshop.cluster({"prefill": {}, "decode": {}})
    cluster.start()
    broken = cluster.members["decode"]
    (broken.directory / "broken").touch()

    with pytest.raises(StartFailed, match="decode died"):
        cluster.restart("decode")

    assert broken.state is MemberState.DIED
    assert cluster.members["prefill"].state is MemberState.READY


def test_a_program_that_is_missing_fails_before_anything_stays(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = workshop.cluster({"prefill": {"loads_s": 60.0}, "decode": {"loads_s": 60.0}})
    render = FakeService.render

    def render_decode_wrong(self: FakeService, placement: Placement) -> Command:
        wrong = Command(argv=("no-such-program",))
        return wrong if placement.name == "decode" else render(self, placement)

    monkeypatch.setattr(FakeService, "render", render_decode_wrong)

    with pytest.raises(LaunchError, match="no program 'no-such-program'"):
        cluster.start()

    assert survivors(workshop.owner) == []


def test_an_attached_member_is_used_and_left_alone(workshop: Workshop) -> None:
    ours = workshop.cluster({"decode": {}}, "ours")
    ours.start()
    url = ours.members["decode"].url
    theirs = workshop.cluster({"decode": {"launcher": "attach", "url": url}})

    theirs.start()
    member = theirs.members["decode"]
    assert (member.url, f"http://{member.address}:{member.ports['http']}") == (url, url)
    theirs.stop()

    assert httpx.get(f"{url}/health").status_code == 200
    assert workshop.kinds("decode") == ["MemberStarting", "MemberReady"]


def test_an_unknown_member_name_is_an_error(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {}})
    with pytest.raises(PlacementError, match="no member 'decod'"):
        cluster.start(["decod"])


def test_an_idle_cluster_keeps_no_thread_and_no_reaper(workshop: Workshop) -> None:
    before = set(threading.enumerate())
    cluster = workshop.cluster({"decode": {}})
    cluster.start()
    assert set(threading.enumerate()) - before
    cluster.stop()
    until(lambda: set(threading.enumerate()) <= before, "the loop's thread ends")
