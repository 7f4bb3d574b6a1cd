"""Environments whose colocated answers are recorded: who runs when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import Role
from pdtest.models.fingerprint import fingerprint as weights
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.recorded import RecordedReference, ReferenceStore
from pdtest.plugin.clusters import patience_s
from pdtest.plugin.terminal import start_up

_AT_ONCE = 8


@dataclass
class Recording:
    """The colocated member first, alone, if answers are missing; then all others, on its devices.

    Answers another engine version gave are deleted as soon as the running one is known, and recorded
    again: a reference that is stale is never used.
    """

    cluster: Cluster
    root: Path
    config: pytest.Config
    _reference: RecordedReference | None = None

    @property
    def reference(self) -> RecordedReference:
        """What the tests compare with, once everything runs."""
        if self._reference is None:
            raise RuntimeError("bring_up has not been called")
        return self._reference

    def bring_up(self, requests: Sequence[Request]) -> None:
        """Record what is missing, start the rest, check that both are of one version."""
        store = ReferenceStore.open(self.root, self._facts())
        for _ in range(2):
            missing = store.missing(requests)
            if missing:
                self._record(store, missing)
            self._start_others()
            version = self._version_of(self._decode())
            self._reference = RecordedReference(store=store, version=version)
            if not store.drop_other_versions(version):
                return
            self.cluster.stop(self._others())
        raise ReferenceMissing(
            f"'{self._colocated()}' gives answers of another version than decode runs",
            expected=f"version {version} on both",
            where=str(store.directory),
            next_step="have both members use one interpreter (options.python)",
        )

    def _record(self, store: ReferenceStore, requests: Sequence[Request]) -> None:
        name = self._colocated()
        headline = f"recording {len(requests)} reference answers of {self.cluster.environment.name}"
        with start_up(self.config, self.cluster, headline) as watch:
            self.cluster.start([name], watch=watch, within_s=patience_s(self.config))
        version = self._version_of(name)
        with start_blocking_portal() as portal:
            portal.call(self._ask, name, store, requests, version)
        self.cluster.stop([name])

    async def _ask(
        self, name: str, store: ReferenceStore, requests: Sequence[Request], version: str | None
    ) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def keep(endpoint: Endpoint, request: Request) -> None:
            async with gate:
                store.record(request, await endpoint.generate(request), version=version)

        async with httpx.AsyncClient(trust_env=False) as http:
            endpoint = endpoint_of(self.cluster, name, http)
            await asyncio.gather(*(keep(endpoint, request) for request in requests))

    def _start_others(self) -> None:
        with start_up(self.config, self.cluster, f"starting {self.cluster.environment.name}") as watch:
            self.cluster.start(self._others(), watch=watch, within_s=patience_s(self.config))

    def _version_of(self, name: str) -> str | None:
        async def ask() -> str | None:
            async with httpx.AsyncClient(trust_env=False) as http:
                return await endpoint_of(self.cluster, name, http).version()

        # A loop of its own: tests may be about to run theirs in this thread.
        with start_blocking_portal() as portal:
            return portal.call(ask)

    def _colocated(self) -> str:
        environment = self.cluster.environment
        return environment.reference.member or next(iter(environment.members_with(Role.COLOCATED)))

    def _decode(self) -> str:
        return next(one.name for one in self.cluster.wanted if one.role is Role.DECODE)

    def _others(self) -> list[str]:
        members = self.cluster.environment.members.items()
        return [name for name, one in members if name != self._colocated() and not one.standby]

    def _facts(self) -> dict[str, Any]:
        """Everything that decides an answer beside the request and the engine's version."""
        environment = self.cluster.environment
        member = environment.members[self._colocated()]
        model, path = environment.model, Path(environment.model.path)
        return {
            "model": weights(path, cache=self.root) if path.is_dir() else f"{model.path}@{model.revision}",
            "settings": model.model_dump(mode="json", exclude={"path", "make"}),
            "service": member.service,
            "args": member.args,
            "env": member.env,
        }
