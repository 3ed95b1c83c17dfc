"""PydanticAIProvider before a real llama.cpp server: whole answers, streams, schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from llama_server import MODEL, llama_server
from openai.types.chat import ChatCompletion
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider as OpenAIVendor

from splice.adapters.providers.pydantic_ai import PydanticAIProvider
from splice.core.chat import Dialect, WireRequest
from splice.testing.contracts.providers import ProviderContract, blocks_of

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def llama_url() -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    with llama_server() as url:
        yield url


@pytest.fixture
async def provider(llama_url: str) -> AsyncIterator[PydanticAIProvider]:
    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIVendor(base_url=llama_url, api_key="none"))

    made = PydanticAIProvider("tail", make=make)
    yield made
    await made.close()


@pytest.fixture
def model() -> str:
    return MODEL


class TestRealLlama(ProviderContract):
    pass


async def test_a_real_stream_says_the_same_as_its_reply(provider: PydanticAIProvider) -> None:
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0,
        "seed": 1,
        "max_tokens": 24,
    }

    stream = await provider.open(WireRequest(Dialect.CHAT, MODEL, fields, 60.0, 30.0))
    blocks = [json.loads(block[6:]) for block in (await blocks_of(stream))[:-1]]

    said = "".join(
        choice["delta"].get("content") or "" for one in blocks for choice in one["choices"]
    )
    whole = ChatCompletion.model_validate_json(stream.reply().body)
    assert said
    assert whole.choices[0].message.content == said
    assert stream.reply().usage.output_tokens
    assert not stream.reply().usage.estimated
