"""Known failures of vLLM-Ascend, CANN and Mooncake on NPUs, with the line that gives each away.

The lines are from the issues of vllm-project/vllm-ascend, kvcache-ai/Mooncake and hiyouga/LlamaFactory; the
tests name them. None was seen here.
"""

from __future__ import annotations

from pdtest.services.diagnoses import diagnosis
from pdtest.services.service import Diagnosis

ASCEND: tuple[Diagnosis, ...] = (
    diagnosis(
        "set_env.sh missing",
        r"set_env\.sh: No such file or directory",
        "a script under options.set_env is not on this machine, so its program misses libraries",
        "correct options.set_env; CANN's is <toolkit>/set_env.sh, by default below /usr/local/Ascend",
    ),
    diagnosis(
        "Ascend driver not found",
        r"libascend_hal\.so: cannot open shared object",
        "the driver's libraries are not there, or not on LD_LIBRARY_PATH",
        "install the driver; in a container mount /usr/local/Ascend/driver, then source its set_env.sh",
    ),
    diagnosis(
        "CANN not sourced",
        r"lib(hccl|ascendcl|atb|msprofiler|opapi)\.so: cannot open shared object",
        "CANN's libraries are not on LD_LIBRARY_PATH",
        "add the toolkit's set_env.sh to options.set_env; nnal/atb/set_env.sh where libatb.so is missing",
    ),
    diagnosis(
        "Ascend plugin not loaded",
        r"Failed to load plugin ascend|Failed to infer device type"
        r"|Failed to load the backend extension: torch_npu",
        "vLLM runs without vllm-ascend, or the plugin or torch_npu could not be imported",
        "python -c 'import torch_npu, vllm_ascend', as command.sh runs python, says why",
    ),
    diagnosis(
        "NPU not there",
        r"invalid device=\d+, input visible devices|Failed to open device, retCode|\[device id error\]",
        "a device that the member was given is not visible to it",
        "compare the member's devices with 'npu-smi info'; in a container /dev/davinci<N> must be passed in",
    ),
    diagnosis(
        "NPU busy or hung",
        r"tsd client wait response fail",
        "the device did not answer: another process holds it, or the one before left it in a bad state",
        "'npu-smi info' lists its processes; end them, then 'npu-smi set -t reset -i <card> -c <chip>'",
    ),
    diagnosis(
        "NPU out of memory",
        r"NPU out of memory",
        "the device has too little free memory for weights and KV cache",
        "lower gpu-memory-utilization or max-model-len, or end what 'npu-smi info' shows on the device",
    ),
    diagnosis(
        "HCCL timeout",
        r"EI0006\b|Getting socket times out",
        "a rank waited for another one that did not come: it died, or has not got so far yet",
        "look at the other ranks' errors first; slow loading needs a larger HCCL_CONNECT_TIMEOUT (s)",
    ),
    diagnosis(
        "HCCL link failed",
        r"EI0009\b|Transport init error",
        "two NPUs could not connect to each other",
        "see the other ranks' errors first; 'hccn_tool -i <device> -link -g' says whether the link is up",
    ),
    diagnosis(
        "HCCL error",
        r"HCCL (function )?error",
        "the ranks' communication could not be set up",
        "the EIxxxx line near it says which; two ranks on one device end so too: check tensor-parallel-size",
    ),
    diagnosis(
        "KV port taken",
        r"KVCache\w*Thread exception: Address already in use|Address already in use \(addr='tcp://"
        r"|KV Cache sending/receiving thread failed to start",
        "a handshake port, one per rank from kv_port on, is in use",
        "end what 'ss -ltnp' shows, and keep clear of 20000 to 27999, of which Mooncake draws ports",
    ),
    diagnosis(
        "Mooncake missing",
        r"^(?!.*WARNING).*Please install mooncake|ascend_transport\w*\.so: cannot open shared object",
        "the connector needs Mooncake built for Ascend (USE_ASCEND_DIRECT), or its libraries were not found",
        "install it for the interpreter in command.sh, its libraries on LD_LIBRARY_PATH (/usr/local/lib)",
    ),
    diagnosis(
        "Mooncake could not register memory",
        r"Register mem ret:\d+|register_local_memory_failed",
        "Mooncake may not use the memory of the KV cache or of its segment",
        "check that driver, CANN and Mooncake fit (ASCEND_ENABLE_USE_FABRIC_MEM needs recent ones)",
    ),
    diagnosis(
        "KV transfer failed",
        r"Failed to connect to segment|Mooncake transfer failed|Failed to transfer KV cache for request",
        "decode could not read the KV from prefill",
        "the addresses must reach each other; Mooncake wants CANN from 8.3, and use_ascend_direct: true",
    ),
)
