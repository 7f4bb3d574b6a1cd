"""Who served a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pdtest.environment.schema import Role


class Path(StrEnum):
    """The way that a request took. The names are those under which routers count their requests."""

    #: Prefill computed the prompt, and handed it over to decode.
    PREFILL = "prefill"
    #: A decode instance did all of it.
    DECODE = "decode"
    #: A hybrid instance did all of it.
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True)
class Served:
    """The members that computed a request's prompt and its answer. None: that is not known."""

    request_id: str
    prefill: str | None
    decode: str | None

    def path(self, roles: Mapping[str, Role]) -> Path | None:
        """The way it took; None where it is not known, or is none that a request may take."""
        if self.prefill is None or self.decode is None:
            return None
        if self.prefill != self.decode:
            return Path.PREFILL
        return {Role.DECODE: Path.DECODE, Role.HYBRID: Path.HYBRID}.get(roles[self.decode])


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many prompts and answers each member computed, whoever's they were.

    ``unknown`` says why that is not all of them; empty where it is.
    """

    prompts: Mapping[str, int]
    answers: Mapping[str, int]
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Who served requests, in the order in which they were sent.

    ``unknown`` says why something about them could not be learned; empty where all is known. ``tally`` is
    what engines counted, where that is all there is: members then have counts, and requests have none.
    """

    served: tuple[Served, ...]
    unknown: str = ""
    tally: Tally | None = None

    def paths(self, roles: Mapping[str, Role]) -> Sequence[Path | None]:
        """The way that each request took."""
        return [one.path(roles) for one in self.served]

    @property
    def prefills(self) -> Counter[str]:
        """Prompts by the member that computed them, as far as known."""
        if self.tally is not None:
            return Counter(self.tally.prompts)
        return Counter(one.prefill for one in self.served if one.prefill is not None)

    @property
    def decodes(self) -> Counter[str]:
        """Answers by the member that made them, as far as known."""
        if self.tally is not None:
            return Counter(self.tally.answers)
        return Counter(one.decode for one in self.served if one.decode is not None)

    @property
    def uncounted(self) -> str:
        """Why `prefills` and `decodes` are not all of them; empty where they are.

        A test that looks at counts asks this, one that looks at single requests ``unknown``.
        """
        return self.unknown if self.tally is None else self.tally.unknown
