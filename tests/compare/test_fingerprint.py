"""What counts as the same conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pdtest.compare import conditions, fingerprint
from pdtest.compare.fingerprint import differences
from pdtest.compare.hardware import hardware
from pdtest.compare.scrubbed import scrubbed
from pdtest.environment.schema import Environment
from tests.compare.made import runs


def environment(**changes: Any) -> Environment:
    told: dict[str, Any] = {
        "name": "pair",
        "description": "words",
        "model": {"path": "Qwen/Qwen3-0.6B", "dtype": "float32", "block_size": 32, "max_model_len": 2048},
        "connector": {"contract": ["nixl"], "config": {"kv_connector": "NixlConnector", "kv_port": 14579}},
        "members": {
            "prefill": {"role": "prefill", "service": "vllm", "args": {"max-num-seqs": 8}},
            "decode": {"role": "decode", "service": "vllm", "env": {"VLLM_SIDE_CHANNEL_PORT": 5600}},
        },
        **changes,
    }
    return Environment.model_validate(told)


def of(chosen: Environment, **workload: Any) -> str:
    return fingerprint(conditions(chosen, workload=workload or {"rate": 4}))


def member(**settings: Any) -> dict[str, Any]:
    members = environment().model_dump(mode="json", exclude_defaults=True)["members"]
    members["decode"] = {"role": "decode", "service": "vllm", **settings}
    return {"members": members}


SAME = {
    "another name": {"name": "twin", "description": "other words", "marks": ("gpu",)},
    "thresholds": {"thresholds": {"settle_s": 3.0}, "compare": {"alpha": 0.01}},
    "ports": member(ports={"http": 8200}, env={"VLLM_SIDE_CHANNEL_PORT": 5700}),
    "patience": member(ready_timeout_s=9.0),
    "another port of the connector": {
        "connector": {"contract": ["nixl"], "config": {"kv_connector": "NixlConnector", "kv_port": 20001}}
    },
}
OTHER = {
    "an argument": member(args={"max-num-seqs": 16}),
    "a variable": member(env={"UCX_TLS": "tcp"}),
    "a member more": {
        "members": {
            **environment().model_dump(mode="json", exclude_defaults=True)["members"],
            "decode2": {"role": "decode", "service": "vllm"},
        }
    },
    "a model": {
        "model": {"path": "Qwen/Qwen3-4B", "dtype": "float32", "block_size": 32, "max_model_len": 2048}
    },
    "another machine": {"hosts": {"local": {"address": "10.0.0.7"}}},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_what_says_nothing_about_speed_changes_nothing(changes: dict[str, Any]) -> None:
    assert of(environment(**changes)) == of(environment())


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_what_may_change_the_speed_is_another_fingerprint(changes: dict[str, Any]) -> None:
    assert of(environment(**changes)) != of(environment())


def test_workload_target_and_devices_belong_to_it() -> None:
    one = environment()
    assert of(one, rate=5) != of(one, rate=4)
    known = {
        fingerprint(conditions(one, workload={}, target=target, devices=devices))
        for target in ("pd", "single")
        for devices in ({}, {"nvidia0": "H100"})
    }
    assert len(known) == 4


def test_secrets_are_in_neither_conditions_nor_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(secret: str) -> dict[str, Any]:
        monkeypatch.setenv("KEY", secret)
        return conditions(environment(**member(api_key_env="KEY", env={"TOKEN": secret})), workload={})

    assert "s3cret" not in str(told("s3cret"))
    assert told("s3cret") == told("other")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/opt/models/tiny", "tiny"),
        (".pdtest/models/tiny", "tiny"),
        ("~/x/y", "y"),
        ("/opt/lib:/usr/lib64", "lib:lib64"),
        ("source /usr/set_env.sh && run --x=/a/b", "source set_env.sh && run --x=b"),
        ("http://10.0.0.3:8100/v1", "http://10.0.0.3/v1"),
        ("node7:20001", "node7"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("0:31", "0:31"),
        ("${self.ports.http}", "${self.ports.http}"),
    ],
)
def test_paths_and_ports_are_taken_out_of_texts(text: str, left: str) -> None:
    told = scrubbed(environment(**member(args={"x": text})))
    # Interpolation is written out in environments that were loaded; here it is escaped.
    assert told["members"]["decode"]["args"]["x"].replace("$$", "$") == left


def test_differences_are_named_by_their_place() -> None:
    old, new = (
        runs({"x": [1.0]}, fingerprint=name, conditions={"hardware": {"cores": cores}, "target": "pd"})[0]
        for name, cores in (("a", 4), ("b", 8))
    )
    assert differences(old, new) == (("hardware.cores", "4", "8"),)
    assert differences(old, old) == ()


def test_fingerprints_without_conditions_differ_as_such() -> None:
    old, new = (runs({"x": [1.0]}, fingerprint=name)[0] for name in "ab")
    assert differences(old, new) == (("fingerprint", "a", "b"),)


def test_conditions_can_be_written_as_json_and_yaml() -> None:
    told = conditions(environment(), workload={"rate": 4})
    assert yaml.safe_load(yaml.safe_dump(told)) == told


def test_chips_are_told_by_the_drivers_files(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor : 0\nmodel name : Some CPU\nprocessor : 1\nmodel name : Some CPU\n"
    )
    for number, bus in enumerate(("0000:01:00.0", "0000:02:00.0")):
        folder = tmp_path / "driver" / "nvidia" / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t NVIDIA H100\nIRQ:   {number}\n")
    told = hardware(proc=tmp_path)
    assert told["processor"] == "Some CPU"
    assert {name: told["devices"][name] for name in ("nvidia0", "nvidia1")} == {
        "nvidia0": "NVIDIA H100",
        "nvidia1": "NVIDIA H100",
    }
    assert hardware({"nvidia0": "asked"}, proc=tmp_path)["devices"] == {"nvidia0": "asked"}
    assert hardware()["cores"] >= 1
