"""The official client understands all of it."""

from __future__ import annotations

import openai as package
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from .fakes import EchoCore

USER: ChatCompletionUserMessageParam = {"role": "user", "content": "Hi"}
PROMPT = "user: Hi\nassistant:"


async def test_completion(openai: AsyncOpenAI) -> None:
    answer = await openai.completions.create(model="echo", prompt="Hello", max_tokens=4)
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Hell", "length")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        5,
        4,
        9,
    )


async def test_completion_streamed(openai: AsyncOpenAI) -> None:
    stream = await openai.completions.create(
        model="echo", prompt="Hello", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == ["H", "e", "l", "l", "o", ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 5 + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


async def test_completion_logprobs(openai: AsyncOpenAI) -> None:
    answer = await openai.completions.create(model="echo", prompt="Hello", max_tokens=2, logprobs=1)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["H", "e"]
    assert logprobs.token_logprobs == [-1.0, -1.0]
    assert logprobs.text_offset == [0, 1]
    assert logprobs.top_logprobs == [{"H": -1.0, "I": -0.5}, {"e": -1.0, "f": -0.5}]


async def test_chat(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model="echo", messages=[USER], max_completion_tokens=7)
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("user: H", "length")


async def test_chat_goes_on_until_it_is_full(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(
        model="echo", messages=[USER], extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 64


async def test_chat_streamed(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(model="echo", messages=[USER], stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == PROMPT
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]


async def test_chat_logprobs(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(
        model="echo", messages=[USER], max_tokens=2, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    first = logprobs.content[0]
    assert (first.token, first.logprob, first.bytes) == ("u", -1.0, [117])
    assert [top.token for top in first.top_logprobs] == ["u", "v"]


async def test_models(openai: AsyncOpenAI) -> None:
    assert [model.id async for model in openai.models.list()] == ["echo"]


async def test_wrong_model(openai: AsyncOpenAI) -> None:
    with pytest.raises(package.NotFoundError, match="The model `other` does not exist") as caught:
        await openai.completions.create(model="other", prompt="Hello")
    assert caught.value.param == "model"


async def test_too_long(openai: AsyncOpenAI) -> None:
    with pytest.raises(package.BadRequestError, match="maximum context length is 64 tokens") as caught:
        await openai.completions.create(model="echo", prompt=[8] * 65)
    assert caught.value.param == "input_tokens"


async def test_failure_before_the_first_token_of_a_stream(openai: AsyncOpenAI, core: EchoCore) -> None:
    core.failure = (0, "KV did not arrive", 500)
    with pytest.raises(package.InternalServerError, match="KV did not arrive"):
        await openai.completions.create(model="echo", prompt="Hello", stream=True)


async def test_failure_within_a_stream(openai: AsyncOpenAI, core: EchoCore) -> None:
    core.failure = (2, "KV did not arrive", 500)
    stream = await openai.completions.create(model="echo", prompt="Hello", stream=True)
    chunks = aiter(stream)
    assert [(await anext(chunks)).choices[0].text for _ in range(2)] == ["H", "e"]
    with pytest.raises(package.APIError, match="KV did not arrive"):
        await anext(chunks)
