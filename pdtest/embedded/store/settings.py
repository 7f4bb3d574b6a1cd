"""All that can be set about the store's meta process."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

_MIB = 1 << 20
_HIGHEST_PORT = 65535

_DESCRIPTION = """\
A pool of KV by content, in the manner of memcache and of Mooncake's store.

This is the meta process: it knows which object lies in which segment. Memory comes from the clients (engines
contribute segments) and from this process (--segment-mib); bytes travel directly between clients. An object
lives in one segment: it is lost when the client that contributed the segment goes away.
"""

_EPILOG = """\
example:
  python -m pdtest.embedded.store --port 5000 --http-port 9003 --segment-mib 64
  curl http://127.0.0.1:9003/stats
"""


class BadSetting(ValueError):
    """A flag with a value that makes no sense. The message names the flag."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Names are those of the flags. Watermarks are shares of the capacity, times are seconds."""

    host: str = "127.0.0.1"
    port: int = 5000
    http_port: int = 9003
    segment_mib: float = 64.0
    high_watermark: float = 0.9
    low_watermark: float = 0.8
    lease: float = 2.0
    put_timeout: float = 30.0
    client_timeout: float = 10.0

    def __post_init__(self) -> None:
        for flag, port in (("--port", self.port), ("--http-port", self.http_port)):
            if not 0 <= port <= _HIGHEST_PORT:
                raise BadSetting(f"{flag} {port}: a port is between 0 (any) and {_HIGHEST_PORT}")
        if self.port and self.port == self.http_port:
            raise BadSetting(f"--port and --http-port are both {self.port}: give each a port of its own")
        if self.segment_mib < 0:
            raise BadSetting(f"--segment-mib {self.segment_mib:g}: 0 (all memory is the clients') or more")
        if not 0 < self.low_watermark < self.high_watermark <= 1:
            raise BadSetting(
                f"--low-watermark {self.low_watermark:g} --high-watermark {self.high_watermark:g}: shares"
                " of the capacity, 0 < low < high <= 1"
            )
        if self.lease < 0:
            raise BadSetting(f"--lease {self.lease:g}: seconds, 0 (no lease) or more")
        for flag, seconds in (("--put-timeout", self.put_timeout), ("--client-timeout", self.client_timeout)):
            if not seconds > 0:
                raise BadSetting(f"{flag} {seconds:g}: seconds, more than 0")

    @property
    def segment_bytes(self) -> int:
        """Memory that the meta process itself contributes."""
        return int(self.segment_mib * _MIB)

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> StoreSettings:
        """From the command line; ends the process with a message when a flag is wrong."""
        parser = _parser()
        try:
            return cls(**vars(parser.parse_args(arguments)))
        except BadSetting as error:
            parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pdtest.embedded.store",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = StoreSettings()

    def add(flag: str, kind: type, text: str) -> None:
        value = getattr(default, flag.removeprefix("--").replace("-", "_"))
        help_text = f"{text} (default: %(default)s)"
        parser.add_argument(flag, type=kind, default=value, metavar=kind.__name__.upper(), help=help_text)

    add("--host", str, "address to listen on, for both ports")
    add("--port", int, "where clients register, allocate and ask; the store's address for engines")
    add("--http-port", int, "where /health, /metrics and /stats are served")
    add(
        "--segment-mib",
        float,
        "memory of this process for the pool; objects there survive every client; 0: none",
    )
    add(
        "--high-watermark",
        float,
        "share of the capacity beyond which an allocation evicts the least recently used objects"
        " (memcache: evict_threshold_high)",
    )
    add("--low-watermark", float, "share of the capacity down to which it evicts (evict_threshold_low)")
    add(
        "--lease",
        float,
        "seconds for which an object is not evicted after a client was told that it exists, so that it can"
        " be fetched",
    )
    add("--put-timeout", float, "seconds without progress after which a put is called off")
    add(
        "--client-timeout",
        float,
        "seconds without a word after which a client counts as dead, although connected, and its segment's"
        " objects are lost",
    )
    return parser
