"""`pdtest` alone, in a terminal: what can be done with the environment at hand, by number."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.markup import escape

from pdtest.cli.at_hand import at_hand
from pdtest.cli.catalogue import catalogue_of, home_of
from pdtest.cli.terminal import output, show_error
from pdtest.environment.catalogue import UnknownEnvironment
from pdtest.keeper import find


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A command's words; ``{env}`` is the environment, ``{answer}`` what ``asks`` is answered."""

    words: tuple[str, ...]
    does: str
    asks: str = ""

    def argv(self, env: str, answer: str) -> list[str]:
        """The words of the command, an answer of nothing left out."""
        filled = (word.format(env=env, answer=answer) for word in self.words)
        return [word for word in filled if word]


_STANDING = (
    Choice(words=("ps",), does="how its members are"),
    Choice(words=("ask", "{answer}", "--env", "{env}"), does="one request, and its verdict", asks="prompt"),
    Choice(words=("logs", "--env", "{env}"), does="what its members said last"),
    Choice(words=("restart", "{answer}", "{env}"), does="a member anew", asks="member"),
    Choice(words=("down", "{env}"), does="end its members"),
)
_ABSENT = (Choice(words=("up", "{env}"), does="start its members and leave them running"),)
_ALWAYS = (
    Choice(words=("run", "{env}"), does="its tests"),
    Choice(words=("doctor", "{env}"), does="is anything wrong with this machine"),
    Choice(words=("config", "{env}", "{answer}"), does="what is resolved", asks="member, or nothing for all"),
    Choice(words=("report",), does="a page of what the last run has left"),
    Choice(
        words=("compare", "{answer}", "latest"),
        does="the last run's loads against earlier ones",
        asks="run, or baseline:NAME",
    ),
)
_ELSEWHERE = (
    Choice(words=("init",), does="write an environment file"),
    Choice(words=("env", "list"), does="which environments there are"),
    Choice(words=("mutants", "list"), does="which bugs can be planted"),
)
_QUIT, _OTHER = "q", "e"


def menu(rootdir: Path) -> None:
    """Ask what to do, do it, and ask again, until q or the end of the input."""
    home = home_of(rootdir, None)
    env = at_hand(rootdir, home)
    while True:
        standing = find(home, env) is not None
        choices = (*(_STANDING if standing else _ABSENT), *_ALWAYS, *_ELSEWHERE)
        _show(env, choices, standing=standing)
        answer = _asked("what")
        if answer in {None, _QUIT}:
            return
        if answer == _OTHER:
            env = _other(rootdir) or env
        elif answer and answer.isdigit() and 0 < int(answer) <= len(choices):
            _do(choices[int(answer) - 1], env)
        else:
            output().print(f"[yellow]1 to {len(choices)}, {_OTHER} or {_QUIT}[/]")


def _show(env: str, choices: Sequence[Choice], *, standing: bool) -> None:
    console = output()
    how = "[green]stands[/]" if standing else "does not stand"
    console.print(f"\n[bold]{escape(env)}[/]  its cluster {how}")
    for number, choice in enumerate(choices, 1):
        shown = " ".join(choice.argv(env, choice.asks.split(",")[0].upper()))
        console.print(f"{number:>3}  {escape(shown):<34} [dim]{choice.does}[/]")
    console.print(
        f"{_OTHER:>3}  another environment\n{_QUIT:>3}  quit   [dim](all commands: pdtest --help)[/]"
    )


def _do(choice: Choice, env: str) -> None:
    answer = _asked(choice.asks) if choice.asks else ""
    if answer is None:
        return
    with _children_only():
        code = subprocess.call([sys.executable, "-m", "pdtest.cli", *choice.argv(env, answer)])  # noqa: S603
    if code:
        output().print(f"[dim]exit code {code}[/]")


def _other(rootdir: Path) -> str | None:
    name = _asked("environment (name, or path of a YAML file)")
    if not name:
        return None
    catalogue = catalogue_of(rootdir)
    try:
        catalogue.file(name)
    except UnknownEnvironment as error:
        show_error(error)
        return None
    return name


def _asked(what: str) -> str | None:
    """None at the end of the input, and for Ctrl-C."""
    try:
        answer: str = typer.prompt(what, default="", show_default=False)
    except typer.Abort:
        return None
    return answer.strip()


@contextmanager
def _children_only() -> Iterator[None]:
    """Ctrl-C is for the command that runs: pytest, say, which stops its members. We wait for it.

    A handler that does nothing, since SIG_IGN would be inherited.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
