"""Known failures of vLLM, with the line that gives each away (seen at vLLM 0.32 unless noted)."""

from __future__ import annotations

from pdtest.services.diagnoses import diagnosis
from pdtest.services.service import Diagnosis

VLLM: tuple[Diagnosis, ...] = (
    diagnosis(
        "side-channel port taken",
        r"ZMQError: Address already in use",
        "a port for KV (NIXL's side channel, P2P NCCL's kv_port) could not listen: the engine may look "
        "healthy and every transfer hang",
        "set ports.side_channel, or ports.p2p, to 'auto'; tensor parallel size n takes n ports from there",
    ),
    diagnosis(
        "engines that do not match",
        r"NIXL compatibility hash mismatch",
        "vLLM hands KV over only between engines that agree in version, dtypes, attention backend and in the "
        "model's path as it is written: the same model in another directory is another model",
        "give prefill and decode the same; on several hosts the same ssh.workdir, or the same ssh.model",
    ),
    diagnosis(
        "model path missing",
        r"HFValidationError: Repo id must be|does not appear to have a file named config\.json"
        r"|Invalid repository ID or local directory",
        "model.path is neither a model directory nor a hub name",
        "check model.path in the environment file; 'pdtest model make DIR' writes a tiny model",
    ),
    diagnosis(
        "model not in the cache",
        r"LocalEntryNotFoundError|couldn't connect to 'https?://huggingface|offline mode is enabled",
        "model.path is a hub name, the model is not cached here, and the hub cannot be reached",
        "download it first, or set model.path to a directory",
    ),
    diagnosis(
        "unsupported block size",
        r"No common block size for \d+",
        "the attention backend of this device does not take this block size",
        "set model.block_size to one of the sizes in the message (CPU: multiples of 32)",
    ),
    diagnosis(
        "KV cache too large",
        r"on kv cache allocation is less than requested|Free memory on device .* is less than"
        r"|No available memory for the cache blocks",
        "the memory asked for the KV cache is not free",
        "lower VLLM_CPU_KVCACHE_SPACE or gpu-memory-utilization, or end other processes on the device",
    ),
    diagnosis(
        "KV cache too small",
        r"estimated maximum model length|larger than the available KV cache memory",
        "one request of model.max_model_len tokens does not fit into the KV cache",
        "lower model.max_model_len or give the KV cache more memory",
    ),
    diagnosis(
        "GPU out of memory",
        r"CUDA out of memory|torch\.OutOfMemoryError|NPU out of memory",
        "the device has too little free memory for the model",
        "lower gpu-memory-utilization, use a smaller model, or end other processes on the device",
    ),
    diagnosis(
        "model length too long",
        r"User-specified max_model_len .* is greater than the derived max_model_len",
        "model.max_model_len is more than the model was made for",
        "lower model.max_model_len in the environment file",
    ),
    diagnosis(
        "NIXL missing",
        r"^(?!.*WARNING).*NIXL is not available",
        "the connector needs the package nixl, or its native library did not load",
        "pip install nixl into the interpreter named in command.sh; then: python -c 'import nixl._api'",
    ),
    diagnosis(
        "NIXL backend failed",
        r"no usable transports/devices|createBackend: backend|nixlBackendError",
        "NIXL found no transport it may use",
        "check UCX_TLS (tcp,sm,self runs anywhere) and that UCX's libraries load",
    ),
    diagnosis(
        "Mooncake missing",
        r"^(?!.*WARNING).*Mooncake is not available",
        "the connector needs Mooncake's transfer engine, or its native library did not load",
        "pip install mooncake-transfer-engine into the interpreter named in command.sh; then: "
        "python -c 'import mooncake.engine' (it needs libibverbs1, libnuma1 and liburing2)",
    ),
    diagnosis(
        "unknown connector",
        r"Unsupported connector type",
        "this vLLM has no connector of the name in connector.config.kv_connector",
        "check the spelling and the vLLM version (P2pNcclConnector is gone from 0.24)",
    ),
    diagnosis(
        "connector needs an accelerator",
        r"Cannot access accelerator device",
        "this connector does not run on this device",
        "use another connector: on CPU NixlConnector, NixlPushConnector and ExampleConnector work",
    ),
    diagnosis(
        "NCCL missing",
        r"Failed to load NCCL library from",
        "NCCL's library is not there, or not for this platform: P2P NCCL and tensor parallelism need it",
        "pip install nvidia-nccl-cu12 (or -cu13) beside vLLM, or set VLLM_NCCL_SO_PATH under env",
    ),
    diagnosis(
        "NCCL failed",
        r"NCCL error: ",
        "two processes could not set up NCCL with each other",
        "set NCCL_DEBUG: INFO under env and read the lines before; often /dev/shm is too small, the network "
        "interface is the wrong one (NCCL_SOCKET_IFNAME), or the GPUs cannot reach each other "
        "(NCCL_P2P_DISABLE: 1)",
    ),
    diagnosis(
        "no such GPU",
        r"invalid device ordinal|No CUDA GPUs are available",
        "the device that this member was given is not there, or another variable hides it",
        "check devices of the member against nvidia-smi -L",
    ),
    diagnosis(
        "CUDA driver too old",
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        "torch was built for a later CUDA than the driver supports",
        "update the driver, or install a vLLM that was built for an earlier CUDA",
    ),
    diagnosis(
        "P2P proxy port is a number",
        r"proxy_ip \+ \":\" \+ proxy_port",
        "vLLM's P2P connector wants proxy_ip and proxy_port as text",
        "put connector.config.kv_connector_extra_config.proxy_port into quotes",
    ),
    diagnosis(
        "P2P without HTTP port",
        r"kv_connector_extra_config\.http_port is required",
        "an instance that registers with a proxy must say its own HTTP port",
        "set connector.config.kv_connector_extra_config.http_port: ${self.ports.http}",
    ),
    diagnosis(
        "request without addresses",
        r"Request id .* does not contain hostname and port",
        "an instance of P2P NCCL got a request whose id does not name prefill and decode: a plain one",
        "send requests to the proxy; take reference answers from a colocated member, not from a borrowed one",
    ),
    diagnosis(
        "Mooncake engine failed",
        r"Mooncake Transfer Engine initialization failed",
        "Mooncake found no device for its protocol, which is rdma unless told",
        "without RDMA set kv_connector_extra_config.mooncake_protocol: tcp (gpu-mooncake: MOONCAKE_PROTOCOL)",
    ),
    diagnosis(
        "broken torchvision",
        r"operator torchvision::nms does not exist",
        "torchvision was built for another torch (often a CUDA build beside a CPU torch)",
        "pip uninstall -y torchvision torchaudio torchcodec triton",
    ),
    diagnosis(
        "ranks without cores",
        r"Not enough allowed NUMA nodes to bind threads",
        "vLLM on CPU gives each tensor-parallel rank a NUMA node, and there are fewer nodes than ranks",
        "name cores for the ranks: devices under the member, of kind core under hosts",
    ),
    diagnosis(
        "unknown argument",
        r"error: unrecognized arguments",
        "an entry under args is no flag of this vLLM version",
        "check the member's args against: python -m vllm.entrypoints.openai.api_server --help",
    ),
    diagnosis(
        "no compiler",
        r"InvalidCxxCompiler|No working C\+\+ compiler found",
        "vLLM on CPU compiles kernels at the first request and found no C++ compiler",
        "install g++ (Debian: apt-get install g++)",
    ),
)
