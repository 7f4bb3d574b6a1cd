"""A run in short, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pdtest.compare.gains import Gains
from pdtest.report.account.account import Account, TestShown
from pdtest.report.comparison import markdown
from pdtest.report.gains import cell, over, word
from pdtest.report.page.group import Group, groups
from pdtest.results.amount import counted, duration

#: Tests that are named; the page has all.
_NAMED: Final = 10
#: Workloads that are shown.
_LOADS: Final = 2


def pull_request(account: Account) -> str:
    """Some dozen lines, most pressing first."""
    return "\n".join(_lines(account)).rstrip() + "\n"


def _lines(account: Account) -> Iterator[str]:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in account.outcomes.items())
    yield f"## pdtest: {account.verdict}"
    yield ""
    where = ", ".join(environment.name for environment in account.environments)
    yield (
        f"{counts or 'no test'}"
        + (f" on {where}" if where else "")
        + f" in {duration(account.session.took_s)}"
    )
    yield ""
    yield from _tests(account.pressing)
    for comparison in account.comparisons:
        yield markdown(comparison)
    for gains in account.topologies:
        yield from _gains(gains)
    found = groups(account.loads)
    for group in found[:_LOADS]:
        yield from _load(group)
    if len(found) > _LOADS:
        yield f"and {counted(len(found) - _LOADS, 'other workload')}, see the page"
        yield ""
    yield from _rest(account)


def _tests(pressing: tuple[TestShown, ...]) -> Iterator[str]:
    if not pressing:
        return
    yield "### To look at"
    yield ""
    for test in pressing[:_NAMED]:
        why = _why(test)
        yield f"- **{test.outcome}** `{test.test}`" + (f": {_plain(why)}" if why else "")
    if len(pressing) > _NAMED:
        yield f"- and {counted(len(pressing) - _NAMED, 'other')}"
    yield ""


def _why(test: TestShown) -> str:
    decisive = [
        f"{finding.check}: {finding.text}"
        for claim in test.claims
        if claim.ruling != "pass"
        for finding in claim.decisive
    ]
    return decisive[0] if decisive else test.message


def _gains(gains: Gains) -> Iterator[str]:
    yield f"### {gains.environment}: topologies under {gains.workload}"
    yield ""
    if gains.unequal:
        yield f"{_plain(gains.unequal)}"
        yield ""
    pairs = [f"{pair.new.name} / {pair.old.name}" for pair in gains.comparisons]
    yield f"| | {' | '.join([*gains.names, *pairs])} |"
    yield f"|---{'|--:' * (len(gains.names) + len(pairs))}|"
    for measure in gains.measures:
        values = [cell(gains.runs(name, measure), gains.unit(measure)) for name in gains.names]
        changes = [gains.change(pair, measure) for pair in gains.comparisons]
        if any(changes):
            told = [f"{over(change)[0]} {word(change)}" if change else "" for change in changes]
            yield f"| {measure} | {' | '.join([*values, *told])} |"
    yield ""
    yield from (f"- {one.topology}, {one.measure}: {_plain(one.text)}" for one in gains.claims)
    yield ""


def _load(group: Group) -> Iterator[str]:
    yield f"### {group.environment}: {group.title}"
    yield ""
    yield f"{group.words}; {counted(len(group.loads), 'run')}"
    for load in group.loads:
        if not load.client.valid:
            yield f"**{load.label} is invalid**: {'; '.join(load.client.reasons)}"
    yield ""
    yield f"| | {' | '.join(group.targets)} |"
    yield f"|---{'|--:' * len(group.targets)}|"
    for row in group.rows()[0]:
        name = f"{row.name}, {row.scale.unit}" if row.scale.unit else row.name
        yield f"| {name} | {' | '.join(row.scale(cell.value) for cell in row.cells)} |"
    yield ""


def _rest(account: Account) -> Iterator[str]:
    for one in account.unreadable:
        yield f"- `{one.file}` could not be read and is not in this report: {_plain(one.why)}"
    if account.kills is not None:
        survivors = account.kills["survivors"]
        total = len(account.kills["mutants"])
        yield f"{account.kills['killed']} of {total} mutants killed" + (
            f"; survived: {', '.join(survivors)}" if survivors else ""
        )
    if account.recoveries:
        slowest = account.recoveries[0]
        yield (
            f"{counted(len(account.recoveries), 'time')} recovered, the slowest in "
            f"{duration(slowest.took_s)} ({slowest.scenario})"
        )
    deaths = [life.member for life in account.members for spell in life.spells if spell.ended == "died"]
    if deaths:
        yield f"{counted(len(deaths), 'death')} of members"


def _plain(text: str) -> str:
    """On one line, and no table's end."""
    return " ".join(text.split()).replace("|", "\\|")
