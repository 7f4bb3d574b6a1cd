"""Which environment is meant where none is named."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pdtest.keeper import standing_clusters

_SETTING: Final = "pdtest_default_env"
#: It needs nothing but Python.
_ANYWHERE: Final = "embedded"


def at_hand(rootdir: Path, home: Path) -> str:
    """The one whose cluster stands, if it is the only one; else the one that pytest takes by default."""
    standing = [one.environment for one in standing_clusters(home)]
    return standing[0] if len(standing) == 1 else _by_default(rootdir) or _ANYWHERE


def _by_default(rootdir: Path) -> str | None:
    """Out of pyproject.toml, whose section has had two names (pytest 9.0: [tool.pytest])."""
    told: dict[str, Any] = {}
    with suppress(OSError, tomllib.TOMLDecodeError):
        told = tomllib.loads((rootdir / "pyproject.toml").read_text(encoding="utf-8"))
    settings = told.get("tool", {}).get("pytest", {})
    name = settings.get(_SETTING) or settings.get("ini_options", {}).get(_SETTING)
    return str(name) if name else None
