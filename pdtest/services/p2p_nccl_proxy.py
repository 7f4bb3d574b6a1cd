"""`p2p-nccl-proxy`: vLLM's proxy for instances that register themselves (P2P NCCL, vLLM up to 0.23).

The script is examples/disaggregated/p2p_nccl_xpyd/disagg_proxy_p2p_nccl_xpyd.py (vLLM 0.23; until 0.19
examples/online_serving/disaggregated_serving_p2p_nccl_xpyd/). It knows no flags: HTTP is on 10001 and
registration on 30001, on every address, and no path tells whether it serves. So `serving/p2p_nccl.py` calls
its functions, with the member's address and ports, and adds GET /health: 200 while an instance of each kind
is registered. Instances say every 3 s where they are (``proxy_ip``, ``proxy_port`` and ``http_port`` in their
kv_connector_extra_config) and are forgotten after 5 s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from pdtest.environment.schema import Member
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
_REGISTER = (
    "check its log, and under connector.config.kv_connector_extra_config: proxy_ip and proxy_port (as text) "
    "must be the proxy's address and zmq port, http_port the instance's own"
)


class P2pNcclProxyService:
    """Serves the script's functions on the member's ports."""

    name = "p2p-nccl-proxy"
    options_type: type[BaseModel] = ScriptProxyOptions
    log_files: tuple[str, ...] = ()
    log_rules: LogRules = SCRIPT_LOG
    stages: tuple[Stage, ...] = (
        Stage(
            pattern=re.compile(r"instances: no prefill and no decode"),
            doing="waiting for prefill and decode to register",
        ),
        Stage(pattern=re.compile(r"instances: no prefill i"), doing="waiting for prefill to register"),
        Stage(pattern=re.compile(r"instances: no decode"), doing="waiting for decode to register"),
        Stage(pattern=re.compile(r"instances: registered"), doing="answering"),
    )
    diagnoses: tuple[Diagnosis, ...] = (
        # The script takes the next of an empty list: count % 0, with its own line in the traceback.
        diagnosis(
            "no prefill registered",
            r"= prefill_list\[count % len\(prefill_list\)\]",
            "no prefill instance has registered with the proxy, or its registration has expired (5 s)",
            f"see whether prefill lives; {_REGISTER}",
        ),
        diagnosis(
            "no decode registered",
            r"= decode_list\[count % len\(decode_list\)\]",
            "no decode instance has registered with the proxy, or its registration has expired (5 s)",
            f"see whether decode lives; {_REGISTER}",
        ),
        *COMMON,
    )

    def ports(self, member: Member) -> Mapping[str, int]:
        """http, and the one that instances register at."""
        return {"http": 1, "zmq": 1} | dict.fromkeys(member.ports, 1)

    def render(self, placement: Placement) -> Command:
        """The script under `serve.py`. Raises RenderError on contradictions."""
        prefills_and_decodes(placement)
        options = ScriptProxyOptions.of(placement)
        where = (placement.address, str(placement.ports["http"]), str(placement.ports["zmq"]))
        owned = {**LISTENER, "zmq-port": "members.<name>.ports.zmq"}
        command = script_command(
            placement, options, (_PROGRAM, script(options, placement), *where), owned=owned
        )
        return replace(command, files={_PROGRAM: serving("p2p_nccl"), **command.files})

    def probe(self, placement: Placement) -> Probe:
        """`/health`, which is ours; a proxy that is attached to need only listen."""
        return health_probe(placement, "/health")
