"""The page: one file of HTML with everything in it, no script, nothing fetched."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pdtest.errors import MissingExtra
from pdtest.report.account import Account, read_account
from pdtest.report.analysis import analyse
from pdtest.report.gains import cell, over, word
from pdtest.report.page import pictures
from pdtest.report.page.group import groups
from pdtest.report.page.pull_request import pull_request
from pdtest.results.amount import Scale, amount, counted, duration, moment

#: Beside each other in a run's directory.
FILES: Final = ("report.html", "report.json", "report.md")


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where a report is: the page, the same as data, the same in short."""

    html: Path
    json: Path
    markdown: Path
    account: Account


def require() -> None:
    """Raises MissingExtra where pages cannot be made."""
    _jinja()


def write_report(run: Path, html: Path | None = None) -> Written:
    """Make the report of the run in this directory: its page there or elsewhere, the others beside that.

    Raises NotARun, MissingExtra.
    """
    target = html if html is not None else run / FILES[0]
    account = read_account(run)
    text = render(account, run)
    written = Written(
        html=target,
        json=target.with_suffix(".json"),
        markdown=target.with_suffix(".md"),
        account=account,
    )
    for load in account.loads:
        analyse(load, run)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    written.json.write_text(account.model_dump_json() + "\n", encoding="utf-8")
    written.markdown.write_text(pull_request(account), encoding="utf-8")
    return written


def render(account: Account, run: Path) -> str:
    """The page of an account; ``run`` is where its pictures are. Raises MissingExtra."""
    jinja = _jinja()
    environment = jinja.Environment(
        loader=jinja.PackageLoader("pdtest.report.page"),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "duration": duration, "moment": moment, "counted": counted}
    found = groups(account.loads)
    text: str = environment.get_template("page.html.j2").render(
        account=account,
        groups=found,
        sweeps=tuple(pictures.sweeps(found)),
        pictures=pictures,
        scale_of=Scale.of,
        cell=cell,
        over=over,
        word=word,
        inlined=lambda file: _inlined(run / file),
    )
    return text


def _inlined(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _jinja() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtra("jinja2", extra="report", purpose="the report's page") from error
    return jinja2
