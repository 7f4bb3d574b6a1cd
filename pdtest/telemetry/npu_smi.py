"""What ``npu-smi`` prints, read. Its tables differ by chip; recorded ones of each are in its tests.

Seen of versions 23.0 to 26.0: a chip takes two lines, the first with power and temperature, the second
with use. Where a card has several chips its power stands in the line of the first, and ``-`` in the others'
(A3), or it is ``NA`` in all (300I Duo) and only ``npu-smi info -t common -i CARD`` tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_CELLS: Final = 3
_POWER: Final = re.compile(r"NPU Real-time Power\(W\)\s*:\s*(\d+(?:\.\d+)?)")
_OF: Final = re.compile(r"(\d+)\s*/\s*(\d+)")


@dataclass(frozen=True, kw_only=True)
class ChipRow:
    """One chip. None: it was not told. Shares are 0 to 1.

    ``device``: the number of its /dev/davinci, where the table has it (A3 ``Phy-ID``, 310P ``Device``).
    """

    card: int
    chip: int
    device: int | None
    name: str
    health: str
    power_w: float | None
    temperature_c: float | None
    utilisation: float | None
    memory_usage: float | None

    @property
    def number(self) -> int:
        """What ASCEND_RT_VISIBLE_DEVICES calls it: a card of one chip goes by its own number."""
        return self.card if self.device is None else self.device


def chip_rows(text: str) -> Sequence[ChipRow]:
    """The chips of ``npu-smi info``. Raises LookupError for a text with none."""
    rows = tuple(_rows(_cells(text)))
    if not rows:
        raise LookupError(f"npu-smi info lists no chip; it says: {' '.join(text.split())[:200]!r}")
    return rows


def card_power_w(text: str) -> float | None:
    """The power that ``npu-smi info -t common -i CARD`` tells, of a chip or of the card's controller."""
    found = _POWER.search(text)
    return float(found[1]) if found else None


def _cells(text: str) -> Iterator[tuple[str, ...]]:
    """Lines of three cells that are no heading; those of the processes have four."""
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        if line.lstrip().startswith("|") and len(cells) == _CELLS and cells[0][:1].isdigit():
            yield cells


def _rows(lines: Iterator[tuple[str, ...]]) -> Iterator[ChipRow]:
    # The first of two lines has a name behind its number, the second has numbers alone.
    first: tuple[str, ...] | None = None
    for line in lines:
        words = line[0].split()
        if any(not word.isdigit() for word in words) or ":" not in line[1]:
            first = line
        elif first is not None:
            yield _row(first, line)
            first = None


def _row(first: tuple[str, ...], second: tuple[str, ...]) -> ChipRow:
    card, name = first[0].split(maxsplit=1)
    chip, *device = (int(word) for word in second[0].split())
    power, temperature = first[2].split()[:2]
    return ChipRow(
        card=int(card),
        chip=chip,
        device=device[0] if device else None,
        name=name,
        health=first[1],
        power_w=_number(power),
        temperature_c=_number(temperature),
        utilisation=_share(second[2].split()[0]),
        memory_usage=_memory(second[2]),
    )


def _memory(cell: str) -> float | None:
    """Of the memory that models are in: the last of the pairs "used / all" that has any, HBM before DDR."""
    pairs = [(int(used), int(size)) for used, size in _OF.findall(cell)]
    return next((used / size for used, size in reversed(pairs) if size), None)


def _share(text: str) -> float | None:
    percent = _number(text)
    return None if percent is None else percent / 100


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
