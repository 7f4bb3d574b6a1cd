"""Every planted bug that alters KV, on running engines: the X-ray names just the layers, blocks and heads.

Run on environments/embedded-mutants.yaml:

    pytest --env embedded-mutants suites/mutants/test_located.py

What a switch alters is worked out here from its words, by nothing that the engine or the X-ray uses. Row by
row, with what is bit for bit another in memory, the two are compared in tests/xray/test_catalogue.py.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pdtest import Environment, Prompts, Request, Role, Route
from pdtest.cluster.cluster import Cluster
from pdtest.cluster.xray import DIRECTORY
from pdtest.kills.kv import KV
from pdtest.kills.life import LIFE
from pdtest.kills.mutant import Mutant, Place
from pdtest.oracle.handoffs import Handoffs
from pdtest.plugin.mutants import obstacle
from pdtest.services.mutant_gateway import LIFE_SWITCH, SWITCH
from pdtest.xray import Archive, Diagnosis, Half, diagnose

#: Whole blocks of the prompt; its last one lacks a few tokens.
_WHOLE = 3
_LAYERS = _HEADS = range(4)
_ALL: Mapping[str, str] = {}
#: What a kind alters where its switch does not say.
_USUAL: Mapping[str, Mapping[str, str]] = {
    "zeroed": {"block": "0"},
    "stale": {"block": "0"},
    "truncated": {"block": "0"},
    "duplicated": {"block": "1"},
    "one-layer": {"layer": "1"},
    "one-head": {"head": "1"},
    "one-token": {"block": "0"},
    "reused-in-flight": {"block": "-1"},
    "late-arrival": _ALL,
}
#: The other lives leave KV alone, or do until somebody else is given the blocks. What arrives late may be
#: written into the blocks of whoever comes next: nobody does.
_LIVES = [one for name in ("reused-in-flight", "late-arrival") for one in LIFE if one.switch == name]
_ALTERING = [*(one for one in KV if one.place is Place.KV), *_LIVES]
Part = tuple[int, int, int, Half]


def _altered(switch: str) -> set[Part]:
    """(layer, block, head, K or V) that a switch alters."""
    kind, *settings = switch.split(",")
    said = dict(_USUAL.get(kind, _ALL)) | dict(setting.split("=") for setting in settings)
    blocks = _chosen(said.get("block"), range(_WHOLE + 1))
    if kind == "swapped":
        blocks = [blocks[0], blocks[0] + 1]
    if kind == "shifted":  # the first one stays where it is
        blocks = blocks[1:]
    halves = [Half(said["half"].upper())] if "half" in said else list(Half)
    layers, heads = _chosen(said.get("layer"), _LAYERS), _chosen(said.get("head"), _HEADS)
    return set(itertools.product(layers, blocks, heads, halves))


def _chosen(said: str | None, there: range) -> list[int]:
    return list(there) if said in {None, "all"} else [there[int(said or 0)]]


def _named(diagnosis: Diagnosis) -> set[Part]:
    return {(one.layer, one.block, one.head, one.half) for one in diagnosis.mismatches}


@pytest.fixture(autouse=True)
def archive(cluster: Cluster) -> Archive:
    """Records of engines that have their X-ray on; before anything asks for their clients."""
    cluster.expose()
    return Archive(cluster.directory / DIRECTORY)


@pytest.fixture
def switch(cluster: Cluster, environment: Environment, mutant: Mutant) -> Iterator[Path]:
    """Where the bug is planted; off again afterwards."""
    missing = obstacle(mutant, environment)
    if missing is not None:
        pytest.skip(missing)
    name = LIFE_SWITCH if mutant.place is Place.LIFE else SWITCH
    file = cluster.with_role(Role(mutant.role or "decode"))[0].directory / name
    yield file
    file.write_text("", encoding="utf-8")


@pytest.mark.parametrize("mutant", _ALTERING, ids=lambda one: one.name)
async def test_what_a_bug_alters_is_what_the_x_ray_names(  # noqa: PLR0913, PLR0917 - fixtures by name
    mutant: Mutant,
    environment: Environment,
    archive: Archive,
    switch: Path,
    handoff: Handoffs,
    prompts: Prompts,
) -> None:
    """No layer, block or head more, and none less; nothing where nothing is planted."""
    size = environment.model.block_size
    what, _, after = mutant.switch.partition(",after=")

    async def seen() -> Diagnosis:
        request = Request.tokens(prompts.tokens((_WHOLE + 1) * size - 3), max_tokens=1)
        sent = await handoff.send(request, Route.CLIENT)
        sent.require()
        (one,) = diagnose(archive, sent.request_id)
        return one

    assert _named(await seen()) == set()
    await asyncio.to_thread(switch.write_text, mutant.switch, encoding="utf-8")
    before = [await asyncio.gather(*(seen() for _ in range(20))) for _ in range(int(after or 0) // 20)]
    assert all(one.equal for many in before for one in many)
    assert _named(await seen()) == _altered(what)
