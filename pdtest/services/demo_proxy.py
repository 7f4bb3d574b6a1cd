"""`demo-proxy`: vLLM's demo of a disaggregating proxy.

The script is examples/disaggregated/disaggregated_serving/disagg_proxy_demo.py (vLLM 0.23; until 0.19
under examples/online_serving/). Its flags are `--model --port`, and `--prefill` and `--decode` with host:port
pairs; GET /status answers, and POST /instances/add with `x-api-key` takes more instances (ADMIN_API_KEY). It
listens on 127.0.0.1 only, and passes on neither kv_transfer_params nor the request id: it is for connectors
that find KV by content. It ends where an instance does not answer /v1/models yet, so `serving/when_up.py`
waits for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from pdtest.environment.schema import Member, Role
from pdtest.services.arguments import flags
from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.errors import RenderError
from pdtest.services.owned_flags import LISTENER
from pdtest.services.proxy_peers import prefills_and_decodes
from pdtest.services.script_proxy import SCRIPT_LOG, ScriptProxyOptions, script, script_command
from pdtest.services.service import Command, Diagnosis, LogRules, Peer, Placement, Probe, Stage
from pdtest.services.serving import serving

_PROGRAM = "when_up.py"
_OWNED: Mapping[str, str] = {
    **LISTENER,
    "model": "model.served_name",
    "prefill": f"members with role: {Role.PREFILL}",
    "decode": f"members with role: {Role.DECODE}",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


class DemoProxyService:
    """Renders the script with every prefill and decode, behind a wait for them."""

    name = "demo-proxy"
    options_type: type[BaseModel] = ScriptProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = SCRIPT_LOG
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"^waiting for http"), doing="waiting for the engines"),
        Stage(pattern=re.compile(r"^all instances answer"), doing="starting"),
        Stage(pattern=re.compile(r"Uvicorn running on"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = (
        diagnosis(
            "another model",
            r"serves a different model: ",
            "an instance serves another model than the environment says",
            "set model.served_name, or the instance's --served-model-name, to the same",
        ),
        diagnosis(
            "instance gone",
            r"Error communicating with \S+:\d+|Cannot get model id from",
            "an instance answered, and then did not when the proxy asked for its model",
            "see the instance's own log",
        ),
        *COMMON,
    )

    def ports(self, member: Member) -> Mapping[str, int]:
        """The http port, and whatever the member names."""
        return {"http": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script behind `when_up.py`. Raises RenderError on contradictions."""
        _refuse_other_than_loopback(placement)
        options = ScriptProxyOptions.of(placement)
        prefills, decodes = prefills_and_decodes(placement)
        instances = {
            "model": placement.environment.model.name,
            "port": placement.ports["http"],
            "prefill": list(map(_location, prefills)),
            "decode": list(map(_location, decodes)),
        }
        awaited = [f"{peer.url}/v1/models" for peer in (*prefills, *decodes)]
        structure = (_PROGRAM, *awaited, "--", script(options, placement), *flags(instances))
        command = script_command(placement, options, structure, owned=_OWNED)
        return replace(command, files={_PROGRAM: serving("when_up"), **command.files})

    def probe(self, placement: Placement) -> Probe:
        """`/status` answers once it listens."""
        return Probe(url=placement.url + "/status")


def _refuse_other_than_loopback(placement: Placement) -> None:
    if placement.address not in _LOOPBACK:
        raise RenderError(
            f"proxy '{placement.name}' would not be reached at {placement.address}",
            where=f"hosts.{placement.member.host}.address",
            expected="127.0.0.1: the script listens there only, and has no flag for another address",
            seen=placement.address,
            next_step="give the proxy a host of its own with that address; the engines may be elsewhere",
        )


def _location(peer: Peer) -> str:
    return f"{peer.address}:{peer.ports['http']}"
