from __future__ import annotations

import sys
from typing import Any

import pytest

from pdtest.environment.api_key import MissingApiKey
from pdtest.environment.schema import DeviceKind, Devices, Member, Role
from pdtest.services.errors import RenderError
from pdtest.services.service import Probe
from pdtest.services.vllm import VllmService

from .conftest import SAMPLES, Place

VLLM = VllmService()


def test_the_least_a_member_can_say(place: Place) -> None:
    command = VLLM.render(place(VLLM, {}))
    assert command.argv == (
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", "org/model", "--served-model-name", "org/model"),
        *("--dtype", "float32", "--max-model-len", "2048", "--block-size", "32"),
        *("--host", "127.0.0.1", "--port", "8000"),
    )
    assert command.env == {"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": "8001"}
    assert (command.files, command.secrets) == ({}, frozenset())


def test_args_win_over_what_the_model_says_and_may_be_written_with_underscores(place: Place) -> None:
    args = {"block_size": 64, "dtype": None, "hf-overrides": {"a": 1}, "kv-transfer": "${self.dir}"}
    argv = VLLM.render(place(VLLM, {"args": args})).argv
    assert argv[argv.index("--block-size") + 1] == "64"
    assert "--dtype" not in argv
    assert argv[-4:] == ("--hf-overrides", '{"a":1}', "--kv-transfer", "/run/members/decode")


@pytest.mark.parametrize(
    ("flag", "instead"),
    [
        ("host", "hosts.<name>.address"),
        ("port", "members.<name>.ports.http"),
        ("model", "model.path"),
        ("served_model_name", "model.served_name"),
        ("revision", "model.revision"),
        ("kv-transfer-config", "what connector says"),
        ("api-key", "members.<name>.api_key_env"),
    ],
)
def test_flags_that_other_parts_of_the_file_decide_are_refused(flag: str, instead: str, place: Place) -> None:
    with pytest.raises(RenderError) as caught:
        VLLM.render(place(VLLM, {"args": {flag: "x"}}))
    assert instead in str(caught.value)
    assert f"members.decode.args.{flag}" in str(caught.value)


def test_the_interpreter_and_what_it_runs_can_be_chosen(place: Place) -> None:
    options = {"python": "/venv/bin/python", "entrypoint": ["${self.files.serve.py}", "--debug"]}
    argv = VLLM.render(place(VLLM, {"options": options, "files": {"serve.py": ""}})).argv
    assert argv[:4] == ("/venv/bin/python", "/run/members/decode/serve.py", "--debug", "--model")


@pytest.mark.parametrize(
    ("kind", "ids", "args", "variables"),
    [
        (DeviceKind.CORE, [3], {}, {"VLLM_CPU_OMP_THREADS_BIND": "3"}),
        (DeviceKind.CORE, [0, 1, 3], {}, {"VLLM_CPU_OMP_THREADS_BIND": "0,1,3"}),
        (DeviceKind.CORE, [0, 1], {"tensor-parallel-size": 2}, {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}),
        (
            DeviceKind.CORE,
            [4, 5, 6, 7],
            {"tensor_parallel_size": 2},
            {"VLLM_CPU_OMP_THREADS_BIND": "4,5|6,7"},
        ),
        (DeviceKind.CUDA, [1], {}, {"CUDA_VISIBLE_DEVICES": "1"}),
        (DeviceKind.CUDA, [0, 2], {"tensor-parallel-size": 2}, {"CUDA_VISIBLE_DEVICES": "0,2"}),
        (DeviceKind.ASCEND, [4, 5, 6, 7], {}, {"ASCEND_RT_VISIBLE_DEVICES": "4,5,6,7"}),
        (DeviceKind.CUDA, [], {}, {}),
    ],
)
def test_devices_become_the_variable_of_their_kind(
    kind: DeviceKind, ids: list[int], args: dict[str, Any], variables: dict[str, str], place: Place
) -> None:
    devices = Devices(kind=kind, ids=tuple(range(8)))
    settings = {"role": Role.COLOCATED, "devices": ids, "args": args}
    assert VLLM.render(place(VLLM, settings, devices=devices)).env == variables


def test_cores_that_cannot_be_dealt_out_evenly_are_refused(place: Place) -> None:
    devices = Devices(kind=DeviceKind.CORE, ids=(0, 1, 2))
    settings = {"devices": [0, 1, 2], "args": {"tensor-parallel-size": 2}}
    with pytest.raises(RenderError) as caught:
        VLLM.render(place(VLLM, settings, devices=devices))
    assert str(caught.value) == (
        "cannot render: the cores of member 'decode' cannot be dealt out to its ranks\n"
        "  where    members.decode.devices\n"
        "  expected a multiple of 2 cores, one run per rank\n"
        "  seen     3: 0, 1, 2"
    )


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ({}, 1),
        ({"tensor-parallel-size": 2}, 2),
        ({"tensor_parallel_size": "4"}, 4),
        ({"data-parallel-size": 2}, 2),
        ({"tensor-parallel-size": 2, "data-parallel-size": 3}, 6),
        ({"tensor-parallel-size": None}, 1),
    ],
)
def test_every_rank_has_a_side_channel_port(args: dict[str, Any], count: int) -> None:
    for role in (Role.PREFILL, Role.DECODE):
        member = Member(role=role, service="vllm", args=args)
        assert VLLM.ports(member) == {"http": 1, "side_channel": count}


def test_an_engine_that_transfers_nothing_has_no_side_channel(place: Place) -> None:
    assert VLLM.ports(Member(role=Role.COLOCATED, service="vllm")) == {"http": 1}
    assert VLLM.render(place(VLLM, {"role": Role.COLOCATED})).env == {}


def test_further_ports_are_those_the_member_names() -> None:
    member = Member(role=Role.DECODE, service="vllm", ports={"kv": "auto"})
    assert VLLM.ports(member) == {"http": 1, "kv": 1, "side_channel": 1}


def test_the_members_own_variables_win(place: Place) -> None:
    env = {"VLLM_NIXL_SIDE_CHANNEL_HOST": "10.0.0.1", "MOONCAKE_CONFIG_PATH": "${self.files.mooncake.json}"}
    command = VLLM.render(place(VLLM, {"env": env, "files": {"mooncake.json": {"protocol": "ascend"}}}))
    assert command.env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "10.0.0.1"
    assert command.env["MOONCAKE_CONFIG_PATH"] == "/run/members/decode/mooncake.json"
    assert command.files == {"mooncake.json": '{\n  "protocol": "ascend"\n}\n'}


def test_the_api_key_goes_by_variable_and_is_marked_as_a_secret(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECODE_KEY", "hunter2")
    command = VLLM.render(place(VLLM, {"api_key_env": "DECODE_KEY"}))
    assert command.env["VLLM_API_KEY"] == "hunter2"
    assert command.secrets == {"hunter2"}
    assert not [argument for argument in command.argv if "hunter2" in argument]


def test_an_api_key_that_is_not_set_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DECODE_KEY", raising=False)
    with pytest.raises(MissingApiKey, match="'decode' takes its API key from DECODE_KEY"):
        VLLM.render(place(VLLM, {"api_key_env": "DECODE_KEY"}))


def test_it_is_ready_when_health_says_so(place: Place) -> None:
    assert VLLM.probe(place(VLLM, {})) == Probe(url="http://127.0.0.1:8000/health")


def test_the_stages_of_a_real_start() -> None:
    seen: list[str] = []
    for line in (SAMPLES / "healthy.log").read_text(encoding="utf-8").splitlines():
        doing = next((stage.doing for stage in VLLM.stages if stage.pattern.search(line)), None)
        if doing and doing not in seen[-1:]:
            seen.append(doing)
    assert seen == [
        "importing",
        "reading the model's config",
        "starting the engine",
        "loading weights",
        "sizing the KV cache",
        "profiling, warming up",
        "registering KV with the connector",
        "building the API server",
        "answering",
    ]


def errors_in(sample: str) -> list[str]:
    return VLLM.log_rules.errors((SAMPLES / f"{sample}.log").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("sample", ["healthy", "ending"])
def test_a_healthy_life_and_an_orderly_end_have_no_errors(sample: str) -> None:
    assert errors_in(sample) == []


def test_the_same_complaints_are_errors_when_nobody_asked_it_to_end() -> None:
    lines = (SAMPLES / "ending.log").read_text(encoding="utf-8").splitlines()
    assert len(VLLM.log_rules.errors([line for line in lines if "[shutdown]" not in line])) == 8


def test_errors_of_the_next_generation_count_again() -> None:
    lines = [
        "(APIServer pid=1) INFO [launcher.py:254] [shutdown] API server: shutdown triggered",
        "ERROR of ending",
        "(APIServer pid=2) INFO [api_utils.py:286] non-default args: {'host': '127.0.0.1'}",
        "ERROR of living",
    ]
    assert VLLM.log_rules.errors(lines) == ["ERROR of living"]


def test_a_side_channel_that_could_not_listen_is_an_error_though_the_server_goes_on() -> None:
    assert errors_in("side-channel-taken") == [
        "Exception in thread nixl_handshake_listener:",
        "Traceback (most recent call last):",
    ]


def test_what_nixl_s_native_library_complains_of_is_an_error() -> None:
    errors = errors_in("ucx-no-transport")
    said = [line.partition("] ")[2].partition(":")[0] for line in errors if line.startswith("E1121")]
    assert said == ["Failed to create engine", "createBackend"]


@pytest.mark.parametrize(
    "line",
    [
        "[1795224844.39] [vm:1:0] tcp_ep.c:1 UCX  ERROR recv failed: Connection reset by remote peer",
        "[1795224844.39] [vm:1:0] ucp_worker.c:1 UCX  ERROR Endpoint is not connected",
        "(APIServer pid=1) WARNING [system_utils.py:255] ... `OSError: [Errno 24] Too many open files`",
        "W1121 02:01:34.253000 19440 torch/_library/triton.py:53] Triton not available",
        'INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error',
    ],
)
def test_lines_that_are_no_errors(line: str) -> None:
    assert VLLM.log_rules.errors([line]) == []


def test_stale_blocks_handed_out_are_an_error() -> None:
    line = (
        "(EngineCore pid=16330) ERROR 11-21 01:50:48 [pull_worker.py:667] Potentially invalid KV blocks for "
        "unrecognized request cmpl-1 were retrieved by a decode worker. They may have expired."
    )
    assert VLLM.log_rules.errors([line]) == [line]
