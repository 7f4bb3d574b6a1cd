"""Ascend NPUs, through the program ``npu-smi`` that comes with their driver.

Its table has no clocks and no energy. A call takes from a tenth of a second to some seconds, so it is made
once a second by default, and what it costs counts as this process's cost.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from pdtest.telemetry.meter import ALL, Offer, Seen
from pdtest.telemetry.npu_smi import ChipRow, card_power_w, chip_rows
from pdtest.telemetry.settings import Chip

_TIMEOUT_S: Final = 20.0
_QUANTITIES: Final = ("temperature_c", "utilisation", "memory_usage")
_POWER: Final = "power_w"
#: Where the driver's installer puts it; not always on the PATH of a service.
_PLACES: Final = ("npu-smi", "/usr/local/sbin/npu-smi", "/usr/local/bin/npu-smi")


class NpuSmi:
    """Calls of the program, one at a time."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None
        self._closed = False
        #: Whoever closes while a call begins must see it, or the call must see that.
        self._beginning = threading.Lock()

    def __call__(self, *arguments: str) -> str:
        """What it prints. Raises LookupError, saying why, where it cannot be run or fails."""
        program = next((found for place in _PLACES if (found := shutil.which(place))), None)
        if program is None:
            raise LookupError(f"no program npu-smi on the PATH, nor in {', '.join(_PLACES[1:])}")
        with self._begun(program, *arguments) as call:
            try:
                said, _ = call.communicate(timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                call.kill()
                raise LookupError(
                    f"{program} {' '.join(arguments)} did not answer in {_TIMEOUT_S:.0f} s"
                ) from None
        if call.returncode:
            said = " ".join(said.split())[:200]
            raise LookupError(f"{program} {' '.join(arguments)} ended with {call.returncode}: {said}")
        return said

    def close(self) -> None:
        """End a call that is under way."""
        with self._beginning:
            self._closed = True
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.kill()

    def _begun(self, *command: str) -> subprocess.Popen[str]:
        with self._beginning:
            if self._closed:
                raise LookupError(f"{' '.join(command)} was not called: its meter is closed")
            # stdin: its parent's is where this process is told to end.
            self._running = subprocess.Popen(  # noqa: S603 - the driver's own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            return self._running


class AscendMeter:
    """All chips that members run on; cards whose power several chips share are offers of their own.

    So each watt is in one place: ``ascend-card0`` has the power of both chips of an A3 module or a 300I Duo
    card, whether members run on one of them or on both.
    """

    def __init__(
        self, chips: Sequence[Chip], every_s: float, npu_smi: Callable[..., str] | None = None
    ) -> None:
        self.every_s = every_s
        self._wanted = {chip.number: chip for chip in chips}
        self._own = NpuSmi()
        self._npu_smi = npu_smi or self._own
        self._chips: dict[tuple[int, int], Offer] = {}
        self._shared: dict[int, str] = {}

    def open(self) -> Sequence[Offer]:
        """Look which chips there are, and which of them share a card."""
        try:
            rows = chip_rows(self._npu_smi("info"))
        except LookupError as problem:
            return [self._absent(chip, str(problem)) for chip in self._wanted.values()]
        offers: list[Offer] = []
        for _, card in groupby(rows, key=lambda row: row.card):
            offers.extend(self._offers(tuple(card)))
        there = {row.number for row in rows}
        for number, chip in self._wanted.items():
            if number not in there:
                offers.append(
                    self._absent(
                        chip, f"npu-smi info lists the chips {sorted(there)}, and none of them is {number}"
                    )
                )
        return offers

    def read(self) -> Mapping[str, Seen]:
        """One look at all chips, and one at each card whose power that does not tell."""
        rows = chip_rows(self._npu_smi("info"))
        offers = ((self._chips.get((row.card, row.chip)), row) for row in rows)
        seen = {offer.name: _seen(offer, row) for offer, row in offers if offer is not None}
        for card, name in self._shared.items():
            seen[name] = self._card(card, [row for row in rows if row.card == card])
        return seen

    def close(self) -> None:
        """End a call that is under way."""
        self._own.close()

    def _offers(self, card: tuple[ChipRow, ...]) -> Sequence[Offer]:
        """Of one card: its chips that are wanted and, where they share its power, itself."""
        wanted = [(row, self._wanted[row.number]) for row in card if row.number in self._wanted]
        shares = len(card) > 1 and any(row.power_w is None for row in card)
        offers = [self._chip(row, chip, shares=shares) for row, chip in wanted]
        if wanted and shares:
            number = card[0].card
            self._shared[number] = f"ascend-card{number}"
            members = dict.fromkeys(member for _, chip in wanted for member in chip.members)
            offers.append(self._offer(self._shared[number], tuple(members), (_POWER,)))
        return offers

    def _chip(self, row: ChipRow, chip: Chip, *, shares: bool) -> Offer:
        offer = self._offer(chip.name, chip.members, _QUANTITIES if shares else (_POWER, *_QUANTITIES))
        self._chips[row.card, row.chip] = offer
        return offer

    def _card(self, card: int, rows: Sequence[ChipRow]) -> Seen:
        told = [row.power_w for row in rows if row.power_w is not None]
        if told:
            return Seen(values={_POWER: sum(told)})
        try:
            power = card_power_w(self._npu_smi("info", "-t", "common", "-i", str(card)))
        except LookupError as problem:
            return Seen(values={}, missing={_POWER: str(problem)})
        if power is None:
            return Seen(values={}, missing={_POWER: f"npu-smi tells no power of card {card}"})
        return Seen(values={_POWER: power})

    def _offer(self, name: str, members: tuple[str, ...], quantities: tuple[str, ...]) -> Offer:
        return Offer(name=name, kind="ascend", members=members, every_s=self.every_s, quantities=quantities)

    def _absent(self, chip: Chip, reason: str) -> Offer:
        return Offer(
            name=chip.name, kind="ascend", members=chip.members, every_s=self.every_s, missing={ALL: reason}
        )


def _seen(offer: Offer, row: ChipRow) -> Seen:
    """What a chip's lines tell of what it offers: its power only where that is its own."""
    told: dict[str, float | None] = {name: getattr(row, name) for name in offer.quantities}
    return Seen(
        values={name: value for name, value in told.items() if value is not None},
        missing={name: f"npu-smi tells none of {row.name}" for name, value in told.items() if value is None},
    )
