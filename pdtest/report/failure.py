"""What a failed test's report shows: verdicts, handoffs, logs, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdtest.client.handoff import Handoff, Hop
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.log import LogMark
from pdtest.oracle.verdict import Ruling, Verdict
from pdtest.report.replay import Replay

#: Shown of each kind; the run directory has everything.
_HANDOFFS = 4
_LOG_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is known of a test that did not pass. ``marks`` are the logs' ends when it began."""

    test: str
    cluster: Cluster
    handoffs: Sequence[Handoff]
    verdicts: Sequence[Verdict]
    marks: Mapping[str, LogMark]

    def write(self, run_directory: Path) -> str:
        """The section of the test's report. Writes its replay as well, if it sent anything."""
        lines = [line for verdict in self.verdicts for line in _verdict(verdict)]
        for handoff in _telling(self.handoffs)[:_HANDOFFS]:
            lines += _handoff(handoff)
        if len(self.handoffs) > _HANDOFFS:
            lines.append(f"... and {len(self.handoffs) - _HANDOFFS} more handoffs, see events.jsonl")
        lines += _logs(self.cluster, self.marks)
        if self.handoffs:
            replay = Replay(test=self.test, cluster=self.cluster, handoffs=self.handoffs)
            lines.append(f"replay: {replay.write(run_directory / 'repro')}")
        return "\n".join(lines)


def _verdict(verdict: Verdict) -> Iterator[str]:
    """Only what decided it: thirty passed findings would hide the one that failed."""
    if verdict.ruling is Ruling.PASS:
        return
    yield f"{verdict.ruling.upper()}: {verdict.claim}"
    for finding in verdict.decisive:
        yield f"  {finding.check}: {finding.text}"


def _telling(handoffs: Sequence[Handoff]) -> list[Handoff]:
    """Failed ones first."""
    return sorted(handoffs, key=lambda handoff: handoff.answer is not None)


def _handoff(handoff: Handoff) -> Iterator[str]:
    yield f"handoff {handoff.request_id} by {handoff.route}: {handoff.ending}"
    for label, hop in (("prefill", handoff.prefill), ("decode", handoff.decode), ("proxy", handoff.proxy)):
        if hop is not None:
            yield from _hop(label, hop)


def _hop(label: str, hop: Hop) -> Iterator[str]:
    answer = hop.answer
    what = f"{answer.usage.prompt_tokens} -> {answer.usage.completion_tokens} tokens" if answer else ""
    yield f"  {label:<7} {hop.member}: {what or hop.error} ({hop.took_s:.3f} s)"
    yield from (f"    {name}: {_json(params)}" for name, params in _params(hop))


def _params(hop: Hop) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if hop.sent is not None:
        yield "sent", hop.sent
    if hop.answered is not None:
        yield "answered", hop.answered


def _json(params: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in params.items() if value is not None})


def _logs(cluster: Cluster, marks: Mapping[str, LogMark]) -> Iterator[str]:
    for name, member in cluster.members.items():
        lines = member.log.since(marks[name]) if name in marks else []
        if lines:
            left_out = len(lines) - _LOG_LINES
            yield f"log of {name} during the test" + (f" (last {_LOG_LINES}):" if left_out > 0 else ":")
            yield from (f"  | {line}" for line in lines[-_LOG_LINES:])
            if left_out > 0:
                yield f"  {left_out} more lines in {member.log.path}"
