"""Ways of falsifying kv_transfer_params between the legs of a handoff."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdtest.errors import PdtestError

Params = Mapping[str, Any]
Falsify = Callable[[dict[str, Any], Params], dict[str, Any] | None]


class TamperImpossible(PdtestError):
    """The parameters at hand cannot be falsified in the way that was asked for."""

    title = "cannot tamper"

    def __init__(self, name: str, reason: str, *, params: Params) -> None:
        self.name = name
        self.params = params
        super().__init__(
            f"'{name}' is not possible here: {reason}",
            seen=f"kv_transfer_params {dict(params)}",
            next_step="use a longer prompt (several blocks), or another request's parameters",
        )


class UnknownTamper(PdtestError):
    """No contract in use has a tamper of this name."""

    title = "unknown tamper"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"there is no tamper '{name}'", expected=", ".join(known) or "none: no params")


@dataclass(frozen=True, kw_only=True)
class Tamper:
    """A way of falsifying the parameters, and the bug in the field that it imitates."""

    name: str
    imitates: str
    falsify: Falsify = field(repr=False, compare=False)
    #: True when the other request must have been through its own decode already.
    spent: bool = False

    def apply(self, params: Params, other: Params) -> dict[str, Any] | None:
        """The falsified parameters; None means that none are sent.

        ``other`` are the parameters of another request. Neither argument is changed. Raises
        TamperImpossible when the result would say the same as ``params``: a test that goes on with
        it would prove nothing.
        """
        falsified = self.falsify(copy.deepcopy(dict(params)), copy.deepcopy(dict(other)))
        if falsified == dict(params):
            raise TamperImpossible(self.name, "nothing would change", params=params)
        return falsified


def pick(tampers: Sequence[Tamper], name: str) -> Tamper:
    """The tamper called ``name``. Raises UnknownTamper."""
    for tamper in tampers:
        if tamper.name == name:
            return tamper
    raise UnknownTamper(name, [tamper.name for tamper in tampers])
