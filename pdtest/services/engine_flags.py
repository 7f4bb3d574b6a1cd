"""Flags that the environment file's structure decides, and that `args:` must not contradict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.services.errors import RenderError

#: Flag -> where it is said instead.
OWNED = {
    "host": "hosts.<name>.address",
    "port": "members.<name>.ports.http",
    "model": "model.path",
    "served-model-name": "model.served_name",
    "revision": "model.revision",
    "kv-transfer-config": "connector",
    "api-key": "members.<name>.api_key_env",
}


def refuse_owned(member: str, args: Mapping[str, Any]) -> None:
    """Raise RenderError for an argument that another part of the file already decides."""
    for flag in args:
        name = flag.replace("_", "-")
        if name in OWNED:
            raise RenderError(
                f"member '{member}' sets --{name} under args",
                where=f"members.{member}.args.{flag}",
                expected=f"the value under {OWNED[name]}, from which pdtest renders --{name}",
                seen=f"{flag}: {args[flag]!r}",
                next_step="remove the line under args",
            )
