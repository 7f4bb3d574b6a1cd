"""The pytest plugin: thin hooks over the rooms below."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Generator, Mapping, Sequence

import pytest
from _pytest.terminal import TerminalReporter

from pdtest.cluster.incident import MemberIncident, died_later
from pdtest.plugin import outcomes
from pdtest.plugin.baseline import baseline
from pdtest.plugin.chronicle import Chronicle
from pdtest.plugin.client_load import client_load
from pdtest.plugin.disruption import drill, inflict, renewed
from pdtest.plugin.errors import NotWithWorkers, UnexpectedLogErrors
from pdtest.plugin.fixtures import (
    asked,
    bounds,
    cluster,
    colocated,
    contract,
    decode,
    endpoints,
    engines,
    environment,
    gallery,
    handoff,
    http,
    judge,
    oracle,
    pdtest_record,
    prefill,
    prompts,
    proxy,
    quiet,
    rule,
    store,
)
from pdtest.plugin.junit import keep_junit
from pdtest.plugin.marks import DISRUPTIVE, expect_known_issues, register, spare_attached
from pdtest.plugin.mutants import Killing, planted
from pdtest.plugin.options import add_options, refuse_misread_path
from pdtest.plugin.pardons import Pardons
from pdtest.plugin.performance import loads, pdtest_hire, pdtest_watch
from pdtest.plugin.record import TestRecord
from pdtest.plugin.report import conclude, prepare
from pdtest.plugin.rivals import rivals
from pdtest.plugin.routing import changes, errands, joined, lanes, membership, new_changes, router
from pdtest.plugin.scaling import scaler
from pdtest.plugin.selection import select
from pdtest.plugin.stash import KILLING, RECORD, RUN, SELECTION
from pdtest.plugin.topologies import topologies
from pdtest.plugin.wanted import current_run, environment_of, groups_of
from pdtest.plugin.workers import Foreman, Worker, is_controller, tell_groups
from pdtest.report.failure import Failure

__all__ = [
    "asked",
    "baseline",
    "bounds",
    "changes",
    "client_load",
    "cluster",
    "colocated",
    "contract",
    "decode",
    "drill",
    "endpoints",
    "engines",
    "environment",
    "errands",
    "gallery",
    "handoff",
    "http",
    "inflict",
    "joined",
    "judge",
    "lanes",
    "loads",
    "membership",
    "new_changes",
    "oracle",
    "pdtest_hire",
    "pdtest_record",
    "pdtest_watch",
    "prefill",
    "prompts",
    "proxy",
    "quiet",
    "renewed",
    "router",
    "rule",
    "scaler",
    "store",
    "topologies",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Decide which environments may be used; nothing starts and nothing is written yet."""
    refuse_misread_path(config)
    prepare(config)
    selection = select(config)
    config.stash[SELECTION] = selection
    config.stash[KILLING] = Killing.asked_for(config)
    register(config, selection.marks())
    if is_controller(config):
        if config.stash[KILLING] is not None:
            raise pytest.UsageError(str(NotWithWorkers("--mutants")))
        config.pluginmanager.register(Foreman(config), "pdtest-foreman")
    worker = Worker.of(config)
    if worker is not None:
        config.option.pdtest_seed = worker.seed
    elif config.getoption("pdtest_seed") is None:
        config.option.pdtest_seed = secrets.token_hex(4) if not selection.recorded else "recorded"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One instance of each test that uses `cluster` per selected environment."""
    metafunc.config.stash[SELECTION].parametrize(metafunc)
    killing = metafunc.config.stash[KILLING]
    if killing is not None:
        killing.parametrize(metafunc)


def pytest_itemcollected(item: pytest.Function) -> None:
    """Let ``-k nixl`` select by connector: its contracts are keywords of the test."""
    name = environment_of(item)
    if name is not None:
        chosen = item.config.stash[SELECTION].environment(name)
        item.extra_keyword_matches.update(chosen.connector.contract)
        expect_known_issues(item, chosen)
        spare_attached(item, chosen)
        # Also for tests that use nothing but `cluster`: their members are watched like all others'.
        item.fixturenames.append("pdtest_record")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All tests of one environment, then those of the next.

    pytest groups tests by the places of their parameters, not by their values. Tests with different axes
    would so go back and forth between environments, and start each one anew.
    """
    turns = {name: turn for turn, name in enumerate(config.stash[SELECTION].names)}
    items.sort(key=lambda item: turns.get(environment_of(item) or "", -1))
    killing = config.stash[KILLING]
    if killing is not None:
        killing.arrange(items, config.stash[SELECTION])


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> str | None:
    """What a run depends on. Nothing where no test needs an environment, or under --quiet."""
    names = dict.fromkeys(filter(None, map(environment_of, items)))
    if not names or config.get_verbosity() < 0:
        return None
    return f"pdtest: {_noun(names)} {', '.join(names)}, seed {config.getoption('pdtest_seed')}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the run's directory, if anything is to be run in it: sessions without a cluster leave no trace.

    First of all: xdist tells the controller of it, which then hands tests out.
    """
    config = session.config
    broken = session.testsfailed and not config.option.continue_on_collection_errors
    if config.option.collectonly or broken or not any(map(environment_of, session.items)):
        return
    run = current_run(config)
    if run.worker is None:
        keep_junit(config, run.directory)
    else:
        names = dict.fromkeys(filter(None, map(environment_of, session.items)))
        run.rivals = rivals(map(config.stash[SELECTION].environment, names))
        tell_groups(groups_of(session.items, run.rivals), run.directory)
    chronicle = Chronicle(run, session.items)
    chronicle.begin(config, config.stash[SELECTION])
    config.pluginmanager.register(chronicle, "pdtest-chronicle")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Nothing is left to do where a planted bug was noticed already."""
    killing = item.config.stash[KILLING]
    if killing is None or not killing.is_over(item):
        return None
    # Fixtures that were kept for this test must go before the next: pytest has no public way to say so.
    item.session._setupstate.teardown_exact(nextitem)  # noqa: SLF001
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Watch the members while a test runs: deaths and errors in logs fail it."""
    if RUN not in item.config.stash:
        return (yield)
    run, disruptive = item.config.stash[RUN], item.get_closest_marker(DISRUPTIVE) is not None
    run.shaken = True  # unless we get to the end
    result = yield
    if RECORD in item.stash:
        _complain(item.stash[RECORD], run.pardons, disruptive=disruptive)
        run.check_history(item.nodeid, item.stash[RECORD].since)
    run.shaken = disruptive or (RECORD in item.stash and run.given_up(item.stash[RECORD].since))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give pdtest's outcomes their names and failed tests their section."""
    report = yield
    outcomes.classify(item.config, call, report)
    record = item.stash.get(RECORD, None)
    if RUN in item.config.stash and (report.failed or hasattr(report, "pdtest_outcome")):
        item.config.stash[RUN].troubled = True
    killing = item.config.stash[KILLING]
    if killing is not None:
        killing.note(item, call, report)
    if planted(item):
        return report
    if report.when == "call" and record is not None and (report.failed or hasattr(report, "pdtest_outcome")):
        failure = Failure(
            test=item.nodeid,
            cluster=record.cluster,
            handoffs=record.handoffs,
            verdicts=record.verdicts,
            marks=record.marks,
        )
        report.sections += [
            (f"what became of {death.member}", str(died_later(record.cluster.members[death.member], death)))
            for death in record.cluster.dead()
            if not isinstance(call.excinfo and call.excinfo.value, MemberIncident)
        ]
        report.sections.append(("pdtest", failure.write(item.config.stash[RUN].directory)))
        if not hasattr(report, "wasxfail"):
            shown = item.config.stash[RUN].explain(item, record)
            report.sections += [("x-ray", shown)] if shown else []
    return report


def pytest_report_teststatus(
    report: pytest.TestReport,
) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
    """Show inconclusive and unschedulable as outcomes of their own."""
    return outcomes.status(report)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say what is left open and where everything is kept."""
    outcomes.summarize(terminalreporter, config.stash[SELECTION])
    if RUN in config.stash:
        run = config.stash[RUN]
        killing = config.stash[KILLING]
        if killing is not None:
            killing.summarize(terminalreporter, run.directory)
        outcomes.summarize_recoveries(terminalreporter, run.recoveries)
        outcomes.summarize_attached(terminalreporter, run.surveys)
        terminalreporter.line(f"pdtest: seed {run.seed}, run directory {run.directory}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Stop what still runs after the fixtures are gone, and settle the exit status."""
    try:
        yield
    finally:
        if RUN in session.config.stash:
            session.config.stash[RUN].close()
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        session.exitstatus = outcomes.exit_status(reporter, session.config, session.exitstatus)
    killing = session.config.stash[KILLING]
    if killing is not None and session.exitstatus == pytest.ExitCode.OK and not killing.clean:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    conclude(session.config, reporter)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the run also when the session never came to its end."""
    if RUN in config.stash:
        config.stash[RUN].close()


def _noun(names: Collection[str]) -> str:
    return "environment" if len(names) == 1 else "environments"


def _complain(record: TestRecord, pardons: Pardons, *, disruptive: bool) -> None:
    # Also of a disruptive test: what it was pardoned for is not pardoned again.
    errors = pardons.less(record.log_errors(), record.cluster.members)
    if disruptive:
        return
    for death in record.cluster.dead():
        raise died_later(record.cluster.members[death.member], death)
    if errors:
        raise UnexpectedLogErrors(errors)
