"""Recorded references: colocated answers kept on disk, for boxes without a third chip.

An answer is good for one request, one fingerprint (model weights, dtype, and the colocated member's
settings) and one engine version; each file says for which. Whatever does not match exactly, or cannot be
read, is not used; nothing is ever "close enough".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pdtest.client.answer import Answer, Timings
from pdtest.client.openai import Shapeless, read
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing
from pdtest.whole import write_whole

_FORMAT = 1


def fingerprint(facts: Mapping[str, Any]) -> str:
    """A short name for what an answer depends on beside the request and the engine's version."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class ReferenceStore:
    """The answers of one fingerprint, in ``<root>/<fingerprint>/``, one file per request."""

    directory: Path

    @classmethod
    def open(cls, root: Path, facts: Mapping[str, Any]) -> ReferenceStore:
        """The store for these facts; they are written beside the answers for people to read."""
        directory = root / fingerprint(facts)
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / "fingerprint.json", json.dumps(facts, indent=2, sort_keys=True, default=str))
        return cls(directory=directory)

    def missing(self, requests: Iterable[Request]) -> tuple[Request, ...]:
        """Those of ``requests`` that have no usable answer of any version yet, each once."""
        wanted = {request.digest(): request for request in requests}
        return tuple(request for request in wanted.values() if not self._usable(request))

    def record(self, request: Request, answer: Answer, *, version: str | None) -> None:
        """Keep an answer. Whole or not at all: a killed run leaves no half-written reference."""
        entry = {
            "format": _FORMAT,
            "fingerprint": self.directory.name,
            "version": version,
            "member": answer.member,
            "request": _asked(request),
            "answer": answer.raw,
        }
        write_whole(self._path(request.digest()), json.dumps(entry, indent=1))

    def drop_other_versions(self, version: str | None) -> int:
        """Delete the answers another engine version gave. Returns how many there were."""
        stale = [path for path in self._entries() if _load(path).get("version", version) != version]
        for path in stale:
            path.unlink(missing_ok=True)  # another worker may have been faster
        return len(stale)

    def load(self, request: Request, *, version: str | None) -> Answer | None:
        """The recorded answer, or None when there is none of this format, fingerprint and version."""
        entry = self._usable(request)
        if entry is None or entry.get("version") != version:
            return None
        return Answer(
            member=f"{entry.get('member')} (recorded)",
            request_id=str(entry["answer"].get("id", "")),
            status=200,
            timings=Timings(sent_at=entry["answer"].get("created", 0.0), first_byte_s=0.0, total_s=0.0),
            raw=entry["answer"],
            **read(entry["answer"], is_chat=request.is_chat),
        )

    def _usable(self, request: Request) -> dict[str, Any] | None:
        """What was recorded for ``request``, if it is whole and of this store and format."""
        entry = _load(self._path(request.digest()))
        origin = {"format": _FORMAT, "fingerprint": self.directory.name, "request": _asked(request)}
        if any(entry.get(key) != value for key, value in origin.items()):
            return None
        with suppress(Shapeless):
            read(entry.get("answer"), is_chat=request.is_chat)
            return entry
        return None

    def _entries(self) -> list[Path]:
        return [path for path in self.directory.glob("*.json") if path.name != "fingerprint.json"]

    def _path(self, digest: str) -> Path:
        return self.directory / f"{digest}.json"


@dataclass(frozen=True, kw_only=True)
class RecordedReference:
    """Answers from a store, for members that run engine ``version``."""

    store: ReferenceStore
    version: str | None

    async def answer(self, request: Request) -> Answer:
        """The recorded answer. Raises ReferenceMissing."""
        answer = self.store.load(request, version=self.version)
        if answer is None:
            raise ReferenceMissing(
                "no colocated answer was recorded for this request",
                where=str(self.store.directory),
                expected=f"{request.digest()}.json, by engine version {self.version}",
                next_step=(
                    "declare the request with @pytest.mark.asks(requests=...) and take it from the fixture "
                    "'asked', so that it is asked while the colocated member runs"
                ),
            )
        return answer


def _asked(request: Request) -> Any:
    """The request as its digest has it, and as JSON gives it back."""
    return json.loads(json.dumps(replace(request, stream=False).body("")))


def _load(path: Path) -> dict[str, Any]:
    """What a file says; nothing where it is missing or torn."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}
