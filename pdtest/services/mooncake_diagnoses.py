"""Known failures of Mooncake's master, each with a line that mooncake_master 0.3.13 printed."""

from __future__ import annotations

from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.service import Diagnosis

MOONCAKE_DIAGNOSES: tuple[Diagnosis, ...] = (
    diagnosis(
        "shared library missing",
        r"lib(ibverbs|numa|uring|rdmacm)\S*: cannot open shared object file",
        "a system library that Mooncake's wheels expect is not installed",
        "apt-get install libibverbs1 libnuma1 liburing2 (also where there is no RDMA)",
    ),
    diagnosis(
        "metadata port in use",
        r"Failed to start HTTP metadata server on \S+",
        "the port for the transfer engines' metadata is taken, or its address is not this machine's",
        "set members.<name>.ports.metadata to 'auto', or end the other process (ss -ltnp shows it)",
    ),
    diagnosis(
        "unknown flag",
        r"unknown command line flag '",
        "an entry under args is no flag of this version of mooncake_master",
        "check the member's args against mooncake_master --help",
    ),
    diagnosis(
        "flag with a bad value",
        r"illegal value '.*' specified for \w+ flag",
        "an entry under args has a value of the wrong type",
        "correct it; mooncake_master --help names the types",
    ),
    diagnosis(
        "watermark out of range",
        r"Eviction (high watermark )?ratio must be between",
        "eviction_high_watermark_ratio or eviction_ratio is no share between 0 and 1",
        "write 0.9 for 90 %",
    ),
    diagnosis(
        "put timeouts out of order",
        r"put_start_release_timeout=\d+ must be larger",
        "an unfinished put would lose its memory before it is given up",
        "make put_start_release_timeout_sec larger than put_start_discard_timeout_sec",
    ),
    diagnosis(
        "HA backend missing",
        r"HA backend connection string must be set",
        "enable_ha is set, and nothing says where etcd is",
        "give etcd_endpoints, or drop enable_ha",
    ),
    *COMMON,
    diagnosis(
        "rpc port in use",
        r"Task cleanup thread stopped",
        # Seen with 0.3.13: it says "Master service started on port", then ends with code 0 and no other word.
        "the master ended without saying why; it does so when its RPC port is taken",
        "set members.<name>.ports.rpc to 'auto', or end the other process (ss -ltnp shows it)",
    ),
)
