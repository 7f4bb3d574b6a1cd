from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pdtest.telemetry.ascend import AscendMeter, NpuSmi
from pdtest.telemetry.settings import Chip

SAMPLES = Path(__file__).parent / "npu_smi"

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A program npu-smi that answers with samples: a shell script, so that it is really called."""

    def write(script: str) -> None:
        program = tmp_path / "npu-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


def answers(name: str, common: str | None = None) -> str:
    table = f"cat {shlex.quote(str(SAMPLES / f'{name}.txt'))}"
    if common is None:
        return table
    return f"if [ $# = 1 ]; then {table}; else cat {shlex.quote(str(SAMPLES / f'{common}.txt'))}; fi"


def meter(**members: int) -> AscendMeter:
    chips = tuple(Chip(kind="ascend", number=number, members=(member,)) for member, number in members.items())
    return AscendMeter(chips, 1.0)


def test_a_chip_with_a_card_of_its_own_tells_its_power(install: Install) -> None:
    install(answers("910b4"))
    one = meter(prefill=3)
    (offer,) = one.open()
    assert (offer.name, offer.members, offer.missing) == ("ascend3", ("prefill",), {})
    seen = one.read()["ascend3"]
    assert seen.values == {
        "power_w": 87.1,
        "temperature_c": 48.0,
        "utilisation": 0.0,
        "memory_usage": 3034 / 32768,
    }


def test_power_of_a_shared_card_is_counted_once(install: Install) -> None:
    install(answers("a3"))
    both = meter(prefill=0, decode=1)
    offers = {offer.name: offer for offer in both.open()}
    assert set(offers) == {"ascend0", "ascend1", "ascend-card0"}
    assert offers["ascend-card0"].members == ("prefill", "decode")
    read = both.read()
    assert {name: seen.values.get("power_w") for name, seen in read.items()} == {
        "ascend0": None,
        "ascend1": None,
        "ascend-card0": 162.6,
    }


def test_a_member_on_the_second_chip_alone_has_the_cards_power_too(install: Install) -> None:
    install(answers("a3"))
    one = meter(decode=15)
    assert {offer.name for offer in one.open()} == {"ascend15", "ascend-card7"}
    assert one.read()["ascend-card7"].values == {"power_w": 160.9}


def test_a_controllers_power_is_asked_for_where_the_table_has_none(install: Install) -> None:
    install(answers("300i-duo", "300i-duo-common"))
    one = meter(decode=1)
    assert {offer.name for offer in one.open()} == {"ascend1", "ascend-card2"}
    assert one.read()["ascend-card2"].values == {"power_w": 38.4}


def test_power_that_nothing_tells_is_missing_not_zero(install: Install) -> None:
    install(answers("300i-duo", "910b4"))
    one = meter(decode=1)
    one.open()
    seen = one.read()["ascend-card2"]
    assert seen.values == {}
    assert seen.missing == {"power_w": "npu-smi tells no power of card 2"}


def test_a_card_that_fails_leaves_its_chips_what_they_tell(install: Install) -> None:
    install(f"[ $# = 1 ] || exit 3\n{answers('300i-duo')}")
    one = meter(decode=1)
    one.open()
    read = one.read()
    assert read["ascend1"].values["temperature_c"] == 43.0
    assert "-t common -i 2 ended with 3" in read["ascend-card2"].missing["power_w"]


def test_a_chip_that_is_not_there_is_named(install: Install) -> None:
    install(answers("910b4"))
    offers = {offer.name: offer for offer in meter(prefill=3, decode=4).open()}
    assert offers["ascend3"].readable
    assert offers["ascend4"].missing == {"*": "npu-smi info lists the chips [3, 6], and none of them is 4"}


def test_a_program_that_fails_says_why(install: Install) -> None:
    install("echo 'dcmi module initialize failed. ret is -8005'; exit 1")
    (offer,) = meter(prefill=0).open()
    assert not offer.readable
    assert "ended with 1: dcmi module initialize failed. ret is -8005" in offer.missing["*"]


def test_without_the_program_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (offer,) = meter(prefill=0).open()
    assert offer.missing["*"].startswith("no program npu-smi on the PATH")


def test_a_call_that_hangs_is_ended_with_its_meter(install: Install, tmp_path: Path) -> None:
    install(f"echo $$ > {shlex.quote(str(tmp_path / 'pid'))}; exec sleep 60")
    npu_smi, failed = NpuSmi(), threading.Event()

    def call() -> None:
        with pytest.raises(LookupError, match="ended with -9"):
            npu_smi("info")
        failed.set()

    thread = threading.Thread(target=call)
    thread.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    npu_smi.close()
    assert failed.wait(20)
    thread.join()
