from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pdtest.client.appearance import Appearance, Card
from pdtest.client.metrics import Metrics
from pdtest.environment.schema import Environment, ReferenceKind, Role
from pdtest.oracle.drift import Attached, Drift, Drifted, drifts_of, merged
from pdtest.wire.registry import contract_for

from .fakes import BLOCK, environment_of

ENVIRONMENT = environment_of()
NAME = ENVIRONMENT.model.name
PRODUCER: dict[str, Any] = {"kv_connector": "NixlConnector", "kv_role": "kv_producer"}
CONSUMER: dict[str, Any] = {"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}
SOURCES = """\
# TYPE vllm:prompt_tokens_by_source counter
vllm:prompt_tokens_by_source_total{{source="external_kv_transfer"}} {received}
vllm:prompt_tokens_by_source_total{{source="local_cache_hit"}} 0
vllm:prompt_tokens_by_source_total{{source="local_compute"}} 0
"""
NIXL = """\
# TYPE vllm:nixl_bytes_transferred histogram
vllm:nixl_bytes_transferred_sum 0
vllm:nixl_bytes_transferred_count 0
"""


def metrics(*, block: int = BLOCK, received: int = 0, connector: str = NIXL, born: float = 0.0) -> Metrics:
    text = f'vllm:cache_config_info{{block_size="{block}",enable_prefix_caching="True"}} 1\n'
    created = f"vllm:requests_created {born}\n" if born else ""
    return Metrics.parse(text + SOURCES.format(received=received) + connector + created)


def engine(name: str, url: str = "", claims: Mapping[str, Any] | None = None, **told: Any) -> Attached:
    """One that is as claimed, but for what is ``told``."""
    card = Card(name=NAME, max_model_len=ENVIRONMENT.model.max_model_len, root=None)
    looks: dict[str, Any] = {
        "cards": (card,),
        "version": "0.32.0",
        "metrics": metrics(),
        "setup": None,
    } | told
    return Attached(
        name=name,
        role=Role(name.partition("-")[0]),
        url=url or f"http://{name}:8000",
        claims=claims or {},
        appearance=Appearance(**looks),
    )


def drifts(
    *members: Attached, environment: Environment = ENVIRONMENT, contract: tuple[str, ...] = ("nixl",)
) -> dict[tuple[str, str], Drift]:
    found = drifts_of(environment, contract_for(contract), members)
    return {(drift.member, drift.what): drift for drift in found}


def only(found: Mapping[tuple[str, str], Drift], member: str, what: str, *, hard: bool = True) -> Drift:
    assert list(found) == [(member, what)]
    (drift,) = found.values()
    assert drift.hard is hard
    return drift


PREFILL = engine("prefill")


def test_members_as_claimed_do_not_differ() -> None:
    setup = {"cache_config": {"block_size": BLOCK}, "model_config": {"dtype": "torch.float32"}}
    decode = engine("decode", setup=setup | {"kv_transfer_config": CONSUMER})
    assert drifts(PREFILL, decode, engine("colocated", metrics=metrics(block=99))) == {}


def test_another_model_is_named() -> None:
    served = (Card(name="qwen", max_model_len=None, root=None), Card(name="lora", max_model_len=1, root=None))
    drift = only(drifts(PREFILL, engine("decode", cards=served)), "decode", "another model")
    assert f"'{NAME}'" in drift.expected
    assert drift.seen == "qwen, lora"


def test_what_is_no_engine_is_named() -> None:
    found = drifts(PREFILL, engine("decode", cards=None, metrics=None))
    assert {key for key, drift in found.items() if drift.hard} == {
        ("decode", "no list of models"),
        ("decode", "no metrics"),
    }


@pytest.mark.parametrize(("length", "hard"), [(256, True), (1024, False)])
def test_a_shorter_engine_is_a_contradiction_and_a_longer_one_is_not(length: int, hard: bool) -> None:
    cards = (Card(name=NAME, max_model_len=length, root=None),)
    drift = only(drifts(PREFILL, engine("decode", cards=cards)), "decode", "max_model_len", hard=hard)
    assert f"set model.max_model_len: {length}" in drift.next_step


def test_another_block_size_is_named_with_where_it_was_seen() -> None:
    found = drifts(PREFILL, engine("decode", metrics=metrics(block=32)))
    drift = only(found, "decode", "block size")
    assert drift.expected.startswith(f"{BLOCK} tokens")
    assert drift.seen == "32 tokens (vllm:cache_config_info)"


def test_an_engine_that_keeps_its_block_size_to_itself_may_be_right() -> None:
    quiet = Metrics.parse(SOURCES.format(received=0) + NIXL)
    only(drifts(PREFILL, engine("decode", metrics=quiet)), "decode", "block size unknown", hard=False)


def test_another_dtype_is_named() -> None:
    setup = {"model_config": {"dtype": "torch.bfloat16"}}
    only(drifts(PREFILL, engine("decode", setup=setup)), "decode", "dtype")


@pytest.mark.parametrize(
    ("claims", "differs"),
    [
        ({"no-enable-prefix-caching": True}, True),
        ({"enable-prefix-caching": False}, True),
        ({"enable-prefix-caching": True}, False),
        ({"gpu-memory-utilization": 0.5}, False),  # not told
    ],
)
def test_what_its_args_claim_is_compared_where_it_tells(claims: dict[str, Any], differs: bool) -> None:
    found = drifts(PREFILL, engine("decode", claims=claims))
    assert [key for key in found if not found[key].hard] == ([("decode", next(iter(claims)))] * differs)


def test_an_engine_without_a_connector_is_named_once() -> None:
    bare = metrics(connector="")
    told = engine("decode", metrics=bare, setup={"kv_transfer_config": None})
    only(drifts(PREFILL, told), "decode", "no connector")
    untold = only(
        drifts(PREFILL, engine("decode", metrics=bare)), "decode", "no sign of the connector (nixl)"
    )
    assert "vllm:nixl_bytes_transferred_sum" in untold.expected


def test_a_connector_whose_counters_are_new_may_be_older() -> None:
    found = drifts(engine("prefill", metrics=metrics(connector="")), engine("decode"), contract=("mooncake",))
    only(found, "prefill", "no sign of the connector (mooncake)", hard=False)


def test_an_engine_that_does_not_tell_where_tokens_came_from_proves_nothing() -> None:
    blind = Metrics.parse(f'vllm:cache_config_info{{block_size="{BLOCK}"}} 1\n{NIXL}')
    drift = only(drifts(PREFILL, engine("decode", metrics=blind)), "decode", "no evidence")
    assert "source=external_kv_transfer" in drift.expected


def test_exchanged_roles_are_named_where_the_engines_tell() -> None:
    prefill = engine("prefill", setup={"kv_transfer_config": CONSUMER})
    decode = engine("decode", setup={"kv_transfer_config": PRODUCER})
    found = drifts(prefill, decode)
    assert set(found) == {("prefill", "role"), ("decode", "role")}
    assert all("exchanged" in drift.next_step for drift in found.values())
    both = {"kv_transfer_config": {**PRODUCER, "kv_role": "kv_both"}}
    assert drifts(engine("prefill", setup=both), engine("decode", setup=both)) == {}


def test_exchanged_roles_are_guessed_by_what_came_to_whom() -> None:
    prefill = engine("prefill", metrics=metrics(received=800))
    drift = only(drifts(prefill, engine("decode")), "prefill", "receives KV", hard=False)
    assert "800 tokens" in drift.seen
    assert drifts(prefill, engine("decode", metrics=metrics(received=1))) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [("http://x:80", "http://x/"), ("http://localhost:8100", "http://127.0.0.1:8100/")],
)
def test_one_url_for_two_members_is_named(one: str, other: str) -> None:
    found = drifts(engine("prefill", one), engine("decode", other))
    only(found, "prefill, decode", "one URL")


def test_one_process_behind_two_urls_is_named() -> None:
    same = metrics(born=1790000000.123456)
    found = drifts(engine("prefill", metrics=same), engine("decode", metrics=same))
    only(found, "prefill, decode", "one process")
    other = metrics(born=1790000000.123457)
    assert drifts(engine("prefill", metrics=same), engine("decode", metrics=other)) == {}


def test_versions_that_differ_are_told() -> None:
    drift = only(
        drifts(PREFILL, engine("decode", version="0.29.0"), engine("colocated")),
        "prefill, colocated, decode",
        "versions differ",
        hard=False,
    )
    assert drift.seen == "0.32.0 on prefill, colocated; 0.29.0 on decode"


def test_a_reference_that_cannot_be_borrowed_is_told() -> None:
    reference = ENVIRONMENT.reference.model_copy(update={"kind": ReferenceKind.BORROWED, "member": "decode"})
    environment = ENVIRONMENT.model_copy(update={"reference": reference})
    found = drifts(PREFILL, engine("decode"), environment=environment)
    only(found, "decode", "cannot be borrowed, it seems", hard=False)
    assert drifts(PREFILL, engine("decode", setup={}), environment=environment) == {}


def test_what_members_have_in_common_is_told_once_and_contradictions_first() -> None:
    def drift(member: str, what: str, *, hard: bool) -> Drift:
        return Drift(member=member, what=what, expected="a", seen="b", next_step="c", hard=hard)

    several = [drift("x", "soft", hard=False), drift("x", "h", hard=True), drift("y", "h", hard=True)]
    assert [(one.member, one.what) for one in merged(several)] == [("x, y", "h"), ("x", "soft")]
    told = str(Drifted("mine", several))
    assert told.startswith("attached members: 'mine' is not what runs (x, y: h; x: soft)\n")
    assert told.count("expected a") == 2
