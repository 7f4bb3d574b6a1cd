"""The router under test: errands go through it, and who served them is observed from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint
from pdtest.client.errors import RequestFailed
from pdtest.environment.routing import Routing
from pdtest.environment.schema import Role
from pdtest.oracle.routing.traffic import Errand, Routed, Traffic
from pdtest.routing.observer import Observer
from pdtest.routing.served import Observation


@dataclass(frozen=True, kw_only=True)
class Router:
    """``roles`` are those of the engines that it knows, by member name, without those on standby.

    ``room``: tokens of the longest prompt and answer together.
    """

    endpoint: Endpoint
    settings: Routing
    roles: dict[str, Role]
    room: int
    observer: Observer = field(repr=False)

    def names(self, role: Role) -> tuple[str, ...]:
        """The members of a role."""
        return tuple(name for name, known in self.roles.items() if known is role)

    @property
    def hybrids(self) -> bool:
        """Whether there are hybrid instances."""
        return bool(self.names(Role.HYBRID))

    @property
    def both(self) -> tuple[Role, ...]:
        """The roles of which there is more than one to choose from, of those that a handover needs."""
        return tuple(role for role in (Role.PREFILL, Role.DECODE) if len(self.names(role)) > 1)

    async def at_once(self, *errands: Errand) -> Traffic:
        """All of them, each when it is due, without waiting for one another."""
        shipment = _Shipment(self.endpoint)

        async def send() -> None:
            await asyncio.gather(*map(shipment.take, errands))

        return await self._sent(shipment, send)

    async def told_and_counted(self, errand: Errand, counting: Observer) -> tuple[Traffic, Traffic]:
        """One errand, as `observer` and as ``counting`` see it."""
        told: list[Traffic] = []
        shipment = _Shipment(self.endpoint)

        async def send() -> Sequence[Answer]:
            told.append(await self._sent(shipment, lambda: shipment.take(errand)))
            return shipment.answers

        counted = self._traffic(shipment, await counting.observe(send))
        return told[0], counted

    async def in_turn(self, *errands: Errand) -> Traffic:
        """One after the other. Each is observed by itself, so that nothing need tell them apart."""
        traffic = Traffic()
        for errand in errands:
            traffic += await self.at_once(replace(errand, due_s=0.0))
        return traffic

    async def steadily(
        self, errands: Iterator[Errand], *, at_once: int, during: Callable[[], Awaitable[object]]
    ) -> Traffic:
        """As many as there is time for, ``at_once`` under way at any moment, while ``during`` runs."""
        shipment, over = _Shipment(self.endpoint), asyncio.Event()

        async def work() -> None:
            while not over.is_set():
                await shipment.take(next(errands))

        async def watch() -> None:
            try:
                await during()
            finally:
                over.set()

        async def send() -> None:
            await asyncio.gather(watch(), *(work() for _ in range(at_once)))

        return await self._sent(shipment, send)

    async def _sent(self, shipment: _Shipment, send: Callable[[], Awaitable[None]]) -> Traffic:
        async def answers() -> Sequence[Answer]:
            await send()
            return shipment.answers

        observation = await self.observer.observe(answers)
        return self._traffic(shipment, observation)

    def _traffic(self, shipment: _Shipment, observation: Observation) -> Traffic:
        routed = [
            Routed(
                errand=errand,
                answer=answer,
                prefill=served.prefill,
                decode=served.decode,
                path=served.path(self.roles),
                sent_s=sent_s,
                done_s=done_s,
            )
            for (errand, answer, sent_s, done_s), served in zip(
                shipment.answered(), observation.served, strict=True
            )
        ]
        return Traffic(
            routed=tuple(sorted(routed, key=lambda one: one.sent_s)),
            lost=tuple(shipment.lost),
            unknown=observation.unknown,
            prompts=observation.prefills,
            answers=observation.decodes,
            uncounted=observation.uncounted,
        )


@dataclass
class _Shipment:
    endpoint: Endpoint
    answers: list[Answer] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _sent: list[tuple[Errand, float, float]] = field(default_factory=list)

    def answered(self) -> list[tuple[Errand, Answer, float, float]]:
        """In the order in which they came back: that is the order of ``answers``."""
        return [
            (errand, answer, sent_s, done_s)
            for answer, (errand, sent_s, done_s) in zip(self.answers, self._sent, strict=True)
        ]

    async def take(self, errand: Errand) -> None:
        await asyncio.sleep(errand.due_s)
        sent_s = time.monotonic()
        try:
            answer = await self.endpoint.generate(errand.request, headers=errand.headers)
        except RequestFailed as error:
            self.lost.append(str(error))
            return
        self.answers.append(answer)
        self._sent.append((errand, sent_s, time.monotonic()))
