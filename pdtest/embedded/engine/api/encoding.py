"""JSON as it goes over the wire: compact, UTF-8."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any, Final

#: The text of a string in JSON, quotes included.
quoted: Final = encode_basestring


def compact(value: Any) -> str:
    """``value`` as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encoded(text: str) -> bytes:
    """JSON as bytes. Half a surrogate pair, which has no UTF-8, is escaped."""
    return text.encode("utf-8", errors="backslashreplace")
