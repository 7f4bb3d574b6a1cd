"""Hybrid members, members on standby and topologies: what does not fit is found at its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from pdtest.environment.finding import Finding
from pdtest.environment.loading import load
from pdtest.environment.vocabulary import Term, Vocabulary

from .conftest import MINIMAL, Write

Findings = Callable[..., tuple[Finding, ...]]

#: Written after the minimal file, whose last key is `members`.
HYBRID = "  hybrid: {role: hybrid, service: vllm, standby: true}\n"
PROXY = "  proxy: {role: proxy, service: toy-proxy}\n"


@pytest.fixture
def vocabulary(vocabulary: Vocabulary) -> Vocabulary:
    """With a proxy that knows hybrid members."""
    more: Mapping[str, Term] = {"clever-proxy": Term(ports=lambda _: {"http": 1}, hybrids=True)}
    return replace(vocabulary, services={**vocabulary.services, **more})


def test_a_proxy_that_knows_no_hybrids_is_named(findings: Findings) -> None:
    (finding,) = findings(more=HYBRID + PROXY)

    assert finding.key == "members.hybrid.role"
    assert "proxy is a toy-proxy" in str(finding)
    assert findings(more=HYBRID + PROXY.replace("toy", "clever")) == ()
    # A client may go to it.
    assert findings(more=HYBRID) == ()


def test_a_hybrid_of_a_topology_needs_no_proxy(findings: Findings) -> None:
    topologies = "performance: {topologies: {a: {members: [hybrid]}, b: {members: [colocated]}}}\n"
    assert findings(more=HYBRID + PROXY + topologies) == ()


def test_members_on_standby_share_devices_with_those_that_run(findings: Findings) -> None:
    twin = "  decode-2: {role: decode, service: vllm, devices: [1]}\n"
    (finding,) = findings(more=twin)
    assert "is used twice" in str(finding)
    assert findings(more=twin.replace("]}", "], standby: true}")) == ()


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("devices: [1]", "standby: true", "members.decode.standby", "all decode members are on standby"),
        (
            "devices: [0]",
            "standby: true, launcher: attach, url: http://x:1",
            "members.prefill.standby",
            "runs already",
        ),
    ],
)
def test_what_is_needed_from_the_start_is_not_on_standby(
    findings: Findings, old: str, new: str, key: str, said: str
) -> None:
    found = findings(old, "\n    ".join(new.split(", ")))
    assert said in str(next(one for one in found if one.key == key))


def test_nor_is_the_reference(findings: Findings) -> None:
    (finding,) = findings(
        "devices: [2]", "devices: [2]\n    standby: true", more="reference: {member: colocated}\n"
    )
    assert finding.key == "members.colocated.standby"


@pytest.mark.parametrize(
    ("topologies", "key", "said"),
    [
        ("a: {members: [prefill, decode]}", "", "one topology alone"),
        ("a: {members: [colocated]}, b: {members: [nobody]}", ".b.members[0]", "there is no member 'nobody'"),
        ("a: {members: [colocated]}, b: {members: [prefill]}", ".b.members", "nobody decides in 'b'"),
        (
            "a: {members: [colocated]}, b: {members: [prefill, decode, colocated]}",
            ".b.members",
            "nobody decides",
        ),
        ("a: {members: [colocated]}, b: {members: [proxy]}", ".b.members", "nobody serves in 'b'"),
        ("pd: {members: [prefill, decode]}, b: {members: [colocated]}", ".pd", "what other loads are called"),
    ],
)
def test_topologies_that_cannot_serve(findings: Findings, topologies: str, key: str, said: str) -> None:
    (finding,) = findings(more=f"{PROXY}performance: {{topologies: {{{topologies}}}}}\n")
    assert finding.key == f"performance.topologies{key}"
    assert said in str(finding)


def test_topologies_that_can(write: Write, vocabulary: Vocabulary) -> None:
    more = "performance: {topologies: {two: {members: [prefill, decode]}, mixed: {members: [colocated]}}}\n"
    loaded = load(write("env.yaml", MINIMAL + more), vocabulary=vocabulary)
    assert [*loaded.performance.topologies] == ["two", "mixed"]
