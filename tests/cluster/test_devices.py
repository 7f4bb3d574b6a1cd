"""Clusters that want devices which others have."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pdtest.cluster.cluster import Cluster
from pdtest.cluster.incident import StartCancelled
from pdtest.cluster.snapshot import Snapshot, Wait
from pdtest.environment.schema import Host
from pdtest.launch.devices import DeviceTaken
from pdtest.launch.held import held
from tests.launch.sshd import SSHD, Sshd

from .conftest import Workshop
from .fakes import environment_of, until

GPUS: dict[str, Any] = {"local": {"devices": {"kind": "cuda", "ids": [0, 1, 2]}}}


def gpus(*numbers: int) -> dict[str, Any]:
    return {f"gpu-{number}": {"devices": [number]} for number in numbers}


def devices() -> set[str]:
    """Those that are held on this machine."""
    return {name for name in held() if not name.isdigit()}


class Waiting:
    """A ``watch`` that notes what is waited for, and does something the first time."""

    def __init__(self, then: Any = lambda: None) -> None:
        self.waits: list[Wait] = []
        self.held_meanwhile: set[str] = set()
        self._then = then

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.waiting is not None:
            if not self.waits:
                self.held_meanwhile = {*held()}
                self._then()
            self.waits.append(snapshot.waiting)


def test_devices_are_held_until_all_is_stopped(workshop: Workshop) -> None:
    cluster = workshop.cluster({"prefill": {"devices": [0]}, "decode": {"devices": [1]}}, hosts=GPUS)
    cluster.start()
    assert devices() == {"cuda-0", "cuda-1"}
    cluster.stop(["prefill"])
    assert devices() == {"cuda-0", "cuda-1"}
    cluster.stop()
    assert not held()


def test_a_held_device_fails_the_start_at_once_and_leaves_nothing(workshop: Workshop) -> None:
    first = workshop.cluster(gpus(1), hosts=GPUS)
    first.start()
    before = {*held()}

    second = workshop.cluster(gpus(0, 1), "second", hosts=GPUS, owner="second")
    with pytest.raises(DeviceTaken, match="cuda-1, which member 'gpu-1' asks for"):
        second.start()

    assert {*held()} == before
    assert [event.kind for event in workshop.events("second")] == []


def test_a_start_waits_holding_nothing_and_goes_on_when_it_is_free(workshop: Workshop) -> None:
    first = workshop.cluster(gpus(1), hosts=GPUS)
    first.start()
    before = {*held()}
    watch = Waiting(first.stop)

    second = workshop.cluster(gpus(0, 1, 2), "second", hosts=GPUS, owner="second")
    second.start(within_s=20, watch=watch)

    assert watch.waits[0].device == "cuda-1"
    assert watch.waits[0].holder["purpose"] == "member 'gpu-1'"
    assert watch.held_meanwhile == before
    assert devices() == {"cuda-0", "cuda-1", "cuda-2"}


def test_patience_ends(workshop: Workshop) -> None:
    workshop.cluster(gpus(0), hosts=GPUS).start()
    watch = Waiting()
    with pytest.raises(DeviceTaken) as refusal:
        workshop.cluster(gpus(0), "second", hosts=GPUS, owner="second").start(within_s=0.3, watch=watch)
    assert refusal.value.expected == "it is free within 0.3 s"
    assert watch.waits[0].left_s <= 0.3


def test_stop_in_another_thread_ends_the_wait(workshop: Workshop) -> None:
    workshop.cluster(gpus(0), hosts=GPUS).start()
    second = workshop.cluster(gpus(0), "second", hosts=GPUS, owner="second")
    stopping = threading.Thread(target=second.stop)
    with pytest.raises(StartCancelled):
        second.start(within_s=60, watch=Waiting(stopping.start))
    stopping.join()


def test_overlapping_sets_are_had_one_after_the_other(workshop: Workshop) -> None:
    wanted = ((0, 1), (1, 2), (2, 0))
    clusters = [
        workshop.cluster(gpus(*those), f"run-{those}", hosts=GPUS, owner=f"{those}") for those in wanted
    ]
    free, overlap, errors = {0, 1, 2}, [], []

    def one(cluster: Cluster, those: set[int]) -> None:
        try:
            cluster.start(within_s=60)
            if not those <= free:
                overlap.append(those)
            free.difference_update(those)
            time.sleep(0.05)
            free.update(those)
            cluster.stop()
        except BaseException as error:  # noqa: BLE001 - a thread's, for the assertion below
            errors.append(error)

    threads = [
        threading.Thread(target=one, args=(cluster, {*those}))
        for cluster, those in zip(clusters, wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, overlap) == ([], [])


def test_what_is_shared_or_attached_is_nobodys(workshop: Workshop) -> None:
    cores = {"local": {"devices": {"kind": "core", "ids": [0], "shared": True}}}
    one = workshop.cluster({"prefill": {"devices": [0]}, "decode": {"devices": [0]}}, hosts=cores)
    one.start()
    url = one.members["prefill"].url
    attached = {"prefill": {"launcher": "attach", "url": url, "devices": [0]}}
    workshop.cluster(attached, "second", hosts=GPUS, owner="second").start()
    assert devices() == set()


def test_a_device_that_a_standing_cluster_wants_anew_is_leased(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"devices": [0]}}, hosts=GPUS)
    cluster.start()
    other = workshop.cluster(gpus(1), "other", hosts=GPUS, owner="other")
    other.start()
    changed = environment_of({"decode": {"devices": [1]}}, hosts=GPUS)

    with pytest.raises(DeviceTaken, match="cuda-1"):
        cluster.renew(changed)
    assert cluster.environment.members["decode"].devices == (0,)

    other.stop()
    cluster.renew(changed)
    assert "cuda-1" in devices()
    cluster.stop()
    assert devices() == set()


@pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")
def test_devices_of_several_machines_are_had_together(workshop: Workshop, servers: tuple[Sshd, Sshd]) -> None:
    there = servers[0].host().model_copy(update={"devices": Host.model_validate(CORES).devices})
    hosts = GPUS | {"a": there}
    far = {"decode": {"launcher": "ssh", "host": "a", "devices": [0]}}
    first = workshop.cluster(far, hosts=hosts)
    first.start()
    assert {*held(servers[0].directory / "leases")} > {"core-0"}
    watch = Waiting(first.stop)

    second = workshop.cluster(far | gpus(0), "second", hosts=hosts, owner="second")
    second.start(within_s=30, watch=watch)

    assert watch.waits[0].device == "core-0 on host 'a'"
    assert "cuda-0" not in watch.held_meanwhile
    assert devices() == {"cuda-0"}


CORES = {"devices": {"kind": "core", "ids": [0]}}


@pytest.mark.skipif(SSHD is None, reason="no sshd; Debian: openssh-server")
def test_who_asks_twice_for_one_machines_device_does_not_wait_for_itself(
    workshop: Workshop, servers: tuple[Sshd, Sshd]
) -> None:
    there = servers[0].host().model_copy(update={"devices": Host.model_validate(CORES).devices})
    members = {name: {"launcher": "ssh", "host": name, "devices": [0]} for name in ("a", "b")}
    watch = Waiting()
    began = time.monotonic()
    with pytest.raises(DeviceTaken, match="this run itself has it"):
        workshop.cluster(members, hosts={"a": there, "b": there}).start(within_s=60, watch=watch)
    assert time.monotonic() - began < 30
    assert not watch.waits
    until(lambda: not held(servers[0].directory / "leases"), "nothing is held")
