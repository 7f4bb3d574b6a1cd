from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pdtest.mutants.gateway.bug import Side
from pdtest.mutants.gateway.bugs import BUGS, UnknownBug
from pdtest.mutants.gateway.gate import Gate
from pdtest.mutants.gateway.switch import Switch

COMPLETIONS = "/v1/completions"
CHUNKS = [f'data: {{"choices": [{{"index": 0, "text": "{letter}"}}]}}\n\n'.encode() for letter in "abcdef"]
STREAM = b"".join([*CHUNKS, b"data: [DONE]\n\n"])
ANSWER = {
    "choices": [{"index": 0, "text": "abc", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    "kv_transfer_params": None,
}
PARAMS = {"do_remote_prefill": True, "remote_block_ids": [[4, 5, 6]], "remote_request_id": "r"}


class Upstream:
    """Keeps what it is sent, and answers by the request's field ``wants``."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=_torn(b"metrics 1\n"))
        body = json.loads(request.content)
        self.bodies.append(body)
        if body.get("fails"):
            return httpx.Response(400, content=_torn(b'{"error":"no"}'))
        if body.get("stream"):
            return httpx.Response(200, content=_torn(STREAM), headers={"content-type": "text/event-stream"})
        answer = self.answers.pop(0) if self.answers else ANSWER
        content = json.dumps(answer, indent=3).encode()
        headers = {"x-kind": "json", "content-length": str(len(content))}
        return httpx.Response(200, content=_torn(content), headers=headers)


async def _torn(content: bytes) -> AsyncIterator[bytes]:
    """Pieces that know nothing of events."""
    for start in range(0, len(content), 37):
        yield content[start : start + 37]


class Sides:
    """The three sides of a gateway before one upstream."""

    def __init__(self, directory: Path) -> None:
        self.file, self.upstream = directory / "switch", Upstream()
        self._http = httpx.AsyncClient(transport=httpx.MockTransport(self.upstream))
        switch = Switch(self.file)
        self._gates = {side: Gate(side, "http://upstream", switch, self._http) for side in Side}

    async def __call__(self, side: Side = Side.FRONT, **body: Any) -> httpx.Response:
        async with self._client(side) as client:
            return await client.post(COMPLETIONS, json=body)

    async def get(self) -> httpx.Response:
        async with self._client(Side.FRONT) as client:
            return await client.get("/metrics")

    def _client(self, side: Side) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self._gates[side])
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


async def test_with_no_bug_every_byte_passes(sides: Sides) -> None:
    whole = await sides(prompt=[1], max_tokens=3)
    assert whole.content == json.dumps(ANSWER, indent=3).encode()
    assert whole.headers["x-kind"] == "json"
    assert (await sides(stream=True)).content == STREAM
    assert (await sides(fails=True)).status_code == 400
    assert (await sides.get()).text == "metrics 1\n"
    assert sides.upstream.bodies == [{"prompt": [1], "max_tokens": 3}, {"stream": True}, {"fails": True}]


async def test_the_switch_is_read_at_each_request(sides: Sides) -> None:
    sides.file.write_text("min-tokens-lost", encoding="utf-8")
    await sides(min_tokens=3)
    sides.file.write_text("", encoding="utf-8")
    await sides(min_tokens=4)
    assert sides.upstream.bodies == [{}, {"min_tokens": 4}]


async def test_drift_begins_after_so_many_clients_requests(sides: Sides) -> None:
    sides.file.write_text("params-lost,after=2", encoding="utf-8")
    for _ in range(3):
        await sides()
        await sides(Side.DECODE, kv_transfer_params=PARAMS)
    assert [body.get("kv_transfer_params") for body in sides.upstream.bodies[1::2]] == [PARAMS, PARAMS, None]


@pytest.mark.parametrize(
    ("bug", "expected"),
    [
        ("blocks-dropped", {**PARAMS, "remote_block_ids": [[4, 5]]}),
        ("blocks-repeated", {**PARAMS, "remote_block_ids": [[4, 4, 4]]}),
        ("blocks-reversed", {**PARAMS, "remote_block_ids": [[6, 5, 4]]}),
        ("params-lost", None),
        ("params-not-remote", {**PARAMS, "do_remote_prefill": False}),
        ("params-old-engine", {**PARAMS, "remote_engine_id": "engine-before-the-restart"}),
        ("params-unknown-id", {**PARAMS, "remote_request_id": "r-x"}),
    ],
)
async def test_what_decode_is_told(bug: str, expected: dict[str, Any] | None, sides: Sides) -> None:
    await armed(sides, bug)
    await sides(Side.DECODE, kv_transfer_params=PARAMS)
    await sides(Side.PREFILL, kv_transfer_params=PARAMS)
    seen = [body.get("kv_transfer_params") for body in sides.upstream.bodies[1:]]
    assert seen == [expected, PARAMS]


async def test_one_variable_for_all_requests(sides: Sides) -> None:
    await armed(sides, "params-latest")
    other = {**PARAMS, "remote_request_id": "other"}
    sides.upstream.answers = [{**ANSWER, "kv_transfer_params": other}]
    await sides(Side.PREFILL)
    await sides(Side.DECODE, kv_transfer_params=PARAMS)
    assert sides.upstream.bodies[-1]["kv_transfer_params"] == other


async def test_the_first_requests_parameters_for_ever(sides: Sides) -> None:
    await armed(sides, "params-consumed")
    for request in "abc":
        await sides(Side.DECODE, kv_transfer_params={**PARAMS, "remote_request_id": request})
    assert [body["kv_transfer_params"]["remote_request_id"] for body in sides.upstream.bodies[1:]] == [
        "a"
    ] * 3


@pytest.mark.parametrize(("bug", "side"), [("decode-twice", Side.DECODE), ("prefill-twice", Side.PREFILL)])
async def test_a_request_that_goes_out_twice(bug: str, side: Side, sides: Sides) -> None:
    await armed(sides, bug)
    assert (await sides(side, prompt=[2])).json() == ANSWER
    assert sides.upstream.bodies[1:] == [{"prompt": [2]}] * 2


@pytest.mark.parametrize(
    ("bug", "status", "content"),
    [("error-swallowed", 200, b""), ("error-as-answer", 200, b'{"error":"no"}')],
)
async def test_errors_that_become_answers(bug: str, status: int, content: bytes, sides: Sides) -> None:
    await armed(sides, bug)
    seen = await sides(fails=True)
    assert (seen.status_code, seen.content) == (status, content)
    assert (await sides()).json() == ANSWER


async def test_the_answer_of_the_request_before(sides: Sides) -> None:
    await armed(sides, "answer-of-another")
    sides.upstream.answers = [{"id": 1}, {"id": 2}]
    assert (await sides()).json() == ANSWER  # its predecessor is the one that armed it
    assert (await sides()).json() == {"id": 1}


@pytest.mark.parametrize(
    ("bug", "changed"),
    [
        ("finish-lost", {"choices": [{"index": 0, "text": "abc", "finish_reason": None}]}),
        ("finish-wrong", {"choices": [{"index": 0, "text": "abc", "finish_reason": "stop"}]}),
        ("text-cut", {"choices": [{"index": 0, "text": "ab", "finish_reason": "length"}]}),
        ("usage-wrong", {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
    ],
)
async def test_answers_with_something_changed(bug: str, changed: dict[str, Any], sides: Sides) -> None:
    await armed(sides, bug)
    assert (await sides()).json() == ANSWER | changed


async def test_an_answer_without_usage(sides: Sides) -> None:
    await armed(sides, "usage-lost")
    assert (await sides()).json() == {key: value for key, value in ANSWER.items() if key != "usage"}


@pytest.mark.parametrize(
    ("bug", "expected"),
    [
        ("stream-chunk-doubled", [*CHUNKS[:3], CHUNKS[2], *CHUNKS[3:], b"data: [DONE]\n\n"]),
        ("stream-chunk-lost", [*CHUNKS[:2], *CHUNKS[3:], b"data: [DONE]\n\n"]),
        ("stream-chunks-swapped", [CHUNKS[0], CHUNKS[2], CHUNKS[1], *CHUNKS[3:], b"data: [DONE]\n\n"]),
        ("stream-cut-off", CHUNKS[:3]),
        ("stream-without-done", CHUNKS),
    ],
)
async def test_streams_with_something_wrong(bug: str, expected: list[bytes], sides: Sides) -> None:
    await armed(sides, bug)
    assert (await sides(stream=True)).content == b"".join(expected)
    assert (await sides()).json() == ANSWER


async def test_a_chunk_split_into_two_events_is_no_json(sides: Sides) -> None:
    await armed(sides, "stream-chunk-split")
    events = (await sides(stream=True)).content.split(b"\n\n")
    broken = [event for event in events if event and event != b"data: [DONE]" and not _is_json(event)]
    assert len(broken) == 2


async def test_min_tokens_reach_prefill(sides: Sides) -> None:
    await armed(sides, "min-tokens-kept")
    await sides(min_tokens=8)
    await sides(Side.PREFILL, max_tokens=1)
    assert sides.upstream.bodies[-1] == {"max_tokens": 1, "min_tokens": 8}


async def test_prefills_one_token_reaches_decode(sides: Sides) -> None:
    await armed(sides, "decode-one-token")
    await sides(Side.DECODE, max_tokens=8)
    assert sides.upstream.bodies[-1] == {"max_tokens": 1}


async def test_a_bug_that_there_is_not(sides: Sides) -> None:
    sides.file.write_text("no-such", encoding="utf-8")
    with pytest.raises(UnknownBug, match="no-such"):
        await sides()


async def test_a_client_that_leaves_takes_its_request_with_it(tmp_path: Path) -> None:
    left, began = asyncio.Event(), asyncio.Event()

    async def slow(_: httpx.Request) -> httpx.Response:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise
        raise AssertionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    gate = Gate(Side.FRONT, "http://upstream", Switch(tmp_path / "switch"), http)
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        if len(messages) == 1:
            await began.wait()
        return messages.pop(0)

    async def send(_: Any) -> None:
        raise AssertionError

    scope = {"method": "POST", "path": COMPLETIONS, "query_string": b"", "headers": []}
    await asyncio.wait_for(gate(scope, receive, send), 5)
    assert left.is_set()


def test_every_bug_can_be_made_twice() -> None:
    for make in BUGS.values():
        assert make() is not make()


async def armed(sides: Sides, bug: str) -> None:
    """Switched on, and counted in: a request of a client has passed."""
    sides.file.write_text(bug, encoding="utf-8")
    await sides()


def _is_json(event: bytes) -> bool:
    try:
        json.loads(event.removeprefix(b"data: "))
    except ValueError:
        return False
    return True
