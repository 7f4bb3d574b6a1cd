from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import MemberGone
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.events import MemberDied
from pdtest.faults import Freeze, Kill, Refused, Restart, Terminate, inflicted
from pdtest.faults.process import processes_of
from pdtest.launch.vitals import Vitals

from .conftest import Start, little, unverified


def answers(cluster: Cluster, path: str = "/", timeout_s: float = 5.0) -> bool:
    try:
        return httpx.get(cluster.members["decode"].url + path, timeout=timeout_s).status_code == 200
    except httpx.HTTPError:
        return False


async def test_a_killed_member_is_dead_and_comes_back(start: Start) -> None:
    cluster = start()
    member = cluster.members["decode"]
    former = member.process.pid if member.process else None
    async with inflicted(Kill(cluster, "decode")) as seen:
        assert str(former) in seen.what
        assert member.dead
        assert member.died.result().returncode == -signal.SIGKILL
        assert not answers(cluster)
    assert member.generation == 2
    assert answers(cluster)


async def test_one_process_of_a_member_can_be_killed(start: Start) -> None:
    cluster = start()
    assert answers(cluster, "/child")
    fault = Kill(cluster, "decode", part="little-child")
    async with inflicted(fault) as seen:
        assert "ended" in seen.what
        assert cluster.members["decode"].alive
        assert answers(cluster)
        assert len(cluster.processes("decode")) == 1
    assert cluster.members["decode"].generation == 2


async def test_a_part_that_is_not_there_is_refused(start: Start) -> None:
    cluster = start()
    with pytest.raises(Refused, match="EngineCore"):
        async with inflicted(Kill(cluster, "decode", part="EngineCore")):
            pytest.fail("unreachable")
    assert answers(cluster)


async def test_a_member_may_end_by_itself(start: Start) -> None:
    cluster = start()
    fault = Terminate(cluster, "decode")
    async with inflicted(fault) as seen:
        assert seen.what.endswith("took SIGTERM")
        assert cluster.members["decode"].died.result(timeout=10).returncode == -signal.SIGTERM
    assert fault.hung is None
    assert fault.ended_at is not None
    assert answers(cluster)
    assert cluster.members["decode"].generation == 2


async def test_who_hangs_when_told_to_end_has_been_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdtest.faults.process._WITHIN_S", 0.5)
    cluster = start(decode=little("decode", "hangs", stop_timeout_s=0.5))
    former = cluster.members["decode"].process
    fault = Terminate(cluster, "decode")
    async with inflicted(fault):
        assert answers(cluster)
        assert fault.ended_at is None
    assert fault.hung
    assert f"{former and former.pid} (state S)" in fault.hung
    assert cluster.members["decode"].generation == 2
    assert answers(cluster)


@pytest.mark.parametrize(("manner", "why"), [("ignores", "ignores it"), ("blocks", "the signal waits")])
async def test_a_signal_that_is_not_taken_is_not_delivered(
    start: Start, monkeypatch: pytest.MonkeyPatch, manner: str, why: str
) -> None:
    monkeypatch.setattr("pdtest.faults.process._WITHIN_S", 0.5)
    cluster = start(decode=little("decode", manner, stop_timeout_s=0.5))
    assert why in str(await unverified(Terminate(cluster, "decode")))
    assert answers(cluster)


async def test_a_frozen_member_keeps_its_connections_and_answers_later(start: Start) -> None:
    cluster = start()
    async with httpx.AsyncClient() as client:
        async with inflicted(Freeze(cluster, "decode")):
            asked = asyncio.create_task(client.get(cluster.members["decode"].url, timeout=20))
            await asyncio.wait({asked}, timeout=0.2)
            assert not asked.done()
        assert (await asked).status_code == 200
    assert cluster.members["decode"].generation == 1


async def test_a_restarted_member_is_another_process_on_the_same_ports(start: Start) -> None:
    cluster = start()
    url = cluster.members["decode"].url
    async with inflicted(Restart(cluster, "decode")) as seen:
        assert "serves in place of" in seen.what
        assert cluster.members["decode"].url == url
        assert answers(cluster)


class _Silent:
    async def send(self, *_: object) -> Sequence[Vitals]:
        return ()


class _NoKill(_Silent, Kill):
    pass


class _NoTerm(_Silent, Terminate):
    pass


class _NoStop(_Silent, Freeze):
    pass


class _NoRestart(Restart):
    async def arm(self) -> None:
        self._former = await processes_of(self._cluster, self.target, self.name)


@pytest.mark.parametrize("kind", [_NoKill, _NoTerm, _NoStop, _NoRestart])
async def test_a_signal_that_does_nothing_is_not_taken_for_one(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr("pdtest.faults.process._WITHIN_S", 0.2)
    cluster = start()
    await unverified(kind(cluster, "decode"))
    assert answers(cluster)


async def test_a_port_that_somebody_still_answers_is_no_kill(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start()

    async def answered(_: object) -> None:
        return None

    monkeypatch.setattr("pdtest.faults.process.refusal", answered)
    assert "somebody still answers" in str(await unverified(Kill(cluster, "decode")))


async def test_members_that_are_attached_to_are_refused(start: Start) -> None:
    cluster = start()
    url = cluster.members["decode"].url
    other = start(decode=little(launcher="attach", url=url, options={}))
    for kind in (Kill, Freeze, Restart):
        with pytest.raises(Refused, match="no process that pdtest has started"):
            async with inflicted(kind(other, "decode")):
                pytest.fail("unreachable")
    assert answers(cluster)


async def test_what_was_hit_has_ended_when_its_cluster_has(start: Start) -> None:
    cluster = start()
    there = cluster.processes("decode")
    assert cluster.signal("decode", there, 0) == [True]
    cluster.stop()
    assert [one.ended for one in cluster.look_at("decode", there)] == [True]
    assert cluster.signal("decode", there, 0) == [False]
    assert cluster.processes("decode") == []


async def test_who_waits_for_the_dead_hears_of_it_within_a_second(start: Start) -> None:
    cluster = start()
    member = cluster.members["decode"]
    async with httpx.AsyncClient(timeout=60) as http:
        endpoint = Endpoint("decode", member.url, model="none", http=http, timeout_s=60, died=member.died)
        for _ in range(3):
            held = asyncio.create_task(http.get(member.url + "/hold"))
            waiting = asyncio.create_task(_wait_on(endpoint))
            await asyncio.sleep(0.1)
            killed_at = time.perf_counter()
            os.kill(cluster.processes("decode")[0].pid, signal.SIGKILL)
            with pytest.raises(MemberGone):
                await waiting
            assert time.perf_counter() - killed_at < 1.0
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)
            assert isinstance(member.died.result(), MemberDied)
            await asyncio.to_thread(cluster.restart, "decode")
            endpoint = Endpoint("decode", member.url, model="none", http=http, timeout_s=60, died=member.died)


async def _wait_on(endpoint: Endpoint) -> None:
    await endpoint.health("/hold")
    await endpoint.generate(Request.tokens((1, 2)))
