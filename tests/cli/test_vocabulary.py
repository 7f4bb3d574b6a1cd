from __future__ import annotations

from pdtest.cluster.vocabulary import vocabulary
from pdtest.environment.schema import Member, Role


def test_environment_files_may_use_what_the_registries_know() -> None:
    known = vocabulary()
    assert "vllm" in known.services
    assert {"local", "attach"} <= known.launchers
    assert known.attached == {"attach"}
    assert "nixl" in known.contracts
    assert known.tampers["nixl"]


def test_port_names_come_from_the_services() -> None:
    member = Member(role=Role.PREFILL, service="vllm")
    assert "http" in vocabulary().services["vllm"].ports(member)
