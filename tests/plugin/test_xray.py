"""`--xray`, on the embedded stack with a transfer that goes wrong on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Project

TESTS = """
@pytest.mark.parametrize("tokens", [37, 50])
async def test_parity(handoff, judge, prompts, tokens):
    await judge(await handoff(Request.tokens(prompts.tokens(tokens))))

async def test_the_last_bits_change_no_answer(handoff, judge, prompts):
    await judge(await handoff(Request.tokens(prompts.tokens(50), max_tokens=2)))
"""
FAULT = "{{extends: embedded, members: {{proxy: null, decode: {{args: {{fault-transfer: '{}'}}}}}}}}"
WORDS = "  layer 2, block 1 (tokens 16..31), KV head 1, V: decode's is prefill's times 1.5"


@pytest.fixture
def faulty(project: Project) -> Project:
    project.tests(TESTS)
    project.write("environments/faulty.yaml", FAULT.format("scaled,factor=1.5,layer=2,block=1,head=1,half=v"))
    return project


def taken(project: Project) -> list[tuple[bool, int]]:
    """Of each X-ray: whether requests were repeated for it, and how many transfers differed."""
    return [
        (event["repeated"], len(event["findings"]))
        for event in project.events()
        if event["kind"] == "XrayTaken"
    ]


def restarts(project: Project) -> list[str]:
    return [event["member"] for event in project.events() if event["kind"] == "MemberRestarted"]


def test_engines_are_restarted_once_and_the_failed_requests_repeated(faulty: Project) -> None:
    result = faulty.run(env="faulty")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "engines were restarted with their X-ray on,* requests sent once more: 1 of 1 were*",
            WORDS,
            "  layer 2   K ...",
            "            V .1.",
            WORDS,
        ]
    )
    assert taken(faulty) == [(True, 1), (False, 1), (False, 1)]
    assert sorted(restarts(faulty)) in (["decode", "prefill"], [])
    assert not faulty.survivors()


def test_on_makes_it_a_finding_that_fails_and_nobody_is_restarted(faulty: Project) -> None:
    result = faulty.run("--xray=on", "-k", "37", env="faulty")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*fail         x-ray: pdtest-*: {WORDS.strip()}", WORDS])
    assert taken(faulty) == [(False, 1)]
    assert not restarts(faulty)


def test_off_leaves_everything_as_it_is(faulty: Project) -> None:
    result = faulty.run("--xray=off", "-k", "37", env="faulty")
    result.assert_outcomes(failed=1)
    assert "X-ray" not in result.stdout.str()
    assert not (faulty.latest / "faulty" / "xray").exists()


def test_on_sees_what_no_answer_shows(project: Project) -> None:
    project.tests(TESTS)
    project.write("environments/faulty.yaml", FAULT.format("scaled,factor=1.0000002,layer=3,head=0,half=k"))
    project.run("-k", "last_bits", env="faulty").assert_outcomes(passed=1)
    result = project.run("--xray=on", "-k", "last_bits", env="faulty")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*layer 3, all blocks, KV head 0, K: decode's is nearly prefill's,*"])


def test_a_healthy_transfer_is_proof(project: Project) -> None:
    project.tests(TESTS)
    project.write("environments/healthy.yaml", "{extends: embedded, members: {proxy: null}}")
    result = project.run("--xray=on", "-k", "37", env="healthy")
    result.assert_outcomes(passed=1)
    assert "KV of 37 tokens, 4 layers and 4 heads is on decode what it was on prefill" in _verdicts(project)


def test_members_that_cannot_be_told_are_named(project: Project) -> None:
    project.environment()
    project.tests(
        "async def test_it(handoff, judge, prompts):\n    await judge(await handoff(ask(prompts, drift=1)))\n"
    )
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "its KV cannot be looked at:",
            "  prefill is a command, which has no probe",
            "  decode is a command, which has no probe",
        ]
    )


def _verdicts(project: Project) -> str:
    return Path(project.latest / "verdicts.json").read_text(encoding="utf-8")
