"""The X-ray as a check: what decode received is what prefill published."""

from __future__ import annotations

from collections.abc import Iterator

from pdtest.client.handoff import Handoff
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.xray import Archive, Diagnosis, diagnose
from pdtest.xray.exposure import Side

_CHECK = "x-ray"
#: Lines of a diagnosis in a finding; the test's section has all.
_SAID = 3


def xray_findings(archive: Archive, handoff: Handoff) -> Iterator[Finding]:
    """One for each transfer of a handoff; none where nothing was transferred, or nobody looked."""
    if handoff.answer is None:
        return
    diagnoses = diagnose(archive, handoff.request_id)
    yield from map(_finding, diagnoses)
    if not diagnoses and any(one.one.side is Side.RECEIVED for one in archive.seen(handoff.request_id)):
        text = f"{handoff.request_id}: KV was received, and nobody was seen to publish it"
        yield Finding(check=_CHECK, ruling=Ruling.INCONCLUSIVE, text=text)


def _finding(diagnosis: Diagnosis) -> Finding:
    comparison = diagnosis.comparison
    if not diagnosis.equal:
        text = f"{diagnosis.request}: {'; '.join(diagnosis.lines[:_SAID])}"
        return Finding(check=_CHECK, ruling=Ruling.FAIL, text=text)
    received = comparison.received
    text = (
        f"KV of {comparison.tokens} tokens, {len(received.layers)} layers and {len(received.heads)} heads is "
        f"on {received.one.member} what it was on {comparison.published.one.member}"
    )
    loaded = comparison.tokens > received.one.cached
    return Finding(check=_CHECK, ruling=Ruling.PASS, text=text, proof=loaded)
