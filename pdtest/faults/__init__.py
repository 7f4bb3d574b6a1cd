"""Things that are broken from outside, and mended again."""

from pdtest.faults.disk import FullDisk
from pdtest.faults.fault import Aftermath, Fault, Refused, Seen, Unverified, inflicted
from pdtest.faults.kv import ExhaustedKV
from pdtest.faults.network import LinkFault
from pdtest.faults.process import Freeze, Kill, Restart, Terminate

__all__ = [
    "Aftermath",
    "ExhaustedKV",
    "Fault",
    "Freeze",
    "FullDisk",
    "Kill",
    "LinkFault",
    "Refused",
    "Restart",
    "Seen",
    "Terminate",
    "Unverified",
    "inflicted",
]
