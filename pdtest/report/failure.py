"""What a failed test's report shows: verdicts, handoffs, logs, and how to do it again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pdtest.client.handoff import Handoff, Hop
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.diagnosis import diagnose
from pdtest.cluster.log import LogMark
from pdtest.cluster.member import RunningMember
from pdtest.oracle.verdict import Ruling, Verdict
from pdtest.report.paragraph import clipped, paragraph
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
        for handoff in self._telling()[:_HANDOFFS]:
            lines += _handoff(handoff)
        if len(self.handoffs) > _HANDOFFS:
            lines.append(f"... and {len(self.handoffs) - _HANDOFFS} more handoffs, see events.jsonl")
        for name, member in self.cluster.members.items():
            if name in self.marks:
                lines += _log(member, self.marks[name])
        if self.handoffs:
            replay = Replay(test=self.test, cluster=self.cluster, handoffs=self.handoffs)
            lines.append(f"replay: {replay.write(run_directory / 'repro')}")
        return "\n".join(lines)

    def _telling(self) -> list[Handoff]:
        """Those that failed first, then those that a verdict speaks of."""
        said = [finding.text for verdict in self.verdicts for finding in _telltale(verdict)]

        def rank(handoff: Handoff) -> int:
            named = any(handoff.request_id in text for text in said)
            return 0 if handoff.answer is None else 1 if named else 2

        return sorted(self.handoffs, key=rank)


def _telltale(verdict: Verdict) -> tuple[Any, ...]:
    """Only what decided it: thirty passed findings would hide the one that failed."""
    return () if verdict.ruling is Ruling.PASS else verdict.decisive


def _verdict(verdict: Verdict) -> Iterator[str]:
    if verdict.ruling is not Ruling.PASS:
        yield from paragraph(f"{verdict.ruling.upper()}: {verdict.claim}")
    for finding in _telltale(verdict):
        yield from paragraph(f"{finding.check}: {finding.text}", first="  ", rest="    ")


def _handoff(handoff: Handoff) -> Iterator[str]:
    tampered = ", parameters falsified on purpose" if handoff.tampered else ""
    yield f"handoff {handoff.request_id} by {handoff.route}: {handoff.ending}{tampered}"
    for label, hop in (("prefill", handoff.prefill), ("decode", handoff.decode), ("proxy", handoff.proxy)):
        if hop is not None:
            yield from _hop(label, hop)


def _hop(label: str, hop: Hop) -> Iterator[str]:
    became = str(hop.error) if hop.error else ""
    if hop.answer:
        became = f"{hop.answer.usage.prompt_tokens} -> {hop.answer.usage.completion_tokens} tokens"
    yield from paragraph(f"{label} {hop.member} after {hop.took_s:.3f} s: {became}", first="  ", rest="    ")
    # On one line whatever their length: they are read by copying them.
    yield from (f"    {name}: {_json(params)}" for name, params in _params(hop))


def _params(hop: Hop) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if hop.sent is not None:
        yield "sent", hop.sent
    if hop.answered is not None:
        yield "answered", hop.answered


def _json(params: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in params.items() if value is not None})


def _log(member: RunningMember, mark: LogMark) -> Iterator[str]:
    """What the member logged during the test, and a failure that its log has known for longer."""
    finding = diagnose(member.log.since(member.born), member.service.diagnoses)
    if finding is not None:
        yield from paragraph(f"the log of {member.name} shows {finding.text}")
        yield from clipped(finding.line, first="  | ", rest="  |   ")
    written = [line for line in member.log.since(mark) if line.strip()]
    poll = _poll(member)
    lines = [line for line in written if not poll.search(line)]
    if lines:
        yield f"log of {member.name} during the test{_less(lines, len(written) - len(lines))}:"
        for line in lines[-_LOG_LINES:]:
            yield from clipped(line, first="  | ", rest="  |   ")
        if len(lines) > _LOG_LINES:
            yield f"  all of it: {member.log.path}"


def _less(lines: Sequence[str], polls: int) -> str:
    left_out = [f"last {_LOG_LINES} of {len(lines)} lines"] if len(lines) > _LOG_LINES else []
    if polls:
        left_out.append(f"without {polls} of pdtest's own polls")
    return f" ({', '.join(left_out)})" if left_out else ""


def _poll(member: RunningMember) -> re.Pattern[str]:
    """Access log lines (uvicorn's form) of the questions pdtest itself asks all the time."""
    paths = {"/metrics", "/health", urlsplit(member.probe.url).path or "/"}
    return re.compile(rf'"GET (?:{"|".join(map(re.escape, sorted(paths)))})(?:\?\S*)? HTTP/[\d.]+" 200\b')
