"""The API key of a member, from the variable its environment file names."""

from __future__ import annotations

import os

from pdtest.environment.schema import Member
from pdtest.services.errors import RenderError


def api_key(member: Member) -> str | None:
    """The key, or None where the member needs none. Raises RenderError when the variable is unset."""
    if member.api_key_env is None:
        return None
    key = os.environ.get(member.api_key_env)
    if not key:
        raise RenderError(
            f"the API key of a member with role {member.role} is not set",
            expected=f"a value in the environment variable {member.api_key_env}",
            seen="nothing",
            next_step=f"export {member.api_key_env}=...",
        )
    return key
