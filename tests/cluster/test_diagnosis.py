from __future__ import annotations

from pdtest.cluster.diagnosis import diagnose

from .fakes import FakeService

KNOWN = FakeService.diagnoses


def test_the_last_known_failure_wins() -> None:
    finding = diagnose(["no such model", "CUDA out of memory", "Traceback"], KNOWN)
    assert finding is not None
    assert (finding.diagnosis.name, finding.line) == ("out-of-memory", "CUDA out of memory")


def test_on_one_line_the_order_of_the_service_decides() -> None:
    finding = diagnose(["no such model: CUDA out of memory"], KNOWN)
    assert finding is not None
    assert finding.text == (
        "out-of-memory: The GPU has too little free memory. Lower gpu-memory-utilization."
    )


def test_an_unknown_failure_has_no_finding() -> None:
    assert diagnose(["what is this"], KNOWN) is None
