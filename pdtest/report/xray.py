"""What the X-ray of a failed test's requests shows, as its report has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdtest.report.heatmap import heatmap, picture
from pdtest.report.paragraph import paragraph
from pdtest.xray import Archive, Diagnosis, diagnose

#: Requests that are shown in full; of the others it is said that they differ.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Film:
    """The X-ray of some requests. ``lines`` are for people; ``pictures`` were written."""

    diagnoses: tuple[Diagnosis, ...]
    unseen: tuple[str, ...]
    lines: tuple[str, ...]
    pictures: tuple[Path, ...]

    @property
    def differing(self) -> tuple[Diagnosis, ...]:
        """Those where decode has not what prefill had."""
        return tuple(diagnosis for diagnosis in self.diagnoses if not diagnosis.equal)


def develop(archive: Archive, request_ids: Sequence[str], directory: Path) -> Film:
    """Read the records of these requests, and draw what differs into ``directory``."""
    diagnoses: list[Diagnosis] = []
    unseen = []
    for request_id in request_ids:
        found = diagnose(archive, request_id)
        diagnoses += found
        if not found:
            unseen.append(request_id)
    differing = [diagnosis for diagnosis in diagnoses if not diagnosis.equal]
    drawn = [
        picture(diagnosis, directory / f"{number}-{diagnosis.request[-12:]}.png")
        for number, diagnosis in enumerate(differing[:_SHOWN], 1)
    ]
    pictures = tuple(file for file in drawn if file is not None)
    return Film(
        diagnoses=tuple(diagnoses),
        unseen=tuple(unseen),
        lines=tuple(_lines(diagnoses, differing, unseen, pictures)),
        pictures=pictures,
    )


def _lines(
    diagnoses: Sequence[Diagnosis],
    differing: Sequence[Diagnosis],
    unseen: Sequence[str],
    pictures: Sequence[Path],
) -> Iterator[str]:
    equal = len(diagnoses) - len(differing)
    if equal:
        yield f"{_counted(equal, 'transfer')}: what was received is what was published, bit by bit"
    if unseen:
        yield f"{_counted(len(unseen), 'request')} received no KV that somebody published"
    for diagnosis in differing[:_SHOWN]:
        yield f"{diagnosis.request}:"
        for line in diagnosis.lines:
            yield from paragraph(line, first="  ", rest="    ")
        yield from (f"  {line}" for line in heatmap(diagnosis))
    for diagnosis in differing[_SHOWN:]:
        yield f"{diagnosis.request}: {diagnosis.lines[0]}"
    if pictures:
        yield from (f"picture: {file}" for file in pictures)
    elif differing:
        yield "no pictures: pip install 'pdtest[report]'"
    if diagnoses and not differing:
        yield "so the transfer is not what went wrong, or it did not go wrong this time"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"
