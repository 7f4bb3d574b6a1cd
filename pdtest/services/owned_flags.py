"""Flags that the environment file's structure decides, and that `args:` must not contradict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdtest.services.errors import RenderError

#: Of every program that listens: flag -> where it is said instead.
LISTENER: Mapping[str, str] = {
    "host": "hosts.<name>.address",
    "port": "members.<name>.ports.http",
}


def refuse_owned(member: str, args: Mapping[str, Any], owned: Mapping[str, str]) -> None:
    """Raise RenderError for an argument that another part of the file already decides.

    ``owned`` gives for each such flag where it is said instead.
    """
    for flag in args:
        name = flag.replace("_", "-")
        if name in owned:
            raise RenderError(
                f"member '{member}' sets --{name} under args",
                where=f"members.{member}.args.{flag}",
                expected=f"what {owned[name]} says, from which pdtest renders --{name}",
                seen=f"{flag}: {args[flag]!r}",
                next_step="remove the line under args",
            )
