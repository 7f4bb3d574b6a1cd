from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from .conftest import Project


def test_a_killed_member_is_back_for_the_next_test_and_how_long_that_took_is_shown(project: Project) -> None:
    project.environment(thresholds={"settle_s": 0.3, "request_timeout_s": 10, "recovery_s": 20})
    project.tests(
        """
import time
from pdtest.client.handoff import Route
from pdtest.faults import Kill

@pytest.mark.disruptive
async def test_kill(cluster, drill, inflict, rule):
    exercise = drill("burst")
    async with inflict(Kill(cluster, "decode")) as seen:
        assert "ended" in seen.what
        since = time.perf_counter()
    await exercise.recover(since, route=Route.CLIENT)
    rule("it is back", exercise.findings)

async def test_next(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))
"""
    )
    result = project.run("--junitxml=report.xml")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*time to recovery*", "* s  burst, client"])
    kinds = [event["kind"] for event in project.events()]
    order = ["FaultArmed", "FaultVerified", "FaultLifted", "Recovered"]
    assert [kind for kind in kinds if kind in order] == order
    properties = ET.parse(Path(project.path) / "report.xml").getroot().iter("property")  # noqa: S314 - ours
    assert [one.get("name") for one in properties] == ["recovery_s"]


def test_what_cannot_be_verified_is_inconclusive_and_what_cannot_be_done_is_skipped(
    project: Project,
) -> None:
    project.environment()
    project.tests(
        """
from pdtest.faults import Freeze, Kill

class Harmless(Freeze):
    async def send(self, *_):
        return ()

@pytest.mark.disruptive
async def test_no_effect(cluster, inflict, monkeypatch):
    monkeypatch.setattr("pdtest.faults.process._WITHIN_S", 0.1)
    async with inflict(Harmless(cluster, "decode")):
        pass

@pytest.mark.disruptive
async def test_no_such_part(cluster, inflict):
    async with inflict(Kill(cluster, "decode", part="EngineCore")):
        pass
"""
    )
    result = project.run("-rs")
    result.stdout.fnmatch_lines(["*fault not verified: freeze of decode took no effect*", "SKIP*EngineCore*"])
    assert result.ret == 1
    assert "1 skipped, 1 inconclusive" in result.stdout.str()


def test_cases_are_those_of_the_environment(project: Project) -> None:
    project.environment("silent")
    project.environment("slow", phases={"prefill": 0.1})
    project.tests("async def test_case(case, cluster): assert case")
    result = project.run("--collect-only", "-q", "--env", "slow", env="silent")
    lines = [line for line in result.stdout.lines if "test_case" in line]
    assert any("slow-prefill-killed-in-transfer-client" in line for line in lines)
    assert sum("silent" in line for line in lines) == 1
    result = project.run("-rs", env="silent")
    result.stdout.fnmatch_lines(["SKIP*nixl has no case*"])
