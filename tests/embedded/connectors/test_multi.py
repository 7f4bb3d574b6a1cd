# ruff: noqa: ARG002 - the double takes what the seam passes
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pdtest.embedded.connectors.connector import Connector, Handover, Host, LoadFailed
from pdtest.embedded.connectors.multi import KeyClash, MultiConnector
from pdtest.embedded.connectors.options import BadConfig
from pdtest.embedded.connectors.registry import connector_for
from pdtest.embedded.engine.sequence import Finish
from pdtest.embedded.engine.sequence import Sequence as EngineSequence

from .conftest import Started
from .fakes import FakeHost, make_host, make_sequence, settled


class Child:
    """A connector that does as its configuration says, and writes down what it hears."""

    def __init__(self, config: Mapping[str, Any], host: Host) -> None:
        self.config = config
        self.host = host
        self.heard: list[str] = []
        self.until: asyncio.Event | None = None

    async def start(self) -> None:
        if self.config.get("breaks"):
            raise OSError("the port is taken")
        self.heard.append("start")

    async def close(self) -> None:
        self.heard.append("close")

    def queued(self, sequence: EngineSequence) -> None:
        self.heard.append("queued")

    async def match(self, sequence: EngineSequence, cached: int) -> int:
        return int(self.config.get("has", 0))

    async def load(self, sequence: EngineSequence, cached: int, promised: int) -> None:
        self.heard.append(f"load {cached} {promised}")

    def layer_computed(self, sequence: EngineSequence, layer: int, start: int, end: int) -> None:
        self.heard.append(f"layer {layer} {start} {end}")

    def finished(self, sequence: EngineSequence) -> Handover:
        self.heard.append("finished")
        wait = None if self.until is None else asyncio.ensure_future(_wait(self.until))
        return Handover(
            params=self.config.get("gives"), hold=self.config.get("holds", False), answer_after=wait
        )


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


class Family:
    """A MultiConnector of children."""

    def __init__(self, *children: dict[str, Any], **config: Any) -> None:
        self.children: list[Child] = []
        self.host = make_host()
        described = {"connectors": [{"kv_connector": "Child", **child} for child in children]}
        self.multi = MultiConnector({**config, "kv_connector_extra_config": described}, self.host, self._make)

    def _make(self, config: Mapping[str, Any], host: Host) -> Connector:
        self.children.append(Child(config, host))
        return self.children[-1]


async def test_the_first_with_tokens_loads_and_the_others_hear_of_it() -> None:
    family = Family({"has": 0}, {"has": 8}, {"has": 12})
    sequence = make_sequence(13)
    family.multi.queued(sequence)
    assert await family.multi.match(sequence, 1) == 8
    await family.multi.load(sequence, 1, 8)
    assert [child.heard for child in family.children] == [
        ["queued", "load 1 0"],
        ["queued", "load 1 8"],
        ["queued", "load 1 0"],
    ]


async def test_nobody_has_tokens() -> None:
    family = Family({}, {})
    sequence = make_sequence(13)
    assert await family.multi.match(sequence, 0) == 0
    with pytest.raises(LoadFailed, match="none of the connectors promised"):
        await family.multi.load(sequence, 0, 13)


def test_all_see_what_was_computed() -> None:
    family = Family({}, {})
    family.multi.layer_computed(make_sequence(13), 2, 0, 8)
    assert [child.heard for child in family.children] == [["layer 2 0 8"]] * 2


def test_parameters_are_merged() -> None:
    family = Family({"gives": {"a": 1}}, {}, {"gives": {"b": 2}, "holds": True})
    handover = family.multi.finished(make_sequence(13))
    assert handover == Handover(params={"a": 1, "b": 2}, hold=True)
    assert Family({}, {}).multi.finished(make_sequence(13)) == Handover()


def test_a_key_clash_is_an_error() -> None:
    family = Family({"gives": {"a": 1, "b": 1}}, {"gives": {"b": 2}})
    with pytest.raises(KeyClash, match=r"\['b'\]"):
        family.multi.finished(make_sequence(13))
    assert [child.heard for child in family.children] == [["finished"]] * 2


def test_blocks_stay_until_all_holders_released_them() -> None:
    family = Family({"holds": True}, {}, {"holds": True})
    assert family.multi.finished(make_sequence(13)).hold
    first, _, last = family.children
    last.host.release("cmpl-r-0")
    assert family.host.released == []
    first.host.release("cmpl-r-0")
    assert family.host.released == ["cmpl-r-0"]


async def test_when_one_cannot_start_the_others_are_closed() -> None:
    family = Family({}, {"breaks": True}, {})
    with pytest.raises(OSError, match="taken"):
        await family.multi.start()
    assert [child.heard for child in family.children] == [["start", "close"], [], []]


def test_children_have_the_role_of_the_whole_unless_they_say_another() -> None:
    family = Family({}, {"kv_role": "kv_both"}, kv_role="kv_producer")
    assert [child.config["kv_role"] for child in family.children] == ["kv_producer", "kv_both"]


@pytest.mark.parametrize("connectors", [None, [], {}, ["NixlConnector"]])
def test_children_must_be_configurations(connectors: object) -> None:
    config = {"kv_connector": "MultiConnector", "kv_connector_extra_config": {"connectors": connectors}}
    with pytest.raises(BadConfig, match=r"kv_connector_extra_config\.connectors"):
        connector_for(config, make_host())


async def test_nixl_within_multi(started: Started) -> None:
    def engine(seed: int) -> tuple[Connector, FakeHost]:
        host = make_host(seed=seed)
        children = {"connectors": [{"kv_connector": "NixlConnector"}]}
        connector = connector_for(
            {"kv_connector": "MultiConnector", "kv_connector_extra_config": children}, host
        )
        assert connector is not None
        return connector, host

    (prefill, there), (decode, here) = engine(1), engine(2)
    await started(prefill)
    await started(decode)
    done = make_sequence(
        10, params={"do_remote_decode": True}, blocks=(3, 1, 7), computed=10, finish=Finish.LENGTH
    )
    sequence = make_sequence(10, params=prefill.finished(done).params, blocks=(5, 0, 2))
    decode.queued(sequence)
    assert await decode.match(sequence, 0) == 10
    await decode.load(sequence, 0, 10)
    np.testing.assert_array_equal(here.kv((5, 0, 2)), there.kv((3, 1, 7)))
    await settled(lambda: there.released == ["cmpl-r-0"])


async def test_the_answer_waits_for_all_children() -> None:
    family = Family({}, {}, {})
    first, last = asyncio.Event(), asyncio.Event()
    for child, event in ((family.children[0], first), (family.children[2], last)):
        child.until = event
    waiting = family.multi.finished(make_sequence(13)).answer_after
    assert waiting is not None
    done = asyncio.ensure_future(waiting)
    first.set()
    await asyncio.sleep(0.02)
    assert not done.done()
    last.set()
    await asyncio.wait_for(done, 5)
