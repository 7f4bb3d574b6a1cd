"""Where commands write: results to stdout, errors to stderr, colours only on terminals."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from pdtest.cluster.plan import UnknownMember
from pdtest.environment.catalogue import UnknownEnvironment
from pdtest.errors import PdtestError

INVALID = 1
USAGE = 2

#: Columns of tables where no terminal says how wide it is.
_PIPED: Final = 160


class Misused(PdtestError):
    """A command was given something that does not exist."""


def output() -> Console:
    """Standard output. Long lines stay whole, so that they can be copied and piped."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(soft_wrap=True, highlight=False, width=width)


def show_error(error: PdtestError) -> None:
    """The error's message on standard error, its first line in red on a terminal."""
    first, _, rest = str(error).partition("\n")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]{escape(first)}[/]" + (f"\n{escape(rest)}" if rest else ""))


class Guarded(TyperGroup):
    """A command group that shows pdtest's own errors as messages, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 2 for a name that does not exist, 1 for any other error of ours."""
        try:
            return super().invoke(ctx)
        except PdtestError as error:
            show_error(error)
            ctx.exit(USAGE if isinstance(error, Misused | UnknownEnvironment | UnknownMember) else INVALID)
