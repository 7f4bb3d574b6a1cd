"""Each rule broken once, in a file that is otherwise valid."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from pdtest.environment.finding import EnvironmentInvalid, Finding
from pdtest.environment.loading import load
from pdtest.environment.resolved import dump_resolved
from pdtest.environment.vocabulary import Vocabulary

from .conftest import MINIMAL, Write

Findings = Callable[..., tuple[Finding, ...]]


def test_the_minimal_file_is_valid(findings: Findings) -> None:
    assert findings() == ()


@pytest.mark.parametrize(
    ("old", "new", "key", "line", "said"),
    [
        ("devices: [0]", "host: gpu", "members.prefill.host", 17, "there is no host 'gpu'"),
        ("devices: [0]", "devices: [7]", "members.prefill.devices[0]", 17, "has no device 7"),
        ("devices: [1]", "devices: [0]", "members.decode.devices[0]", 21, "is used twice"),
        ("devices: [1]", "devices: [1, 1]", "members.decode.devices[1]", 21, "is used twice"),
        ("service: vllm", "service: vlm", "members.prefill.service", 16, "did you mean 'vllm'?"),
        ("devices: [0]", "launcher: locl", "members.prefill.launcher", 17, "did you mean 'local'?"),
        ("devices: [0]", "ports: {htp: 1}", "members.prefill.ports.htp", 17, "did you mean 'http'?"),
        ("[nixl]", "[nixl, exampel]", "connector.contract[1]", 7, "did you mean 'example'?"),
        ("devices: [0]", "launcher: attach", "members.prefill", 14, "needs a url"),
        ("devices: [0]", "url: http://x:1", "members.prefill.url", 17, "only attached members"),
        ("role: prefill", "role: store", "members", 13, "no member has the role prefill"),
        ("role: decode", "role: store", "members", 13, "no member has the role decode"),
        ("role: colocated", "role: store", "reference.kind", 1, "needs a colocated member"),
        ("  decode:", "  de.code:", "members.de.code", 18, "a member's name becomes part"),
        ("model:", "name: a b\nmodel:", "name", 1, "an environment's name becomes part"),
        ("devices: [0]", "options: {thread: 2}", "members.prefill.options.thread", 17, "'threads'"),
        ("devices: [0]", "options: {threads: two}", "members.prefill.options.threads", 17, "a whole"),
    ],
)
def test_a_broken_rule_is_found_at_its_line(  # noqa: PLR0913, PLR0917 - the columns of the table
    findings: Findings, old: str, new: str, key: str, line: int, said: str
) -> None:
    [finding] = findings(old, new)
    assert finding.key == key
    assert finding.position is not None
    assert finding.position.line == line
    assert said in str(finding)
    assert finding.expected
    assert finding.seen


def test_everything_wrong_in_a_file_is_found_at_once_in_its_order(findings: Findings) -> None:
    found = findings("devices: [0]", "devices: [8]\n    host: locl", more="tampering: {stael: [right]}\n")
    assert [finding.key for finding in found] == ["members.prefill.host", "tampering.stael"]


def test_shared_devices_may_be_used_twice(findings: Findings) -> None:
    another = "  another: {role: decode, service: vllm, devices: [0]}\n"
    assert len(findings(more=another)) == 1
    assert findings("ids: [0, 1, 2]", "ids: [0, 1, 2]\n      shared: true", more=another) == ()


def test_options_that_are_wrong_do_not_hide_behind_a_crash(findings: Findings) -> None:
    """Some services need valid options to tell their ports."""
    [finding] = findings("service: vllm", "service: fussy\n    ports: {any: 1}\n    options: {threads: x}")
    assert finding.key == "members.prefill.options.threads"


def test_a_recorded_reference_may_use_the_devices_of_the_others(findings: Findings) -> None:
    recorded = "reference: {kind: recorded}\n"
    assert findings("devices: [2]", "devices: [0, 1]", more=recorded) == ()
    assert len(findings("devices: [2]", "devices: [0, 1]")) == 2


@pytest.mark.parametrize(
    ("prefill", "decode", "clash"),
    [
        ("http: 8100", "http: 8100", "port 8100 is used twice on 127.0.0.1"),
        ("http: 8100, side_channel: 8100", "http: auto", "port 8100 is used twice"),
        ("side_channel: 5600", "side_channel: 5601", "side_channel takes 2 ports from 5601"),
        ("side_channel: 5600", "side_channel: 5602", None),
        ("http: auto", "http: auto", None),
    ],
)
def test_fixed_ports_must_not_overlap(
    findings: Findings, prefill: str, decode: str, clash: str | None
) -> None:
    ports = f"devices: [0]\n    ports: {{{prefill}}}\n  decode:\n    ports: {{{decode}}}"
    found = findings("devices: [0]\n  decode:", ports)
    assert len(found) == (clash is not None)
    assert clash is None or clash in str(found[0])


def test_one_port_may_be_used_on_two_hosts(findings: Findings) -> None:
    far = "  far: {role: decode, service: vllm, host: other, ports: {http: 8100}}\n"
    near = "  near: {role: decode, service: vllm, ports: {http: 8100}}\n"
    for address, clashes in {"10.0.0.2": 0, "127.0.0.1": 1}.items():
        other = f"hosts:\n  other: {{address: {address}}}"
        assert len(findings("hosts:", other, more=far + near)) == clashes


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("{member: colocatd}", "did you mean 'colocated'?"),
        ("{member: decode}", "decode has role: decode"),
        ("{kind: borrowed, member: decode}", None),
        ("{kind: borrowed}", None),
        ("{kind: recorded}", None),
    ],
)
def test_the_reference_member_must_be_able_to_answer(
    findings: Findings, reference: str, said: str | None
) -> None:
    found = findings(more=f"reference: {reference}\n")
    assert len(found) == (said is not None)
    assert said is None or said in str(found[0])


def test_a_borrowed_reference_without_a_lender_is_asked_for(findings: Findings) -> None:
    [finding] = findings("role: colocated", "role: store", more="reference: {kind: borrowed}\n")
    assert "from whom is the reference borrowed?" in str(finding)
    assert "engines: prefill, decode" in str(finding)


def test_of_two_colocated_members_one_must_be_named(findings: Findings) -> None:
    another = "  second: {role: colocated, service: vllm}\n"
    assert "which colocated member" in str(findings(more=another)[0])
    assert findings(more=f"{another}reference: {{member: second}}\n") == ()


@pytest.mark.parametrize(
    ("reference", "suggested"),
    [
        ("${members.prefil.url}", "members.prefill.url"),
        ("${members.prefill.ur}", "members.prefill.url"),
        ("${members.prefill.ports.side_chanel}", "members.prefill.ports.side_channel"),
        ("${self.ports.htp}", "self.ports.http"),
        ("${self.files.absent.json}", "self.files.there.json"),
        ("${slef.dir}", "self.dir"),
        ("${model.nam}", "model.name"),
    ],
)
def test_a_dangling_reference_is_found_before_anything_starts(
    findings: Findings, reference: str, suggested: str
) -> None:
    used = f'files: {{there.json: {{}}}}\n    args: {{a: ["x{reference}"]}}'
    [finding] = findings("devices: [0]", used)
    assert f"{reference} names nothing" in str(finding)
    assert f"did you mean '{suggested}'?" in str(finding)
    assert finding.key == "members.prefill.args.a[0]"


@pytest.mark.parametrize(
    "reference",
    [
        "${members.decode.url}",
        "${members.decode.address}",
        "${members.decode.ports.side_channel}",
        "${self.ports.http}",
        "${self.files.there.json}",
        "${self.dir}",
        "${self.name}",
        "${model.path}",
        "$${members.nobody.url}",
    ],
)
def test_references_to_what_exists_are_fine(findings: Findings, reference: str) -> None:
    assert findings("devices: [0]", f'files: {{there.json: {{}}}}\n    args: {{a: "{reference}"}}') == ()


def test_references_in_the_connectors_config_are_checked_too(findings: Findings) -> None:
    assert findings("[nixl]", '[nixl]\n  config: {a: "${self.ports.side_channel}"}') == ()
    [finding] = findings("[nixl]", '[nixl]\n  config: {a: "${members.prefil.url}"}')
    assert finding.key == "connector.config.a"


def test_keys_with_dots_are_named_whole(findings: Findings) -> None:
    [finding] = findings("devices: [0]", "options: {ock.mmc.level: loud}")
    assert finding.summary == "'ock.mmc.level' cannot be 'loud'"
    assert finding.key == "members.prefill.options.ock.mmc.level"
    [finding] = findings("devices: [0]", "options: {ock.mmc.levle: low}")
    assert finding.expected == "one of ock.mmc.level, threads"
    assert finding.next_step == "did you mean 'ock.mmc.level'?"


def test_an_option_may_be_a_reference_until_it_is_rendered(findings: Findings) -> None:
    assert findings("devices: [0]", 'options: {threads: "${self.ports.http}"}') == ()


def test_unknown_ways_of_tampering_are_found(findings: Findings) -> None:
    assert findings(more="tampering: {stale: [right, hang]}\n") == ()
    [finding] = findings(more="tampering: {stael: [right]}\n")
    assert "did you mean 'stale'?" in str(finding)


def test_links_lead_from_member_to_member(findings: Findings) -> None:
    assert findings(more="links: [{source: decode, target: prefill, port: side_channel}]\n") == ()
    [finding] = findings(more="links: [{source: decod, target: prefill}]\n")
    assert finding.key == "links[0].source"
    assert finding.next_step == "did you mean 'decode'?"
    [finding] = findings(more="links: [{target: prefill, port: side_chanel}]\n")
    assert finding.next_step == "did you mean 'side_channel'?"


def test_unknown_scenarios_are_found(findings: Findings) -> None:
    assert findings(more="recovery: {prefill-killed-in-transfer: [right], burst: [error]}\n") == ()
    [finding] = findings(more="recovery: {prefill-kiled-in-transfer: [right]}\n")
    assert finding.next_step == "did you mean 'prefill-killed-in-transfer'?"


def test_unknown_services_in_defaults_are_found(findings: Findings) -> None:
    [finding] = findings(more="defaults: {vlm: {args: {}}}\n")
    assert finding.key == "defaults.vlm"


def test_stores_alone_need_neither_model_nor_connector_nor_reference(
    write: Write, vocabulary: Vocabulary
) -> None:
    environment = load(
        write("pool.yaml", "members: {pool: {role: store, service: vllm}}"), vocabulary=vocabulary
    )
    assert environment.only_stores
    again = load(write("again/pool.yaml", dump_resolved(environment)), vocabulary=vocabulary)
    assert again.model_copy(update={"source": None}) == environment.model_copy(update={"source": None})


@pytest.mark.parametrize("key", ["model", "connector"])
def test_engines_need_both(write: Write, vocabulary: Vocabulary, key: str) -> None:
    whole = yaml.safe_load(MINIMAL)
    required = whole.pop(key)
    with pytest.raises(EnvironmentInvalid, match=rf"'{key}' is missing") as raised:
        load(write("env.yaml", yaml.safe_dump(whole)), vocabulary=vocabulary)
    [finding] = raised.value.findings
    assert finding.key == key
    assert next(iter(required)) in str(finding.expected)
