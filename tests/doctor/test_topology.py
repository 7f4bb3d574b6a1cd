from __future__ import annotations

from pdtest.doctor.topology import ways

GPUS = """\
 \t\x1b[4mGPU0\tGPU1\tGPU2\x1b[0m
 GPU0\tX\tOK\tCNS
 GPU1\tOK\tX\tCNS
 GPU2\tCNS\tCNS\tX

Legend:

  X    = Self
  OK   = Status Ok
  CNS  = Chipset not supported
"""
NPUS = """\
\t   NPU0       NPU1       CPU Affinity
NPU0       X          HCCS       144-167
NPU1       HCCS       X          144-167

Legend:

  X    = Self
"""
A3 = """\
           Phy-ID12   Phy-ID13
Phy-ID12   X          SIO
Phy-ID13   SIO        X
"""


def test_a_table_of_gpus() -> None:
    assert ways(GPUS) == {
        (0, 1): "OK", (0, 2): "CNS", (1, 0): "OK", (1, 2): "CNS", (2, 0): "CNS", (2, 1): "CNS"
    }  # fmt: skip


def test_tables_of_npus_whose_numbers_need_not_begin_at_0() -> None:
    assert ways(NPUS) == {(0, 1): "HCCS", (1, 0): "HCCS"}
    assert ways(A3) == {(12, 13): "SIO", (13, 12): "SIO"}


def test_no_table() -> None:
    assert ways("Unable to query P2P") == {}
