"""The API key of a member, from the variable that its environment file names."""

from __future__ import annotations

import os

from pdtest.environment.schema import Member
from pdtest.errors import PdtestError


class MissingApiKey(PdtestError):
    """A member names a variable for its API key, and the variable holds nothing."""

    title = "missing API key"

    def __init__(self, member: str, variable: str, *, seen: str) -> None:
        self.member = member
        self.variable = variable
        super().__init__(
            f"member '{member}' takes its API key from {variable}, which is {seen}",
            where=f"members.{member}.api_key_env",
            expected=f"the key in the environment variable {variable}",
            seen=seen,
            next_step=f"export {variable}=..., or drop api_key_env where the server wants no key",
        )


def api_key(name: str, member: Member) -> str | None:
    """The key of the member called ``name``; None where it needs none.

    Raises MissingApiKey when the variable is unset or empty.
    """
    variable = member.api_key_env
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise MissingApiKey(name, variable, seen="not set" if key is None else "set to nothing")
    return key
