"""Where received KV differs from what was published, as a picture made of text, and as a PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pdtest.xray import Comparison, Diagnosis, Half

#: Columns of blocks; with what stands before them a row fits into 80.
_COLUMNS = 64
#: Layers that are drawn, each with a row for K and one for V.
_LAYERS = 24


def heatmap(diagnosis: Diagnosis) -> Iterator[str]:
    """A row for K and V of each layer, a column for each block (or for several, where there are many)."""
    comparison = diagnosis.comparison
    size = comparison.received.block_size
    blocks = -(-comparison.tokens // size)
    each = -(-blocks // _COLUMNS)
    heads = len(comparison.received.heads)
    columns = [range(start, min(start + each, blocks)) for start in range(0, blocks, each)]
    wide = f", {each} to a column" if each > 1 else ""
    yield f"{blocks} blocks of {size} tokens{wide}; wrong heads: . none 1-9 + more # all {heads}"
    yield f"{'':<12}{_scale(columns)}".rstrip()
    layers = _drawn(comparison)
    for layer in layers:
        for half in Half:
            name = f"layer {layer}" if half is Half.K else ""
            row = "".join(_mark(_differing(comparison, layer, half, column), heads) for column in columns)
            yield f"{name:<10.10}{half} {row}"
    left_out = len(comparison.received.layers) - len(layers)
    if left_out:
        yield f"{left_out} further layers are " + ("equal" if len(layers) < _LAYERS else "not drawn")


def picture(diagnosis: Diagnosis, file: Path) -> Path | None:
    """The same as PNG, with a row for each head. None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ModuleNotFoundError:
        return None
    mpl.use("Agg")
    comparison = diagnosis.comparison
    received = comparison.received
    blocks = range(-(-comparison.tokens // received.block_size))
    heads, layers = received.heads, received.layers
    figure, panels = plt.subplots(
        1,
        len(Half),
        sharey=True,
        squeeze=False,
        layout="constrained",
        figsize=(min(6 + 0.3 * len(blocks), 16), min(2 + 0.12 * len(layers) * len(heads), 20)),
    )
    for panel, half in zip(panels[0], Half, strict=True):
        cells = [
            [head in comparison.wrong.get((layer, half, block), ()) for block in blocks]
            for layer in layers
            for head in heads
        ]
        panel.imshow(cells, aspect="auto", cmap="Reds", vmin=0, vmax=1, interpolation="nearest")
        panel.set(title=f"{half}", xlabel=f"block of {received.block_size} tokens")
        panel.set_yticks([index * len(heads) for index in range(len(layers))], [f"layer {n}" for n in layers])
        for index in range(1, len(layers)):
            panel.axhline(index * len(heads) - 0.5, color="0.8", linewidth=0.5)
    panels[0][0].set(ylabel=f"{len(heads)} KV heads in each layer")
    figure.suptitle(
        f"{diagnosis.request}: what {received.one.member} received and should not have", fontsize=9
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file


def _drawn(comparison: Comparison) -> Sequence[int]:
    """All layers, or those that differ where there are too many."""
    layers = comparison.received.layers
    if len(layers) > _LAYERS:
        layers = sorted({layer for layer, _, _ in comparison.wrong})
    return layers[:_LAYERS]


def _differing(comparison: Comparison, layer: int, half: Half, blocks: range) -> int:
    return len(set().union(*(comparison.wrong.get((layer, half, block), ()) for block in blocks)))


def _mark(count: int, heads: int) -> str:
    if not count:
        return "."
    if count == heads:
        return "#"
    return str(count) if count < 10 else "+"  # noqa: PLR2004 - one character


def _scale(columns: Sequence[range]) -> str:
    """The first block of every tenth column."""
    marks = [f"{column.start:<10}" for column in columns[::10]]
    return "".join(marks)[: max(len(columns), 1)]
