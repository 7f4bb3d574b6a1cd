"""What a load on a deployment left behind, as files that are read again: exchanges, measures, monitors."""

from pdtest.results.client import ClientHealth
from pdtest.results.exchange import Exchange, Piece
from pdtest.results.measure import Better, Measure
from pdtest.results.monitor import Monitor, Reading
from pdtest.results.result import (
    Result,
    ResultUnreadable,
    read_exchanges,
    read_monitor,
    read_result,
    read_results,
    write_result,
)
from pdtest.results.sender import Sender

__all__ = [
    "Better",
    "ClientHealth",
    "Exchange",
    "Measure",
    "Monitor",
    "Piece",
    "Reading",
    "Result",
    "ResultUnreadable",
    "Sender",
    "read_exchanges",
    "read_monitor",
    "read_result",
    "read_results",
    "write_result",
]
