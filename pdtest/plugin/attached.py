"""Before the first test: are the members that somebody else runs what the environment claims?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
from anyio.from_thread import start_blocking_portal

from pdtest.client.appearance import Appearance, appearance_of
from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.prompts import Prompts
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.placement import place
from pdtest.cluster.plan import attached_to
from pdtest.cluster.readiness import until_ready
from pdtest.environment.api_key import api_key
from pdtest.environment.catalogue import Catalogue
from pdtest.environment.schema import ENGINE_ROLES, Environment, Role
from pdtest.events import Journal
from pdtest.events.attached import DriftSeen, MemberSurveyed
from pdtest.launch.launcher import Launcher
from pdtest.launch.ports import CountedPorts
from pdtest.models.geometry import Geometry
from pdtest.oracle.drift import Attached, Drift, Drifted, drifts_of, merged
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.trial_handoff import TrialHandoff
from pdtest.services.service import Placement, Service
from pdtest.wire.registry import contract_for

#: Whoever runs already answers at once; a moment is for those that are just being restarted.
REACH_S: Final = 5.0


@dataclass
class Survey:
    """One environment's attached members. ``soft`` differences are kept for the summary."""

    environment: Environment
    services: Mapping[str, Service]
    launchers: Mapping[str, Launcher]
    catalogue: Catalogue
    journal: Journal
    members: list[Attached] = field(default_factory=list)
    soft: list[Drift] = field(default_factory=list)

    def look(self) -> None:
        """Ask all of them, and compare. The environment then has what only the servers know of the model.

        Raises Drifted with everything that makes testing pointless, MissingApiKey.
        """
        if not self._names():
            return
        with start_blocking_portal() as portal:
            unreachable = portal.call(self._ask_all)
        environment = self.environment = self._with_readable_model()
        found = [*unreachable]
        if not environment.only_stores:
            contract = contract_for(environment.connector.contract)
            found += drifts_of(environment, contract, self.members)
            if not any(drift.hard for drift in found):
                found += self._vocabulary(environment)
        self._settle(found)

    def try_out(self, cluster: Cluster) -> None:
        """One handoff, which must move. Raises Drifted."""
        asked = {Role.PREFILL, Role.DECODE, Role.PROXY}
        if any(cluster.members[name].role in asked for name in self._names()):
            with start_blocking_portal() as portal:
                self._settle(portal.call(self._hand_over, cluster))

    def lines(self) -> Iterator[str]:
        """What was found, a line for each member."""
        width = max((len(member.name) for member in self.members), default=0)
        for member in self.members:
            yield f"  {member.name:<{width}}  {member.url}  {_described(member, self.environment)}"

    def _names(self) -> tuple[str, ...]:
        return attached_to(self.environment, self.launchers)

    async def _ask_all(self) -> list[Drift]:
        placed = place(
            self.environment,
            Path(),
            services=self.services,
            launchers=self.launchers,
            leases=CountedPorts(),
        )
        async with httpx.AsyncClient(trust_env=False) as http:
            names = [name for name in self._names() if self._can_answer_yet(name)]
            asked = await asyncio.gather(*(self._ask(placed[name][0], http) for name in names))
        self.members = [member for member in asked if isinstance(member, Attached)]
        for member in self.members:
            self.journal.append(_surveyed(member, self.environment))
        return [drift for drift in asked if isinstance(drift, Drift)]

    def _can_answer_yet(self, name: str) -> bool:
        """A proxy that runs already may wait for engines that we are about to start."""
        others_start = len(self._names()) < len(self.environment.members)
        return not (others_start and self.environment.members[name].role is Role.PROXY)

    async def _ask(self, placement: Placement, http: httpx.AsyncClient) -> Attached | Drift:
        name, member = placement.name, placement.member
        key, answers = api_key(name, member), ["nothing"]
        probe = self.services[member.service].probe(placement)
        try:
            async with asyncio.timeout(REACH_S):
                await until_ready(probe, api_key=key, note=answers.append)
        except TimeoutError:
            return self._unreachable(name, probe.url, answers[-1])
        endpoint = Endpoint(
            name,
            placement.url,
            model=self.environment.model.name,
            http=http,
            ports=placement.ports,
            api_key=key,
        )
        is_engine = member.role in ENGINE_ROLES
        appearance = await appearance_of(endpoint) if is_engine else None
        return Attached(
            name=name, role=member.role, url=placement.url, claims=member.args, appearance=appearance
        )

    def _unreachable(self, name: str, url: str, answer: str) -> Drift:
        return Drift(
            member=name,
            what="unreachable",
            expected=f"an answer at {url}",
            seen=f"{answer} (for {REACH_S:g} s)",
            next_step=f"start it, or correct members.{name}.url",
            key=("members", name, "url"),
        )

    def _with_readable_model(self) -> Environment:
        """Where the model's path leads nowhere here, but the server's own does: that one."""
        model = self.environment.model
        if self.environment.only_stores or Geometry.read(model.path) is not None:
            return self.environment
        cards = (member.appearance.card(model.name) for member in self.members if member.appearance)
        roots = [card.root for card in cards if card is not None and card.root and Geometry.read(card.root)]
        if not roots:
            return self.environment
        return self.environment.model_copy(update={"model": model.model_copy(update={"path": roots[0]})})

    def _vocabulary(self, environment: Environment) -> Iterator[Drift]:
        model = environment.model
        if model.vocab_size is not None or Geometry.read(model.path) is not None:
            return
        yield Drift(
            member="model",
            what="vocabulary unknown",
            expected="model.vocab_size, or a model.path with a config.json to be read on this machine",
            seen=f"no vocab_size, and nothing to read at '{model.path}'",
            next_step="set model.vocab_size; a smaller number than the real one will do",
            key=("model", "vocab_size"),
        )

    async def _hand_over(self, cluster: Cluster) -> list[Drift]:
        environment = cluster.environment
        model = environment.model
        geometry = Geometry.read(model.path, dtype=model.dtype)
        vocabulary = model.vocab_size or (geometry.vocab_size if geometry else 0)
        async with httpx.AsyncClient(trust_env=False) as http:
            clients = {
                name: endpoint_of(cluster, name, http, on_event=self.journal.append)
                for name, member in cluster.members.items()
                if member.role in {Role.PREFILL, Role.DECODE, Role.PROXY} and member.alive
            }
            roles = {name: cluster.members[name].role for name in clients}
            proxies = [client for name, client in clients.items() if roles[name] is Role.PROXY]
            engines = {name: client for name, client in clients.items() if roles[name] is not Role.PROXY}
            handoffs = Handoffs(
                environment=environment,
                contract=contract_for(environment.connector.contract),
                engines=engines,
                roles={name: roles[name] for name in engines},
                proxy=proxies[0] if proxies else None,
                block_bytes=geometry.block_bytes(model.block_size) if geometry else None,
                witness=lambda _: None,
                on_event=self.journal.append,
            )
            prompts = Prompts(seed=secrets.token_hex(8), vocab_size=vocabulary)
            return await TrialHandoff(handoffs=handoffs, prompts=prompts).drifts(through_proxy=bool(proxies))

    def _settle(self, drifts: Sequence[Drift]) -> None:
        """Keep them; raise Drifted where one is hard."""
        found = [self._with_spelling(drift) for drift in drifts]
        for drift in found:
            told = {name: getattr(drift, name) for name in ("member", "what", "expected", "seen", "hard")}
            self.journal.append(DriftSeen(environment=self.environment.name, **told))
        if any(drift.hard for drift in found):
            raise Drifted(self.environment.name, found)
        self.soft = merged([*self.soft, *found])

    def _with_spelling(self, drift: Drift) -> Drift:
        """With what the file has at its key, where that is a variable: it is what people can change."""
        source = self.environment.source
        written = self.catalogue.spelling(source, drift.key) if source and drift.key else None
        if written is None or "${" not in written:
            return drift
        return replace(drift, next_step=f"{drift.next_step} (in the file: {written})")


def _surveyed(member: Attached, environment: Environment) -> MemberSurveyed:
    seen = member.appearance or Appearance(cards=None, version=None, metrics=None, setup=None)
    card, block_size = seen.card(environment.model.name), seen.setting("block_size")
    transfer = seen.transfer or {}
    return MemberSurveyed(
        member=member.name,
        role=member.role,
        url=member.url,
        models=None if seen.cards is None else tuple(card.name for card in seen.cards),
        version=seen.version,
        max_model_len=card.max_model_len if card else None,
        block_size=block_size[0] if block_size else None,
        connector=transfer.get("kv_connector"),
        kv_role=transfer.get("kv_role"),
    )


def _described(member: Attached, environment: Environment) -> str:
    seen = _surveyed(member, environment)
    parts = [
        f"version {seen.version}" if seen.version else "",
        f"serves {', '.join(seen.models)}" if seen.models else "",
        f"up to {seen.max_model_len} tokens" if seen.max_model_len else "",
        f"block size {seen.block_size}" if seen.block_size else "",
        " ".join(filter(None, (seen.connector, seen.kv_role))),
    ]
    return ", ".join(filter(None, parts)) or str(member.role)
