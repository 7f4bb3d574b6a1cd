"""Whether two builds differ: the run is the unit, noise is counted in, and what cannot be told is said so."""

from pdtest.compare.baselines import Baseline, Baselines
from pdtest.compare.comparison import Change, Comparison, Side
from pdtest.compare.fingerprint import conditions, fingerprint
from pdtest.compare.judge import compare
from pdtest.compare.verdict import Verdict

__all__ = [
    "Baseline",
    "Baselines",
    "Change",
    "Comparison",
    "Side",
    "Verdict",
    "compare",
    "conditions",
    "fingerprint",
]
