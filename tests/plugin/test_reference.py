from __future__ import annotations

from typing import Any

import pytest

from .conftest import Project, member

DECLARED = """
@pytest.mark.asks(requests=lambda prompts, bounds: [Request.tokens(prompts.tokens(2 * bounds.block_size))])
async def test_declared(asked, handoff, judge):
    await judge(await handoff(*asked))

async def test_undeclared(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))
"""
HOSTS = {"box": {"devices": {"kind": "core", "ids": [0, 1]}}}


def on(device: int, role: str) -> dict[str, Any]:
    return member(role) | {"host": "box", "devices": [device]}


def life(project: Project) -> list[str]:
    """What became of members, in order."""
    kinds = {"MemberStarting": "starts", "MemberStopped": "stops"}
    events = [event for event in project.events() if event["kind"] in kinds]
    return [f"{event['member']} {kinds[event['kind']]}" for event in events]


def test_recorded_answers_are_asked_for_once_and_by_the_colocated_member_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.environment(
        hosts=HOSTS,
        members={"prefill": on(0, "prefill"), "decode": on(1, "decode"), "colocated": on(0, "colocated")},
        reference={"kind": "recorded"},
    )
    project.tests(DECLARED)

    first = project.run("-v")

    first.stdout.fnmatch_lines(["*recording 1 reference answers of doubles*", "*test_declared* PASSED *"])
    first.stdout.fnmatch_lines(
        [
            "*test_undeclared* INCONCLUSIVE *",
            "*no colocated answer was recorded for this request*",
            "*declare the request with @pytest.mark.asks*",
        ]
    )
    assert life(project)[:2] == ["colocated starts", "colocated stops"]
    assert sorted(life(project)[2:4]) == ["decode starts", "prefill starts"]

    second = project.run("-k", "test_declared")

    assert second.ret == pytest.ExitCode.OK
    assert "colocated starts" not in life(project)

    monkeypatch.setenv("DOUBLE_VERSION", "0.0.2")
    other = project.run("-k", "test_declared")

    assert other.ret == pytest.ExitCode.OK
    other.stdout.fnmatch_lines(["*recording 1 reference answers*"])
    assert life(project).count("colocated starts") == 1


def test_recorded_answers_of_an_environment_given_as_a_file(project: Project) -> None:
    file = project.environment("../elsewhere", reference={"kind": "recorded"})
    project.tests(DECLARED)

    result = project.run("-k", "test_declared", env=str(file))

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["pdtest: environment elsewhere, seed recorded", "*recording 1 reference*"])


def test_a_borrowed_reference_needs_no_member_of_its_own(project: Project) -> None:
    project.environment(
        members={role: member(role) for role in ("prefill", "decode")},
        reference={"kind": "borrowed", "member": "prefill"},
    )
    project.tests(DECLARED)

    result = project.run()

    result.assert_outcomes(passed=2)
    assert {event["member"] for event in project.events() if event["kind"] == "MemberReady"} == {
        "prefill",
        "decode",
    }


def test_a_recording_that_fails_says_why_and_leaves_nothing_running(project: Project) -> None:
    colocated = member("colocated", refuses=500)
    project.environment(
        members={"prefill": member("prefill"), "decode": member("decode"), "colocated": colocated},
        reference={"kind": "recorded"},
    )
    project.tests(DECLARED)

    result = project.run()

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*not today*"])
    assert project.survivors() == []
