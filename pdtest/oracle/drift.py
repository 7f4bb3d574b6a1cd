"""Drift: where a member that somebody else runs is not what the environment claims.

A wrong claim makes wrong verdicts: with another block size every count of what moved is off, with decode's
URL given for prefill nothing seems to move at all. So what can be known beforehand is held against the
environment before the first test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final
from urllib.parse import urlsplit

from pdtest.client.appearance import Appearance
from pdtest.client.metrics import Metrics
from pdtest.environment.finding import KeyPath
from pdtest.environment.schema import ENGINE_ROLES, Environment, ReferenceKind, Role
from pdtest.errors import PdtestError
from pdtest.oracle.evidence import births
from pdtest.wire.contract import Contract
from pdtest.wire.evidence import Counter
from pdtest.wire.multi import connectors

_PORTS: Final = {"http": 80, "https": 443}
_RECEIVED: Final = {"source": "external_kv_transfer"}
#: vLLM's own names for the two sides. Who does both is `kv_both`.
_KV_ROLES: Final = {Role.PREFILL: "kv_producer", Role.DECODE: "kv_consumer"}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One difference. ``hard``: verdicts would be wrong or say nothing, so nothing is tested.

    ``key`` is where the environment's file claims it.
    """

    member: str
    what: str
    expected: str
    seen: str
    next_step: str
    key: KeyPath = ()
    hard: bool = True

    def __str__(self) -> str:
        rows = (("expected", self.expected), ("seen", self.seen), ("next", self.next_step))
        told = "\n".join(f"  {label:<9}{text}" for label, text in rows)
        return f"{self.member}: {self.what}\n{told}"


def merged(drifts: Sequence[Drift]) -> list[Drift]:
    """What several members have in common told once, the hard ones first."""
    members: dict[Drift, list[str]] = defaultdict(list)
    for drift in drifts:
        members[replace(drift, member="")].append(drift.member)
    together = [replace(drift, member=", ".join(names)) for drift, names in members.items()]
    return sorted(together, key=lambda drift: not drift.hard)


class Drifted(PdtestError):
    """Members that are attached to contradict their environment. Each difference is named."""

    title = "attached members"

    def __init__(self, environment: str, drifts: Sequence[Drift]) -> None:
        self.drifts = tuple(merged(drifts))
        named = "; ".join(f"{drift.member}: {drift.what}" for drift in self.drifts)
        super().__init__(f"'{environment}' is not what runs ({named})", seen="\n".join(map(str, self.drifts)))


@dataclass(frozen=True, kw_only=True)
class Attached:
    """A member that is attached to, and what it says of itself; None for a program that is no engine."""

    name: str
    role: Role
    url: str
    claims: Mapping[str, Any]
    appearance: Appearance | None = None


def drifts_of(environment: Environment, contract: Contract, members: Sequence[Attached]) -> list[Drift]:
    """All differences that can be seen without sending a request for tokens."""
    found = list(_one_url(members))
    for member in members:
        if member.appearance is not None and member.role in ENGINE_ROLES:
            found += _of_engine(environment, contract, member, member.appearance)
    return [
        *found,
        *_one_process(members),
        *_versions(members),
        *_swapped(members),
        *_unborrowable(environment, members),
    ]


def _of_engine(
    environment: Environment, contract: Contract, member: Attached, seen: Appearance
) -> Iterator[Drift]:
    yield from _model(environment, member, seen)
    yield from _claims(environment, member, seen)
    if member.role is Role.COLOCATED:
        return
    yield from _block_size(environment, member, seen)
    yield from _connector(member, seen)
    yield from _counters(contract, member, seen)


def _model(environment: Environment, member: Attached, seen: Appearance) -> Iterator[Drift]:
    model = environment.model
    if seen.cards is None:
        yield Drift(
            member=member.name,
            what="no list of models",
            expected=f"GET {member.url}/v1/models answers with a list that has '{model.name}'",
            seen="no such answer",
            next_step="give the URL of an engine with vLLM's API; with an API key, set api_key_env",
        )
        return
    card = seen.card(model.name)
    if card is None:
        served = ", ".join(card.name for card in seen.cards) or "none"
        yield Drift(
            member=member.name,
            what="another model",
            expected=f"'{model.name}', as model.served_name says (or model.path, without it)",
            seen=served,
            next_step="correct the name, or the member's url",
            key=("model", "served_name"),
        )
    elif card.max_model_len is not None and card.max_model_len != model.max_model_len:
        yield Drift(
            member=member.name,
            what="max_model_len",
            expected=f"{model.max_model_len} tokens, as model.max_model_len says",
            seen=f"{card.max_model_len} tokens (/v1/models)",
            next_step=f"set model.max_model_len: {card.max_model_len}",
            key=("model", "max_model_len"),
            hard=card.max_model_len < model.max_model_len,
        )


def _block_size(environment: Environment, member: Attached, seen: Appearance) -> Iterator[Drift]:
    claimed, told = environment.model.block_size, seen.setting("block_size")
    if told is None:
        yield Drift(
            member=member.name,
            what="block size unknown",
            expected=f"{claimed} tokens, as model.block_size says",
            seen="neither vllm:cache_config_info nor /server_info tell",
            next_step="make sure of it: what must move is counted in blocks",
            hard=False,
        )
    elif told[0] != str(claimed):
        yield Drift(
            member=member.name,
            what="block size",
            expected=f"{claimed} tokens, as model.block_size says",
            seen=f"{told[0]} tokens ({told[1]})",
            next_step=f"set model.block_size: {told[0]}, or start it with --block-size {claimed}",
            key=("model", "block_size"),
        )


def _claims(environment: Environment, member: Attached, seen: Appearance) -> Iterator[Drift]:
    """The member's `args:` say how it was started; of some of them the engine tells."""
    dtype = seen.setting("dtype")
    if dtype is not None and dtype[0].removeprefix("torch.") != environment.model.dtype:
        yield Drift(
            member=member.name,
            what="dtype",
            expected=f"{environment.model.dtype}, as model.dtype says: it decides how equal answers must be",
            seen=f"{dtype[0]} ({dtype[1]})",
            next_step="correct model.dtype",
            key=("model", "dtype"),
        )
    for flag, claimed in member.claims.items():
        name = flag.replace("-", "_")
        negated = name.startswith("no_") and isinstance(claimed, bool)
        wanted = str(not claimed if negated else claimed)
        told = seen.setting(name.removeprefix("no_") if negated else name)
        if told is not None and told[0].lower() != wanted.lower():
            yield Drift(
                member=member.name,
                what=flag,
                expected=f"{claimed}, as its args say",
                seen=f"{told[0]} ({told[1]})",
                next_step=f"correct members.{member.name}.args.{flag}, or how it is started",
                hard=False,
            )


def _connector(member: Attached, seen: Appearance) -> Iterator[Drift]:
    """What is known of it in vLLM's development mode only."""
    config = seen.transfer
    if config is None:
        return
    role = config.get("kv_role")
    if not config:
        yield Drift(
            member=member.name,
            what="no connector",
            expected="an engine that was started with --kv-transfer-config",
            seen="kv_transfer_config is null (/server_info)",
            next_step="start it with one, or correct its url",
        )
    elif role in _KV_ROLES.values() and role != (own := _KV_ROLES.get(member.role)):
        yield Drift(
            member=member.name,
            what="role",
            expected=f"kv_role {f'{own} or ' if own else ''}kv_both, since its role is {member.role}",
            seen=f"kv_role {role} (/server_info)",
            next_step="are the URLs of prefill and decode exchanged?",
        )


def _counters(contract: Contract, member: Attached, seen: Appearance) -> Iterator[Drift]:
    """Without its counters nothing can prove a transfer. Of the connector they show that there is one."""
    if seen.metrics is None:
        yield Drift(
            member=member.name,
            what="no metrics",
            expected=f"GET {member.url}/metrics",
            seen="no metrics",
            next_step="start it without --disable-log-stats, and give the engine's own URL, not a proxy's",
        )
        return
    sources = contract.evidence.tokens
    absent = _absent(seen.metrics, member.role, (sources.transferred, sources.cached, sources.computed))
    if absent:
        yield Drift(
            member=member.name,
            what="no evidence",
            expected=f"{', '.join(map(str, absent))} in its metrics",
            seen="not exported",
            next_step="take a vLLM that exports them (0.20 and later do): nothing else shows that KV moved",
        )
    for single in connectors(contract):
        evidence = single.evidence
        wanted = [counter for counter in (evidence.moved, evidence.transfers) if counter is not None]
        absent = _absent(seen.metrics, member.role, wanted)
        if absent and not (seen.transfer is not None and not seen.transfer):
            yield Drift(
                member=member.name,
                what=f"no sign of the connector ({single.name})",
                expected=f"{', '.join(map(str, absent))} in its metrics, which come with the connector",
                seen="not exported",
                next_step=f"start it with a connector of the contract {single.name}, or correct its url",
                hard=not all(counter.drift for counter in absent),
            )


def _absent(metrics: Metrics, role: Role, counters: Sequence[Counter]) -> list[Counter]:
    asked = (counter for counter in counters if counter.role is role)
    return [counter for counter in asked if metrics.total(counter.name, **counter.labels) is None]


def _one_url(members: Sequence[Attached]) -> Iterator[Drift]:
    for one, other in combinations(members, 2):
        if _place(one.url) == _place(other.url):
            yield Drift(
                member=f"{one.name}, {other.name}",
                what="one URL",
                expected="a member of its own for each",
                seen=f"{one.url} for both",
                next_step=f"correct members.{one.name}.url or members.{other.name}.url",
            )


def _one_process(members: Sequence[Attached]) -> Iterator[Drift]:
    """Two URLs that lead to one process: its metrics were born in the same moment."""
    for one, other in combinations(members, 2):
        if _place(one.url) == _place(other.url) or not (one.appearance and other.appearance):
            continue
        if (born := _born(one)) and born == _born(other):
            yield Drift(
                member=f"{one.name}, {other.name}",
                what="one process",
                expected="a member of its own for each",
                seen=f"{one.url} and {other.url} show the metrics of one process",
                next_step="correct one of them; is there a load balancer in front?",
            )


def _born(member: Attached) -> dict[object, float]:
    """When its counters were made. To the microsecond; processes only tell the hundredth of a second."""
    metrics = member.appearance.metrics if member.appearance else None
    every = births(metrics) if metrics else {}
    return {key: born for key, born in every.items() if key[0].endswith("_created")}


def _versions(members: Sequence[Attached]) -> Iterator[Drift]:
    by_version: dict[str, list[str]] = defaultdict(list)
    for member in members:
        if member.appearance and member.appearance.version and member.role in ENGINE_ROLES:
            by_version[member.appearance.version].append(member.name)
    if len(by_version) > 1:
        yield Drift(
            member=", ".join(name for names in by_version.values() for name in names),
            what="versions differ",
            expected="one version on all engines",
            seen="; ".join(f"{version} on {', '.join(names)}" for version, names in by_version.items()),
            next_step="know that answers may differ for that reason",
            hard=False,
        )


def _swapped(members: Sequence[Attached]) -> Iterator[Drift]:
    """What they did before we came: KV arrives at decode. Only a hint, connectors may well work both ways."""
    prefills, decodes = (
        [member for member in members if member.role is role and _received(member) is not None]
        for role in (Role.PREFILL, Role.DECODE)
    )
    if not prefills or not decodes or any(map(_received, decodes)):
        return
    for prefill in prefills:
        if tokens := _received(prefill):
            yield Drift(
                member=prefill.name,
                what="receives KV",
                expected="KV arrives at decode, and leaves from prefill",
                seen=f"{tokens:.0f} tokens came to {prefill.name} since it started, none to decode",
                next_step="are the URLs of prefill and decode exchanged?",
                hard=False,
            )


def _received(member: Attached) -> float | None:
    metrics = member.appearance.metrics if member.appearance else None
    return metrics.total("vllm:prompt_tokens_by_source", **_RECEIVED) if metrics else None


def _unborrowable(environment: Environment, members: Sequence[Attached]) -> Iterator[Drift]:
    reference = environment.reference
    for member in members:
        if reference.kind is not ReferenceKind.BORROWED or reference.member != member.name:
            continue
        if member.appearance is not None and member.appearance.setup is None:
            yield Drift(
                member=member.name,
                what="cannot be borrowed, it seems",
                expected="development mode (/reset_prefix_cache), to ask it with an empty cache",
                seen="no /server_info",
                next_step="attach to a colocated instance, or start it with VLLM_SERVER_DEV_MODE=1; "
                "comparisons will be inconclusive otherwise",
                hard=False,
            )


def _place(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return host, parts.port or _PORTS.get(parts.scheme), parts.path.rstrip("/")
