"""Errors of rendering a member."""

from __future__ import annotations

from pdtest.errors import PdtestError


class RenderError(PdtestError):
    """A member's settings do not make a command."""

    title = "cannot render"
