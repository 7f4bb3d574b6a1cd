from __future__ import annotations

from contextlib import suppress

import httpx
import pytest

from pdtest.cluster.incident import died_later, in_words

from .conftest import Workshop


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (1, "exit code 1"),
        (0, "exit code 0"),
        (-9, "killed by SIGKILL, perhaps because the machine ran out of memory"),
        (-15, "ended by SIGTERM"),
        (-11, "a crash in native code"),
        (137, "exit code 137: a program in it was killed by SIGKILL"),
        (-99, "ended by signal 99"),
    ],
)
def test_a_return_code_in_words(returncode: int, words: str) -> None:
    assert words in in_words(returncode)


def test_a_death_under_a_test_names_member_log_and_next_step(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"says": ["serving"]}})
    cluster.start()
    member = cluster.members["decode"]
    with suppress(httpx.HTTPError):
        httpx.get(f"{member.url}/exit/5")

    error = died_later(member, member.died.result(timeout=5))

    assert str(error).startswith("member died: decode died")
    assert error.where == str(member.log.path)
    assert error.seen == "exit code 5\nlast lines of its log:\n| serving\n| asked to exit"
    assert error.next_step == f"read the log, or start it by hand: {member.directory / 'command.sh'}"


def test_the_lines_of_an_earlier_generation_explain_nothing(workshop: Workshop) -> None:
    cluster = workshop.cluster({"decode": {"says": ["no such model"]}})
    cluster.start()
    member = cluster.members["decode"]
    cluster.restart("decode")
    with member.log.path.open("a", encoding="utf-8") as log:
        log.truncate(member.born.offsets[member.log.path])
    with suppress(httpx.HTTPError):
        httpx.get(f"{member.url}/exit/5")

    assert member.died.result(timeout=5).diagnosis is None


def test_an_unknown_failure_shows_what_was_raised_before_the_last_traceback(workshop: Workshop) -> None:
    says = [
        "(EngineCore pid=7) ERROR 11-21 [core.py:1510] AssertionError: Not enough nodes",
        "AssertionError: Not enough nodes",
        *["    a frame"] * 30,
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    cluster = workshop.cluster({"decode": {"says": says}})
    cluster.start()
    member = cluster.members["decode"]
    with suppress(httpx.HTTPError):
        httpx.get(f"{member.url}/exit/1")

    seen = died_later(member, member.died.result(timeout=5)).seen

    assert seen is not None
    assert seen.startswith(
        "exceptions in its log:\n"
        "> AssertionError: Not enough nodes\n"
        "> RuntimeError: Engine core initialization failed. See root cause above.\n"
        "exit code 1"
    )
