"""`pdtest model`: models to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdtest.cli.terminal import Guarded
from pdtest.models import tiny

app = typer.Typer(cls=Guarded, no_args_is_help=True, rich_markup_mode="rich", help="Models to test with.")


@app.callback()
def group() -> None:
    """Models to test with."""


@app.command()
def make(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it.")],
    *,
    seed: Annotated[int, typer.Option(help="Another seed, other weights.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a tiny model that is there.")] = False,
) -> None:
    r"""Write a random model of 2.6 million parameters (Qwen3, float32) with its tokenizer.

    Nothing is downloaded. It answers nonsense, but nonsense that depends on the whole prompt, which is what
    comparing needs. Nothing happens when it is there already.

    Needs torch and transformers: [bold]pip install 'pdtest\[model]'[/]

    Example: [bold]pdtest model make .pdtest/models/tiny[/]
    """
    there = tiny.exists(directory, seed=seed) and not force
    made = tiny.make(directory, seed=seed, force=force)
    typer.echo(f"{'already there' if there else 'written'}: {made}")
