"""What to say when a member dies or never serves."""

from __future__ import annotations

import re
import signal

from pdtest.cluster.diagnosis import Finding, diagnose
from pdtest.cluster.member import RunningMember
from pdtest.errors import PdtestError
from pdtest.events import MemberDied

#: Shown of a log in a message.
LAST_LINES = 25
#: Searched for a known failure: a long traceback often follows the line that tells.
SEARCHED_LINES = 400

#: As Python prints what was raised, wherever a log's prefix puts it.
_EXCEPTION = re.compile(r"(?<![\w.])[A-Za-z_][\w.]*(?:Error|Exception)\b: .*")
_EXCEPTIONS = 3

_SIGNALS = {
    signal.SIGKILL: "killed by SIGKILL, perhaps because the machine ran out of memory (dmesg tells)",
    signal.SIGSEGV: "ended by SIGSEGV, a crash in native code",
    signal.SIGABRT: "ended by SIGABRT, which native code does to itself when an assertion fails",
    signal.SIGBUS: "ended by SIGBUS, often because /dev/shm is full",
    signal.SIGILL: "ended by SIGILL, as programs built for another processor are",
}
_SHELL_BASE = 128
_LAST_SIGNAL = 64


class MemberIncident(PdtestError):
    """Something happened to a member. ``finding`` is the known failure behind it, if there is one."""

    def __init__(self, member: RunningMember, summary: str, *, expected: str, seen: str) -> None:
        self.member = member.name
        self.finding = find_cause(member)
        super().__init__(
            summary,
            expected=expected,
            seen="\n".join([*_explained(self.finding, member), seen, *_last_lines(member)]),
            where=str(member.log.path),
            next_step=self.finding.diagnosis.remedy if self.finding else _by_hand(member),
        )


class StartFailed(MemberIncident):
    """A member did not come up."""

    title = "start-up failed"


class MemberDiedError(MemberIncident):
    """A member that served ended without being told to."""

    title = "member died"


class StartCancelled(PdtestError):
    """The cluster was stopped by another thread while it started."""

    title = "start-up cancelled"


def death(member: RunningMember, returncode: int) -> MemberDied:
    """The event for a member that just ended."""
    finding = find_cause(member)
    return MemberDied(
        member=member.name,
        returncode=returncode,
        diagnosis=finding.text if finding else None,
        last_lines=tuple(member.log.tail(LAST_LINES, since=member.born)),
    )


def died_at_start(member: RunningMember, event: MemberDied) -> StartFailed:
    """The error for a member that ended before all served."""
    return StartFailed(
        member,
        f"{member.name} died {member.elapsed_s:.1f} s after its start{_while(member)}",
        expected=f"an answer at {member.probe.url}",
        seen=in_words(event.returncode),
    )


def never_ready(member: RunningMember, last_answer: str, within_s: float) -> StartFailed:
    """The error for a member that did not serve in time. Of one that is attached to none knows if it runs."""
    return StartFailed(
        member,
        f"{member.name} was not ready within {within_s:g} s{_while(member)}",
        expected=f"an answer at {member.probe.url} with status {_either(member.probe.accept)}",
        seen=f"{'it runs; ' if member.launcher.starts else ''}the last answer was: {last_answer or 'none'}",
    )


def died_later(member: RunningMember, event: MemberDied) -> MemberDiedError:
    """The error for a test whose member ended under it."""
    return MemberDiedError(
        member,
        f"{member.name} died",
        expected=f"it serves at {member.url} until it is stopped",
        seen=in_words(event.returncode),
    )


def find_cause(member: RunningMember) -> Finding | None:
    """The known failure that the logs of this generation show last."""
    return diagnose(member.log.tails(SEARCHED_LINES, since=member.born), member.service.diagnoses)


def in_words(returncode: int) -> str:
    """A return code as people say it."""
    if returncode < 0:
        return _signal_in_words(-returncode)
    if _SHELL_BASE < returncode <= _SHELL_BASE + _LAST_SIGNAL:
        return f"exit code {returncode}: a program in it was {_signal_in_words(returncode - _SHELL_BASE)}"
    return f"exit code {returncode}"


def _signal_in_words(number: int) -> str:
    try:
        name = signal.Signals(number)
    except ValueError:
        return f"ended by signal {number}"
    return _SIGNALS.get(name, f"ended by {name.name}")


def _explained(finding: Finding | None, member: RunningMember) -> list[str]:
    if finding is not None:
        return [f"{finding.diagnosis.meaning} ({finding.diagnosis.name})", f"> {finding.line}"]
    raised = _raised(member)
    return ["exceptions in its log:", *(f"> {line}" for line in raised)] if raised else []


def _raised(member: RunningMember) -> list[str]:
    """The last lines that name an exception, each once.

    The last traceback is often about another one: "engine failed, see root cause above".
    """
    lines = member.log.tails(SEARCHED_LINES, since=member.born)
    found = [match.group(0) for line in lines if (match := _EXCEPTION.search(line))]
    return list(dict.fromkeys(found))[-_EXCEPTIONS:]


def _last_lines(member: RunningMember) -> list[str]:
    lines = member.log.tail(LAST_LINES, since=member.born)
    return ["last lines of its log:", *(f"| {line}" for line in lines)] if lines else ["its log is empty"]


def _by_hand(member: RunningMember) -> str:
    if not member.launcher.starts:
        return f"see whether it runs: curl -i {member.probe.url}"
    return f"read the log, or start it by hand: {member.directory / 'command.sh'}"


def _while(member: RunningMember) -> str:
    return f", last seen {member.doing}" if member.doing else ""


def _either(codes: frozenset[int]) -> str:
    return " or ".join(str(code) for code in sorted(codes))
