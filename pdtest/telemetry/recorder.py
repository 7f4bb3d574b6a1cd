"""The process that looks: ``python -m pdtest.telemetry FILE``, with `Settings` as the first line on stdin.

It says "armed" once it knows what there is, writes readings to FILE, and ends when stdin closes, which also
happens when its parent dies. A line "flush" is answered with "flushed" once all that was read is in FILE.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from pdtest.telemetry.ascend import AscendMeter
from pdtest.telemetry.cpu import CpuMeter
from pdtest.telemetry.engine import EngineMeter
from pdtest.telemetry.meter import ALL, Meter, Offer, Seen
from pdtest.telemetry.nvidia import NvidiaMeter
from pdtest.telemetry.records import Cost, Row, cost_line, offer_line, row_line
from pdtest.telemetry.settings import Blind, Chip, Settings

#: How often what was read is written.
_WRITE_S = 1.0
_PARENT_CHECK_S = 1.0


def main() -> int:
    """Look until told to stop. 0, or 2 where the first line on stdin is no Settings."""
    # Ctrl-C in the terminal is the parent's to handle; it closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    parent = os.getppid()
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        recorder = Recorder(settings, file)
        recorder.start()
        _say("armed")
        try:
            _listen(recorder, sys.stdin.fileno(), parent)
        finally:
            recorder.stop()
    return 0


class Recorder:
    """Meters, each in a thread: one that hangs keeps no other from being read on time."""

    def __init__(self, settings: Settings, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._meters = meters_of(settings)
        self._blind = tuple(_unread(one, settings.every_s) for one in settings.blind)
        self._stopping = threading.Event()
        self._lines: deque[str] = deque()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Find out what there is, and begin to read it."""
        self._lines.extend(offer_line(offer) for offer in self._blind)
        for meter in self._meters:
            offers = meter.open()
            self._lines.extend(map(offer_line, offers))
            if any(offer.readable for offer in offers):
                names = tuple(offer.name for offer in offers if offer.readable)
                thread = threading.Thread(target=self._watch, args=(meter, names), daemon=True)
                self._threads.append(thread)
        self.flush()
        for thread in self._threads:
            thread.start()

    def flush(self) -> None:
        """Write what was read so far, and what that has cost."""
        self._lines.append(cost_line(Cost(at_s=self._clock(), cpu_s=_cpu_s())))
        while self._lines:
            self._file.write(self._lines.popleft())
        self._file.flush()

    def stop(self) -> None:
        """End all and write the rest. A meter that hangs is left behind: its thread ends with the process."""
        self._stopping.set()
        for meter in self._meters:
            meter.close()
        for thread in self._threads:
            thread.join(0.5)
        self.flush()

    def _watch(self, meter: Meter, names: Sequence[str]) -> None:
        due_s = self._clock()
        while not self._stopping.is_set():
            self._read(meter, names)
            # At a steady pace, and without making up for what was missed.
            due_s = max(due_s + meter.every_s, self._clock())
            self._stopping.wait(due_s - self._clock())

    def _read(self, meter: Meter, names: Sequence[str]) -> None:
        asked_s = self._clock()
        try:
            read = meter.read()
        except Exception as problem:  # noqa: BLE001 - whatever it is, the next reading may be better
            reason = str(problem) or type(problem).__name__
            read = dict.fromkeys(names, Seen(values={}, missing={ALL: reason}))
        if self._stopping.is_set():
            return  # it failed, if it did, because it was closed
        at_s = (asked_s + self._clock()) / 2
        self._lines.extend(row_line(Row(at_s=at_s, name=name, seen=seen)) for name, seen in read.items())


def meters_of(settings: Settings) -> Sequence[Meter]:
    """A meter for each kind of chip, one for the processors, one for each engine."""
    meters: list[Meter] = []
    if nvidia := _of_kind(settings, "nvidia"):
        meters.append(NvidiaMeter(nvidia, settings.every_s))
    if ascend := _of_kind(settings, "ascend"):
        meters.append(AscendMeter(ascend, max(settings.every_s, settings.npu_smi_every_s)))
    meters.append(CpuMeter(settings.every_s, settings.on_cpu))
    every_s = max(settings.every_s, settings.engines_every_s)
    meters.extend(EngineMeter(engine, every_s) for engine in settings.engines)
    return meters


def _of_kind(settings: Settings, kind: str) -> list[Chip]:
    return [chip for chip in settings.chips if chip.kind == kind]


def _unread(blind: Blind, every_s: float) -> Offer:
    return Offer(
        name=blind.name,
        kind=blind.kind,
        members=blind.members,
        every_s=every_s,
        missing={ALL: blind.reason},
    )


def _listen(recorder: Recorder, pipe: int, parent: int) -> None:
    """Serve until the pipe closes, or its other end is held open only by what the dead parent left behind."""
    torn, write_s = b"", time.monotonic()
    while True:
        readable, _, _ = select.select([pipe], [], [], min(_WRITE_S, _PARENT_CHECK_S))
        if readable:
            data = os.read(pipe, 4096)
            if not data:
                return
            *lines, torn = (torn + data).split(b"\n")
            for _ in lines:
                recorder.flush()
                _say("flushed")
        elif os.getppid() != parent:
            return
        if time.monotonic() - write_s >= _WRITE_S:
            recorder.flush()
            write_s = time.monotonic()


def _cpu_s() -> float:
    """Of this process and of the programs it called that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _say(word: str) -> None:
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
