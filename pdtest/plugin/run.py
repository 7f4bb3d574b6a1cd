"""One invocation of pytest that needed a cluster: its directory, its journal, its clusters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import pytest

from pdtest.client.answer import Answer
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.health import unwell
from pdtest.cluster.model import with_model
from pdtest.cluster.requirements import Unschedulable
from pdtest.environment.loading import dump_resolved
from pdtest.environment.schema import Environment, ReferenceKind
from pdtest.errors import PdtestError
from pdtest.events import Journal, MemberStarting, RequestAbandoned, read
from pdtest.events.fault import Recovered
from pdtest.events.record import Event
from pdtest.history import History, check, smallest
from pdtest.launch.registry import launchers
from pdtest.oracle.gallery import Gallery
from pdtest.oracle.verdict import Verdict
from pdtest.plugin.attached import Survey
from pdtest.plugin.clusters import cluster_for, leave, patience_s
from pdtest.plugin.directories import directory_of, home, new_id, point_latest
from pdtest.plugin.errors import ClusterUnavailable, HistoryViolated
from pdtest.plugin.noticing import make_notice
from pdtest.plugin.pardons import Pardons
from pdtest.plugin.record import TestRecord
from pdtest.plugin.recording import Recording
from pdtest.plugin.selection import Selection
from pdtest.plugin.terminal import show, start_up, streaming
from pdtest.plugin.workers import Worker, events_file, verdicts_file
from pdtest.plugin.xray import Radiograph
from pdtest.report.replay import slug
from pdtest.report.timeline import timeline
from pdtest.report.timeline_picture import timeline_picture
from pdtest.services.registry import services

#: Gives the requests whose colocated answers an environment's tests will need.
Wanted = Callable[[Environment], Iterable[Request]]


class Run:
    """Made when the first test asks for a cluster, closed when pytest ends."""

    def __init__(self, config: pytest.Config, selection: Selection, *, seed: str) -> None:
        self.config = config
        self.seed = seed
        self.home = home(config)
        self.worker = Worker.of(config)
        self.id = self.worker.run if self.worker else new_id()
        self.directory = directory_of(config, self.id)
        self.directory.mkdir(parents=True, exist_ok=self.worker is not None)
        point_latest(self.directory)
        self.journal = Journal(self.directory / events_file(self.worker))
        self.pardons = Pardons(self.journal.path)
        self.verdicts: list[dict[str, object]] = []
        #: Set after a test that failed or was disruptive: its members may run and be of no use.
        self.shaken = False
        self.recordings: dict[str, Recording] = {}
        #: Requests that several tests fire together, by test function, environment and route.
        self.galleries: dict[tuple[str, ...], Gallery] = {}
        #: Of the environments with members that run already.
        self.surveys: list[Survey] = []
        #: What was broken and came back.
        self.recoveries: list[Recovered] = []
        #: X-rays, by environment.
        self.radiographs: dict[str, Radiograph] = {}
        #: Colocated answers of this run, by environment and request digest.
        self.answers: dict[str, dict[str, Answer]] = {}
        #: A test has not passed: with --keep, its cluster is left standing.
        self.troubled = False
        #: Environments whose clusters stood before this run, and will after it.
        self.stood_before: set[str] = set()
        #: With workers: environments whose clusters cannot be up together.
        self.rivals: Mapping[str, str] = {}
        self._selection = selection
        self._clusters: dict[str, Cluster] = {}
        #: What shows the logs of a running cluster, under -vv.
        self._streams: dict[str, ExitStack] = {}
        self._failures: dict[str, BaseException] = {}

    def cluster(self, name: str, wanted: Wanted) -> Cluster:
        """The running cluster of an environment, started if need be.

        Raises Unschedulable, ClusterUnavailable after an earlier failure, and what starting raises.
        """
        if name in self._failures:
            raise ClusterUnavailable(name, self._failures[name])
        if name not in self._clusters:
            environment = self._selection.environment(name)
            reasons = self._selection.unschedulable(name)
            if reasons:
                raise Unschedulable(name, reasons)
            try:
                self._clusters[name] = self._start(environment, wanted)
            except Exception as error:
                self._failures[name] = error
                raise
        return self._clusters[name]

    def release(self, name: str) -> None:
        """Stop an environment's cluster."""
        cluster = self._clusters.pop(name, None)
        if cluster is not None:
            with self._streams.pop(name, ExitStack()):
                leave(cluster, self)

    def revive(self, cluster: Cluster) -> None:
        """Start the members again that died; after a test that may have hurt them, the stuck ones too."""
        running = [member for member in cluster.members.values() if member.alive and self.shaken]
        # The dead are counted last: a member that dies while the others are probed is found by that.
        hurt = dict.fromkeys([*unwell(running), *(death.member for death in cluster.dead())])
        shaken, self.shaken = self.shaken, False
        if cluster.environment.name in self._failures:
            raise ClusterUnavailable(cluster.environment.name, self._failures[cluster.environment.name])
        try:
            for name in hurt:
                with start_up(self.config, cluster, f"restarting {name}") as watch:
                    cluster.restart(name, watch=watch)
        except PdtestError as error:
            # Loading takes minutes; what did not come back once is not tried again for every test.
            self._failures[cluster.environment.name] = error
            raise
        if shaken:
            make_notice(cluster)

    def explain(self, item: pytest.Item, record: TestRecord) -> str | None:
        """What the X-ray shows of a failed test; None where it can tell nothing."""
        environment = record.cluster.environment.name
        try:
            return self.radiographs[environment].explain(item, record, self.tell)
        except PdtestError as error:
            # Engines that do not come up with a probe do not come up for the next test either.
            self._failures[environment] = error
            return f"engines did not start with their X-ray on:\n{error}"

    def given_up(self, since: int) -> bool:
        """Whether clients gave requests up since then."""
        return any(read(self.journal.path, since=since, kind=RequestAbandoned))

    def tell(self, event: Event) -> None:
        """Append to events.jsonl."""
        self.journal.append(event)

    def check_history(self, test: str, since: int) -> None:
        """Hold what has happened since then against what must hold of every history.

        Raises HistoryViolated with the smallest history that shows the first violation, and draws it into
        the test's directory under `repro`.
        """
        path = self.journal.path
        history = History.of([*read(path, kind=MemberStarting), *read(path, since=since)])
        violations = check(history)
        if violations:
            least = smallest(history, violations[0])
            file = self.directory / "repro" / slug(test) / "timeline.png"
            drawn = timeline_picture(least, str(violations[0]), file)
            raise HistoryViolated(violations, [*timeline(least)], drawn)

    def keep_verdict(self, test: str, verdict: Verdict) -> None:
        """Remember a verdict for verdicts.json."""
        findings = [
            {"check": finding.check, "ruling": finding.ruling, "text": finding.text}
            for finding in verdict.findings
        ]
        self.verdicts.append(
            {"test": test, "claim": verdict.claim, "ruling": verdict.ruling, "findings": findings}
        )

    def close(self) -> None:
        """Stop everything and write what is written at the end."""
        try:
            for name in list(self._clusters):
                self.release(name)
        finally:
            text = json.dumps(self.verdicts, indent=1)
            path = self.directory / verdicts_file(self.worker)
            path.write_text(text + "\n", encoding="utf-8")
            self.journal.close()

    def _start(self, environment: Environment, wanted: Wanted) -> Cluster:
        survey = self._survey(with_model(environment, self.config.rootpath))
        environment = survey.environment
        directory = self.directory / environment.name
        directory.mkdir(exist_ok=self.worker is not None)
        (directory / "environment.resolved.yaml").write_text(dump_resolved(environment), encoding="utf-8")
        cluster = cluster_for(environment, directory, self)
        self.radiographs[environment.name] = Radiograph.of(cluster, self.config)
        with ExitStack() as stack:
            stack.enter_context(streaming(self.config, cluster))
            try:
                self._bring_up(cluster, wanted)
                survey.try_out(cluster)
            except BaseException:
                self.troubled = True
                leave(cluster, self, failed=True)
                raise
            self._streams[environment.name] = stack.pop_all()
        return cluster

    def _survey(self, environment: Environment) -> Survey:
        """A look at the members that run already, before anything is started. Raises Drifted."""
        survey = Survey(
            environment,
            services=services(),
            launchers=launchers(),
            catalogue=self._selection.catalogue,
            journal=self.journal,
        )
        self.surveys.append(survey)
        survey.look()
        if survey.members:
            show(self.config, f"attached to the members of {environment.name}", survey.lines())
        return survey

    def _bring_up(self, cluster: Cluster, wanted: Wanted) -> None:
        environment = cluster.environment
        if environment.reference.kind is ReferenceKind.RECORDED:
            recording = Recording(cluster, self.home / "references", config=self.config)
            self.recordings[environment.name] = recording
            recording.bring_up(tuple(wanted(environment)))
            return
        if all(member.alive for member in cluster.wanted) and cluster.members:
            return  # it stands
        with start_up(self.config, cluster, f"starting {environment.name}") as watch:
            cluster.start(watch=watch, within_s=patience_s(self.config))
