"""A load that cannot be put on."""

from __future__ import annotations

from pdtest.errors import PdtestError


class ImpossibleLoad(PdtestError):
    """An environment asks for a load that its model cannot take, or that is not there."""

    title = "impossible load"
