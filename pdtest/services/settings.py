"""The base of what an environment file says to a program: options of its service, settings of its files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, and intolerant of keys it does not know. A number where text is wanted is text."""

    # A run uses few of the services that there are: what checks their options is built when it is needed.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, defer_build=True)
