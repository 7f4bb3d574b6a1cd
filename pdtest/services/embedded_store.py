"""`embedded-store`: the meta process of pdtest's own store, a pool of KV by content."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member
from pdtest.services.arguments import flags, variables
from pdtest.services.embedded_program import EMBEDDED_DIAGNOSES, EMBEDDED_LOG
from pdtest.services.files import rendered_files
from pdtest.services.owned_flags import LISTENER, refuse_owned
from pdtest.services.pool import EMBEDDED_AGENT, Agent, Count, Gauges, PoolAccess, Promises
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings

_MIB = 1 << 20
#: Of the program (pdtest/embedded/store/settings.py), as far as promises depend on them.
DEFAULTS: Mapping[str, float] = {
    "high-watermark": 0.9,
    "low-watermark": 0.8,
    "lease": 2.0,
    "put-timeout": 30.0,
    "client-timeout": 10.0,
}

_OWNED = {
    **LISTENER,
    "port": "members.<name>.ports.meta",
    "http-port": "members.<name>.ports.http",
}


class EmbeddedStoreOptions(Settings):
    """Options of an `embedded-store` member. Capacity and watermarks are plain `args:`."""

    python: str = Field(default=sys.executable, description="interpreter that has pdtest[embedded] installed")
    client_segment_mib: int = Field(
        default=16,
        ge=0,
        description="memory that a client made by tests contributes, unless they say otherwise",
    )
    client_timeout_s: float = Field(default=3.0, gt=0, description="how long such a client waits for others")


class EmbeddedStoreService:
    """Renders the meta process; engines are its clients."""

    name = "embedded-store"
    options_type: type[BaseModel] = EmbeddedStoreOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = EMBEDDED_LOG
    stages: tuple[Stage, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = EMBEDDED_DIAGNOSES

    def ports(self, member: Member) -> Mapping[str, int]:
        """One for health and metrics over HTTP, one for clients."""
        return {"http": 1, "meta": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The store's command line. Raises RenderError on contradictions."""
        member = placement.member
        options = EmbeddedStoreOptions.model_validate(resolved(member.options, placement))
        refuse_owned(placement.name, member.args, _OWNED)
        structure = {
            "host": placement.address,
            "port": placement.ports["meta"],
            "http-port": placement.ports["http"],
        }
        return Command(
            argv=(
                options.python,
                "-m",
                "pdtest.embedded.store",
                *flags(structure | dict(resolved(member.args, placement))),
            ),
            env=variables(resolved(member.env, placement)),
            files=rendered_files(placement),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers 200 once clients are served."""
        return Probe(url=placement.url + "/health")

    def makes_clients(self, member: Member) -> bool:  # noqa: ARG002 - of any member
        """Always."""
        return True

    def access(self, placement: Placement) -> PoolAccess:
        """Clients as the embedded engine's connectors use them."""
        options = EmbeddedStoreOptions.model_validate(resolved(placement.member.options, placement))
        agent = Agent(
            python=options.python,
            backend=EMBEDDED_AGENT,
            settings={
                "address": f"{placement.address}:{placement.ports['meta']}",
                "host": placement.address,
                "timeout_s": options.client_timeout_s,
            },
        )
        return PoolAccess(
            command=agent.command(),
            segment_bytes=options.client_segment_mib * _MIB,
            promises=_promises(dict(resolved(placement.member.args, placement)), options),
            gauges=_gauges(placement.url + "/metrics"),
        )


def _promises(args: Mapping[str, Any], options: EmbeddedStoreOptions) -> Promises:
    """What it knows of objects is in its memory: anew it knows none, and clients register at once."""
    given = {name.replace("_", "-"): value for name, value in args.items()}
    settings = {name: float(given.get(name, default)) for name, default in DEFAULTS.items()}
    return Promises(
        high=settings["high-watermark"],
        low=settings["low-watermark"],
        evicts_within_s=0.0,
        refusal_evicts=False,
        lease_s=settings["lease"],
        lease_holds_removal=False,
        empty_values=True,
        layer_by_layer=True,
        spectators=True,
        put_timeout_s=settings["put-timeout"],
        client_timeout_s=settings["client-timeout"],
        transfer_timeout_s=options.client_timeout_s,
        remembers=False,
        recovery_s=1.0,
    )


def _gauges(url: str) -> Gauges:
    """Names as in memcache's meta service, where it has them (pdtest/embedded/store/metrics.py)."""
    return Gauges(
        url=url,
        objects="memcache_stored_keys",
        allocated="memcache_allocated_bytes",
        capacity="memcache_total_capacity_bytes",
        counts={
            "put": Count(of=("memcache_puts_total",)),
            "removed": Count(of=("memcache_remove_successes_total",)),
            "evicted": Count(of=("memcache_evict_operations_total",)),
            "found": Count(of=("memcache_hits_total",)),
            "missed": Count(of=("memcache_misses_total",)),
        },
    )
