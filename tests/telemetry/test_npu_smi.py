from __future__ import annotations

from pathlib import Path

import pytest

from pdtest.telemetry.npu_smi import ChipRow, card_power_w, chip_rows

SAMPLES = Path(__file__).parent / "npu_smi"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_a_card_of_one_chip_goes_by_its_own_number_and_processes_are_no_chips() -> None:
    first, second = chip_rows(sample("910b4"))
    assert first == ChipRow(
        card=3,
        chip=0,
        device=None,
        name="910B4",
        health="OK",
        power_w=87.1,
        temperature_c=48.0,
        utilisation=0.0,
        memory_usage=3034 / 32768,
    )
    assert (first.number, second.number) == (3, 6)
    assert (second.utilisation, second.memory_usage) == (0.37, 29121 / 32768)


def test_the_second_chip_of_a_module_has_no_power_of_its_own() -> None:
    rows = chip_rows(sample("a3"))
    assert [(row.card, row.chip, row.number) for row in rows] == [
        (0, 0, 0),
        (0, 1, 1),
        (7, 0, 14),
        (7, 1, 15),
    ]
    assert [row.power_w for row in rows] == [162.6, None, 160.9, None]
    assert rows[3].memory_usage == 31877 / 65536


def test_cards_whose_power_only_their_controller_tells() -> None:
    rows = chip_rows(sample("300i-duo"))
    assert [row.power_w for row in rows] == [None, None]
    assert [row.number for row in rows] == [0, 1]
    assert card_power_w(sample("300i-duo-common")) == 38.4
    assert card_power_w("NPU ID : 2") is None


def test_without_hbm_the_memory_is_what_there_is() -> None:
    rows = chip_rows(sample("310p"))
    assert [row.memory_usage for row in rows] == [1074 / 21534, 1070 / 21534]
    assert [row.power_w for row in rows] == [15.8, 15.4]


def test_models_are_in_hbm_where_there_is_any() -> None:
    assert [row.memory_usage for row in chip_rows(sample("910"))] == [1365 / 32768, 4 / 32768]


def test_a_name_of_digits_is_no_second_line() -> None:
    (row,) = chip_rows(sample("310"))
    assert (row.name, row.number, row.power_w, row.temperature_c) == ("310", 0, 12.8, 61.0)


@pytest.mark.parametrize("text", ["", "dcmi module initialize failed. ret is -8005\n"])
def test_what_lists_no_chip_is_said(text: str) -> None:
    with pytest.raises(LookupError, match="lists no chip"):
        chip_rows(text)
