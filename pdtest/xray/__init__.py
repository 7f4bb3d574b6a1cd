"""Where KV went wrong: digests of what prefill published, held against those of what decode received.

Engines write them (pdtest/probe in vLLM, `--xray` in the embedded engine); docs/xray.md has the form. Nothing
here needs a package: what is compared is small, and only what differs is looked at closely.
"""

from pdtest.xray.archive import Archive
from pdtest.xray.comparison import Comparison, Difference, compare
from pdtest.xray.diagnosis import Diagnosis, Mismatch, diagnose
from pdtest.xray.exposure import Exposure, Half, Side

__all__ = [
    "Archive",
    "Comparison",
    "Diagnosis",
    "Difference",
    "Exposure",
    "Half",
    "Mismatch",
    "Side",
    "compare",
    "diagnose",
]
