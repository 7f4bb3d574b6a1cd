"""A first handoff between members that somebody else runs: does KV move, and where to?

Counters that are there do not say that they will rise, nor on whose side: prefill and decode may be
exchanged, a proxy may lead to other engines, other people may use them. One short prompt shows all of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pdtest.client.endpoint import Endpoint
from pdtest.client.handoff import Ending, Handoff, Route
from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.environment.schema import Role
from pdtest.oracle.drift import Drift
from pdtest.oracle.evidence import weigh
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.verdict import Finding, Ruling
from pdtest.oracle.volley import Volley
from pdtest.wire.contract import Leg

#: Whoever needs longer for 40 tokens will not pass the suites either. A dead NIXL peer takes vLLM 0.32 14 s.
_PATIENCE_S: Final = 30.0
#: Labels of `vllm:prompt_tokens_by_source`.
_RECEIVED, _CACHED, _COMPUTED = _SOURCES = ("external_kv_transfer", "local_cache_hit", "local_compute")

#: Who it is, what is wrong, what was seen, what to do.
_Cause = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class TrialHandoff:
    """``handoffs`` has all engines; each of them takes part in one handoff at least."""

    handoffs: Handoffs
    prompts: Prompts

    async def drifts(self, *, through_proxy: bool) -> list[Drift]:
        """What is wrong. ``through_proxy`` sends one more request through the proxy."""
        found: list[Drift] = []
        if self.handoffs.contract.obstacle is None:
            for prefill, decode in self._pairs():
                found += await self._try(self._only(prefill, decode), Route.CLIENT)
        if through_proxy and self.handoffs.proxy is not None and not found:
            found += await self._try(self.handoffs, Route.PROXY)
        return found

    def _pairs(self) -> Iterator[tuple[str, str]]:
        prefills, decodes = (self._with_role(role) for role in (Role.PREFILL, Role.DECODE))
        for turn in range(max(len(prefills), len(decodes))):
            yield prefills[turn % len(prefills)], decodes[turn % len(decodes)]

    def _only(self, *names: str) -> Handoffs:
        engines = {name: self.handoffs.engines[name] for name in names}
        return replace(
            self.handoffs, engines=engines, roles={name: self.handoffs.roles[name] for name in names}
        )

    def _with_role(self, role: Role) -> list[str]:
        return [name for name in self.handoffs.engines if self.handoffs.roles[name] is role]

    async def _try(self, handoffs: Handoffs, route: Route) -> list[Drift]:
        environment = handoffs.environment
        size = environment.model.block_size
        length = min(2 * size + 5, environment.model.max_model_len - 2)
        patience_s = min(_PATIENCE_S, environment.thresholds.request_timeout_s)
        patient = handoffs.with_timeout(patience_s)
        if handoffs.proxy is not None:
            patient = replace(patient, proxy=_patient(handoffs.proxy, patience_s))
        volley = await patient(Request.tokens(self.prompts.tokens(length), max_tokens=2), route=route)
        return list(
            _Reading(volley, patient.roles, patient.proxy.name if patient.proxy else "proxy").drifts()
        )


@dataclass(frozen=True)
class _Reading:
    """What one handoff showed."""

    volley: Volley
    roles: Mapping[str, Role]
    proxy: str

    def drifts(self) -> Iterator[Drift]:
        handoff = self.volley.handoff
        if handoff.answer is None:
            yield self._failed(handoff)
            return
        if silent := self._silent(handoff):
            yield silent
            return
        if handoff.breaches:
            yield self._breach(handoff)
        findings = weigh(self.volley.window, self.volley.claim)
        if self.volley.window.restarted or any(finding.ruling is Ruling.FAIL for finding in findings):
            yield self._moved_otherwise(findings)

    def _failed(self, handoff: Handoff) -> Drift:
        legs = {Ending.PREFILL_FAILED: Role.PREFILL, Ending.DECODE_FAILED: Role.DECODE}
        member = self._names(legs.get(handoff.ending, Role.PROXY))
        return Drift(
            member=member,
            what="fails at a handoff",
            expected=f"an answer to {handoff.request.prompt_tokens} tokens, {self._way(handoff)}",
            seen=_first_lines(str(handoff.error or handoff.ending)),
            next_step=f"see the log of {member}; prefill and decode must reach each other as well",
        )

    def _silent(self, handoff: Handoff) -> Drift | None:
        """Prefill that answers no parameters where the contract has some: it has no connector."""
        contract = self.volley.claim.contract
        mute = handoff.prefill is not None and handoff.prefill.answered is None
        if not mute or not any(field.required for field in contract.fields(Leg.FROM_PREFILL)):
            return None
        return Drift(
            member=self._names(Role.PREFILL),
            what="no connector",
            expected=f"kv_transfer_params in its answer, as the contract {contract.name} has them",
            seen="none",
            next_step="start it with --kv-transfer-config, or correct its url",
        )

    def _breach(self, handoff: Handoff) -> Drift:
        return Drift(
            member=self._names(Role.PREFILL),
            what="another contract",
            expected=f"messages as {handoff.contract} has them",
            seen="; ".join(map(str, handoff.breaches)),
            next_step="correct connector.contract",
        )

    def _moved_otherwise(self, findings: Sequence[Finding]) -> Drift:
        """Answered, but the counters do not show what they must: why not?"""
        member, what, seen, then = (
            self._several_processes()
            or self._exchanged()
            or self._elsewhere()
            or self._others_requests()
            or self._computed()
            or self._otherwise(findings)
        )
        handoff, demand = self.volley.handoff, self.volley.claim.demand
        expected = f"{demand.transferred} tokens of KV come to decode, {self._way(handoff)}"
        return Drift(member=member, what=what, expected=expected, seen=seen, next_step=then)

    def _several_processes(self) -> _Cause | None:
        restarted = self.volley.window.restarted
        if not restarted:
            return None
        seen = "counters that start anew from one reading to the next"
        then = "give each engine's own URL, not a load balancer's"
        return ", ".join(restarted), "several processes at one URL", seen, then

    def _exchanged(self) -> _Cause | None:
        arrived = {name: self._rise(name, _RECEIVED) for name in self._with(Role.PREFILL)}
        if not any(arrived.values()):
            return None
        member = next(name for name, tokens in arrived.items() if tokens)
        seen = f"{arrived[member]:.0f} tokens came to {member}, which should send them"
        return member, "role", seen, "are the URLs of prefill and decode exchanged?"

    def _elsewhere(self) -> _Cause | None:
        if any(self._rise(name, source) for name in self.roles for source in _SOURCES):
            return None
        seen = f"an answer, and no counter of {', '.join(self.roles)} has moved"
        then = f"correct the URL of {self.proxy}, or those of the engines"
        return self._names(self._asked), "leads elsewhere", seen, then

    def _others_requests(self) -> _Cause | None:
        """Every token of a prompt is counted once on decode, by where its KV came from."""
        decodes = self._with(Role.DECODE)
        seen = sum(self._rise(name, source) for name in decodes for source in _SOURCES)
        if seen <= self.volley.handoff.require().usage.prompt_tokens:
            return None
        then = "keep other requests away while tests run: what moved is read from the engines' counters"
        return ", ".join(decodes), "serves others at the same time", f"{seen:.0f} tokens of prompts", then

    def _computed(self) -> _Cause | None:
        decodes = self._with(Role.DECODE)
        if any(self._rise(name, _RECEIVED) for name in decodes):
            return None
        computed = sum(self._rise(name, _COMPUTED) for name in decodes)
        seen = f"decode has computed {computed:.0f} tokens of the prompt itself"
        then = "start both sides with connectors that keep this contract, or correct connector.contract"
        return ", ".join(decodes), "no KV arrives", seen, then

    def _otherwise(self, findings: Sequence[Finding]) -> _Cause:
        seen = "; ".join(finding.text for finding in findings if finding.ruling is Ruling.FAIL)
        then = "compare model.block_size and connector.contract with how it was started"
        return self._names(Role.DECODE), "not what must move", seen, then

    def _rise(self, member: str, source: str) -> float:
        """Prompt tokens from one source on one member, whatever its role."""
        transferred = self.volley.claim.contract.evidence.tokens.transferred
        counter = replace(transferred, role=self.roles[member], labels={"source": source})
        window = replace(self.volley.window, roles={member: self.roles[member]})
        return window.rise(counter) or 0.0

    def _with(self, role: Role) -> list[str]:
        return [name for name, one in self.roles.items() if one is role]

    @property
    def _asked(self) -> Role:
        return Role.PROXY if self.volley.handoff.route is Route.PROXY else Role.DECODE

    def _names(self, role: Role) -> str:
        return self.proxy if role is Role.PROXY else ", ".join(self._with(role))

    def _way(self, handoff: Handoff) -> str:
        if handoff.route is Route.PROXY:
            return f"sent through {self.proxy}"
        return f"handed over from {self._names(Role.PREFILL)} to {self._names(Role.DECODE)}"


def _patient(proxy: Endpoint, timeout_s: float) -> Endpoint:
    return replace(proxy, timeout_s=timeout_s)


def _first_lines(text: str, count: int = 5) -> str:
    return "\n           ".join(line.strip() for line in text.splitlines()[:count])
