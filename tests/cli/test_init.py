from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdtest.cli.catalogue import catalogue_of
from pdtest.cli.main import app
from pdtest.environment.schema import Environment


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("MODEL", "PREFILL_URL", "DECODE_URL", "PROXY_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def init(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["init", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def loaded(name: str) -> Environment:
    result = CliRunner().invoke(app, ["env", "check", name])
    assert result.exit_code == 0, result.output
    return catalogue_of(Path()).load(name)


def test_a_box_with_gpus() -> None:
    told = ["--devices", "prefill=2,3", "--devices", "decode=9", "--port", "router=8000"]
    said = init("mine", "--like", "gpu-nixl", "--model", "/models/q$x", *told)

    mine = loaded("mine")

    assert "pdtest up mine" in said
    assert mine.model.path == "/models/q$x"
    assert [str(getattr(file, "need", file)) for file in mine.requires.files] == ["/models/q$x/config.json"]
    assert mine.members["prefill"].devices == (2, 3)
    assert mine.members["prefill"].args["tensor-parallel-size"] == 2
    assert "tensor-parallel-size" not in mine.members["decode"].args
    assert mine.members["router"].ports["http"] == 8000
    devices = mine.hosts["local"].devices
    assert devices is not None
    assert set(devices.ids) == {*range(8), 9}


def test_other_files_that_are_required_stay_as_they_are_written() -> None:
    init("mine", "--like", "gpu-mooncake", "--model", "/m")
    assert "${MOONCAKE_PROXY_SCRIPT:-" in Path("environments/mine.yaml").read_text()
    assert len(loaded("mine").requires.files) == 2


def test_a_deployment_that_runs_already_and_an_optional_member() -> None:
    urls = {
        "prefill": "http://10.0.0.1:8100",
        "decode": "http://10.0.0.2:8200",
        "proxy": "http://10.0.0.1:8000",
    }
    told = [word for name, url in urls.items() for word in ("--url", f"{name}={url}")]
    init("prod", "--like", "remote-attach", *told)
    assert {name: member.url for name, member in loaded("prod").members.items()} == urls


def test_nothing_is_replaced_without_being_told(project: Path) -> None:
    init("mine", "--like", "embedded")
    file = project / "environments" / "mine.yaml"
    file.write_text("extends: embedded\ndescription: by hand\n")
    assert "file exists" in init("mine", "--like", "embedded", code=1)
    assert "by hand" in file.read_text()
    init("mine", "--like", "embedded", "--force")
    assert "by hand" not in file.read_text()


def test_what_env_check_would_not_pass_is_not_written(project: Path) -> None:
    assert "dtype" in init("mine", "--like", "embedded", "--dtype", "int3", code=1)
    assert not (project / "environments").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mine"], "--like"),
        (["--like", "embedded"], "NAME"),
        (["mine", "--like", "embeded"], "did you mean 'embedded'?"),
        (["mine", "--like", "embedded", "--devices", "decode"], "--devices"),
        (["mine", "--like", "embedded", "--port", "decode=many"], "--port"),
        (["mine", "--like", "remote-attach", "--url", "decode=8200"], "--url"),
        (["mine", "--like", "embedded", "--port", "decoder=8200"], "did you mean 'decode'?"),
        (["../mine", "--like", "embedded"], "NAME"),
    ],
)
def test_misuse(arguments: list[str], said: str) -> None:
    assert said in init(*arguments, code=2)


def test_in_a_terminal_it_asks(project: Path) -> None:
    main, side = pty.openpty()
    command = [sys.executable, "-m", "pdtest.cli", "init"]
    with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, cwd=project) as process:
        os.close(side)
        # gpu-nixl, its name, model, devices of three members (decode is to have another), description.
        os.write(main, b"gpu-nixl\nasked\n/models/m\n\n5\n\n\n")
        said = _until_closed(main)
        assert process.wait(timeout=30) == 0, said
    assert "devices of decode" in said
    asked = loaded("asked")
    assert asked.model.path == "/models/m"
    assert {name: asked.members[name].devices for name in ("prefill", "decode")} == {
        "prefill": (0,),
        "decode": (5,),
    }


def _until_closed(terminal: int, timeout_s: float = 60.0) -> str:
    said, deadline = b"", time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1.0)[0]:
                said += os.read(terminal, 4096)
    except OSError:  # the other side is closed: Linux says EIO
        pass
    os.close(terminal)
    return said.decode(errors="replace")
