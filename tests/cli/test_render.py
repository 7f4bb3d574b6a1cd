from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from typer.testing import CliRunner

from pdtest.cli.main import app
from pdtest.launch.guard import Guard
from pdtest.launch.kin import OWNER_VARIABLE
from pdtest.launch.lease import PortLeases

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted(
    file.stem for file in (ROOT / "environments").glob("*.yaml") if not file.name.startswith("_")
)


def render(*arguments: str | Path | int, code: int = 0, root: Path = ROOT) -> str:
    command = ["env", "render", "--rootdir", str(root), *map(str, arguments)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The first of enough ports that no other test has.

    What scripts start is meant to outlive them. Should pytest be killed meanwhile, a reaper ends it.
    """
    owner = f"test_render-{uuid.uuid4().hex}"
    monkeypatch.setenv(OWNER_VARIABLE, owner)
    guard = Guard(owner, tmp_path / "reaper.log")
    leases = PortLeases("test_render")
    yield leases.take(20)
    leases.release_all()
    guard.dismiss()


def bash(script: Path, *arguments: str, code: int | None = 0, **env: str) -> str:
    result = subprocess.run(
        [script, *arguments],
        env=dict(os.environ) | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert code is None or result.returncode == code, result.stdout
    return result.stdout


def processes_in(directory: Path) -> list[psutil.Process]:
    """Those that run in a member's directory there."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_can_be_rendered_without_its_programs(name: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    described = json.loads(render(name, "-o", target, "--json"))
    for member, seen in described["members"].items():
        script = target / f"start-{member}.sh"
        if seen["argv"] is None:
            assert not script.exists()
            continue
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        for file in seen["files"]:
            assert (target / "members" / member / file).is_file()
    assert subprocess.run(["bash", "-n", target / "members.sh"], check=False).returncode == 0
    assert yaml.safe_load((target / "environment.resolved.yaml").read_text())["name"] == name
    first = {file.name: file.read_bytes() for file in target.iterdir() if file.is_file()}
    render(name, "-o", target, "--force")
    assert {file.name: file.read_bytes() for file in target.iterdir() if file.is_file()} == first


def test_who_is_on_standby_has_a_script_and_is_started_by_name_only(tmp_path: Path) -> None:
    render("embedded-topologies", "-o", tmp_path / "out")
    described = (tmp_path / "out" / "members.sh").read_text(encoding="utf-8").splitlines()

    assert "together=(prefill decode colocated proxy decode-2)" in described
    assert "members=(prefill decode colocated proxy decode-2 hybrid mixed-2 mixed-3)" in described
    assert (tmp_path / "out" / "start-hybrid.sh").is_file()


def test_what_is_printed_is_what_would_be_started() -> None:
    printed = render("embedded", "--member", "decode", "--first-port", "20000")
    assert "decode  decode, embedded-engine, http://127.0.0.1:20004" in printed
    assert "  --port 20004 \\\n" in printed
    assert "prefill  prefill" not in printed
    everything = render("embedded")
    assert all(f"\n{name}  " in everything for name in ("prefill", "decode", "colocated", "proxy"))


def test_json_has_all_that_starts_a_member() -> None:
    seen = json.loads(render("embedded", "--json", "-m", "proxy", "--first-port", "20000"))
    assert list(seen["members"]) == ["proxy"]
    proxy = seen["members"]["proxy"]
    assert proxy["argv"][1:3] == ["-m", "pdtest.embedded.proxy"]
    assert proxy["probe"] == {"url": "http://127.0.0.1:20009/health", "accept": [200]}
    assert proxy["directory"] == str(ROOT / ".pdtest/rendered/embedded/members/proxy")


def test_names_that_do_not_exist_are_refused() -> None:
    assert "there is no environment 'embeded'" in render("embeded", code=2)
    unknown = render("embedded", "-m", "decod", code=2)
    assert "has no member 'decod'" in unknown
    assert "did you mean 'decode'?" in unknown


def made_up(root: Path, **members: Any) -> Path:
    """A project with an environment 'mine' of three stand-ins, whose settings ``members`` add to."""
    whole = {
        "model": {"path": "somewhere", "dtype": "float32", "block_size": 16, "max_model_len": 64},
        "connector": {"contract": ["nixl"]},
        "reference": {"kind": "borrowed", "member": "decode"},
        "members": {
            name: {"role": role, "service": "command", "options": {"argv": ["sleep", "60"]}}
            | members.get(name, {})
            for name, role in (("prefill", "prefill"), ("decode", "decode"))
        },
    }
    (root / "environments").mkdir(parents=True)
    (root / "environments" / "mine.yaml").write_text(yaml.safe_dump(whole))
    return root


def test_settings_that_do_not_fit_are_told_for_all_members_at_once(tmp_path: Path) -> None:
    empty: dict[str, Any] = {"options": {"argv": []}}
    root = made_up(tmp_path, prefill=empty, decode=empty)
    told = render("mine", "-o", tmp_path / "out", code=1, root=root)
    assert "member 'prefill' has no command to run" in told
    assert "member 'decode' has no command to run" in told
    assert not (tmp_path / "out").exists()


def test_a_directory_is_written_as_a_whole_or_left_alone(tmp_path: Path) -> None:
    root = made_up(tmp_path / "project")
    target = tmp_path / "out"
    target.mkdir()
    render("mine", "-o", target, root=root)  # an empty one will do
    assert "pass --force" in render("mine", "-o", target, code=1, root=root)
    (target / "members" / "decode" / "decode.log").write_text("old")
    render("mine", "-o", target, "--force", root=root)
    assert not (target / "members" / "decode" / "decode.log").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]

    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("years")
    assert "has not made it" in render("mine", "-o", strange, "--force", code=1, root=root)
    assert [path.name for path in strange.iterdir()] == ["thesis.txt"]


def test_what_may_run_is_not_replaced(tmp_path: Path) -> None:
    root, target = made_up(tmp_path / "project"), tmp_path / "out"
    render("mine", "-o", target, root=root)
    (target / "members" / "decode" / "decode.pid").write_text("1 1\n")
    refused = render("mine", "-o", target, "--force", code=1, root=root)
    assert "may still run: decode" in refused
    assert "stop-all.sh" in refused


def test_a_secret_is_in_no_file_and_reaches_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2")
    show = 'cat "$1"; printf "%s %s" "$KEY" "$2"'
    settings = {
        "api_key_env": "MY_KEY",
        "options": {"argv": ["bash", "-c", show, "bash", "${self.files.key.conf}", "--key=hunter2"]},
        "env": {"KEY": "${MY_KEY}"},
        "files": {"key.conf": "key = ${MY_KEY}\n\n"},
    }
    root, target = made_up(tmp_path / "project", decode=settings), tmp_path / "out"
    printed = render("mine", "-o", target, "--json", root=root) + render("mine", root=root)
    written = [file.read_text() for file in target.rglob("*") if file.is_file()]
    assert "hunter2" not in printed + "".join(written)
    monkeypatch.delenv("MY_KEY")
    assert "MY_KEY: holds a secret" in bash(target / "start-decode.sh", code=1)
    said = bash(target / "start-decode.sh", MY_KEY="a&b'c\"d/e")
    assert said == "key = KEY\n\nKEY --key=KEY".replace("KEY", "a&b'c\"d/e")
    assert (target / "members/decode/key.conf").stat().st_mode & 0o077 == 0


def test_scripts_refuse_to_run_where_their_paths_do_not_lead(tmp_path: Path) -> None:
    root, target = made_up(tmp_path / "project"), tmp_path / "out"
    render("mine", "-o", target, root=root)
    moved = Path(shutil.move(target, tmp_path / "elsewhere"))
    for script in ("start-decode.sh", "start-all.sh", "stop-all.sh"):
        assert f"name paths in another directory, {target}" in bash(moved / script, code=1)


def test_the_embedded_stack_by_its_scripts(tmp_path: Path, ports: int) -> None:
    target = tmp_path / "pd"
    render("embedded", "-o", target, "--first-port", ports)
    stack = target / "stack.sh"
    try:
        started = bash(target / "start-all.sh")
        assert started.count(" ready after ") == 4
        proxy = f"http://127.0.0.1:{ports + 9}"
        body = {"model": "embedded", "prompt": "Prefill here", "max_tokens": 4, "temperature": 0}
        answer = httpx.post(f"{proxy}/v1/completions", json=body, trust_env=False).json()
        assert answer["usage"]["completion_tokens"] == 4
        assert '"completion_tokens":8' in bash(stack, "test")
        assert bash(stack, "status").count(" answers ") == 4
        assert "decode runs already, pid" in bash(target / "start-all.sh", code=1)
        assert bash(stack, "stop", "decode") == "decode       stopped\n"
        assert "decode     does not run" in bash(stack, "status", code=1)
        assert len(processes_in(target)) == 3
    finally:
        stopped = bash(target / "stop-all.sh")
    assert stopped.count(" stopped\n") == 3
    assert processes_in(target) == []
    assert not list(target.rglob("*.pid"))


def test_readiness_is_asked_without_curl_as_well(tmp_path: Path, ports: int) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    needed = ("bash", "cat", "dirname", "mv", "rm", "setsid", "sleep", "sort", "tail", "sed", "timeout", "tr")
    for name in needed:
        (programs / name).symlink_to(shutil.which(name) or name)
    target = tmp_path / "pd"
    render("embedded", "-o", target, "--first-port", ports)
    try:
        started = bash(target / "stack.sh", "start", "prefill", "decode", PATH=str(programs))
        assert started.count(" ready after ") == 2
        assert "test needs curl" in bash(target / "stack.sh", "test", code=1, PATH=str(programs))
    finally:
        bash(target / "stop-all.sh", PATH=str(programs))
    assert processes_in(target) == []


def test_a_member_that_ends_at_once_takes_the_others_with_it_and_shows_its_log(tmp_path: Path) -> None:
    fails = {"options": {"argv": ["bash", "-c", "echo no such model; exit 3"]}}
    root, target = made_up(tmp_path / "project", decode=fails), tmp_path / "out"
    render("mine", "-o", target, root=root)
    told = bash(target / "start-all.sh", code=1)
    assert "decode has ended" in told
    assert "  decode| no such model" in told
    assert "prefill      stopped" in told
    assert processes_in(target) == []


def test_what_a_member_started_is_stopped_with_it_also_when_it_is_gone(tmp_path: Path, ports: int) -> None:
    leaves = f"python3 -m http.server {ports} --bind 127.0.0.1 & sleep 60"
    # Nothing of it needs to be killed: SIGTERM reaches all of it.
    patient = {"stop_timeout_s": 600.0}
    settings = {"options": {"argv": ["bash", "-c", leaves]}, "ports": {"http": ports}} | patient
    root, target = made_up(tmp_path / "project", decode=settings), tmp_path / "out"
    render("mine", "-o", target, root=root)
    bash(target / "stack.sh", "start", "decode")
    leader = int((target / "members/decode/decode.pid").read_text().split()[0])
    psutil.Process(leader).kill()
    psutil.wait_procs([psutil.Process(leader)] if psutil.pid_exists(leader) else [], timeout=5)
    assert processes_in(target)
    assert "decode       stopped" in bash(target / "stop-all.sh")
    assert processes_in(target) == []


def test_a_pid_that_belongs_to_a_stranger_by_now_is_left_alone(tmp_path: Path) -> None:
    root, target = made_up(tmp_path / "project"), tmp_path / "out"
    render("mine", "-o", target, root=root)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        (target / "members/decode/decode.pid").write_text(f"{stranger.pid} 12345\n")
        bash(target / "stop-all.sh")
        assert stranger.poll() is None
        stranger.kill()
    assert not (target / "members/decode/decode.pid").exists()


def test_ports_that_are_taken_and_missing_keys_are_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ports: int
) -> None:
    monkeypatch.setenv("MY_KEY", "hunter2")
    root = made_up(tmp_path / "project", decode={"api_key_env": "MY_KEY"}, prefill={"ports": {"http": ports}})
    target = tmp_path / "out"
    render("mine", "-o", target, root=root)
    monkeypatch.delenv("MY_KEY")
    serve = ["python3", "-m", "http.server", str(ports), "--bind", "127.0.0.1"]
    with subprocess.Popen(serve, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        while not any(
            connection.laddr.port == ports for connection in psutil.Process(server.pid).net_connections()
        ):
            pass
        told = bash(target / "start-all.sh", code=1)
        server.kill()
    assert f"prefill: port {ports} on 127.0.0.1 is in use" in told
    assert "decode: MY_KEY must hold its API key" in told
    assert processes_in(target) == []


def test_each_machine_starts_the_members_of_its_host(tmp_path: Path) -> None:
    root = made_up(tmp_path / "project", decode={"host": "second"})
    file = root / "environments" / "mine.yaml"
    hosts = {"hosts": {"local": {}, "second": {"address": "127.0.0.2"}}}
    file.write_text(file.read_text() + yaml.safe_dump(hosts))
    target = tmp_path / "out"
    render("mine", "-o", target, root=root)
    told = bash(target / "start-all.sh", code=1)
    assert "2 hosts: local second" in told
    assert "there is no member 'nobody'" in bash(target / "stack.sh", "start", "nobody", code=2)
    assert "no member runs on the host 'third'" in bash(target / "start-all.sh", "--host", "third", code=1)
