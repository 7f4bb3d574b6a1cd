"""The base of all that an environment file may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen, and intolerant of keys it does not know."""

    # What checks a part is built with the whole that it is part of, not once for itself as well.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants", defer_build=True
    )
