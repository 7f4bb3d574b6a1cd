"""Lets NIXL's progress thread rest between events, so that an engine does not need a core for polling.

    env: { PDTEST_NIXL_PROGRESS_DELAY_US: "1000" }  # microseconds, of an engine; without it nothing is done

NIXL's C++ API has a setting for it, `nixlAgentConfig.pthrDelay`: how long the thread waits at most for one of
UCX's file descriptors to tell of an event. Its Python API, which vLLM uses, sets it to 0 and offers no way to
change that (nixl 1.5.1, _api.py), so that the thread asks again without a pause, whether anything moves or
not. Where there are fewer cores than engines the threads take each other's time, and transfers stall for a
minute (docs/findings.md). An event ends the rest at once: transfers do not wait for it.

vLLM finds `register` in the entry point group `vllm.general_plugins` and calls it in each of its processes.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

#: Microseconds; NIXL rounds them up to milliseconds.
VARIABLE: Final = "PDTEST_NIXL_PROGRESS_DELAY_US"


def register() -> None:
    """Set the delay of all NIXL agents that this process makes from now on, if the variable says so.

    Raises:
        ValueError: the variable is not a number of microseconds above 0.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return
    if not given.isdecimal() or int(given) == 0:
        raise ValueError(f"{VARIABLE}: expected microseconds, a whole number above 0, seen {given!r}")
    try:
        # Through vLLM: it sets variables of UCX before it loads NIXL, or complains that it cannot any more.
        from vllm.distributed.nixl_utils import NixlWrapper
    except ImportError as error:
        logging.getLogger(__name__).warning("%s has no effect with this vLLM: %s", VARIABLE, error)
        return
    if NixlWrapper is None:  # NIXL is not installed, and KV moves in another way if at all
        return
    bindings = sys.modules[NixlWrapper.__module__].nixlBind
    bindings.nixlAgentConfig = _resting(bindings.nixlAgentConfig, int(given))


def _resting(config: Any, delay_us: int) -> Any:
    """The class ``config`` of NIXL's settings, whose delay is ``delay_us`` whatever it is set to."""

    class Resting(config):  # type: ignore[misc]  # known only while an engine runs
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, delay_us if name == "pthrDelay" else value)

    return Resting
