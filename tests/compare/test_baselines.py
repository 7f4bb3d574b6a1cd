from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.compare import Baselines
from pdtest.compare.baselines import BadName, BaselineUnreadable
from pdtest.compare.series import series_of
from tests.compare.made import STEADY, runs


@pytest.fixture
def kept(tmp_path: Path) -> Baselines:
    return Baselines(directory=tmp_path / "baselines")


def test_what_was_saved_is_found_by_name_and_fingerprint(kept: Baselines) -> None:
    results = runs({"ttft_p50": STEADY})
    (saved,) = kept.save("nightly", results)
    found = kept.find("nightly", "f" * 16)
    assert found == saved
    assert found.results == results
    assert kept.find("nightly", "e" * 16) is None
    assert kept.find("weekly", "f" * 16) is None


def test_each_fingerprint_has_its_own(kept: Baselines) -> None:
    chat = runs({"ttft_p50": STEADY})
    burst = runs({"ttft_p50": STEADY}, fingerprint="b" * 16, workload={"name": "burst"})
    assert [len(one.results) for one in kept.save("nightly", [*chat, *burst])] == [5, 5]
    assert [one.series.workload for one in kept.named("nightly")] == ["burst", "chat"]


def test_saving_again_replaces_and_leaves_no_other_file(kept: Baselines) -> None:
    kept.save("nightly", runs({"ttft_p50": STEADY}))
    kept.save("nightly", runs({"ttft_p50": STEADY[:3]}))
    found = kept.find("nightly", "f" * 16)
    assert found is not None
    assert len(found.results) == 3
    assert [path.name for path in (kept.directory / ("f" * 16)).iterdir()] == ["nightly.json"]


def test_adding_keeps_other_sessions_and_replaces_its_own(kept: Baselines) -> None:
    kept.save("nightly", runs({"ttft_p50": STEADY}, run="first"))
    kept.save("nightly", runs({"ttft_p50": STEADY[:3]}, run="second"), add=True)
    (again,) = kept.save("nightly", runs({"ttft_p50": STEADY[:2]}, run="second"), add=True)
    assert [result.run for result in again.results] == ["first"] * 5 + ["second"] * 2
    assert kept.find("nightly", "f" * 16) == again


def test_a_write_that_breaks_off_leaves_the_old_one(kept: Baselines, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.save("nightly", runs({"ttft_p50": STEADY}))

    def breaks(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(OSError, match="No space"):
        kept.save("nightly", runs({"ttft_p50": STEADY[:3]}))
    found = kept.find("nightly", "f" * 16)
    assert found is not None
    assert len(found.results) == 5
    assert len([*(kept.directory / ("f" * 16)).iterdir()]) == 1


def test_runs_bound_by_their_client_are_not_kept(kept: Baselines) -> None:
    (saved,) = kept.save("nightly", runs({"ttft_p50": STEADY}, invalid=2))
    assert len(saved.results) == 3
    assert kept.save("other", runs({"ttft_p50": STEADY}, invalid=5)) == ()


def test_all_are_listed_by_name_and_removed_by_it(kept: Baselines) -> None:
    for name in ("weekly", "nightly"):
        kept.save(name, runs({"ttft_p50": STEADY}))
    assert [one.name for one in kept.all()] == ["nightly", "weekly"]
    assert kept.remove("nightly") == 1
    assert kept.remove("nightly") == 0
    assert [one.name for one in kept.all()] == ["weekly"]


def test_the_latest_of_the_same_load_is_alike_whatever_the_conditions(kept: Baselines) -> None:
    results = runs({"ttft_p50": STEADY})
    kept.save("nightly", results)
    kept.save("nightly", runs({"ttft_p50": STEADY}, fingerprint="e" * 16))
    found = kept.alike("nightly", series_of(results[0]))
    assert found is not None
    assert found.fingerprint == "e" * 16
    other = runs({"ttft_p50": STEADY}, workload={"name": "burst"})
    assert kept.alike("nightly", series_of(other[0])) is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "two words"])
def test_a_name_that_is_no_file_name_is_refused(kept: Baselines, name: str) -> None:
    with pytest.raises(BadName):
        kept.save(name, runs({"ttft_p50": STEADY}))


def test_a_damaged_file_is_named_and_can_be_removed(kept: Baselines) -> None:
    kept.save("nightly", runs({"ttft_p50": STEADY}))
    path = kept.directory / ("f" * 16) / "nightly.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(BaselineUnreadable, match="nightly") as caught:
        kept.find("nightly", "f" * 16)
    assert str(path) in str(caught.value)
    assert kept.remove("nightly") == 1
