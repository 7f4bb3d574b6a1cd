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
    return replace(vocabulary, launchers=vocabulary.launchers | {"ssh", "ray"})


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


RAY = "  nodes:\n    ray: {}\nmembers:"


def on_ray(more: str) -> tuple[str, str]:
    """Prefill on a Ray cluster."""
    old = f"members:\n  {PREFILL}"
    return old, f"{RAY}\n  {PREFILL.replace('devices: [0]', 'host: nodes')}{more}"


def test_a_member_placed_by_ray_is_valid(findings: Findings) -> None:
    assert findings(*on_ray("\n    launcher: ray\n    resources: {NPU: 2, CPU: 0.5}")) == ()


def test_a_member_placed_by_ray_wants_a_cluster(findings: Findings) -> None:
    [finding] = findings("devices: [0]", "launcher: ray")
    assert "ray: {}" in str(finding)


def test_a_host_of_ray_wants_members_that_use_it(findings: Findings) -> None:
    [finding] = findings(*on_ray(""))
    assert "reached through Ray" in str(finding)
    assert finding.expected == "launcher: ray"


def test_a_host_is_reached_in_one_way(findings: Findings) -> None:
    old, new = on_ray("\n    launcher: ray")
    [finding] = findings(old, new.replace("ray: {}", "ray: {}\n    ssh: {}"))
    assert finding.key == "hosts.nodes"


def test_devices_are_the_hosts_and_resources_are_rays(findings: Findings) -> None:
    [finding] = findings("devices: [0]", "resources: {GPU: 1}")
    assert finding.key == "members.prefill.resources"
    told = findings(*on_ray("\n    launcher: ray\n    devices: [0]"))
    assert "resources: {GPU: 1}" in "".join(map(str, told))


@pytest.mark.parametrize(
    ("host", "told"), [("nodes", None), ("local", "no load can be sent"), ("nods", "there is no host 'nods'")]
)
def test_a_load_is_sent_from_a_ray_cluster(findings: Findings, host: str, told: str | None) -> None:
    found = findings(
        *on_ray("\n    launcher: ray"),
        more=f"performance:\n  senders: {{host: {host}, resources: {{CPU: 1}}}}\n",
    )
    assert [told in str(finding) for finding in found if told] == ([True] if told else [])
