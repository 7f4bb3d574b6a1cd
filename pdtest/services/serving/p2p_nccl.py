"""Runs vLLM's P2P NCCL proxy script where it is told to: serve.py SCRIPT HOST HTTP_PORT ZMQ_PORT.

The script has its ports written in, listens on every address, and nothing of it tells whether an instance
has registered. Its own functions serve here; what is added is GET /health.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any


def loaded(script: str) -> Any:
    """The script as a module: its main block does not run."""
    spec = importlib.util.spec_from_file_location("p2p_nccl_proxy", script)
    if spec is None or spec.loader is None:
        sys.exit(f"cannot load {script}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def usable(instances: dict[str, Any]) -> list[str]:
    """HTTP addresses of the instances whose registration has not expired."""
    now = time.time()
    return [http for http, known in list(instances.items()) if isinstance(known, str) or known[1] > now]


def main(script: str, host: str, http_port: int, zmq_port: int) -> None:
    """Serve until told to end."""
    proxy = loaded(script)
    said: list[str] = []

    def health() -> tuple[dict[str, Any], int]:
        sides = {"prefill": usable(proxy.prefill_instances), "decode": usable(proxy.decode_instances)}
        absent = " and no ".join(side for side, instances in sides.items() if not instances)
        state = f"no {absent} instance has registered on ZMQ port {zmq_port}" if absent else "registered"
        if said[-1:] != [state]:
            said.append(state)
            print(f"instances: {state}")  # noqa: T201 - it has no log
        hint = "its connector's proxy_ip, proxy_port and http_port say where it does"
        return ({"detail": f"{state}: {hint}"}, 503) if absent else (sides, 200)

    proxy.app.add_url_rule("/health", "health", health, methods=["GET"])
    proxy.start_service_discovery(host, zmq_port)
    proxy.app.run(host=host, port=http_port, use_reloader=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
