"""The ways that a request can take."""

from __future__ import annotations

from enum import StrEnum

from pdtest.embedded.proxy.instances import Side


class Path(StrEnum):
    """Which instances serve a request."""

    #: Prefill computes the prompt, and hands it over to decode.
    PREFILL = "prefill"
    #: A decode instance does all of it.
    DECODE = "decode"
    #: A hybrid instance does all of it.
    HYBRID = "hybrid"

    @property
    def sides(self) -> tuple[Side, ...]:
        """Who is needed for it."""
        return (Side.PREFILL, Side.DECODE) if self is Path.PREFILL else (Side(self.value),)
