"""What looking at devices and members costs, in shares of one core.

A process of its own looks at two engines that answer with as much as vLLM does (60 KB), at this machine, and
at what GPUs there are, every 100 ms. Its processor time is read from the kernel; that of the program that
answers for the engines is told beside it, per answer, as what being looked at costs an engine at least.

    python -m benchmarks.telemetry [--seconds 20] [--every 0.1]

Exits with 1 above one per cent of a core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import psutil

from pdtest.cluster.machine import devices
from pdtest.environment.schema import DeviceKind
from pdtest.results import Monitor
from pdtest.telemetry.settings import Chip, Engine, Settings
from pdtest.telemetry.telemetry import telemetry

_LIMIT = 0.01
_BYTES = 60_000
_ENGINES = ("prefill", "decode")
#: What is read of vLLM 0.32, amidst the histograms that are most of what it says.
_READ = (
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "prompt_tokens_total",
    "generation_tokens_total",
    "num_preemptions_total",
)
_BUCKET = 'vllm:request_prompt_tokens_bucket{{engine="0",le="{}",model_name="m"}} 7.0\n'


def _text() -> bytes:
    buckets = [_BUCKET.format(n) for n in range(_BYTES // len(_BUCKET))]
    half = len(buckets) // 2
    read = [f'# TYPE vllm:{name} gauge\nvllm:{name}{{engine="0",model_name="m"}} 1.0\n' for name in _READ]
    return "".join([*buckets[:half], *read, *buckets[half:]]).encode()


class _Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    text = _text()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def _serve(tell: Connection) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as server:
        tell.send(server.server_port)
        server.serve_forever()


def measure(port: int, every_s: float, seconds: float) -> tuple[float, float, tuple[Monitor, ...]]:
    """Share of a core by the kernel, by its own account, and what it saw."""
    settings = Settings(
        every_s=every_s,
        chips=tuple(Chip(kind="nvidia", number=number) for number in devices(DeviceKind.CUDA)),
        engines=tuple(Engine(member=name, url=f"http://127.0.0.1:{port}") for name in _ENGINES),
    )
    with telemetry(settings) as watch:
        process = psutil.Process(watch.pid)
        time.sleep(1)  # coming up is no part of it
        begun_s, before = time.monotonic(), process.cpu_times()
        time.sleep(seconds)
        took_s, after = time.monotonic() - begun_s, process.cpu_times()
        monitors = watch.monitors(begun_s)
    used_s = after.user + after.system - before.user - before.system
    return used_s / took_s, monitors[0].cost_cpu_share or 0.0, monitors


def main() -> None:
    """Print shares of a core and true rates."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--every", type=float, default=0.1)
    wanted = arguments.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()
    share, own, monitors = measure(port, wanted.every, wanted.seconds)
    answering = psutil.Process(server.pid).cpu_times()
    answers = sum(len(monitor.readings) for monitor in monitors if monitor.kind == "member")
    server.terminate()
    server.join()
    for monitor in monitors:
        rate = f"{monitor.true_every_s * 1e3:6.1f} ms" if monitor.true_every_s else "none"
        print(
            f"{monitor.name:<10} wanted every {monitor.every_s * 1e3:6.1f} ms, came every {rate}, "
            f"missing: {', '.join(monitor.missing) or 'nothing'}"
        )
    per_answer = (answering.user + answering.system) / answers * 1e3 if answers else 0.0
    print(f"an engine's bare answer of {len(_text()) / 1e3:.0f} KB: {per_answer:.1f} ms")
    print(f"telemetry: {share:.2%} of a core (limit {_LIMIT:.0%}); by its own account {own:.2%}")
    raise SystemExit(share > _LIMIT)


if __name__ == "__main__":
    main()
