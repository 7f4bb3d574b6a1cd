from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI

from pdtest.embedded.engine.api.app import application
from pdtest.embedded.engine.settings import Settings

from .fakes import SETTINGS, EchoCore, EchoCores, echoing, serving


@pytest.fixture
async def cores() -> EchoCores:
    return EchoCores()


@pytest.fixture
def core(cores: EchoCores) -> EchoCore:
    return cores.ranks[0]


@pytest.fixture
async def client(cores: EchoCores) -> AsyncIterator[httpx.AsyncClient]:
    async with echoing(cores, prompt_tokens_details=True) as http:
        yield http


@pytest.fixture
async def url(cores: EchoCores) -> AsyncIterator[str]:
    async with serving(application(cores, Settings(**SETTINGS))) as address:
        yield address


@pytest.fixture
async def openai(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as official:
        yield official
