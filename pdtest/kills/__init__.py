"""Planted bugs, and which suite notices which of them."""

from pdtest.kills.catalogue import CATALOGUE, QUICK, chosen
from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.table import Cell, KillTable, Outcome

__all__ = ["CATALOGUE", "QUICK", "Cell", "KillTable", "Mutant", "Outcome", "Place", "chosen"]
