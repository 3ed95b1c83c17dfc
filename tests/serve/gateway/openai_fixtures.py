"""The fixtures of the OpenAI tests: one server a test file, its script anew for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from openai_desk import ScriptedEngine, Site, open_site


@pytest.fixture(scope="module")
def open_door() -> Iterator[Site]:
    """The server."""
    with open_site() as site:
        yield site


@pytest.fixture
def site(open_door: Site) -> Site:
    """The server, with nothing scripted."""
    open_door.desk.engine = open_door.engine = ScriptedEngine()
    return open_door


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(api_key="sk-open", base_url=site.base_url) as client:
        yield client


@pytest.fixture
async def async_client(site: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    """The same for asyncio."""
    async with openai.AsyncOpenAI(api_key="sk-open", base_url=site.base_url) as client:
        yield client
