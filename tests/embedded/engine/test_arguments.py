from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pdtest.embedded.engine import arguments
from pdtest.embedded.engine.settings import Settings
from pdtest.embedded.model.config import BadModel

CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "vocab_size": 259,
    "eos_token_id": 0,
    "max_position_embeddings": 512,
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return str(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *line: str, environment: dict[str, str] | None = None) -> str:
    """What a command line that makes no sense is answered with: one line."""
    with pytest.raises(SystemExit) as end:
        arguments.read(line, environment or {})
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_a_model_is_enough(model: str) -> None:
    settings = arguments.read(["--model", model], {})
    assert settings == Settings(model=Path(model), served_name=model, max_model_len=512)


def test_all_flags(model: str) -> None:
    transfer = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    line = (
        "--served-model-name m --host ::1 --port 81 --block-size 32 --max-model-len 500 "
        "--num-gpu-blocks-override 77 --max-num-seqs 3 --max-num-batched-tokens 99 --tensor-parallel-size 2 "
        "--data-parallel-size 4 --data-parallel-policy count --no-enable-prefix-caching "
        "--enable-prompt-tokens-details --api-key k "
        "--seed 5 --prefill-time 0.5 --prefill-time-from 40 --decode-time 0.25 --transfer-time 1"
    )
    environment = {
        "VLLM_API_KEY": "other",
        "VLLM_NIXL_SIDE_CHANNEL_HOST": "10.0.0.1",
        "VLLM_NIXL_SIDE_CHANNEL_PORT": "7000",
        "VLLM_MOONCAKE_BOOTSTRAP_PORT": "7100",
        "VLLM_LOG_STATS_INTERVAL": "0.5",
    }
    given = ["--model", model, *line.split(), "--kv-transfer-config", json.dumps(transfer)]
    assert arguments.read(given, environment) == Settings(
        model=Path(model),
        served_name="m",
        host="::1",
        port=81,
        block_size=32,
        max_model_len=500,
        blocks=77,
        max_num_seqs=3,
        max_num_batched_tokens=99,
        tensor_ranks=2,
        data_ranks=4,
        data_policy="count",
        kv_transfer_config=transfer,
        prefix_caching=False,
        prompt_tokens_details=True,
        api_key="k",
        seed=5,
        prefill_time=0.5,
        prefill_time_from=40,
        decode_time=0.25,
        transfer_time=1.0,
        side_host="10.0.0.1",
        side_port=7000,
        bootstrap_port=7100,
        log_statistics_s=0.5,
    )


def test_flags_of_deployments_that_have_a_twin_here_are_taken(model: str) -> None:
    line = ["--enforce-eager", "--enable-expert-parallel", "--trust-remote-code"]
    assert arguments.read(["--model", model, *line], {}) == arguments.read(["--model", model], {})


def test_the_key_may_come_from_the_environment(model: str) -> None:
    settings = arguments.read(["--model", model], {"VLLM_API_KEY": "k"})
    assert settings == replace(arguments.read(["--model", model], {}), api_key="k")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--tensor-paralel-size 2", "the nearest to --tensor-paralel-size is --tensor-parallel-size"),
        ("--max_model_len=4", "the nearest to --max_model_len is --max-model-len"),
        ("--gpu-memory-utilization 0.9", "unrecognized arguments: --gpu-memory-utilization 0.9"),
        ("--block 4", "the nearest to --block is --block-size"),
        ("--port 70000", "--port: expected a port, 0 to 65535, got '70000'"),
        ("--block-size 0", "--block-size: expected a number from 1, got '0'"),
        ("--decode-time -1", "--decode-time: expected seconds, 0 or more, got '-1'"),
        ("--decode-time nan", "--decode-time: expected seconds, 0 or more, got 'nan'"),
        ("--kv-transfer-config {", "--kv-transfer-config: expected a JSON object, got '{'"),
        ("--kv-transfer-config []", "--kv-transfer-config: expected a JSON object, got '[]'"),
    ],
)
def test_what_makes_no_sense_is_explained(
    model: str, line: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, "--model", model, *line.split())


@pytest.mark.parametrize("flag", ["--fault-transfer", "--fault-lifetime"])
def test_planted_bugs_are_words_that_are_known_or_files(
    model: str, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert "expected one of" in refused(capsys, "--model", model, flag, "leeked")
    settings = arguments.read(["--model", model, flag, "@/some/file"], {})
    assert getattr(settings, flag.removeprefix("--").replace("-", "_")) == "@/some/file"


def test_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--model" in refused(capsys)


def test_a_port_in_the_environment_that_is_none(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "--model", model, environment={"VLLM_NIXL_SIDE_CHANNEL_PORT": "x"})
    assert "environment variable VLLM_NIXL_SIDE_CHANNEL_PORT: expected a port, 0 to 65535, got 'x'" in message


def test_more_positions_than_the_model_has(model: str) -> None:
    with pytest.raises(BadModel, match="--max-model-len 513 is more than the model has positions: 512"):
        arguments.read(["--model", model, "--max-model-len", "513"], {})


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        arguments.read(["--help"], {})
    assert end.value.code == 0
    text = capsys.readouterr().out
    for word in ("--tensor-parallel-size", "VLLM_NIXL_SIDE_CHANNEL_PORT", "examples:", "kv_producer"):
        assert word in text
