"""`mooncake-master`: the master of Mooncake's store, and the clients that tests make of it.

Flags and defaults: mooncake-store/src/master.cpp, ``mooncake_master --help`` of the package
mooncake-transfer-engine 0.3.13. The clients' memory is the store's; the master knows where which object lies,
serves health and metrics on its metrics port and, unless told not to, the transfer engines' metadata over
HTTP. Engines are given ``${members.<name>.address}:${members.<name>.ports.rpc}`` as master_server_address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from pdtest.environment.schema import Member
from pdtest.services.arguments import text, variables
from pdtest.services.errors import RenderError
from pdtest.services.files import rendered_files
from pdtest.services.interpreter import Interpreter
from pdtest.services.mooncake_diagnoses import MOONCAKE_DIAGNOSES
from pdtest.services.owned_flags import refuse_owned
from pdtest.services.pool import MOONCAKE_AGENT, Agent, Count, Gauges, PoolAccess, Promises
from pdtest.services.programs import program_of
from pdtest.services.references import resolved
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.settings import Settings

_MIB = 1 << 20
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 0.001}

#: What a client needs to notice that the master is back: it asks once a second (client_service.cpp).
_PING_S = 1.0
#: Without progress for so long, a read over TCP is given up (ClientSession, mooncake-transfer-engine); twice,
#: where the connection is new as well.
_TCP_SILENCE_S = 2 * 30.0

_OWNED = {
    **dict.fromkeys(("rpc-port", "port"), "members.<name>.ports.rpc"),
    **dict.fromkeys(("rpc-address", "metrics-host", "http-metadata-server-host"), "hosts.<name>.address"),
    "metrics-port": "members.<name>.ports.http",
    "http-metadata-server-port": "members.<name>.ports.metadata",
    "enable-http-metadata-server": "members.<name>.options.metadata_server",
}


class MooncakeClientOptions(Settings):
    """How tests make clients of the store."""

    python: Interpreter = Field(default="", validate_default=True, description="interpreter with mooncake")
    protocol: str = Field(default="tcp", description="transport: tcp, rdma, ascend ...")
    metadata: Literal["p2p", "http"] = Field(
        default="p2p",
        description="where transfer engines find each other: P2PHANDSHAKE, or the master's server",
    )
    segment_mib: int = Field(
        default=32, ge=0, description="memory a client contributes, unless a test says so"
    )
    buffer_mib: int = Field(default=64, gt=0, description="a client's own buffer: no value can be larger")


class MooncakeMasterOptions(Settings):
    """Options of a `mooncake-master` member. Watermarks, leases and time-outs are plain `args:`."""

    executable: str = Field(default="mooncake_master", description="program name or path")
    metadata_server: bool = Field(
        default=True, description="serve transfer engines' metadata over HTTP as well"
    )
    client: MooncakeClientOptions = MooncakeClientOptions()


class MooncakeMasterService:
    """Renders the master and its clients."""

    name = "mooncake-master"
    options_type: type[BaseModel] = MooncakeMasterOptions
    log_files: tuple[str, ...] = ()
    # glog: a letter for the severity, month and day.
    log_rules = LogRules(
        error=re.compile(r"^[EF]\d{4} |^terminate called|^\*\*\* SIG|^ERROR: "),
        # What a client that raced with another is told: its key was just being put, or removed.
        harmless=(re.compile(r"\] key=\S+, error=(replica_not_ready|object_not_found)\b"),),
    )
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"HTTP metadata server started"), doing="metadata served"),
        Stage(pattern=re.compile(r"Master admin server started"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = MOONCAKE_DIAGNOSES

    def ports(self, member: Member) -> Mapping[str, int]:
        """Health and metrics, clients, the transfer engines' metadata."""
        return {"http": 1, "rpc": 1, "metadata": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The master's command line. Raises RenderError on contradictions."""
        member, options = placement.member, _options(placement)
        refuse_owned(placement.name, member.args, _OWNED)
        return Command(
            argv=(
                program_of(placement, options.executable),
                *_gflags(_structure(placement, options) | dict(resolved(member.args, placement))),
            ),
            env=variables(resolved(member.env, placement)),
            files=rendered_files(placement),
        )

    def probe(self, placement: Placement) -> Probe:
        """`/health` answers once clients are served; a standby of an HA pair is not ready."""
        return Probe(url=placement.url + "/health")

    def makes_clients(self, member: Member) -> bool:  # noqa: ARG002 - of any member
        """Always: a client needs the package and a way to the master."""
        return True

    def access(self, placement: Placement) -> PoolAccess:
        """Clients as `mooncake.store` makes them. Raises RenderError for a lease that is no duration."""
        options, args = _options(placement).client, dict(resolved(placement.member.args, placement))
        at = placement.address
        served = f"http://{at}:{placement.ports.get('metadata', 0)}/metadata"
        agent = Agent(
            python=options.python,
            backend=MOONCAKE_AGENT,
            settings={
                "host": at,
                "metadata": "P2PHANDSHAKE" if options.metadata == "p2p" else served,
                "master": f"{at}:{placement.ports['rpc']}",
                "protocol": options.protocol,
                "buffer_bytes": options.buffer_mib * _MIB,
            },
        )
        return PoolAccess(
            command=agent.command(),
            segment_bytes=options.segment_mib * _MIB,
            promises=_promises(args, placement.name),
            gauges=_gauges(placement.url + "/metrics"),
        )


def _options(placement: Placement) -> MooncakeMasterOptions:
    return MooncakeMasterOptions.model_validate(resolved(placement.member.options, placement))


def _structure(placement: Placement, options: MooncakeMasterOptions) -> dict[str, Any]:
    flags: dict[str, Any] = {
        "rpc_address": placement.address,
        "rpc_port": placement.ports["rpc"],
        "metrics_host": placement.address,
        "metrics_port": placement.ports["http"],
        "enable_http_metadata_server": options.metadata_server,
    }
    if options.metadata_server:
        flags["http_metadata_server_host"] = placement.address
        flags["http_metadata_server_port"] = placement.ports["metadata"]
    return flags


def _gflags(args: Mapping[str, Any]) -> Iterator[str]:
    """`--name=value`: gflags takes no separate value for a boolean. null leaves a flag out."""
    for name, value in args.items():
        if value is not None:
            joined = ",".join(map(text, value)) if isinstance(value, list | tuple) else text(value)
            yield f"--{name.replace('-', '_')}={joined}"


def _promises(args: Mapping[str, Any], member: str) -> Promises:
    """Of version 0.3.13, at the flags' defaults where the member sets none.

    One pass of eviction takes at least ``eviction_ratio`` of the objects (EvictionThreadFunc in
    master_service.cpp; it looks every 10 ms). A put that does not fit asks for a pass, whatever the usage
    (need_mem_eviction_). A put whose key is on its way in already answers OK and stores nothing. What is
    known of objects is in the master's memory: a new one knows none (without snapshots).
    """
    known = {name.replace("-", "_"): value for name, value in args.items()}
    high = float(known.get("eviction_high_watermark_ratio", 0.9))
    return Promises(
        high=high,
        low=high - float(known.get("eviction_ratio", 0.05)),
        evicts_within_s=0.5,
        refusal_evicts=True,
        lease_s=_seconds(str(known.get("default_kv_lease_ttl", "10000")), member),
        lease_holds_removal=True,
        empty_values=False,
        layer_by_layer=True,
        spectators=True,
        put_timeout_s=float(known.get("put_start_discard_timeout_sec", 30)),
        client_timeout_s=float(known.get("client_ttl", 10)),
        transfer_timeout_s=_TCP_SILENCE_S,
        remembers=False,
        # A ping that fails, one that is told to mount again, and the mounting.
        recovery_s=5 * _PING_S,
    )


def _seconds(duration: str, member: str) -> float:
    """As the master reads it: bare milliseconds, or a number with ms, s, m or h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", duration.strip())
    if match is None:
        raise RenderError(
            f"member '{member}' has a lease that is no duration",
            where=f"members.{member}.args.default_kv_lease_ttl",
            expected="milliseconds, or a number with ms, s, m or h",
            seen=duration,
        )
    return float(match[1]) * _UNITS[match[2]]


def _gauges(url: str) -> Gauges:
    """Names of 0.3.13 (mooncake-store/src/master_metric_manager.cpp); batches are counted apart."""
    return Gauges(
        url=url,
        objects="master_key_count",
        allocated="master_allocated_bytes",
        capacity="master_total_capacity_bytes",
        counts={
            "put": Count(
                of=("master_put_end_requests_total", "master_batch_put_end_items_total"),
                less=("master_put_end_failures_total", "master_batch_put_end_failed_items_total"),
            ),
            "evicted": Count(of=("master_evicted_key_count",)),
        },
    )
