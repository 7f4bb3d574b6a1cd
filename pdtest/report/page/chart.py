"""Pictures as paths of SVG: lines, and bars in lanes. Text is HTML around them, so that it never shrinks.

A picture is as wide as its column and stretched to it; strokes keep their width. Colours are classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pdtest.report.account.curve import Points
from pdtest.report.page.axis import Axis, Tick

#: Units of a picture's own coordinates.
WIDE: Final = 1000
HIGH: Final = 400
#: Of a lane.
LANE: Final = 10


@dataclass(frozen=True, kw_only=True)
class Series:
    """A curve. ``tone``: its colour's class. ``stepped``: each value holds until the next."""

    name: str
    tone: str
    points: Points
    stepped: bool = False
    filled: bool = False
    dotted: bool = False


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A curve, drawn. ``area`` is what lies under it, ``dots`` are zero-length strokes with round ends."""

    name: str
    tone: str
    path: str
    area: str = ""
    dots: str = ""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of the x axis, in percent of its length."""

    left: float
    width: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over an x axis. ``legend``: names that are shown with their tones."""

    title: str
    note: str
    strokes: tuple[Stroke, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...] = ()
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Seconds of the picture's time, or what its axis has else. ``tone``: its colour's class."""

    from_s: float
    to_s: float
    tone: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Lane:
    """``end``: a stroke of this tone where the last bar ends, such as ``bad``."""

    label: str
    bars: tuple[Bar, ...]
    note: str = ""
    end: str = ""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A moment, in percent of the x axis, drawn through all lanes."""

    left: float
    tone: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A bar, in the picture's coordinates."""

    x: float
    y: float
    width: float
    tone: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """Bars over time, a lane for each thing. ``named``: lanes have their labels beside them."""

    title: str
    note: str
    lanes: tuple[Lane, ...]
    rects: tuple[Rect, ...]
    x_ticks: tuple[Tick, ...]
    flags: tuple[Flag, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    ends: tuple[tuple[float, float, str], ...] = ()
    named: bool = True

    @property
    def height(self) -> int:
        """In the picture's coordinates."""
        return max(len(self.lanes), 1) * LANE


def curves(  # noqa: PLR0913 - each says something else of the picture
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    note: str = "",
    bands: Iterable[tuple[float, float, str]] = (),
) -> Chart:
    """A chart of these; ``bands`` are (from, to, text) of the x axis."""
    names = dict.fromkeys((one.name, one.tone) for one in series)
    return Chart(
        title=title,
        note=note,
        strokes=tuple(_stroke(one, x, y) for one in series),
        x_ticks=x.ticks(5),
        y_ticks=y.ticks(4),
        legend=tuple(names) if len(names) > 1 else (),
        bands=tuple(
            Band(left=100 * x.share(low), width=100 * (x.share(high) - x.share(low)), text=text)
            for low, high, text in bands
        ),
    )


def lanes(  # noqa: PLR0913 - each says something else of the picture
    title: str,
    rows: Sequence[Lane],
    *,
    note: str = "",
    flags: Iterable[tuple[float, str, str]] = (),
    legend: Iterable[tuple[str, str]] = (),
    named: bool = True,
    unit: str = "s",
) -> Lanes:
    """Bars in lanes over a common time, or what ``unit`` says; ``flags`` are (when, tone, text)."""
    moments = tuple(flags)
    times = [time for row in rows for bar in row.bars for time in (bar.from_s, bar.to_s)]
    x = Axis.over([*times, *(at for at, _, _ in moments)], unit, zero=min(times, default=0.0) >= 0)
    return Lanes(
        title=title,
        note=note,
        lanes=tuple(rows),
        rects=tuple(_rects(rows, x)),
        x_ticks=x.ticks(5),
        flags=tuple(Flag(left=100 * x.share(at), tone=tone, text=text) for at, tone, text in moments),
        legend=tuple(legend),
        ends=tuple(
            (WIDE * x.share(row.bars[-1].to_s), LANE * number, row.end)
            for number, row in enumerate(rows)
            if row.end and row.bars
        ),
        named=named,
    )


def _rects(rows: Sequence[Lane], x: Axis) -> Iterator[Rect]:
    for number, row in enumerate(rows):
        for bar in row.bars:
            left, right = WIDE * x.share(bar.from_s), WIDE * x.share(bar.to_s)
            yield Rect(
                x=round(left, 1),
                y=number * LANE + 1.5,
                width=round(max(right - left, 1.2), 1),
                tone=bar.tone,
                text=bar.text,
            )


def _stroke(series: Series, x: Axis, y: Axis) -> Stroke:
    places = [
        (round(WIDE * x.share(at), 1), round(HIGH * (1 - y.share(value)), 1)) for at, value in series.points
    ]
    path = "".join(_pen(places, stepped=series.stepped))
    area = ""
    if series.filled and places:
        area = f"{path}L{places[-1][0]:g},{HIGH}L{places[0][0]:g},{HIGH}Z"
    dots = "".join(f"M{left:g},{top:g}h0" for left, top in places) if series.dotted else ""
    return Stroke(name=series.name, tone=series.tone, path=path, area=area, dots=dots)


def _pen(places: Sequence[tuple[float, float]], *, stepped: bool) -> Iterator[str]:
    at: tuple[float, float] | None = None
    for left, top in places:
        if at is None:
            yield f"M{left:g},{top:g}"
        elif (left, top) != at:
            yield f"H{left:g}V{top:g}" if stepped else f"L{left:g},{top:g}"
        at = (left, top)
