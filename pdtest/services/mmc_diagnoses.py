"""Known failures of memcache, with the line that gives each away (seen at memcache_hybrid 1.3.0)."""

from __future__ import annotations

from pdtest.services.diagnoses import diagnosis
from pdtest.services.service import Diagnosis

_INSTALL = "pip install memcache-hybrid memfabric-hybrid into the interpreter named in command.sh"

MMC: tuple[Diagnosis, ...] = (
    diagnosis(
        "another meta service runs",
        r"process lock file is locked|meta service is already running",
        "one memcache meta service runs per machine, and another one holds /tmp/mmc_meta_service.lock",
        "end it ('fuser /tmp/mmc_meta_service.lock' shows its process), or attach to it: launcher: attach",
    ),
    diagnosis(
        "unknown memcache key",
        r"Invalid key <[\w.]+>",
        "this release of memcache has no key of that name in its config file",
        "drop it from the member's options (ock.mmc.tls.top.path and dram_by_sdma are gone from 1.3.0)",
    ),
    diagnosis(
        "memcache setting out of range",
        r"Invalid value for <[\w.]+>|Wrong configuration in file|evictThresholdHigh must large than",
        "memcache does not take a value of its config file",
        "correct the key that the line names, under the member's options",
    ),
    diagnosis(
        "memcache TLS file missing",
        r"ValidateTLSConfig\]|Failed to load openssl dynamic library|Invalid (metrics )?tls config",
        "TLS is enabled, and a certificate, a key or OpenSSL's directory is not where the config file says",
        "correct the paths of that family of ock.mmc...tls keys, or set its enable to false",
    ),
    diagnosis(
        "memcache port in use",
        r"address in use for bind|Failed to start HTTP (server|listener)",
        "another process listens on a port that the meta service was given",
        "set the port to 'auto' in the environment file, or end the other process (ss -ltnp shows it)",
    ),
    diagnosis(
        "memcache log path unusable",
        r"Invalid log path|Failed to init (audit )?spdlog|Failed to create log",
        "memcache may not write its log where ock.mmc.log_path says",
        "leave the key out, so that the log goes to the member's directory, or choose another",
    ),
    diagnosis(
        "Ascend driver missing or too old",
        r"the current version of ascend driver does not support mf",
        "memcache's local service needs the Ascend driver, whatever its protocol, and found none that fits",
        "run on a node with NPUs, a current driver and CANN's set_env.sh under options.set_env",
    ),
    diagnosis(
        "memcache meta service not reached",
        r"connect to server failed, ip: \S+ port: \d+",
        "the local service found no meta service at the URLs of its config file",
        "see the meta service's own log; meta_service_url and config_store_url must be as there",
    ),
    diagnosis(
        "memcache missing",
        r"Please install memcache|No module named 'memcache_hybrid'|mmc_meta_service: (command )?not found",
        "memcache is not installed for this interpreter, or its binary is not on PATH",
        _INSTALL,
    ),
    diagnosis(
        "memcache did not initialize",
        r"Failed to initialize DistributedObjectStore|failed to create or start local service"
        r"|Failed to init bm of local service",
        "memcache's local service inside the engine did not come up",
        "the lines before say why: mostly the driver, the protocol, or sizes that differ between ranks",
    ),
)
