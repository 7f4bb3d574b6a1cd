"""The environment `remote-attach` on the embedded stack, which runs by its rendered scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.launch.lease import PortLeases

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The variables that say where it is and what it serves."""
    leases = PortLeases("test_remote_attach")
    target, first = tmp_path_factory.mktemp("rendered") / "pd", leases.take(11)
    arguments = ["env", "render", "embedded", "-o", str(target), "--first-port", str(first)]
    rendered = CliRunner().invoke(app, [*arguments, "--rootdir", str(ROOT)])
    assert rendered.exit_code == 0, rendered.output
    try:
        subprocess.run([target / "start-all.sh"], check=True, timeout=60)
        yield {
            "PREFILL_URL": f"http://127.0.0.1:{first}",
            "DECODE_URL": f"http://127.0.0.1:{first + 4}",
            "REFERENCE_URL": f"http://127.0.0.1:{first + 8}",
            "PROXY_URL": f"http://127.0.0.1:{first + 9}",
            "MODEL_NAME": "embedded",
            "MAX_MODEL_LEN": "1024",
            "DTYPE": "float32",
        }
    finally:
        subprocess.run([target / "stop-all.sh"], check=True, timeout=60)
        leases.release_all()


def pytest_on(deployment: Mapping[str, str], directory: Path, **changes: str) -> tuple[int, str]:
    """Exit code and output of a quick part of the suites."""
    suite = "suites/transfer/test_contract.py"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--env", "remote-attach", suite]
    done = subprocess.run(
        [*command, f"--pdtest-dir={directory}"],
        cwd=ROOT,
        env=dict(os.environ) | dict(deployment) | changes,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("absent", [{}, {"PROXY_URL": "", "REFERENCE_URL": ""}], ids=["all", "engines alone"])
def test_suites_pass_on_what_runs(
    deployment: Mapping[str, str], tmp_path: Path, absent: Mapping[str, str]
) -> None:
    code, output = pytest_on(deployment, tmp_path, **absent)
    assert code == 0, output
    assert "NixlConnector kv_producer" in output
    assert " failed" not in output


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PREFILL_URL": "DECODE_URL", "DECODE_URL": "PREFILL_URL"}, "prefill: role; decode: role"),
        (
            {"BLOCK_SIZE": "32", "MODEL_NAME": "qwen"},
            "prefill, decode, colocated: another model; prefill, decode: b",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_each_wrong_claim_is_named(
    deployment: Mapping[str, str], tmp_path: Path, changes: Mapping[str, str], told: str
) -> None:
    code, output = pytest_on(deployment, tmp_path, **{k: deployment.get(v, v) for k, v in changes.items()})
    assert code == 1
    assert f"'remote-attach' is not what runs ({told}" in output
    assert "  next  " in output
