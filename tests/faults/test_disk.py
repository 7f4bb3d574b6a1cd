from __future__ import annotations

import errno

import httpx
import pytest

from pdtest.faults import FullDisk, Refused, Unverified, inflicted

from .conftest import Start


def answers(url: str) -> bool:
    return httpx.get(url).status_code == 200


async def test_a_member_whose_logs_find_no_room_goes_on(start: Start) -> None:
    cluster = start()
    member = cluster.members["decode"]
    assert answers(member.url + "/before")
    try:
        async with inflicted(FullDisk(cluster, "decode")) as seen:
            assert "No space left on device" in seen.what
            size = member.log.path.stat().st_size
            assert answers(member.url + "/lost")
            assert member.log.path.stat().st_size == size
    except Refused as reason:
        pytest.skip(str(reason))
    assert member.generation == 3
    assert answers(member.url + "/after")
    said = member.log.path.read_text(encoding="utf-8")
    assert "/before" in said
    assert "/lost" not in said
    assert not (member.directory / "filler").exists()


async def test_where_nothing_can_be_mounted_it_is_refused(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_not(*_: str) -> None:
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr("pdtest.faults.disk._run", may_not)
    cluster = start()
    with pytest.raises(Refused, match="CAP_SYS_ADMIN"):
        async with inflicted(FullDisk(cluster, "decode")):
            pytest.fail("unreachable")
    assert answers(cluster.members["decode"].url)


async def test_a_disk_with_room_is_not_taken_for_full(start: Start) -> None:
    cluster = start()
    with pytest.raises(Unverified, match="can be written to"):
        await FullDisk(cluster, "decode").verify()
    assert answers(cluster.members["decode"].url)
