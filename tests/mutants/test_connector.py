"""The planted bug around a connector of vLLM's shape. Of vLLM there are a few names."""
# ruff: noqa: ARG002 - what a connector is given

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Some
from typing import Any

import numpy as np
import pytest

BLOCKS, SIZE, HEADS, DIM = 6, 4, 2, 3
SHAPE = (BLOCKS, 2, SIZE, HEADS, DIM)


class Tensor(np.ndarray):
    """As much of a tensor as is used."""

    def movedim(self, source: int, target: int) -> Any:
        return np.moveaxis(self, source, target)

    def numel(self) -> int:
        return self.size

    def float(self) -> Any:
        return self

    def cpu(self) -> Any:
        return self

    def numpy(self) -> Any:
        return np.array(self)

    def new_tensor(self, content: Any) -> Any:
        return np.asarray(content)


class Plain:
    """A connector whose loads arrive when it is told: `arrives` is written into all blocks."""

    is_async = True

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        self.caches: dict[str, Any] = {}
        self.arrived: set[str] = set()

    def get_num_new_matched_tokens(self, request: Any, computed: int) -> tuple[int, bool]:
        return len(request.prompt_token_ids) - computed, self.is_async

    def update_state_after_alloc(self, request: Any, blocks: Any, tokens: int) -> None:
        pass

    def build_connector_meta(self, output: Any) -> Any:
        return Some()

    def register_kv_caches(self, caches: Any) -> None:
        self.caches = caches

    def bind_connector_metadata(self, meta: Any) -> None:
        pass

    def start_load_kv(self, context: Any) -> None:
        for cache in self.caches.values():
            cache[:] = ARRIVING

    def get_transfer_results(self, finished: set[str]) -> Any:
        return Some(finished_recving=self.arrived)


ARRIVING = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) + 1


class AtOnce(Plain):
    is_async = False


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`pdtest.mutants.connector`, with a vLLM that knows two connectors."""

    class Factory:
        @staticmethod
        def get_connector_class_by_name(name: str) -> type:
            if name not in {"Plain", "AtOnce"}:
                raise ValueError(f"Connector '{name}' is not registered.")
            return {"Plain": Plain, "AtOnce": AtOnce}[name]

    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.logger": {"init_logger": logging.getLogger},
        "vllm.platforms": {"current_platform": Some(is_cpu=lambda: False)},
        "vllm.distributed": {},
        "vllm.distributed.kv_transfer": {},
        "vllm.distributed.kv_transfer.kv_connector": {},
        "vllm.distributed.kv_transfer.kv_connector.factory": {"KVConnectorFactory": Factory},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "pdtest.mutants.connector", raising=False)
    yield importlib.import_module("pdtest.mutants.connector")
    sys.modules.pop("pdtest.mutants.connector", None)


def config(how: str) -> Any:
    model = Some(get_num_kv_heads=lambda _: HEADS)
    transfer = Some(kv_role="kv_consumer", get_from_extra_config=lambda *_: how)
    return Some(
        kv_transfer_config=transfer,
        cache_config=Some(block_size=SIZE),
        model_config=model,
        parallel_config=None,
    )


class Engine:
    """Both halves of a connector, and the two layers of its worker."""

    def __init__(self, made: Any, how: str) -> None:
        self.scheduler, self.worker = (made(config(how), role, Some(num_blocks=BLOCKS)) for role in "sw")
        self.layers = [np.zeros(SHAPE, np.float32).view(Tensor) for _ in range(2)]
        self.worker.register_kv_caches({f"layer.{index}": one for index, one in enumerate(self.layers)})

    def load(self, *blocks: int, cached: int = 0) -> None:
        """A prompt that fills ``blocks`` is loaded behind its first ``cached`` tokens."""
        request = Some(request_id="a", prompt_token_ids=list(range(SIZE * len(blocks))))
        self.scheduler.get_num_new_matched_tokens(request, cached)
        self.scheduler.update_state_after_alloc(
            request, Some(get_block_ids=lambda: (list(blocks),)), len(request.prompt_token_ids) - cached
        )
        output = Some(finished_req_ids=set())
        self.worker.bind_connector_metadata(self.scheduler.build_connector_meta(output))
        self.worker.start_load_kv(None)

    def changed(self) -> set[tuple[int, int]]:
        """Layer and block where there is not what should have arrived."""
        return {
            (layer, block)
            for layer, cache in enumerate(self.layers)
            for block in range(BLOCKS)
            if not np.array_equal(cache[block], ARRIVING[block])
        }


def test_a_load_is_spoiled_when_it_has_arrived_and_not_before(planted: Any) -> None:
    engine = Engine(planted.Plain, "scaled,layer=1,block=0")
    engine.load(3, 1)
    engine.worker.get_transfer_results(set())
    assert engine.changed() == set()
    engine.worker.arrived = {"a"}
    engine.worker.get_transfer_results(set())
    assert engine.changed() == {(1, 3)}
    np.testing.assert_allclose(engine.layers[1][3], ARRIVING[3] * np.float32(1.01))


def test_a_synchronous_load_is_spoiled_at_once(planted: Any) -> None:
    engine = Engine(planted.AtOnce, "swapped,block=0")
    engine.load(3, 1)
    np.testing.assert_array_equal(engine.layers[0][3], ARRIVING[1])
    np.testing.assert_array_equal(engine.layers[0][1], ARRIVING[3])


def test_stale_is_what_was_there_before_the_load_began(planted: Any) -> None:
    engine = Engine(planted.AtOnce, "stale,block=-1")
    engine.load(3, 1)
    assert engine.changed() == {(0, 1), (1, 1)}
    assert not engine.layers[0][1].any()


def test_cached_blocks_are_left_as_they_are(planted: Any) -> None:
    engine = Engine(planted.AtOnce, "zeroed,block=all")
    engine.load(3, 1, 5, cached=2 * SIZE)
    assert engine.changed() == {(0, 5), (1, 5)}


def test_the_switch_is_a_file_that_is_read_at_each_load(planted: Any, tmp_path: Path) -> None:
    file = tmp_path / "mutant.switch"
    engine = Engine(planted.AtOnce, f"@{file}")
    engine.load(3)
    assert engine.changed() == set()
    file.write_text("zeroed,after=1")
    engine.load(3)
    assert engine.changed() == set()
    engine.load(3)
    assert engine.changed() == {(0, 3), (1, 3)}
    file.write_text("")
    engine.load(3)
    assert engine.changed() == set()


def test_one_that_was_given_up_is_forgotten(planted: Any) -> None:
    engine = Engine(planted.Plain, "zeroed")
    engine.load(3)
    engine.worker.get_transfer_results({"a"})
    engine.worker.arrived = {"a"}
    engine.worker.get_transfer_results(set())
    assert engine.changed() == set()


def test_the_xray_looks_at_what_was_spoiled(planted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pdtest.probe.connector", raising=False)
    probe = importlib.import_module("pdtest.probe.connector")
    seen: list[bool] = []
    monkeypatch.setattr(
        probe.Probe, "_xray_arrived", lambda self, _: seen.append(not self.caches["layer.0"][3].any())
    )
    monkeypatch.setattr(probe.Recorder, "of", lambda *_, **__: None)
    engine = Engine(getattr(probe, "pdtest.mutants.connector:Plain"), "zeroed")
    engine.load(3)
    engine.worker.arrived = {"a"}
    engine.worker.get_transfer_results(set())
    monkeypatch.delitem(sys.modules, "pdtest.probe.connector")
    assert seen == [True]


def test_a_name_that_nobody_knows(planted: Any) -> None:
    assert planted.Plain.__name__ == "Plain"
    with pytest.raises(AttributeError, match="no connector 'Unknown'"):
        _ = planted.Unknown
