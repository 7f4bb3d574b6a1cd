"""The timeline of a history as a real picture: what `timeline` draws with characters, for reports and eyes.

PNG or SVG. Nothing is drawn without matplotlib (`pip install 'pdtest[report]'`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from pdtest.history import History
from pdtest.report.timeline import Row, rows_of

#: By the marks of the text: the marker that is drawn, its colour, and the legend's word for it.
_MARKS = {
    "|": ("|", "0.25", "sent"),
    "o": ("o", "tab:green", "answered"),
    "x": ("X", "tab:red", "error"),
    "?": ("P", "tab:orange", "given up"),
    ">": (">", "tab:purple", "no end"),
    "!": ("D", "black", "member"),
}
#: Rows that are drawn. The smallest history of a violation has a handful.
_ROWS = 60


def timeline_picture(history: History, title: str, file: Path) -> Path | None:
    """Draw ``history`` into ``file``, as its suffix says (.png, .svg).

    None without matplotlib or events, and where nothing can be written: what the picture shows matters more.
    """
    drawn = timeline_bytes(history, title, file.suffix.removeprefix("."))
    if drawn is None:
        return None
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(drawn)
        return file
    return None


def timeline_bytes(history: History, title: str, kind: str = "svg") -> bytes | None:
    """The picture itself, to be put into a page: ``kind`` is png or svg. None as in `timeline_picture`."""
    rows = rows_of(history)[:_ROWS]
    if not rows:
        return None
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ModuleNotFoundError:
        return None
    mpl.use("Agg")
    with warnings.catch_warnings(action="ignore"):  # of fonts: no reason to fail a test for
        return _drawn(plt, rows, title, kind)


def _drawn(plt: Any, rows: Sequence[Row], title: str, kind: str) -> bytes:
    figure, axes = plt.subplots(figsize=(10, min(1.6 + 0.32 * len(rows), 22)), layout="constrained")
    begin = rows[0].begins
    for place, row in enumerate(rows):
        _draw(axes, place, row, begin)
    axes.set_yticks(range(len(rows)), [f"{row.who[:12]}  {row.member}".strip() for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top
    axes.set_xlabel("seconds since the first", fontsize=8)
    span = max(at for row in rows for at, _ in row.marks) - begin or 1.0
    axes.set_xlim(-0.04 * span, 1.3 * span)  # what came of it stands behind its end
    axes.grid(axis="x", color="0.9")
    axes.set_title(title, fontsize=9, loc="left", wrap=True)
    _explain(figure, axes, rows)
    drawn = BytesIO()
    figure.savefig(drawn, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    return drawn.getvalue()


def _draw(axes: Any, place: int, row: Row, begin: float) -> None:
    times = [at - begin for at, _ in row.marks]
    axes.hlines(place, times[0], times[-1], color="tab:blue", linewidth=2, alpha=0.5)
    for (_, mark), at in zip(row.marks, times, strict=True):
        shape, colour, _ = _MARKS[mark]
        axes.plot(at, place, shape, color=colour, markersize=7, zorder=3)
    axes.annotate(
        row.said, (times[-1], place), xytext=(8, 0), textcoords="offset points", va="center", fontsize=8
    )


def _explain(figure: Any, axes: Any, rows: Sequence[Row]) -> None:
    """A legend of the marks that occur."""
    for mark in sorted({mark for row in rows for _, mark in row.marks}):
        shape, colour, word = _MARKS[mark]
        axes.plot([], [], shape, color=colour, label=word)
    figure.legend(fontsize=7, ncols=len(_MARKS), loc="outside lower center", frameon=False)
