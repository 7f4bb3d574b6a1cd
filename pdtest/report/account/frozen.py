"""What all models of this room are."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shown(BaseModel):
    """Made by us for readers elsewhere: programs read it as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
