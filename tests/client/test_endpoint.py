from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from pdtest.client.errors import (
    BrokenStream,
    HttpStatusError,
    MalformedAnswer,
    RequestFailed,
    RequestTimedOut,
    Unreachable,
)
from pdtest.client.request import Request
from pdtest.events.handoff import RequestAbandoned, RequestAnswered, RequestErrored, RequestSent

TOKENS = Request.tokens([70, 293, 12, 44], max_tokens=2)
STREAM = dataclasses.replace(TOKENS, stream=True, n=2)
Connect = Callable[..., Any]


async def test_completion(connect: Connect, double: Any) -> None:
    answer = await connect().generate(TOKENS, request_id="mine")
    assert (answer.member, answer.request_id, answer.status) == ("good", "mine", 200)
    assert answer.token_ids == (163, 298)
    assert answer.headers["x-request-id"] == "mine"
    assert "via" not in answer.headers
    assert answer.raw["system_fingerprint"].startswith("vllm")
    assert 0 < answer.timings.first_byte_s <= answer.timings.total_s
    assert answer.timings.first_token_s is None
    (_, headers, body) = double.seen[0]
    assert headers["x-request-id"] == "mine"
    assert "authorization" not in headers
    assert body == TOKENS.body("tiny")


async def test_stream(connect: Connect) -> None:
    answer = await connect().generate(STREAM)
    assert [choice.token_ids for choice in answer.choices] == [(163, 298), (163, 298)]
    timings = answer.timings
    assert timings.first_token_s is not None
    assert timings.last_token_s is not None
    assert timings.first_byte_s <= timings.first_token_s <= timings.last_token_s <= timings.total_s


@pytest.mark.parametrize("stream", [False, True])
async def test_chat(connect: Connect, *, stream: bool) -> None:
    answer = await connect().generate(Request.chat("hi", stream=stream))
    assert answer.token_ids == (252, 284)
    assert len(answer.prompt_token_ids) == 19


async def test_params_are_sent_and_come_back(connect: Connect, double: Any) -> None:
    answer = await connect().generate(TOKENS, kv_transfer_params={"do_remote_decode": True})
    assert double.seen[0][2]["kv_transfer_params"] == {"do_remote_decode": True}
    assert answer.kv_transfer_params["remote_port"] == 15600


async def test_every_request_has_its_own_id(connect: Connect, double: Any) -> None:
    await asyncio.gather(connect().generate(TOKENS), connect().generate(TOKENS))
    assert len({headers["x-request-id"] for _, headers, _ in double.seen}) == 2


async def test_events_of_an_answer(connect: Connect, events: list[Any]) -> None:
    await connect(test="suite::test").generate(TOKENS, request_id="mine")
    sent, answered = events
    assert isinstance(sent, RequestSent)
    assert isinstance(answered, RequestAnswered)
    assert (sent.request_id, sent.test, sent.prompt_tokens) == ("mine", "suite::test", 4)
    assert sent.digest == TOKENS.digest()
    assert (answered.request_id, answered.completion_tokens, answered.finish_reasons) == (
        "mine",
        2,
        ("length",),
    )


ALL = [
    ("status-500", TOKENS, HttpStatusError, "KV load failed"),
    ("status-500", STREAM, HttpStatusError, "KV load failed"),
    ("status-400-text", TOKENS, HttpStatusError, "seen     no"),
    ("not-json", TOKENS, MalformedAnswer, "not JSON"),
    ("not-an-object", TOKENS, MalformedAnswer, "not an object"),
    ("empty", TOKENS, MalformedAnswer, "not JSON"),
    ("no-choices", TOKENS, MalformedAnswer, "choices"),
    ("error-200", TOKENS, MalformedAnswer, "decode failed"),
    ("error-200", STREAM, BrokenStream, "0 of 2 choices"),
]


@pytest.mark.parametrize(("behaviour", "asked", "error", "words"), ALL)
async def test_bad_answers(
    connect: Connect, behaviour: str, asked: Request, error: type[RequestFailed], words: str
) -> None:
    events: list[Any] = []
    with pytest.raises(error, match=words) as caught:
        await connect(behaviour, on_event=events.append).generate(asked, request_id="mine")
    failure = caught.value
    assert (failure.member, failure.request_id) == (behaviour, "mine")
    assert failure.url.endswith(asked.path)
    assert failure.status == {"status-500": 500, "status-400-text": 400}.get(behaviour, 200)
    assert failure.body is not None
    errored = events[-1]
    assert isinstance(errored, RequestErrored)
    assert (errored.error, errored.status, errored.body) == (error.__name__, failure.status, failure.body)


@pytest.mark.parametrize("asked", [STREAM, TOKENS])
async def test_stall_times_out(connect: Connect, asked: Request) -> None:
    with pytest.raises(RequestTimedOut, match=r"within 0\.2 s") as caught:
        await connect("stalls", timeout_s=0.2).generate(asked)
    assert (caught.value.status, caught.value.after_s) == (200, 0.2)
    assert "tiny" in (caught.value.body or "")


async def test_no_headers_in_time(connect: Connect, serve: Any, raw: Any) -> None:
    with pytest.raises(RequestTimedOut, match="seen     nothing") as caught:
        await connect(url=serve(raw(b"HTTP/1.1 200 OK\r\n", linger_s=1.0)), timeout_s=0.1).generate(TOKENS)
    assert (caught.value.status, caught.value.body) == (None, None)


async def test_nobody_listens(connect: Connect, unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable, match="ConnectError") as caught:
        await connect(url=f"http://127.0.0.1:{unused_tcp_port}").generate(TOKENS)
    assert caught.value.status is None


@pytest.mark.parametrize("reset", [False, True])
async def test_closed_before_the_status(connect: Connect, serve: Any, raw: Any, *, reset: bool) -> None:
    with pytest.raises(Unreachable):
        await connect(url=serve(raw(reset=reset))).generate(TOKENS)


CHUNK = b'data: {"model":"tiny","choices":[{"index":0,"text":"a","token_ids":[1]}]}\n\n'
LAST = (
    b'data: {"model":"tiny","choices":[{"index":0,"text":"b","token_ids":[2],"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n'
)
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
ONE = dataclasses.replace(STREAM, n=1)


async def test_split_pieces(connect: Connect, serve: Any, raw: Any) -> None:
    stream = CHUNK + LAST + DONE
    pieces = [stream[at : at + 40] for at in range(0, len(stream), 40)]
    answer = await connect(url=serve(raw(HEAD + b"\r\n", *pieces))).generate(ONE)
    assert (answer.text, answer.token_ids) == ("ab", (1, 2))
    # The arrivals are those of whole events: the tokens came one after the other.
    first, second, _usage = answer.timings.arrivals
    assert (first.tokens, second.tokens) == (1, 1)
    assert first.at_s < second.at_s


BROKEN = [
    (CHUNK, "0 of 1 choices finished"),
    (CHUNK + LAST, r"without 'data: \[DONE\]'"),
    (CHUNK + LAST[:40], "in the middle of an event"),
    (CHUNK + b'data: {"error":{"message":"engine died"}}\n\n' + DONE, "engine died"),
    (DONE, "0 of 1 choices finished"),
    (b"", "0 of 1 choices finished"),
]


@pytest.mark.parametrize(("stream", "words"), BROKEN)
async def test_broken_streams(connect: Connect, serve: Any, raw: Any, stream: bytes, words: str) -> None:
    with pytest.raises(BrokenStream, match=words) as caught:
        await connect(url=serve(raw(HEAD + b"\r\n" + stream))).generate(ONE)
    assert caught.value.status == 200


async def test_nonsense_in_the_middle_of_a_stream(connect: Connect, serve: Any, raw: Any) -> None:
    url = serve(raw(HEAD + b"\r\n" + CHUNK + b"data: {nonsense}\n\n" + LAST + DONE))
    with pytest.raises(MalformedAnswer, match="in the stream"):
        await connect(url=url).generate(ONE)


@pytest.mark.parametrize("reset", [False, True])
async def test_cut_off_in_the_middle(connect: Connect, serve: Any, raw: Any, *, reset: bool) -> None:
    head = HEAD + b"Content-Length: 9999\r\n\r\n"
    with pytest.raises(BrokenStream, match="Error") as caught:
        await connect(url=serve(raw(head, CHUNK, reset=reset))).generate(ONE)
    assert "tiny" in (caught.value.body or "")


async def test_key_is_sent_and_never_shown(connect: Connect, events: list[Any]) -> None:
    endpoint = connect("echoes-key", api_key="s3cret")
    with pytest.raises(HttpStatusError, match=r"Bearer \*\*\*") as caught:
        await endpoint.generate(TOKENS, kv_transfer_params={"token": "s3cret"})
    assert "s3cret" not in str(caught.value) + str(caught.value.body) + repr(endpoint)
    assert not any("s3cret" in str(event.to_json()) for event in events)


async def test_walking_away_closes_the_connection(connect: Connect, events: list[Any]) -> None:
    task = asyncio.create_task(connect("stalls").generate(STREAM))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(events[-1], RequestAbandoned)
    assert events[-1].elapsed_s > 0.05
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_metrics(connect: Connect) -> None:
    metrics = await connect().metrics()
    assert metrics.total("vllm:nixl_num_kv_expired_reqs") == 0.0


async def test_malformed_metrics(connect: Connect) -> None:
    with pytest.raises(MalformedAnswer):
        await connect("bad").metrics()


async def test_health(connect: Connect) -> None:
    assert await connect().health()
    assert not await connect("busy").health()
    assert not await connect().health("/healthcheck")


async def test_reset_prefix_cache(connect: Connect) -> None:
    assert await connect().reset_prefix_cache()
    assert not await connect("busy").reset_prefix_cache()
    assert not await connect("bad").reset_prefix_cache()


async def test_version_and_models(connect: Connect) -> None:
    assert await connect().version() == "0.32.0"
    assert await connect("bad").version() is None
    assert await connect().models() == ("tiny",)
    with pytest.raises(MalformedAnswer, match="no list of models"):
        await connect("bad").models()
    with pytest.raises(HttpStatusError):
        await connect("busy").models()


async def test_probe_has_its_own_deadline(connect: Connect, serve: Any, raw: Any) -> None:
    endpoint = connect(url=serve(raw(linger_s=1.0)), probe_timeout_s=0.1)
    started = time.perf_counter()
    with pytest.raises(RequestTimedOut):
        await endpoint.health()
    assert time.perf_counter() - started < 0.5
