"""The Python that runs a member."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from pydantic import BeforeValidator


def _ours_unless_named(given: Any) -> Any:
    return given or sys.executable


#: A path or a program name; nothing, as from an empty variable, is the interpreter of pytest.
Interpreter = Annotated[str, BeforeValidator(_ours_unless_named)]
