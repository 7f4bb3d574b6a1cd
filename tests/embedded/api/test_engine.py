"""The API with the real engine behind it, as a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import openai as package
import pytest
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families

from tests.embedded.program import engine


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Eight requests at once, so that others have to wait."""
    directory = tmp_path_factory.mktemp("engine")
    with engine(
        directory, "--served-model-name", "tiny", "--max-num-seqs", "8", "--api-key", "secret"
    ) as url:
        yield url


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0) as official:
        yield official


async def test_a_stream_says_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    asked = {"model": "tiny", "prompt": "A block is", "max_tokens": 40, "temperature": 0}
    whole = await client.completions.create(**asked)  # type: ignore[call-overload]
    stream = await client.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text
    assert whole.usage.completion_tokens == 40


async def test_many_at_once_say_what_each_says_alone(client: AsyncOpenAI) -> None:
    async def ask(number: int) -> str:
        answer = await client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": f"What is number {number}?"}],
            max_tokens=12,
            temperature=0,
        )
        return answer.choices[0].message.content or ""

    together = await asyncio.gather(*map(ask, range(12)))
    assert len(set(together)) == 12
    assert [await ask(number) for number in range(12)] == together


async def test_the_key_is_asked_for(address: str) -> None:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(package.AuthenticationError):
            await stranger.models.list()


async def test_who_leaves_leaves_nothing_behind(address: str, client: AsyncOpenAI) -> None:
    async def long(stream: bool) -> None:
        asked = {"model": "tiny", "prompt": "Hello", "max_tokens": 3000, "extra_body": {"ignore_eos": True}}
        answer = await client.completions.create(**asked, stream=stream)  # type: ignore[call-overload]
        async for _ in answer:
            pass

    async def leave(stream: bool) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(long(stream), 0.5)

    # Twice as many as can run: half of them leave before their turn.
    await asyncio.gather(*(leave(stream=number % 2 == 0) for number in range(16)))
    async with httpx.AsyncClient(base_url=address) as http, asyncio.timeout(20):
        while await _state(http) != (0, 0, 0):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)


async def _state(http: httpx.AsyncClient) -> tuple[float, ...]:
    """Running, waiting, share of blocks in use."""
    text = (await http.get("/metrics")).text
    values = {
        sample.name: sample.value for one in text_string_to_metric_families(text) for sample in one.samples
    }
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    return tuple(values[f"vllm:{name}"] for name in names)


async def test_a_connector_that_is_not_there_is_no_mistake(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model="tiny",
        prompt="Hello",
        max_tokens=1,
        extra_body={"kv_transfer_params": {"do_remote_prefill": True, "remote_block_ids": [[7]]}},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1
