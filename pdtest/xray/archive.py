"""The records of a run, read as they come."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from pdtest.xray.exposure import Exposure
from pdtest.xray.plate import Plate, Side

#: What vLLM makes of X-Request-Id; 0.32 adds eight hex digits.
_SEQUENCE = r"cmpl-{id}-\d+(?:-[0-9a-f]{{8}})?|chatcmpl-{id}(?:-[0-9a-f]{{8}})?"
#: Of digests that are kept; the oldest go first. About 300,000 tokens of the embedded model.
_KEPT_BYTES = 256 << 20


class Archive:
    """What engines wrote under ``directory``, one directory per member.

    A line that is not complete yet is read the next time; one that makes no sense is counted in ``broken``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broken = 0
        self._read_up_to: dict[Path, int] = {}
        self._plates: deque[Plate] = deque()
        self._kept_bytes = 0
        self._exposures: list[Exposure] | None = None

    @classmethod
    def from_now(cls, directory: Path) -> Self:
        """Of what is yet to come: engines of a cluster that stands have written for others before."""
        archive = cls(directory)
        for file in archive._files():
            for _ in archive._new_lines(file):
                pass
        return archive

    @property
    def plates(self) -> Sequence[Plate]:
        """All records so far, but for very old ones."""
        self._catch_up()
        return self._plates

    @property
    def exposures(self) -> Sequence[Exposure]:
        """All of them, ranks put together, oldest first."""
        self._catch_up()
        if self._exposures is None:
            self._exposures = self._put_together()
        return self._exposures

    def _put_together(self) -> list[Exposure]:
        ranks: defaultdict[tuple[str, str, Side], dict[tuple[int, int, int], Plate]] = defaultdict(dict)
        for plate in self._plates:
            key = (plate.engine, plate.sequence, plate.side)
            ranks[key][plate.rank, plate.first_layer, plate.first_head] = plate
        exposures = [Exposure(plates=tuple(plates.values())) for plates in ranks.values()]
        return sorted(exposures, key=lambda exposure: exposure.one.at)

    def pairs(self, request_id: str) -> list[tuple[Exposure, Exposure]]:
        """What was published and what was received for one request, as far as both are there.

        What belongs together is called the same; where names got lost on the way, by the same prompt.
        """
        exposures = self.exposures
        received = [one for one in exposures if one.one.side is Side.RECEIVED and _is_of(one, request_id)]
        return [(source, one) for one in received if (source := _source(one, request_id, exposures))]

    def seen(self, request_id: str) -> list[Exposure]:
        """All that was recorded of one request."""
        return [exposure for exposure in self.exposures if _is_of(exposure, request_id)]

    def _catch_up(self) -> None:
        for file in self._files():
            for line in self._new_lines(file):
                self._take(line, file.parent.name)

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("*/*.jsonl"))

    def _new_lines(self, file: Path) -> Iterator[str]:
        with file.open("rb") as lines:
            lines.seek(self._read_up_to.get(file, 0))
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                self._read_up_to[file] = self._read_up_to.get(file, 0) + len(line)
                yield line.decode(errors="replace")

    def _take(self, line: str, member: str) -> None:
        try:
            plate = Plate.model_validate_json(line).model_copy(update={"member": member})
        except ValidationError:
            self.broken += 1
            return
        if not plate.complete():
            self.broken += 1
            return
        self._plates.append(plate)
        self._kept_bytes += plate.bytes
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= self._plates.popleft().bytes
        self._exposures = None


def _is_of(exposure: Exposure, request_id: str) -> bool:
    plate = exposure.one
    if plate.request is not None:
        # A proxy may put something in front of it: P2P's addresses.
        return plate.request.endswith(request_id)
    known = re.fullmatch(_SEQUENCE.format(id=re.escape(request_id)), plate.sequence)
    return known is not None or plate.sequence == request_id


def _source(received: Exposure, request_id: str, exposures: Sequence[Exposure]) -> Exposure | None:
    """Who published it: another engine, earlier. By the request's name, else the last with that prompt."""
    prompt, at = received.one.prompt, received.one.at
    published = [
        one
        for one in exposures
        if one.one.side is Side.PUBLISHED
        and one.one.engine != received.one.engine
        and one.one.at <= at
        and one.one.prompt[: len(prompt)] == prompt
    ]
    named = [one for one in published if _is_of(one, request_id)]
    return next(reversed(named or published), None)
