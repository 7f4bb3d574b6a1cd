"""API keys: where they come from, and how they are kept out of everything that is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pdtest.errors import PdtestError

MASK = "***"


class MissingApiKey(PdtestError):
    """A member names a variable for its API key, and the variable is not set."""

    title = "missing API key"

    def __init__(self, member: str, variable: str) -> None:
        self.member = member
        self.variable = variable
        super().__init__(
            f"member '{member}' takes its API key from {variable}, which is not set",
            where=f"members: {member}: api_key_env",
            next_step=f"export {variable}=..., or remove api_key_env when the server wants no key",
        )


def api_key(member: str, variable: str | None, environ: Mapping[str, str]) -> str | None:
    """The key that ``variable`` holds; None when the member names no variable.

    Raises MissingApiKey when the variable is unset or empty.
    """
    if variable is None:
        return None
    if not environ.get(variable):
        raise MissingApiKey(member, variable)
    return environ[variable]


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret replaced.

    Longest first, so that a secret that begins another does not leave the other's tail readable.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def mask_json(value: Any, secrets: frozenset[str]) -> Any:
    """A copy of a JSON value with the secrets replaced in every string and key."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {mask(str(key), secrets): mask_json(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_json(item, secrets) for item in value]
    return value
