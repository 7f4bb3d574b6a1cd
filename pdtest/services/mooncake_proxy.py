"""`mooncake-proxy`: vLLM's proxy for MooncakeConnector, which sends both legs at once.

The script is examples/disaggregated/mooncake_connector/mooncake_connector_proxy.py (vLLM 0.23). Its flags are
`--host --port`, `--prefill URL BOOTSTRAP_PORT` and `--decode URL`, the last two once per instance. It asks
each prefill's bootstrap server for its engine ids (GET /query) and answers 503 until it has them all;
`serving/mooncake.py` adds GET /health to tell that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import BaseModel

from pdtest.environment.schema import Member, Role
from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.owned_flags import LISTENER
from pdtest.services.proxy_peers import prefills_and_decodes
from pdtest.services.script_proxy import (
    SCRIPT_LOG,
    ScriptProxyOptions,
    health_probe,
    script,
    script_command,
)
from pdtest.services.service import Command, Diagnosis, LogRules, Placement, Probe, Stage
from pdtest.services.serving import serving

_PROGRAM = "serve.py"
_OWNED: Mapping[str, str] = {
    **LISTENER,
    "prefill": f"members with role: {Role.PREFILL}",
    "decode": f"members with role: {Role.DECODE}",
}
#: vLLM's own default of VLLM_MOONCAKE_BOOTSTRAP_PORT, and the script's.
_BOOTSTRAP = 8998


class MooncakeProxyService:
    """Renders the script with every prefill, its bootstrap port, and every decode."""

    name = "mooncake-proxy"
    options_type: type[BaseModel] = ScriptProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = SCRIPT_LOG
    stages: tuple[Stage, ...] = (
        Stage(pattern=re.compile(r"Got \d+ prefill clients"), doing="asking prefill who it is"),
        Stage(pattern=re.compile(r"All prefiller instances are ready"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = (
        diagnosis(
            "no bootstrap server",
            r"in get_prefiller_info\b",
            "prefill's HTTP port answered and its bootstrap port did not: the proxy asks once, and gives up",
            "set VLLM_MOONCAKE_BOOTSTRAP_PORT of each prefill to ${self.ports.bootstrap}",
        ),
        *COMMON,
    )

    def ports(self, member: Member) -> Mapping[str, int]:
        """The http port, and whatever the member names."""
        return {"http": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script under `serve.py`. Raises RenderError on contradictions."""
        options = ScriptProxyOptions.of(placement)
        structure = (_PROGRAM, script(options, placement), *_instances(placement))
        command = script_command(placement, options, structure, owned=_OWNED)
        return replace(command, files={_PROGRAM: serving("mooncake"), **command.files})

    def probe(self, placement: Placement) -> Probe:
        """`/health`, which is ours; a proxy that is attached to need only listen."""
        return health_probe(placement, "/health")


def _instances(placement: Placement) -> Iterator[str]:
    prefills, decodes = prefills_and_decodes(placement)
    yield from ("--host", placement.address, "--port", str(placement.ports["http"]))
    for peer in prefills:
        yield from ("--prefill", peer.url, str(peer.ports.get("bootstrap", _BOOTSTRAP)))
    for peer in decodes:
        yield from ("--decode", peer.url)
