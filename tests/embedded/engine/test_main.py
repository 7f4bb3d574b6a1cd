from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_port

from .test_arguments import CONFIG

DEADLINE_S = 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def command(model: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "pdtest.embedded.engine", "--model", str(model), *flags]


@contextmanager
def engine(model: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that serves, and its port."""
    port = free_port()
    process = subprocess.Popen(
        command(model, "--port", str(port), *flags), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until_ready(process, port)
        yield process, port
    finally:
        process.kill()
        process.communicate()


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if get(port, "/health") == 200:
                return
        time.sleep(0.02)
    pytest.fail(f"not ready; exit code {process.poll()}")


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def stream(port: int, max_tokens: int) -> Iterator[http.client.HTTPResponse]:
    """An answer that has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    body = {
        "prompt": [5, 6, 7],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
    }
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline().startswith(b"data: ")
    yield answer
    connection.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, log = process.communicate(timeout=DEADLINE_S)
    return process.returncode, log


def test_serves_and_ends_quietly(model: Path) -> None:
    with engine(model) as (process, port):
        process.send_signal(signal.SIGTERM)
        code, log = ended(process)
    assert code == 0
    lines = log.splitlines()
    assert len(lines) == 3
    assert f"model loaded: {model}, 512 blocks of 16 tokens" in lines[0]
    assert f"listening on 127.0.0.1:{port}" in lines[1]


def test_answers_under_way_are_cut_short_at_the_end(model: Path) -> None:
    with engine(model, "--decode-time", "0.2") as (process, port), stream(port, 400) as answer:
        process.send_signal(signal.SIGTERM)
        rest = answer.read()
        code, log = ended(process)
    assert b'"finish_reason":"abort"' in rest
    assert code == 0
    assert "ERROR" not in log


@pytest.mark.parametrize("where", ["the API", "the side channel"])
def test_a_port_that_is_taken(model: Path, where: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if where == "the API":
            flags, environment = ["--port", str(port)], {}
        else:
            transfer = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
            flags = ["--port", str(free_port()), "--kv-transfer-config", json.dumps(transfer)]
            environment = {"VLLM_NIXL_SIDE_CHANNEL_PORT": str(port)}
        done = subprocess.run(
            command(model, *flags),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ERROR" in last
    assert str(port) in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--tensor-parallel-size", "3"], "2 KV heads cannot be dealt out to 3 tensor-parallel ranks"),
        (["--kv-transfer-config", '{"kv_connector": "Nonsense"}'], "kv_connector: expected one of"),
        (["--max-model-len", "9999"], "more than the model has positions"),
    ],
)
def test_settings_that_do_not_fit_together(model: Path, flags: list[str], expected: str) -> None:
    done = subprocess.run(
        command(model, "--port", str(free_port()), *flags),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_imports_what_is_needed_to_start_and_no_more() -> None:
    # Each of these would cost a good part of the second that an engine has until it is ready.
    script = "import pdtest.embedded.engine.__main__, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pdtest.embedded.engine.core" in loaded
    assert not loaded & {
        "pydantic",
        "httpx",
        "typer",
        "rich",
        "aiohttp",
        "zmq",
        "numpy.random",
        "yaml",
        "pytest",
    }
