from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.environment.interpolate import DanglingReference
from pdtest.environment.schema import Role
from pdtest.services.references import resolved
from pdtest.services.vllm import VllmService

from .conftest import Place


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("${self.name}", "decode"),
        ("${self.dir}", "/run/members/decode"),
        ("${self.url}", "http://127.0.0.1:8000"),
        ("${self.address}", "127.0.0.1"),
        ("${self.ports.http}", 8000),
        ("${self.ports.side_channel}", 8001),
        ("${self.files.mooncake.json}", "/run/members/decode/mooncake.json"),
        ("${members.prefill-1.url}/x", "http://10.0.0.2:8100/x"),
        ("${members.prefill-1.address}", "10.0.0.2"),
        ("${members.prefill-1.ports.side_channel}", 8101),
        ("${model.path}", "org/model"),
        ("${model.name}", "org/model"),
    ],
)
def test_what_a_member_can_refer_to(written: str, becomes: str | int, place: Place) -> None:
    placement = place(
        VllmService(),
        {"files": {"mooncake.json": {}}},
        others={"prefill-1": {"role": Role.PREFILL, "host": "second"}},
    )
    assert resolved([written], placement) == [becomes]


def test_a_member_is_not_among_the_members_it_can_name(place: Place) -> None:
    with pytest.raises(DanglingReference, match=r"members\.decode\.url"):
        resolved("${members.decode.url}", place(VllmService(), {}))


def test_a_model_directory_is_absolute_because_members_run_elsewhere(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolved("${model.path}", place(VllmService(), {})) == str(tmp_path / "org/model")
