"""`lmcache-proxy`: the proxy that comes with LMCache for its PD mode.

The script is examples/disagg_prefill/disagg_proxy_server.py (LMCache 0.5.6). Its flags are `--host --port`,
comma-separated `--prefiller-host --prefiller-port --decoder-host --decoder-port`, and `--decoder-init-port
--decoder-alloc-port`, one per rank and the same for every decode. On `--proxy-host --proxy-port` it hears
over ZMQ from prefill that KV has been written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags
from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.errors import RenderError
from pdtest.services.owned_flags import LISTENER
from pdtest.services.proxy_peers import prefills_and_decodes
from pdtest.services.script_proxy import (
    SCRIPT_LOG,
    ScriptProxyOptions,
    listening_probe,
    script,
    script_command,
)
from pdtest.services.service import Command, Diagnosis, LogRules, Peer, Placement, Probe, Stage

_PREFILL, _DECODE = (f"members with role: {role}" for role in (Role.PREFILL, Role.DECODE))
_OWNED: Mapping[str, str] = {
    **LISTENER,
    **dict.fromkeys(("prefiller-host", "prefiller-port", "num-prefillers"), _PREFILL),
    **dict.fromkeys(("decoder-host", "decoder-port", "num-decoders"), _DECODE),
    "decoder-init-port": "ports.init of the decode members",
    "decoder-alloc-port": "ports.alloc of the decode members",
    "proxy-host": "hosts.<name>.address",
    "proxy-port": "members.<name>.ports.zmq",
}


class LmcacheProxyService:
    """Renders the script with every prefill and decode, and decode's receiving ports."""

    name = "lmcache-proxy"
    options_type: type[BaseModel] = ScriptProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = SCRIPT_LOG
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"ZMQ proxy server started on"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = (
        diagnosis(
            "no first token",
            r"KeyError: '(first_tok|kv_transfer_params)'",
            "prefill answered without the first token: its LMCache is not a sender in PD mode",
            "check prefill's LMCache file: enable_pd: true, pd_role: sender, named by LMCACHE_CONFIG_FILE",
        ),
        *COMMON,
    )

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and the one where prefill says that KV has been written."""
        return {"http": 1, "zmq": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script's command line. Raises RenderError on contradictions."""
        prefills, decodes = prefills_and_decodes(placement)
        options = ScriptProxyOptions.of(placement)
        structure = {
            "host": placement.address,
            "port": placement.ports["http"],
            "prefiller-host": _listed(peer.address for peer in prefills),
            "prefiller-port": _listed(peer.ports["http"] for peer in prefills),
            "decoder-host": _listed(peer.address for peer in decodes),
            "decoder-port": _listed(peer.ports["http"] for peer in decodes),
            "decoder-init-port": _same(placement.name, decodes, "init"),
            "decoder-alloc-port": _same(placement.name, decodes, "alloc"),
            "proxy-host": placement.address,
            "proxy-port": placement.ports["zmq"],
        }
        return script_command(
            placement, options, (script(options, placement), *flags(structure)), owned=_OWNED
        )

    def probe(self, placement: Placement) -> Probe:
        """It has no path that tells; any answer shows that it listens."""
        return listening_probe(placement)


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


def _same(proxy: str, decodes: tuple[Peer, ...], port: str) -> int:
    ports = {peer.name: peer.ports.get(port) for peer in decodes}
    first, *others = ports.values()
    if first is None or any(other != first for other in others):
        raise RenderError(
            f"proxy '{proxy}' can be told of one port '{port}' for all decode instances",
            where=f"members.<name>.ports.{port}",
            expected="the same number on every decode member, which then need hosts of their own",
            seen=", ".join(f"{name}: {number}" for name, number in ports.items()),
        )
    return first
