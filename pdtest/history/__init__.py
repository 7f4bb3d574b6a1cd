"""What happened, as a history of requests, and what must hold of every such history."""

from pdtest.history.history import Attempt, History
from pdtest.history.invariants import INVARIANTS, Invariant, check
from pdtest.history.smallest import smallest
from pdtest.history.violation import Violation

__all__ = ["INVARIANTS", "Attempt", "History", "Invariant", "Violation", "check", "smallest"]
