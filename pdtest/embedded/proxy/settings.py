"""All that can be set about the proxy, and the command line that sets it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pdtest.embedded.proxy.instances import Instance, Side, address
from pdtest.embedded.proxy.routing.flags import add_flags
from pdtest.embedded.proxy.routing.settings import RoutingSettings

_DESCRIPTION = """\
Takes requests at /v1/completions and /v1/chat/completions and leads each through a prefill and a decode
instance, as the contract of their connector says. Decode's answer is passed on as it comes. With
--phase-policy some requests are served by one instance alone.

  python -m pdtest.embedded.proxy --prefiller-hosts 127.0.0.1 --prefiller-ports 8100 \\
      --decoder-hosts 127.0.0.1 127.0.0.1 --decoder-ports 8200 8201

Instances may be started later, and again: one that cannot be reached is left out at once, and asked for
GET /health every second until it is back.
"""

_ENDPOINTS = """\
contracts:
  nixl, nixl-push, ascend-mooncake  prefill answers kv_transfer_params, decode gets them
  mooncake                          both at once under one transfer_id; prefill's bootstrap server is asked
                                    for engine ids
  p2p-nccl                          the request id names both addresses; engines register at --zmq-port
  ascend-layerwise                  decode first; prefill is sent what it reports to /v1/metaserver
  ascend-store, example, lmcache    prefill, then decode; nothing is said on the wire
  several, as in nixl,ascend-store  as MultiConnector: the first leads, the messages are united

endpoints:
  /v1/completions, /v1/chat/completions, /v1/models
  /health, /healthcheck   200 when there is a prefill and a decode instance to use, else 503; where there
                          are hybrids alone, 200 when there is one to use
  /stats, /metrics        per instance: in flight, done, failed, tokens in flight, seconds per leg
  /instances              GET lists them; POST /instances/add and /instances/remove take
                          {"type": "prefill", "decode" or "hybrid", "instances": ["host:port", ...]}
  /scaling                with --scale-prefill or --scale-decode: how many instances there are and should be
  /v1/metaserver          where decode reports (ascend-layerwise)

The answer names who served, x-pdtest-prefill and x-pdtest-decode, and the way that the request took,
x-pdtest-path: prefill (handed over), decode or hybrid (one instance did all of it, and both name it). The
answer says x-pdtest-overload: 1 where that prefill instance is overloaded. The client's Authorization goes on
to the instances; where it sends none, OPENAI_API_KEY of the proxy's environment is used.
"""

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
#: 32 MiB: a prompt of millions of tokens.
_MOST_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``contract`` are names, the leading one first. ``key`` is what instances get where clients bring none.

    ``zmq_port`` is None where no engine registers. ``instances_key`` guards changes of the instances.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    prefills: tuple[str, ...] = ()
    bootstrap_ports: tuple[int, ...] = ()
    decodes: tuple[str, ...] = ()
    hybrids: tuple[str, ...] = ()
    contract: tuple[str, ...] = ("nixl",)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    zmq_port: int | None = None
    instances_key: str | None = None
    most_bytes: int = _MOST_BYTES
    key: str | None = None

    @property
    def metaserver(self) -> str:
        """Where decode reports."""
        return f"http://{address(self.host, self.port)}/v1/metaserver"

    def instances(self) -> list[Instance]:
        """Those that were named."""
        ports = self.bootstrap_ports or (None,) * len(self.prefills)
        prefills = [
            Instance(side=Side.PREFILL, address=one, bootstrap_port=port)
            for one, port in zip(self.prefills, ports, strict=True)
        ]
        others = ((Side.DECODE, self.decodes), (Side.HYBRID, self.hybrids))
        return prefills + [Instance(side=side, address=one) for side, named in others for one in named]

    @classmethod
    def parse(
        cls,
        arguments: Sequence[str] | None = None,
        *,
        contracts: Sequence[str],
        policies: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> Settings:
        """From a command line. Ends the program when it makes no sense."""
        parser = _parser(policies)
        options = parser.parse_args(arguments)
        names = tuple(name.strip() for name in options.contract.split(","))
        if unknown := [name for name in names if name not in contracts]:
            parser.error(f"--contract: {unknown[0]!r} is none of {', '.join(sorted(contracts))}")
        _check(parser, options, names)
        return cls(
            host=options.host,
            port=options.port,
            prefills=_paired(parser, "prefiller", options.prefiller_hosts, options.prefiller_ports),
            bootstrap_ports=tuple(options.prefiller_bootstrap_ports),
            decodes=_paired(parser, "decoder", options.decoder_hosts, options.decoder_ports),
            hybrids=_paired(parser, "hybrid", options.hybrid_hosts, options.hybrid_ports),
            contract=names,
            routing=RoutingSettings.of(options),
            zmq_port=options.zmq_port,
            instances_key=options.instances_key,
            most_bytes=options.max_body_bytes,
            key=(os.environ if environment is None else environment).get("OPENAI_API_KEY"),
        )


def _parser(policies: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pdtest.embedded.proxy",
        description=_DESCRIPTION,
        epilog=_ENDPOINTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    add("--port", type=_port, default=8000, help="port to listen on (8000)")
    for side, does in (("prefiller", "compute prompts"), ("decoder", "generate"), ("hybrid", "do both")):
        add(f"--{side}-hosts", nargs="+", default=[], metavar="HOST", help=f"instances that {does}")
        add(
            f"--{side}-ports",
            nargs="+",
            type=_port,
            default=[],
            metavar="PORT",
            help=f"as many as --{side}-hosts, in the same order",
        )
    add(
        "--prefiller-bootstrap-ports",
        nargs="+",
        type=_port,
        default=[],
        metavar="PORT",
        help="mooncake: bootstrap servers of the prefill instances, in the same order (8998 each)",
    )
    add(
        "--contract",
        default="nixl",
        metavar="NAME[,NAME...]",
        help="what the instances' connector speaks (nixl)",
    )
    add(
        "--zmq-port",
        type=_port,
        metavar="PORT",
        help="p2p-nccl: engines register here, so that no lists are needed; silent for 5 s, they are dropped",
    )
    add("--instances-key", metavar="KEY", help="changes of /instances need it as x-api-key (none)")
    add(
        "--max-body-bytes",
        type=int,
        default=_MOST_BYTES,
        metavar="BYTES",
        help=f"larger requests get 413 ({_MOST_BYTES})",
    )
    add_flags(parser, policies)
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace, names: Sequence[str]) -> None:
    if "p2p-nccl" in names and options.zmq_port is None:
        parser.error("--contract p2p-nccl: --zmq-port is missing; engines register there")
    if "p2p-nccl" in names and (options.phase_policy or options.hybrid_ports):
        given = "--phase-policy" if options.phase_policy else "--hybrid-hosts"
        parser.error(
            f"{given}: with p2p-nccl the request id names a prefill and a decode instance; no request can be "
            "served by one alone"
        )
    if "ascend-layerwise" in names and options.host in _WILDCARDS:
        parser.error(
            f"--contract ascend-layerwise: decode instances report to --host; {options.host} is no address "
            "that they can reach"
        )
    bootstraps, prefills = len(options.prefiller_bootstrap_ports), len(options.prefiller_ports)
    if bootstraps not in (0, prefills):
        parser.error(f"--prefiller-bootstrap-ports: {bootstraps} ports for {prefills} prefill instances")


def _paired(
    parser: argparse.ArgumentParser, side: str, hosts: Sequence[str], ports: Sequence[int]
) -> tuple[str, ...]:
    if len(hosts) != len(ports):
        parser.error(
            f"--{side}-hosts has {len(hosts)} entries and --{side}-ports {len(ports)}: they go in pairs"
        )
    return tuple(address(host, port) for host, port in zip(hosts, ports, strict=True))


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{port} is no port: expected 1 to 65535")
    return port
