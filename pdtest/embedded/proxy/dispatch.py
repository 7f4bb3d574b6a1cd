"""Chooses instances and books what they are given."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

from pdtest.embedded.proxy.errors import NoneLeft
from pdtest.embedded.proxy.instances import Instance, Pool, Side
from pdtest.embedded.proxy.policies.policy import Policy
from pdtest.embedded.proxy.request import ClientRequest
from pdtest.embedded.proxy.routing.sessions import Sessions
from pdtest.embedded.proxy.work import Work


class Dispatcher:
    """The pool, seen through its sessions, and through a policy for each side."""

    def __init__(self, pool: Pool, policies: Mapping[Side, Policy], sessions: Sessions) -> None:
        self.pool = pool
        self._policies = policies
        self._sessions = sessions
        self._turns = itertools.count(1)
        pool.on_gone = self.gone

    def choose(self, side: Side, request: ClientRequest, without: Collection[Instance] = ()) -> Instance:
        """An instance of ``side`` that can be used and is not in ``without``. Raises NoneLeft."""
        candidates = self.require(side, without)
        chosen = self._sessions.find(side, request.session, candidates)
        if chosen is None:
            chosen = self.pick(side, candidates, request)
        self._sessions.keep(side, request.session, chosen)
        chosen.turn = next(self._turns)
        return chosen

    def require(self, side: Side, without: Collection[Instance] = ()) -> list[Instance]:
        """Those that could be chosen. Raises NoneLeft when there are none."""
        candidates = self.candidates(side, without)
        if not candidates:
            raise NoneLeft(side, self._why(side, without))
        return candidates

    def candidates(self, side: Side, without: Collection[Instance] = ()) -> list[Instance]:
        """Those that can be used, in the order in which they were added."""
        return [instance for instance in self.pool.usable(side) if instance not in without]

    def pick(self, side: Side, candidates: list[Instance], request: ClientRequest) -> Instance:
        """Who gets a request that no session ties to anybody."""
        return self.policy(side).choose(candidates, request)

    def policy(self, side: Side) -> Policy:
        """That of one side."""
        return self._policies[side]

    def begin(self, instance: Instance, request: ClientRequest) -> Work:
        """Book one leg of ``request``."""
        policy = self._policies[instance.side]
        work = Work(instance, request.prompt_tokens, policy.ended)
        policy.began(work)
        return work

    def gone(self, instance: Instance) -> None:
        """It was removed, or is out: its sessions and what was remembered of it end."""
        self._sessions.forget(instance)
        self._policies[instance.side].gone(instance)

    def _why(self, side: Side, without: Collection[Instance]) -> str:
        known = self.pool.of(side)
        if not known:
            return "there is none; add one with POST /instances/add, or let it register"
        return "; ".join(
            f"{instance.address}: {instance.out or 'it failed this request'}"
            for instance in known
            if instance.out is not None or instance in without
        )
