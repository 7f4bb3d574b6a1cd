"""How a request ended whose parameters were falsified, or under which something broke."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import MemberGone, RequestFailed, RequestTimedOut
from pdtest.client.handoff import Handoff
from pdtest.client.request import Request
from pdtest.environment.schema import Outcome
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.verdict import Finding, Ruling

#: Allowed where an environment says nothing: a healthy stack answers rightly or says no.
HEALTHY = frozenset({Outcome.RIGHT, Outcome.ERROR})

#: An answer with this finish reason was broken off and says so, with status 200: by an engine that was told
#: to end (vLLM 0.32, `shutdown_timeout` 0), or asked by its operator.
_BROKEN_OFF = "abort"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An outcome, and what was seen that makes it one."""

    outcome: Outcome
    because: str


async def outcome_of(handoff: Handoff, oracle: Oracle, decode: Endpoint, alive: Request) -> Ended:
    """Which of the outcomes a handoff came to.

    ``alive`` is a small request of its own that decode must still answer plainly: an engine may send
    its error first and die of it a moment later.
    """
    gone = await _death(decode, alive)
    if gone is not None:
        return Ended(outcome=Outcome.DIES, because=gone)
    return await ended(handoff, oracle)


async def ended(handoff: Handoff, oracle: Oracle) -> Ended:
    """How a handoff ended, whatever became of the members."""
    if handoff.answer is None:
        kind = Outcome.HANG if isinstance(handoff.error, RequestTimedOut) else Outcome.ERROR
        return Ended(outcome=kind, because=str(handoff.error))
    tokens = handoff.answer.usage.completion_tokens
    broken_off = f"finish reason {_BROKEN_OFF} after {tokens} tokens"
    if _is_broken_off(handoff) and not tokens:
        return Ended(outcome=Outcome.ERROR, because=broken_off)
    findings = await oracle.parity(_as_far_as_it_went(handoff))
    wrong = [str(finding) for finding in findings if finding.ruling is not Ruling.PASS]
    if wrong:
        return Ended(outcome=Outcome.WRONG, because="; ".join(wrong))
    if _is_broken_off(handoff):
        return Ended(outcome=Outcome.ERROR, because=f"{broken_off}, equal to the reference's")
    return Ended(outcome=Outcome.RIGHT, because="equal to the reference")


def _is_broken_off(handoff: Handoff) -> bool:
    return handoff.answer is not None and any(
        choice.finish_reason == _BROKEN_OFF for choice in handoff.answer.choices
    )


def _as_far_as_it_went(handoff: Handoff) -> Handoff:
    """What was broken off, as if no more had been asked for: what did come must be right all the same."""
    last = handoff.last
    if last is None or last.answer is None or not _is_broken_off(handoff):
        return handoff
    tokens = last.answer.usage.completion_tokens
    choices = tuple(replace(choice, finish_reason="length") for choice in last.answer.choices)
    hop = replace(last, answer=replace(last.answer, choices=choices))
    request = replace(handoff.request, max_tokens=tokens)
    if handoff.proxy is not None:
        return replace(handoff, request=request, proxy=hop)
    return replace(handoff, request=request, decode=hop)


def permitted(name: str, ended: Ended, allowed: frozenset[Outcome]) -> Finding:
    """Whether the environment allows that outcome for the tamper or scenario ``name``."""
    ruling = Ruling.PASS if ended.outcome in allowed else Ruling.FAIL
    expected = " or ".join(sorted(allowed))
    return Finding(
        check="outcome",
        ruling=ruling,
        text=f"{name}: expected {expected}, seen {ended.outcome}: {ended.because}",
    )


async def _death(decode: Endpoint, alive: Request) -> str | None:
    try:
        await decode.generate(alive)
    except MemberGone as error:
        return str(error)
    except RequestFailed as error:
        # It still runs, but serves nobody: to its users that is the same.
        return f"decode answers no plain request any more: {error}"
    return None
