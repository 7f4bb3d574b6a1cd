"""How many instances a router wants: the embedded proxy's GET /scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from pdtest.client.endpoint import Endpoint
from pdtest.environment.schema import Role
from pdtest.errors import PdtestError


class NotScaling(PdtestError):
    """A router does not say how many instances it wants."""

    title = "no word of instances"


@validated(frozen=True, kw_only=True)
class Want:
    """Of one role: how many there are, how many it wants, and between what that must be."""

    now: int
    wanted: int
    least: int
    most: int

    @property
    def within(self) -> bool:
        """It wants no more and no fewer than it may."""
        return self.least <= self.wanted <= self.most


Wants = Mapping[Role, Want]

_WANTS = TypeAdapter(dict[Role, Want])


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a router said, and when: seconds of the monotonic clock."""

    at_s: float
    wants: Wants


async def wants_of(router: Endpoint) -> Wants:
    """By role, those that it scales. Raises NotScaling for a router that says nothing of the kind."""
    told = await router.document("/scaling")
    wrong = "start it with bounds: routing.scaling"
    if told:
        try:
            return _WANTS.validate_python(told)
        except ValidationError as error:
            wrong = str(error)
    raise NotScaling(
        f"'{router.name}' does not say how many instances it wants",
        expected='{"prefill": {"now": 1, "wanted": 2, "least": 1, "most": 3}, ...}',
        seen=str(told)[:300],
        where=f"{router.url}/scaling",
        next_step=wrong,
    )
