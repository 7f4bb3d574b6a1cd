"""Things that are broken from outside, and mended again."""

from pdtest.faults.fault import Aftermath, Fault, Refused, Seen, Unverified, inflicted
from pdtest.faults.network import LinkFault
from pdtest.faults.process import Freeze, Kill, Restart, Terminate

__all__ = [
    "Aftermath",
    "Fault",
    "Freeze",
    "Kill",
    "LinkFault",
    "Refused",
    "Restart",
    "Seen",
    "Terminate",
    "Unverified",
    "inflicted",
]
