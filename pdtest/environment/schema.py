"""What an environment file may say: the frozen data every other room reads.

The models are strict: an unknown key or a wrong type is an error, and `loading.py` turns
pydantic's findings into messages with file, line and the nearest valid name. The JSON Schema
that `pdtest env schema` prints for editors is generated from these classes, so each field's
description is written for someone who is editing an environment file.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pdtest.environment.compare import Compare
from pdtest.environment.load import ClientThresholds, Load, Watch
from pdtest.environment.performance import Limits, Performance
from pdtest.environment.ray import Ray, Resources
from pdtest.environment.routing import Routing
from pdtest.environment.site import Site
from pdtest.environment.ssh import Ssh
from pdtest.environment.strict import Strict
from pdtest.environment.workload import Workload


class Role(StrEnum):
    """What a member does for the deployment."""

    PREFILL = "prefill"
    DECODE = "decode"
    #: Does both for some requests, where a router decides which. Not the reference of a comparison.
    HYBRID = "hybrid"
    COLOCATED = "colocated"
    PROXY = "proxy"
    STORE = "store"


ENGINE_ROLES = frozenset({Role.PREFILL, Role.DECODE, Role.HYBRID, Role.COLOCATED})

Scalar = str | int | float | bool | None
Port = Annotated[int, Field(ge=1, le=65535)]


class DeviceKind(StrEnum):
    """How a chip is addressed, which decides the variable that makes it visible."""

    CORE = "core"
    CUDA = "cuda"
    ASCEND = "ascend"


class Devices(Strict):
    """The chips of a host that members may ask for."""

    kind: Annotated[DeviceKind, Field(strict=False)] = Field(description="core, cuda or ascend")
    ids: tuple[int, ...] = Field(strict=False, description="device numbers, as the driver counts")
    shared: bool = Field(
        default=False,
        description="true lets several members use one device (CPU cores); false makes that an error",
    )


class Host(Strict):
    """A machine that members run on."""

    address: str = Field(default="127.0.0.1", description="name or IP that the other members use")
    devices: Devices | None = None
    ssh: Ssh | None = Field(
        default=None, description="how to get there, for members with launcher: ssh; {} is as `ssh` does"
    )
    ray: Ray | None = Field(
        default=None, description="a Ray cluster, for members with launcher: ray; {} is the one at hand"
    )

    @property
    def site(self) -> Site | None:
        """How members live there, where it is not this machine."""
        return self.ssh or self.ray


class Model(Strict):
    """The model all engines serve."""

    path: str = Field(description="directory, or a hub name the engines resolve")
    make: Literal["tiny", "embedded"] | None = Field(
        default=None,
        description=(
            "pdtest writes a small random model there when it is absent: 'tiny' for vLLM (needs torch), "
            "'embedded' for the embedded engine"
        ),
    )
    served_name: str | None = Field(default=None, description="the name requests use; default: path")
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        description="decides the tolerance of log-probability comparisons"
    )
    block_size: int = Field(gt=0, description="tokens per KV block, on prefill and decode")
    max_model_len: int = Field(gt=0, description="longest prompt plus answer, in tokens")
    vocab_size: int | None = Field(
        default=None, gt=0, description="token ids; default: read from config.json under path"
    )

    @property
    def name(self) -> str:
        """The model name that requests carry."""
        return self.served_name or self.path


class Connector(Strict):
    """How KV moves, and what the engines are told about it."""

    contract: tuple[str, ...] = Field(
        strict=False,
        min_length=1,
        description="wire contracts, in first-hit order: [nixl], or [nixl, example] for a MultiConnector",
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="kv-transfer-config that prefill and decode members share"
    )
    by_role: dict[Annotated[Role, Field(strict=False)], dict[str, Any]] = Field(
        default_factory=dict, description="merged over config for the members of one role"
    )


class MemberDefaults(Strict):
    """Settings for every member of one service; a member's own settings win."""

    args: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, Scalar] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    ready_timeout_s: float | None = Field(default=None, gt=0)
    stop_timeout_s: float | None = Field(default=None, gt=0)


class Member(Strict):
    """One process or endpoint with a role."""

    role: Annotated[Role, Field(strict=False)]
    service: str = Field(description="what kind of program it is: vllm, vllm-router, toy-proxy, command ...")
    launcher: str = Field(default="local", description="how it comes to life: local, ssh, ray, attach ...")
    host: str = Field(default="local", description="a name under hosts")
    url: str | None = Field(default=None, description="where an attached member answers")
    optional: bool = Field(
        default=False, description="true leaves an attached member out where its url is empty: ${PROXY_URL:-}"
    )
    standby: bool = Field(
        default=False,
        description="true: it is started only when it is asked for, by name or because a router wants more",
    )
    devices: tuple[int, ...] = Field(default=(), strict=False, description="ids from the host's devices")
    resources: Resources = Field(
        default_factory=dict, description="with launcher: ray, what Ray gives it: {GPU: 1}, {NPU: 2, CPU: 4}"
    )
    ports: dict[str, Port | Literal["auto"]] = Field(
        default_factory=dict, description="by the service's port names; what is not given is 'auto'"
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description=(
            "--key value; true: bare flag; list: several values; mapping: JSON; null: drop an inherited one"
        ),
    )
    env: dict[str, Scalar] = Field(default_factory=dict, description="null drops an inherited variable")
    files: dict[str, Any] = Field(
        default_factory=dict,
        description="config files by name: text as it is, mappings as JSON; ${self.files.NAME} is the path",
    )
    connector: dict[str, Any] = Field(
        default_factory=dict, description="merged over the environment's connector config for this member"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="settings of the service")
    code: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="files, folders and modules beside those its command names: where they change, a member "
        "that was left standing is started anew",
    )
    api_key_env: str | None = Field(
        default=None, description="variable that holds the API key; its value never reaches a log or report"
    )
    ready_timeout_s: float = Field(default=600.0, gt=0, description="seconds until it must answer")
    stop_timeout_s: float = Field(default=20.0, gt=0, description="seconds from SIGTERM to SIGKILL")


class ReferenceKind(StrEnum):
    """Where the colocated answers come from."""

    MEMBER = "member"
    BORROWED = "borrowed"
    RECORDED = "recorded"


class Reference(Strict):
    """The colocated side of every comparison."""

    kind: Annotated[ReferenceKind, Field(strict=False)] = Field(
        default=ReferenceKind.MEMBER,
        description=(
            "member: a colocated member answers; borrowed: a plain request to another member, caches reset; "
            "recorded: the colocated member runs first on the same devices and its answers are kept"
        ),
    )
    member: str | None = Field(default=None, description="which member; default: the one with role colocated")
    otherwise: str | None = Field(
        default=None, description="an engine to borrow from where that member is optional and left out"
    )


class Parity(Strict):
    """When two answers count as equal."""

    logprob_tolerance: float | None = Field(
        default=None, gt=0, description="absolute; default by dtype: float32 1e-4, otherwise 0.05"
    )


class Thresholds(Strict):
    """Deadlines and limits that verdicts use. Seconds unless the name says otherwise."""

    request_timeout_s: float = Field(default=120.0, gt=0, description="a request slower than this hangs")
    hang_s: float = Field(
        default=60.0, gt=0, description="a request with falsified parameters that takes longer hangs"
    )
    settle_s: float = Field(default=10.0, gt=0, description="how long counters may lag behind an answer")
    release_s: float = Field(default=15.0, gt=0, description="KV usage must be idle again within this")
    recovery_s: float = Field(
        default=30.0, gt=0, description="the service must answer rightly this long after a fault is lifted"
    )
    lease_s: float | None = Field(
        default=None, gt=0, description="how long prefill holds blocks that nobody fetches"
    )
    client: ClientThresholds = ClientThresholds()
    performance: Limits = Field(
        default_factory=dict,
        description="limits of suites/performance, by measure (docs/metrics.md): {ttft_p50: {at_most: 1}}",
    )


class Needed(Strict):
    """Something the machine must have, and what to say where it has not."""

    need: str = Field(description="the package with its versions, the program or the file")
    why: str = Field(default="", description="shown where it is missing: the reason, and what to do")


def _is_package(entry: str | Needed) -> str | Needed:
    text = entry.need if isinstance(entry, Needed) else entry
    with suppress(InvalidRequirement):
        requirement = Requirement(text)
        if not (requirement.extras or requirement.marker or requirement.url):
            return entry
    raise PydanticCustomError("package", "a package's import name and its versions, as in 'vllm<0.24'")


class Requirements(Strict):
    """What the machine must have, checked before anything starts."""

    packages: tuple[Annotated[str | Needed, AfterValidator(_is_package)], ...] = Field(
        default=(),
        strict=False,
        description="importable Python packages, with versions where they matter: 'vllm<0.24'",
    )
    python: str | None = Field(
        default=None, description="interpreter that must have the packages; default: the one of pytest"
    )
    extra: str | None = Field(default=None, description="the extra of pdtest that installs the packages")
    executables: tuple[str | Needed, ...] = Field(default=(), strict=False, description="programs on PATH")
    files: tuple[str | Needed, ...] = Field(
        default=(), strict=False, description="files and directories that must exist"
    )
    variables: tuple[str | Needed, ...] = Field(
        default=(), strict=False, description="environment variables that must be set, and not empty"
    )
    memory_gib: float | None = Field(default=None, gt=0, description="available memory, GiB")


class Outcome(StrEnum):
    """How a request that was tampered with may end."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"
    HANG = "hang"
    DIES = "dies"


class Via(Strict):
    """A TCP link between members that pdtest carries itself, so that it can be broken and mended."""

    source: str | None = Field(
        default=None, description="the member that connects; default: all that connect to this port"
    )
    target: str = Field(description="the member that is connected to")
    port: str = Field(default="http", description="one of its ports, by the service's port names")


class Phases(Strict):
    """Seconds that a request stays in each phase at the least, where the engines are made so slow.

    Whether a fault fell into a phase can then be said for certain. 0: not known.
    """

    prefill: float = Field(default=0.0, ge=0)
    transfer: float = Field(default=0.0, ge=0)
    decode: float = Field(default=0.0, ge=0)


class KnownIssue(Strict):
    """Tests that fail for a reason known and reported, until it is mended."""

    tests: str = Field(description="pattern of test ids as in a shell, e.g. '*test_shape[chat-*-proxy]'")
    why: str = Field(min_length=1, description="whose fault, since which version, where it is reported")
    run: bool = Field(
        default=True,
        description="false: their requests are not even sent, since they would spoil the tests that follow",
    )


class Planting(Strict):
    """What `pdtest mutants run` does here unless it is told otherwise: where engines are slow, not all."""

    only: tuple[str, ...] = Field(
        default=(), strict=False, description="names of mutants; none: all that the environment can have"
    )
    tests: str = Field(default="", description="pytest's -k, without one: which tests look at them")


#: What an environment of stores alone has: nobody serves a model, nothing is handed over.
_NO_MODEL = Model(path="", dtype="float32", block_size=1, max_model_len=1)
_NO_CONNECTOR = Connector.model_construct(contract=())


class Environment(Strict):
    """A deployment to test. Frozen once loaded."""

    name: str
    description: str = ""
    marks: tuple[str, ...] = Field(default=(), strict=False, description="pytest marks its tests take")
    requires: Requirements = Requirements()
    hosts: dict[str, Host] = Field(default_factory=lambda: {"local": Host()})
    model: Model = Field(default=_NO_MODEL, description="needed as soon as there are engines")
    connector: Connector = Field(default=_NO_CONNECTOR, description="needed as soon as there are engines")
    defaults: dict[str, MemberDefaults] = Field(
        default_factory=dict, description="by service name, beneath every member of that service"
    )
    members: dict[str, Member]
    reference: Reference = Reference()
    parity: Parity = Parity()
    load: Load = Load()
    watch: Watch = Watch()
    workloads: dict[str, Workload] = Field(
        default_factory=dict, description="loads for suites/performance, by name"
    )
    thresholds: Thresholds = Thresholds()
    performance: Performance = Performance()
    compare: Compare = Compare()
    tampering: dict[
        str, Annotated[tuple[Annotated[Outcome, Field(strict=False)], ...], Field(strict=False)]
    ] = Field(
        default_factory=dict,
        description="outcomes allowed per kind of tampered kv_transfer_params; not listed: right or error",
    )
    links: tuple[Via, ...] = Field(
        default=(),
        strict=False,
        description="TCP links that go through a relay of pdtest's, for suites/recovery to break",
    )
    phases: Phases = Phases()
    recovery: dict[
        str, Annotated[tuple[Annotated[Outcome, Field(strict=False)], ...], Field(strict=False)]
    ] = Field(
        default_factory=dict,
        description="outcomes allowed per scenario of suites/recovery; not listed: right or error",
    )
    routing: Routing = Field(default=Routing(), description="how the proxy decides, for suites/routing")
    mutants: Planting = Planting()
    known_issues: tuple[KnownIssue, ...] = Field(
        default=(),
        strict=False,
        description="tests expected to fail here; one that passes all the same fails the run",
    )
    source: Path | None = Field(default=None, exclude=True, strict=False)

    @property
    def only_stores(self) -> bool:
        """A store on its own, to be tested without engines: there is no model, and nothing is handed over."""
        return bool(self.members) and len(self.members_with(Role.STORE)) == len(self.members)

    def members_with(self, *roles: Role) -> dict[str, Member]:
        """The members that have one of ``roles``, in file order."""
        return {name: member for name, member in self.members.items() if member.role in roles}
