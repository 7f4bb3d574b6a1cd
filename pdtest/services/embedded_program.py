"""What the programs of the embedded stack log, and their known failures."""

from __future__ import annotations

import re

from pdtest.services.diagnoses import COMMON, diagnosis
from pdtest.services.service import Diagnosis, LogRules

EMBEDDED_LOG = LogRules(
    # Python's own words for a task that died with nobody waiting for it come without a level.
    error=re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback |exception was never retrieved|^Fatal ")
)

EMBEDDED_DIAGNOSES: tuple[Diagnosis, ...] = (
    diagnosis(
        "embedded stack not installed",
        r"No module named '(numpy|starlette|uvicorn|uvloop|httptools|msgpack|zmq|prometheus_client)'",
        "the member's interpreter lacks a package of the embedded stack",
        "pip install 'pdtest[embedded]' into the interpreter named in command.sh",
    ),
    diagnosis(
        "model unreadable",
        r"cannot read \S+config\.json|config\.json (is not JSON|has no)",
        "model.path is no directory with a config.json that the embedded engine understands",
        "set model.make: embedded, or check model.path in the environment file",
    ),
    diagnosis(
        "KV heads do not divide",
        r"KV heads cannot be dealt out to \d+ tensor-parallel ranks",
        "tensor-parallel-size does not divide the model's num_key_value_heads",
        "choose a tensor-parallel-size that does (the embedded model has 4 KV heads)",
    ),
    diagnosis(
        "model length too long",
        r"--max-model-len \d+ is more than the model has positions",
        "model.max_model_len is more than the model was made for",
        "lower model.max_model_len in the environment file",
    ),
    diagnosis(
        "unknown connector",
        r"kv_connector: expected one of",
        "the embedded engine has no connector of the name in connector.config.kv_connector",
        "take one of the names in the message",
    ),
    diagnosis(
        "unknown argument",
        r"error: unrecognized arguments",
        "an entry under args is no flag of this program",
        "check the member's args against --help of the program in command.sh",
    ),
    *COMMON,
)
