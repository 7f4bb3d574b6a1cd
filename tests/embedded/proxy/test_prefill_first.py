from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .conftest import Workshop
from .doubles import PARAMS, Exchange, answers, dies, never, prefills, streams

BODY = {
    "model": "m",
    "prompt": "he said \u00fc, and half a pair: \ud83d",
    "max_tokens": 12,
    "min_tokens": 5,
    "n": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "logit_bias": {"7": -1.5},
}
TO_PREFILL = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}


def _prefill_body(**more: Any) -> dict[str, Any]:
    kept = {key: value for key, value in BODY.items() if key not in ("min_tokens", "stream_options")}
    return {**kept, "max_tokens": 1, "n": 1, "stream": False, **more}


@pytest.mark.parametrize("contract", ["nixl", "nixl-push"])
async def test_prefill_gets_one_token_and_decode_its_answer_verbatim(
    workshop: Workshop, contract: str
) -> None:
    there = await workshop.deploy(contract=(contract,))
    answer = await there.post(BODY)
    assert answer.status == 200
    assert there.prefill.bodies == [_prefill_body(kv_transfer_params=TO_PREFILL)]
    assert there.decode.bodies == [{**BODY, "kv_transfer_params": PARAMS}]


async def test_ascend_mooncake_asks_prefill_for_a_token_at_least(workshop: Workshop) -> None:
    there = await workshop.deploy(contract=("ascend-mooncake",))
    await there.post(BODY)
    assert there.prefill.bodies == [_prefill_body(min_tokens=1, kv_transfer_params=TO_PREFILL)]
    assert there.decode.bodies == [{**BODY, "kv_transfer_params": PARAMS}]


@pytest.mark.parametrize("contract", ["ascend-store", "example"])
async def test_stores_say_nothing(workshop: Workshop, contract: str) -> None:
    there = await workshop.deploy(prefills(None), contract=(contract,))
    await there.post({**BODY, "kv_transfer_params": {"left": "over"}})
    assert there.prefill.bodies == [_prefill_body()]
    assert there.decode.bodies == [BODY]


async def test_a_composition_is_led_by_the_first(workshop: Workshop) -> None:
    there = await workshop.deploy(contract=("nixl", "ascend-store"))
    await there.post(BODY)
    assert there.prefill.bodies == [_prefill_body(kv_transfer_params=TO_PREFILL)]
    assert there.decode.bodies == [{**BODY, "kv_transfer_params": PARAMS}]


async def test_chats_go_the_same_way(workshop: Workshop) -> None:
    there = await workshop.deploy()
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9}
    await there.post(body, "/v1/chat/completions")
    (first,), (second,) = there.prefill.seen, there.decode.seen
    assert first.path == second.path == "/v1/chat/completions"
    expected = {**body, "max_completion_tokens": 1, "max_tokens": 1, "stream": False}
    assert first.body == {**expected, "kv_transfer_params": TO_PREFILL}
    assert second.body == {**body, "kv_transfer_params": PARAMS}


async def test_decode_hears_nothing_before_prefill_has_answered(workshop: Workshop) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await prefills()(exchange)

    there = await workshop.deploy(slow)
    request = asyncio.create_task(there.post(BODY))
    await there.prefill.arrived.wait()
    await asyncio.sleep(0.05)
    assert there.decode.seen == []
    release.set()
    assert (await request).status == 200
    assert len(there.decode.seen) == 1


async def test_both_legs_carry_the_clients_id_and_key(workshop: Workshop) -> None:
    there = await workshop.deploy(key="of-the-proxy")
    answer = await there.post(BODY, headers={"X-Request-Id": "mine-1", "Authorization": "Bearer mine"})
    for leg in (*there.prefill.seen, *there.decode.seen):
        assert leg.headers["x-request-id"] == "mine-1"
        assert leg.headers["authorization"] == "Bearer mine"
    assert answer.headers["x-request-id"] == "mine-1"


async def test_without_them_there_is_a_new_id_and_the_proxys_key(workshop: Workshop) -> None:
    there = await workshop.deploy(key="of-the-proxy")
    answers_ = [await there.post(BODY) for _ in range(2)]
    first, second = (leg.headers["x-request-id"] for leg in there.prefill.seen)
    assert first != second
    assert [leg.headers["x-request-id"] for leg in there.decode.seen] == [first, second]
    assert [answer.headers["x-request-id"] for answer in answers_] == [first, second]
    assert {leg.headers["authorization"] for leg in there.decode.seen} == {"Bearer of-the-proxy"}


async def test_the_answer_names_who_served(workshop: Workshop) -> None:
    there = await workshop.deploy()
    answer = await there.post(BODY)
    assert answer.headers["x-pdtest-prefill"] == there.prefill.address
    assert answer.headers["x-pdtest-decode"] == there.decode.address


async def test_without_params_decode_computes_and_the_log_says_so(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    there = await workshop.deploy(prefills(None))
    assert (await there.post(BODY)).status == 200
    assert there.decode.bodies == [BODY]
    assert "without kv_transfer_params" in caplog.text


async def test_what_prefill_refuses_is_passed_on(workshop: Workshop) -> None:
    there = await workshop.deploy(answers(422, b'{"odd":  1}', "application/problem+json"))
    answer = await there.post(BODY)
    assert (answer.status, answer.content) == (422, b'{"odd":  1}')
    assert answer.headers["content-type"] == "application/problem+json"
    assert there.decode.seen == []


async def test_a_prefill_that_fails_is_a_502_that_names_it(workshop: Workshop) -> None:
    there = await workshop.deploy(answers(500, {"error": "boom"}))
    answer = await there.post(BODY)
    error = json.loads(answer.content)["error"]
    assert (answer.status, error["code"], error["type"]) == (502, 502, "BadGatewayError")
    assert f"prefill leg: {there.prefill.address} answered 500" in error["message"]
    assert "boom" in error["message"]
    assert there.decode.seen == []


@pytest.mark.parametrize("failing", [answers(500, {}), dies, answers(200, b"[not json")])
async def test_another_prefill_takes_over(workshop: Workshop, failing: Any) -> None:
    there = await workshop.deploy([failing, prefills()])
    answer = await there.post(BODY)
    assert answer.status == 200
    assert answer.headers["x-pdtest-prefill"] == there.prefills[1].address
    assert [len(engine.seen) for engine in there.prefills] == [1, 1]
    assert len(there.decode.seen) == 1


async def test_a_request_that_brings_down_its_instances_is_given_up(workshop: Workshop) -> None:
    there = await workshop.deploy([dies] * 5)
    assert (await there.post(BODY)).status == 502
    assert sum(len(engine.seen) for engine in there.prefills) == 3


async def test_a_decode_that_cannot_be_reached_is_replaced_and_prefill_is_not_repeated(
    workshop: Workshop,
) -> None:
    there = await workshop.deploy(decode=[streams("a"), streams("a")])
    await there.decode.stop()
    answer = await there.post(BODY)
    assert answer.status == 200
    assert answer.headers["x-pdtest-decode"] == there.decodes[1].address
    assert len(there.prefill.seen) == 1


async def test_what_decode_may_have_begun_is_not_repeated(workshop: Workshop) -> None:
    there = await workshop.deploy(decode=[dies, streams("a")])
    answer = await there.post(BODY)
    assert answer.status == 502
    assert f"decode leg: {there.decode.address}" in json.loads(answer.content)["error"]["message"]
    assert there.decodes[1].seen == []


async def test_a_client_that_leaves_in_prefill_aborts_it(workshop: Workshop) -> None:
    there = await workshop.deploy(never)
    request = asyncio.create_task(there.post(BODY))
    await there.prefill.arrived.wait()
    request.cancel()
    await asyncio.wait_for(there.prefill.left.wait(), 5)
    assert there.decode.seen == []
    _, stats = await there.get("/stats")
    assert stats["prefill_instances"][0]["aborted"] == 1
    assert stats["prefill_instances"][0]["in_flight"] == 0
