"""The tables of ways between chips that ``nvidia-smi topo`` and ``npu-smi info -t topo`` print, read.

Seen: ``nvidia-smi topo -p2p r``: rows and columns GPU0, GPU1 ..., in the cells X, OK, or why not: CNS, GNS,
TNS, NS, DR, U. ``npu-smi info -t topo`` of 910B: NPU0, NPU1 ...; of A3: Phy-ID0 ...; in the cells X, HCCS,
HCCS_SW, SIO, PIX, PXB, PHB, SYS, NA, and a last column of cores. Terminals get the heading underlined.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_CHIP: Final = re.compile(r"(?:GPU|NPU|Phy-ID)(\d+)")


def ways(text: str) -> Mapping[tuple[int, int], str]:
    """The cell of each two chips, by their numbers. Empty where there is no such table."""
    columns: list[int] = []
    found: dict[tuple[int, int], str] = {}
    for line in _COLOURS.sub("", text).splitlines():
        words = line.split()
        chips = [int(match[1]) for word in words if (match := _CHIP.fullmatch(word))]
        if not columns:
            columns = chips
        elif len(chips) == 1 and len(words) > len(columns):
            cells = zip(columns, words[1 : 1 + len(columns)], strict=True)
            found |= {(chips[0], column): cell for column, cell in cells if column != chips[0]}
    return found
