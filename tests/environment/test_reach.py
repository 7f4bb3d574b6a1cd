from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from pdtest.environment.finding import Finding
from pdtest.environment.ssh import Ssh
from pdtest.environment.vocabulary import Vocabulary

Findings = Callable[..., tuple[Finding, ...]]
THERE = "  gpu:\n    address: 10.0.0.1\n    ssh: {user: ci}\nmembers:"
PREFILL = "prefill:\n    role: prefill\n    service: vllm\n    devices: [0]"


@pytest.fixture
def vocabulary(vocabulary: Vocabulary) -> Vocabulary:
    return replace(vocabulary, launchers=vocabulary.launchers | {"ssh"})


def on_gpu(more: str) -> tuple[str, str]:
    """Prefill on a host that is reached over ssh."""
    old = f"members:\n  {PREFILL}"
    return old, f"{THERE}\n  {PREFILL.replace('devices: [0]', 'host: gpu')}{more}"


def test_a_member_over_ssh_is_valid(findings: Findings) -> None:
    assert findings(*on_gpu("\n    launcher: ssh")) == ()


def test_a_host_with_ssh_wants_members_that_use_it(findings: Findings) -> None:
    [finding] = findings(*on_gpu(""))
    assert finding.key == "members.prefill.launcher"
    assert finding.expected == "launcher: ssh"
    assert finding.position is not None


def test_an_attached_member_may_be_on_any_host(findings: Findings) -> None:
    assert findings(*on_gpu("\n    launcher: attach\n    url: http://10.0.0.1:1")) == ()


def test_a_member_over_ssh_wants_a_host_that_says_how(findings: Findings) -> None:
    [finding] = findings("devices: [0]", "launcher: ssh")
    assert "host 'local' does not say how to get there" in str(finding)
    assert "ssh: {}" in str(finding)


def test_no_relay_before_a_member_elsewhere(findings: Findings) -> None:
    [finding] = findings(
        *on_gpu("\n    launcher: ssh"), more="links:\n- {target: prefill}\n- {target: decode}\n"
    )
    assert finding.key == "links[0].target"
    assert "runs on host 'gpu'" in str(finding)


def test_ports_are_a_range() -> None:
    with pytest.raises(ValidationError, match="first comes before last"):
        Ssh.model_validate({"ports": {"first": 2001, "last": 2000}})
