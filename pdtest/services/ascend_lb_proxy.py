"""`ascend-lb-proxy` and `ascend-layerwise-proxy`: vLLM-Ascend's own proxies, scripts of the user's.

vllm-project/vllm-ascend, examples/disaggregated_prefill_v1/load_balance_proxy_server_example.py and
load_balance_proxy_layerwise_server_example.py (main of August 2026). Both take the toy proxy's paired lists;
`--max-retries`, `--retry-delay` and, the first one, `--max-waiting-retries`, `--waiting-retry-interval`,
`--workers` and `--log-level` are the member's `args`.
"""

from __future__ import annotations

import re
from typing import Final

from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.errors import RenderError
from pdtest.services.service import Command, Diagnosis, Placement, Stage
from pdtest.services.toy_proxy import ToyProxyService

_WILDCARDS: Final = frozenset({"0.0.0.0", "::", "0:0:0:0:0:0:0:0"})  # noqa: S104 - refused, not bound

ASCEND_PROXY: tuple[Diagnosis, ...] = (
    diagnosis(
        "wildcard address",
        r"the Wildcard Address \S+ is not allowed for proxy",
        "decode is told the proxy's own address to call back, so it must be one that decode can reach",
        "set hosts.<name>.address to the machine's address",
    ),
    diagnosis(
        "instance not added",
        r"Instance \S+ was not added to the proxy",
        "an instance added to the running proxy did not answer /v1/models in time",
        "look at that instance's log; --max-waiting-retries and --waiting-retry-interval give it longer",
    ),
    diagnosis(
        "backend not reached",
        r"All \d+ attempts failed for|GET /models from \S+ failed",
        "the proxy does not reach one of its instances",
        "see whether it runs, and whether its address can be reached from the proxy's host",
    ),
)


class AscendLbProxyService(ToyProxyService):
    """Prefill first, the least loaded instance of each side.

    `/v1/models` and `/reset_prefix_cache` go on to the instances, `/instances/add` and `/instances/remove`
    change them. It answers 200 before it knows what decode says; decode's errors become an empty body.
    `/healthcheck`, its probe, does not ask the instances.
    """

    name = "ascend-lb-proxy"
    stages: tuple[Stage, ...] = (
        Stage(
            pattern=re.compile(r"Started parent process|Waiting for application startup"), doing="starting"
        ),
        *ToyProxyService.stages,
    )
    diagnoses: tuple[Diagnosis, ...] = (*ASCEND_PROXY, *COMMON)


class AscendLayerwiseProxyService(AscendLbProxyService):
    """Decode first: decode calls `/v1/metaserver` back with where its blocks are, then prefill is asked."""

    name = "ascend-layerwise-proxy"

    def render(self, placement: Placement) -> Command:
        """As the other one; it also tells decode its own address. Raises RenderError for a wildcard."""
        if placement.address in _WILDCARDS:
            raise RenderError(
                f"proxy '{placement.name}' needs an address that decode can call back",
                where=f"hosts.{placement.member.host}.address",
                expected="a name or address of the machine",
                seen=placement.address,
            )
        return super().render(placement)
