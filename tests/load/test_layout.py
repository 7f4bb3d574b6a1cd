from __future__ import annotations

import json
from pathlib import Path

import pytest

from pdtest.environment.workload import Workload
from pdtest.load.ask import Ask
from pdtest.load.impossible import ImpossibleLoad
from pdtest.load.layout import LoadPlan, lay_out


def plan(*, salt: str = "", base: Path | None = None, longest: int = 4096, **workload: object) -> LoadPlan:
    return lay_out(
        Workload.model_validate(workload), vocab_size=1000, max_model_len=longest, salt=salt, base=base
    )


def ids(ask: Ask) -> tuple[int, ...]:
    return tuple(token for token in ask.request.prompt if isinstance(token, int))


def test_requests_are_as_long_as_they_should_be() -> None:
    laid = plan(
        requests=20,
        prompt={"shape": "uniform", "shortest": 10, "longest": 29},
        answer={"shape": "uniform", "shortest": 1, "longest": 20},
        warm_up=3,
    )
    assert sorted(len(ids(ask)) for ask in laid.asks) == list(range(10, 30))
    assert [ask.prompt_tokens for ask in laid.asks] == [len(ids(ask)) for ask in laid.asks]
    assert sorted(ask.request.max_tokens for ask in laid.asks) == list(range(1, 21))
    assert len(laid.warm_up) == 3
    assert len({ask.request_id for ask in (*laid.asks, *laid.warm_up)}) == 23


def test_a_salt_changes_the_contents_and_nothing_else() -> None:
    one, other = (plan(requests=12, salt=salt) for salt in "ab")
    assert [(ask.due_s, ask.prompt_tokens) for ask in one.asks] == [
        (ask.due_s, ask.prompt_tokens) for ask in other.asks
    ]
    assert not {ids(ask) for ask in one.asks} & {ids(ask) for ask in other.asks}
    assert [ids(ask) for ask in plan(requests=12, salt="a").asks] == [ids(ask) for ask in one.asks]


def test_prefixes_are_shared_by_the_requests_of_a_kind_and_by_no_others() -> None:
    laid = plan(
        requests=40,
        prompt={"shape": "fixed", "tokens": 64},
        prefixes={"tokens": 48, "kinds": 2, "share": 0.5},
        warm_up=2,
    )
    heads = [ids(ask)[:48] for ask in laid.asks]
    counted = sorted(heads.count(head) for head in set(heads))
    assert counted == [1] * 20 + [10, 10]
    assert len({ids(ask) for ask in laid.asks}) == 40
    assert not {ids(ask)[:48] for ask in laid.warm_up} & set(heads)
    assert {len(ids(ask)) for ask in laid.asks} == {64}
    short = plan(requests=4, prompt={"shape": "fixed", "tokens": 20}, prefixes={"tokens": 48})
    assert {len(ids(ask)) for ask in short.asks} == {20}


def test_text_and_chats_have_as_many_words() -> None:
    prefixes = {"tokens": 10}
    (text,) = plan(requests=1, form="text", prompt={"shape": "fixed", "tokens": 30}, prefixes=prefixes).asks
    assert isinstance(text.request.prompt, str)
    assert len(text.request.prompt.split()) == 30
    (chat,) = plan(requests=1, form="chat").asks
    assert chat.request.is_chat
    assert chat.request.path == "/v1/chat/completions"


def test_a_published_trace_is_replayed(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 3000, "input_length": 1100, "output_length": 20, "hash_ids": [1, 2, 9]},
        {"timestamp": 1000, "input_length": 1030, "output_length": 10, "hash_ids": [1, 2, 3]},
    ]
    (tmp_path / "trace.jsonl").write_text("\n".join(map(json.dumps, rows)))
    laid = plan(base=tmp_path, arrivals={"pattern": "replay", "file": "trace.jsonl", "speed": 4})
    assert [ask.due_s for ask in laid.asks] == [0.0, 0.5]
    first, second = map(ids, laid.asks)
    assert (len(first), len(second)) == (1030, 1100)
    assert first[:1024] == second[:1024]
    assert first[1024:] != second[1024:1030]
    limited = plan(base=tmp_path, arrivals={"pattern": "replay", "file": "trace.jsonl"}, duration_s=1.5)
    assert len(limited.asks) == 1


def test_a_trace_that_is_none_is_refused(tmp_path: Path) -> None:
    arrivals = {"pattern": "replay", "file": "trace.jsonl"}
    with pytest.raises(ImpossibleLoad, match="cannot be read"):
        plan(base=tmp_path, arrivals=arrivals)
    (tmp_path / "trace.jsonl").write_text('{"timestamp": 1, "input_length": 4}\n')
    with pytest.raises(ImpossibleLoad, match=r"trace\.jsonl:1") as refused:
        plan(base=tmp_path, arrivals=arrivals)
    assert "max_tokens: Field required" in str(refused.value)
    (tmp_path / "trace.jsonl").write_text("\n")
    with pytest.raises(ImpossibleLoad, match="no requests"):
        plan(base=tmp_path, arrivals=arrivals)


def test_what_the_model_cannot_take_is_refused() -> None:
    with pytest.raises(ImpossibleLoad, match="128 of the prompt and 64 of the answer"):
        plan(requests=2, longest=191)
    plan(requests=2, longest=192)


def test_token_ids_are_asked_for_unless_not_wanted() -> None:
    (ask,) = plan(requests=1).asks
    body = ask.request.body("m")
    assert body["stream"]
    assert body["return_token_ids"]
    assert body["ignore_eos"]
    assert body["stream_options"] == {"include_usage": True}
