from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pdtest.environment.catalogue import Catalogue, UnknownEnvironment, default_directories

Write = Callable[[str, str], Path]

BASE = """\
model: {path: somewhere, dtype: float32, block_size: 32, max_model_len: 2048}
connector: {contract: [nixl]}
reference: {kind: borrowed, member: decode}
members:
  prefill: {role: prefill, service: vllm}
  decode: {role: decode, service: vllm}
"""


@pytest.fixture
def catalogue(write: Write, tmp_path: Path) -> Catalogue:
    write("mine/embedded.yaml", f"{BASE}description: mine\n")
    write("mine/_part.yaml", "marks: [gpu]\n")
    write("mine/notes.txt", "")
    write("shipped/embedded.yaml", f"{BASE}description: shipped\n")
    write("shipped/vllm-nixl.yml", f"extends: [embedded, _part]\n{BASE}")
    return Catalogue((tmp_path / "mine", tmp_path / "shipped", tmp_path / "absent"))


def test_environments_are_listed_by_name_without_parts(catalogue: Catalogue) -> None:
    assert catalogue.names() == ("embedded", "vllm-nixl")


def test_the_projects_own_file_hides_a_shipped_one(catalogue: Catalogue) -> None:
    assert catalogue.load("embedded", variables={}).description == "mine"


def test_bases_are_found_in_every_directory(catalogue: Catalogue) -> None:
    environment = catalogue.load("vllm-nixl", variables={})
    assert environment.marks == ("gpu",)


def test_a_path_loads_that_file(catalogue: Catalogue, tmp_path: Path) -> None:
    assert catalogue.load(tmp_path / "shipped" / "embedded.yaml", variables={}).description == "shipped"


@pytest.mark.parametrize("name", ["embeded", "mine/embeded.yaml", "embeded.yaml"])
def test_an_unknown_name_is_answered_with_the_nearest(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(UnknownEnvironment) as caught:
        catalogue.file(name)
    assert f"there is no environment '{name}'" in str(caught.value)
    assert "embedded" in str(caught.value)
    assert "shipped" in str(caught.value)


def test_nothing_like_it_lists_what_there_is(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownEnvironment, match="known: embedded, vllm-nixl"):
        catalogue.file("zzz")


def test_the_projects_directory_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    directories = default_directories(tmp_path)
    assert directories[0] == tmp_path / "environments"
    assert all(directory.is_dir() for directory in directories)


def test_a_project_without_environments_has_the_shipped_ones_only(tmp_path: Path) -> None:
    assert tmp_path / "environments" not in default_directories(tmp_path)
