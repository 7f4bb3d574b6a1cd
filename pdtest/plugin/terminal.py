"""Talking to the terminal while pytest captures output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from rich.console import Console

from pdtest.cluster.cluster import Cluster, Watch
from pdtest.cluster.stream import LogStream
from pdtest.report.progress import Progress

#: Verbosity (-v) from which members' logs are shown while they start, and (-vv) all the time.
STREAM_AT_START = 1
STREAM_ALWAYS = 2


@contextmanager
def released(config: pytest.Config) -> Iterator[Console | None]:
    """The real terminal, for as long as the context lasts. None under --quiet."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        if capture is not None:
            stack.enter_context(capture.global_and_fixture_disabled())
        quiet = config.get_verbosity() < 0
        reporter = config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or quiet:
            yield None
            return
        reporter.ensure_newline()
        if reporter._tw.width_of_current_line:  # noqa: SLF001 - letters of results, which it does not count
            reporter.line("")
        yield Console(file=sys.stdout, highlight=False, color_system="auto" if reporter.hasmarkup else None)


def show(config: pytest.Config, headline: str | None, lines: Iterable[str]) -> None:
    """Say something in the middle of a run, unless --quiet. ``headline`` None: it goes on from before."""
    with released(config) as console:
        if console is not None:
            if headline is not None:
                console.print(headline, style="bold")
            for line in lines:
                console.print(line, markup=False, soft_wrap=True)


@contextmanager
def streaming(config: pytest.Config, cluster: Cluster) -> Iterator[None]:
    """With -vv, the members' logs on the terminal for as long as the context lasts, tests included."""
    if config.get_verbosity() < STREAM_ALWAYS:
        yield
        return
    with released(config):
        # While a test runs, stdout is captured; this copy goes on being the terminal.
        terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    with terminal, LogStream(lambda: cluster.members, lambda line: print(line, file=terminal)):
        yield


@contextmanager
def start_up(config: pytest.Config, cluster: Cluster, headline: str) -> Iterator[Watch | None]:
    """What to pass as ``watch`` to a cluster: live progress, and with -v its logs."""
    with released(config) as console, ExitStack() as stack:
        if console is None:
            yield None
            return
        console.print(headline, style="bold")
        if STREAM_AT_START <= config.get_verbosity() < STREAM_ALWAYS:
            stack.enter_context(LogStream(lambda: cluster.members, console.out))
        yield stack.enter_context(Progress(console))
