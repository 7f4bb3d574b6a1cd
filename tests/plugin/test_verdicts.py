from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .conftest import Project, member

MIXED = """
async def test_passes(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

async def test_wrong_token(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, wrong_token=12)))

async def test_replay_of_the_wrong_token(cluster, request):
    import json, pathlib, subprocess
    runs = request.config.rootpath / ".pdtest/runs/latest"
    (script,) = runs.resolve().glob("repro/*test_wrong_token*/replay.sh")
    subprocess.run([str(script)], check=True)
    answers = {
        name: json.loads((script.parent / f"answers/01-{name}.json").read_text())["choices"][0]["token_ids"]
        for name in ("decode", "colocated")
    }
    different = [a != b for a, b in zip(answers["decode"], answers["colocated"], strict=True)]
    assert different.index(True) == 12

async def test_drift(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, drift=0.01)))

async def test_nothing_moves(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, moves_nothing=True)))

async def test_says_error(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, logs="ERROR something broke")))

async def test_says_something_harmless(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, logs="WARNING something odd")))

@pytest.mark.disruptive
async def test_may_say_error(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, logs="ERROR as expected")))

async def test_dies(handoff, judge, prompts):
    await judge(await handoff(ask(prompts, dies=5)))

async def test_runs_again(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))

async def test_dies_unnoticed(cluster, decode, prompts):
    from pdtest import MemberGone
    with pytest.raises(MemberGone):
        await decode.generate(ask(prompts, dies=6))

@pytest.mark.disruptive
async def test_may_kill(cluster, decode, prompts):
    from pdtest import MemberGone
    with pytest.raises(MemberGone):
        await decode.generate(ask(prompts, dies=7))

async def test_foreign_params(handoff, judge, prompts):
    first = await handoff.send(ask(prompts))
    volley = await handoff(ask(prompts), tamper=lambda params: dict(first.prefill.answered))
    await judge(volley)

def test_only_the_cluster(cluster):
    assert all(member.alive for member in cluster.members.values())

def test_error_with_only_the_cluster(cluster):
    import httpx
    body = Request.tokens([1], extra={"double": {"decode": {"logs": "ERROR once more"}}}).body("double")
    httpx.post(cluster.members["decode"].url + "/v1/completions", json=body).raise_for_status()

@pytest.mark.parametrize("kind", ["mended", "wrong", "blind"])
async def test_known(handoff, judge, prompts, kind):
    from pdtest import Inconclusive, Ruling, Verdict
    if kind == "blind":
        raise Inconclusive(Verdict(claim="seen", ruling=Ruling.INCONCLUSIVE, findings=()))
    await judge(await handoff(ask(prompts, **({"wrong_token": 0} if kind == "wrong" else {}))))
"""
PASSED = {
    "test_passes",
    "test_replay_of_the_wrong_token",
    "test_says_something_harmless",
    "test_may_say_error",
    "test_runs_again",
    "test_may_kill",
    "test_only_the_cluster",
}
FAILED = {
    "test_wrong_token",
    "test_drift",
    "test_nothing_moves",
    "test_says_error",
    "test_dies",
    "test_dies_unnoticed",
    "test_foreign_params",
    "test_error_with_only_the_cluster",
}


def section(output: str, test: str) -> str:
    """What pytest shows of one failed test."""
    (shown,) = re.findall(rf"\n_+ {test}\[doubles\] _+\n(.*?)(?=\n_{{5,}} |\n={{5,}} )", output, re.DOTALL)
    return str(shown)


def test_every_kind_of_end_as_a_user_sees_it(project: Project) -> None:
    project.environment(known_issues=[{"tests": "*test_known*", "why": "the moon"}])
    project.tests(MIXED)

    result = project.run("-v")

    output = result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    words = dict(re.findall(r"^test_it\.py::(test_\w+)\[doubles\] ([A-Z]+) ", output, re.MULTILINE))
    assert {test for test, word in words.items() if word == "PASSED"} == PASSED
    assert {test for test, word in words.items() if word == "FAILED"} == FAILED
    known = dict(re.findall(r"::test_known\[doubles-(\w+)\] ([A-Z]+) ", output))
    assert known == {"mended": "FAILED", "wrong": "XFAIL", "blind": "XFAIL"}
    assert "[XPASS(strict)] the moon" in output
    assert "9 failed, 7 passed, 2 xfailed" in output

    sections_of_failed_tests(output)
    nothing_said_twice(output)
    files_of_a_run(project, output)


def sections_of_failed_tests(output: str) -> None:
    wrong = section(output, "test_wrong_token")
    assert "token 12 (KV block 3)" in wrong
    assert "margin" in wrong
    assert re.search(r"handoff pdtest-[0-9a-f]{32} by client: answered", wrong)
    assert re.search(r'sent: .*"remote_block_ids": \[\[\d+, \d+, \d+\]\]', wrong)
    assert "def enforce" not in wrong, "our own frames are of no use to the reader"
    replay = re.search(r"^replay: (\S+)$", wrong, re.MULTILINE)
    assert replay
    assert Path(replay[1]).is_file()

    assert "off by 0.01" in section(output, "test_drift")
    moved = section(output, "test_nothing_moves")
    assert "16 tokens equal" in moved
    assert "rose by 0, the prompts demand 37" in moved
    said = section(output, "test_says_error")
    assert "decode| ERROR something broke" in said
    assert "def pytest_runtest_call" not in said
    assert "corruption" in section(output, "test_foreign_params")

    for test, code in (("test_dies", 5), ("test_dies_unnoticed", 6)):
        died = section(output, test)
        assert "member died: decode died" in died
        assert f"exit code {code}" in died
        assert "| about to die" in died


def nothing_said_twice(output: str) -> None:
    """The progress of a restart does not repeat what the member said before."""
    assert output.count("restarting decode") == 3
    assert "decode| ERROR as expected" not in output


def files_of_a_run(project: Project, output: str) -> None:
    run = project.latest
    assert f"run directory {run}" in output
    assert (run / "doubles/environment.resolved.yaml").is_file()
    for name in ("prefill", "decode", "colocated"):
        assert "exec" in (run / f"doubles/members/{name}/command.sh").read_text(encoding="utf-8")
    verdicts = json.loads((run / "verdicts.json").read_text(encoding="utf-8"))
    rulings = {entry["test"].partition("::")[2]: entry["ruling"] for entry in verdicts}
    assert rulings["test_passes[doubles]"] == "pass"
    assert rulings["test_wrong_token[doubles]"] == "fail"
    kinds = {event["kind"] for event in project.events()}
    assert kinds >= {"MemberReady", "MemberDied", "HandoffFinished", "VerdictReached", "RequestErrored"}
    suite = ET.parse(run / "junit.xml").getroot()[0]  # noqa: S314 - pytest wrote it
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("18", "9", "0")


def test_inconclusive_is_an_outcome_of_its_own(project: Project) -> None:
    blind = {role: member(role, no_metrics=True) for role in ("prefill", "decode")}
    project.environment(members={**blind, "colocated": member("colocated")})
    project.tests("""
async def test_it(handoff, judge, prompts):
    await judge(await handoff(ask(prompts)))
""")

    result = project.run()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines([r"^I +\[100%\]$"])
    result.stdout.fnmatch_lines(
        [
            "* inconclusive: test_it.py::test_it?doubles? *",
            "*decode does not export vllm:nixl_bytes_transferred_sum; expected 3072 bytes",
            "handoff pdtest-* by client: answered",
            "replay: *",
            "* 1 inconclusive in *",
        ]
    )
    junit = (project.latest / "junit.xml").read_text(encoding="utf-8")
    assert 'failures="1"' in junit


BY_HAND = """
def test_open():
    from pdtest import Inconclusive, Ruling, Verdict
    raise Inconclusive(Verdict(claim="something", ruling=Ruling.INCONCLUSIVE, findings=()))
"""


def test_allow_inconclusive_lets_the_run_succeed_and_still_says_so(project: Project) -> None:
    project.tests(BY_HAND)
    assert project.run("-v", env=None).ret == pytest.ExitCode.TESTS_FAILED

    result = project.run("-v", "--allow-inconclusive", env=None)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*test_open INCONCLUSIVE*", "* inconclusive: *test_open *", "* 1 inconclusive in *"]
    )


def test_what_cannot_be_of_a_history_fails_the_test_that_saw_it(project: Project) -> None:
    project.environment()
    project.tests("""
async def test_miscounts(decode, prompts):
    await decode.generate(ask(prompts))
    await decode.generate(ask(prompts, miscounts=1))

async def test_after(handoff, judge, prompts, quiet, rule):
    await judge(await handoff(ask(prompts)))
    rule("all is quiet", (await quiet()).findings())
""")

    result = project.run()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [
            r"history: usage adds up: pdtest-\w+ to decode: 37 prompt tokens were sent, 38 counted",
            r"  seen .* 0 s +0\.\d{3} s",
            r" +[0-9a-f]{12} decode +\|=+o +\d+ tokens",
            r" +\|= request   o answered",
        ]
    )
    assert result.stdout.str().count("=o ") == 1, "the request that was counted well is left out"
    (drawn,) = (project.latest / "repro").glob("*test_miscounts*/timeline.png")
    assert drawn.read_bytes().startswith(b"\x89PNG")
    result.stdout.fnmatch_lines([f"*as a picture: *{drawn.relative_to(project.latest)}"])
    looks = [event for event in project.events() if event["kind"] == "QuietSought"]
    assert {look["member"] for look in looks} == {"prefill", "decode"}


def test_an_environment_that_cannot_run_here_is_unschedulable(project: Project) -> None:
    project.environment(requires={"packages": ["nowhere_to_be_found"], "extra": "embedded"})
    project.tests("def test_one(cluster): pass\ndef test_two(prompts): pass\n")

    result = project.run("-v")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*test_one?doubles? UNSCHEDULABLE*",
            "*test_two?doubles? UNSCHEDULABLE*",
            "* unschedulable environments *",
            "doubles: the Python package 'nowhere_to_be_found' *: pip install 'pdtest?embedded?'",
            "* 2 unschedulable in *",
        ]
    )
    allowed = project.run("--allow-unschedulable")
    assert allowed.ret == pytest.ExitCode.OK
    allowed.stdout.fnmatch_lines(["test_it.py UU*", "* 2 unschedulable in *"])


TOGETHER = """
import pytest

from pdtest.client.request import Request

pytestmark = pytest.mark.asyncio


def _asks(length):
    asks = pytest.mark.asks(requests=lambda prompts, bounds: [Request.tokens(prompts.tokens(length))])
    return pytest.param(length, id=str(length), marks=asks)


@pytest.mark.parametrize("length", [_asks(20), _asks(33)])
async def test_together(length, gallery, asked, handoff, colocated):
    assert sorted(len(request.prompt) for request in gallery.requests) == SENT
"""


@pytest.mark.parametrize(
    ("options", "sent", "ends"),
    [((), [20], {"passed": 1, "xfailed": 1}), (("--runxfail",), [20, 33], {"passed": 2})],
)
def test_a_known_issue_that_is_not_run_sends_nothing(
    options: tuple[str, ...], sent: list[int], ends: dict[str, int], project: Project
) -> None:
    project.environment(known_issues=[{"tests": "*test_together*33*", "why": "it hangs", "run": False}])
    project.tests(f"SENT = {sent}\n{TOGETHER}")
    project.run(*options).assert_outcomes(**ends)
