"""TCP links between members, carried by a relay of ours so that they can be broken and mended."""

from pdtest.links.condition import HEALTHY, Condition, Line, Manner
from pdtest.links.link import Link
from pdtest.links.relay import Relay, Traffic

__all__ = ["HEALTHY", "Condition", "Line", "Link", "Manner", "Relay", "Traffic"]
