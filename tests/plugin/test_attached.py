from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pdtest.launch.lease import PortLeases

from .conftest import DOUBLE, Project, member

TESTS = """
async def test_moves(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

@pytest.mark.disruptive
async def test_disrupts(handoff, prompts):
    await handoff.send(ask(prompts))
"""


class Deployment:
    """Doubles that somebody else has started."""

    def __init__(self, leases: PortLeases) -> None:
        self._leases = leases
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, role: str, **does: Any) -> str:
        """Its URL, once it answers."""
        port = self._leases.take()
        command = [
            sys.executable,
            str(DOUBLE),
            "--port",
            str(port),
            "--role",
            role,
            "--does",
            json.dumps(does),
        ]
        self._running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/health", trust_env=False)
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return url

    @property
    def alive(self) -> bool:
        return all(process.poll() is None for process in self._running)

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        self._leases.release_all()


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    ours = Deployment(PortLeases("test_attached"))
    yield ours
    ours.stop()


def attached(role: str, url: str, **settings: Any) -> dict[str, Any]:
    return {"role": role, "service": "vllm", "launcher": "attach", "url": url, **settings}


def members(deployment: Deployment, **does: dict[str, Any]) -> dict[str, Any]:
    roles = ("prefill", "decode", "colocated")
    return {role: attached(role, deployment.start(role, **does.get(role, {}))) for role in roles}


def test_what_runs_is_tested_and_spared(project: Project, deployment: Deployment) -> None:
    project.environment(members=members(deployment))
    project.tests(TESTS)

    result = project.run()

    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == pytest.ExitCode.OK
    output = result.stdout.str()
    assert "attached to the members of doubles" in output
    assert "version 0.0.1, serves double, up to 256 tokens, block size 16" in output
    assert "doubles: 1 disruptive test was not run, since somebody else runs prefill, decode;" in output
    assert "--allow-disruption" in output
    assert deployment.alive
    surveyed = [event for event in project.events() if event["kind"] == "MemberSurveyed"]
    assert [(event["member"], event["block_size"]) for event in surveyed] == [
        ("prefill", "16"),
        ("decode", "16"),
        ("colocated", "16"),
    ]


def test_disruption_can_be_allowed(project: Project, deployment: Deployment) -> None:
    project.environment(members=members(deployment))
    project.tests(TESTS)
    result = project.run("--allow-disruption")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*attached members*")


def test_a_deselected_test_is_not_counted_as_spared(project: Project, deployment: Deployment) -> None:
    project.environment(members=members(deployment))
    project.tests(TESTS)
    result = project.run("-k", "moves")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("*disruptive test*")


def test_where_only_the_reference_is_attached_nothing_is_spared(
    project: Project, deployment: Deployment
) -> None:
    own = {role: member(role) for role in ("prefill", "decode")}
    reference = attached("colocated", deployment.start("colocated"))
    project.environment(members={**own, "colocated": reference})
    project.tests(TESTS)
    project.run().assert_outcomes(passed=2)


def test_all_that_differs_is_told_at_once_and_nothing_is_tested(
    project: Project, deployment: Deployment
) -> None:
    whole = members(deployment, decode={"block_size": 32}, colocated={"model": "another"})
    project.environment(members={**whole, "proxy": attached("proxy", "http://127.0.0.1:9")})
    project.tests(TESTS + "\nasync def test_next(cluster):\n    pass\n")

    result = project.run()

    result.assert_outcomes(errors=2, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    output = result.stdout.str()
    for told in (
        "proxy: unreachable",
        "decode: block size",
        "32 tokens (vllm:cache_config_info)",
        "colocated: another model",
    ):
        assert told in output
    assert output.count("expected 16 tokens, as model.block_size says") == 1
    seen = {(e["member"], e["what"]): e["hard"] for e in project.events() if e["kind"] == "DriftSeen"}
    assert seen == {
        ("proxy", "unreachable"): True,
        ("decode", "block size"): True,
        ("colocated", "another model"): True,
    }
    assert not [event for event in project.events() if event["kind"] == "HandoffFinished"]


def test_the_variable_that_says_where_a_member_runs_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECODE_URL", raising=False)
    monkeypatch.setattr("pdtest.plugin.attached.REACH_S", 0.5)  # nobody is there, so nobody is missed
    whole = {
        role: attached(role, f"${{{role.upper()}_URL:-http://127.0.0.1:9}}") for role in ("prefill", "decode")
    }
    project.environment(members=whole, reference={"kind": "borrowed", "member": "decode"})
    project.tests(TESTS)
    output = project.run().stdout.str()
    assert "(in the file: ${DECODE_URL:-http://127.0.0.1:9})" in output
    assert "http://127.0.0.1:9/health" in output


def test_a_handoff_that_moves_nothing_is_found_before_the_first_test(
    project: Project, deployment: Deployment
) -> None:
    project.environment(members=members(deployment, decode={"moves_nothing": True}))
    project.tests(TESTS)
    result = project.run()
    result.assert_outcomes(errors=1, skipped=1)
    assert "attached members: 'doubles' is not what runs (decode: no KV arrives)" in result.stdout.str()


def test_what_may_be_is_told_at_the_end(project: Project, deployment: Deployment) -> None:
    whole = members(deployment, decode={"max_model_len": 512})
    project.environment(members=whole)
    project.tests(TESTS)
    result = project.run()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["doubles: decode: max_model_len", "*512 tokens (/v1/models)"])


def test_the_vocabulary_must_be_known(project: Project, deployment: Deployment) -> None:
    (project.path / "model" / "config.json").unlink()
    project.environment(members=members(deployment))
    project.tests(TESTS)
    output = project.run().stdout.str()
    assert "model: vocabulary unknown" in output
    assert "set model.vocab_size" in output


def test_a_model_that_only_the_server_names_is_read_where_it_lies(
    project: Project, deployment: Deployment
) -> None:
    elsewhere = project.path / "elsewhere"
    (project.path / "model").rename(elsewhere)
    project.environment(members=members(deployment, decode={"root": str(elsewhere)}))
    project.tests(TESTS)
    project.run().assert_outcomes(passed=1, skipped=1)
