"""OpenAIProvider before a real llama.cpp server: whole, streams, schemas, tools, embeddings."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from llama_server import MODEL, llama_server

from splice.adapters.providers.openai import OpenAIProvider
from splice.core.chat import Dialect, WireRequest
from splice.core.errors import ProviderRejected
from splice.testing.contracts.providers import ProviderContract, blocks_of, chunks_of

pytestmark = pytest.mark.model

HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def wire(dialect: Dialect, **fields: object) -> WireRequest:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    return WireRequest(dialect, MODEL, raw, 60.0, 30.0)


@pytest.fixture(scope="module")
def llama_url() -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    with llama_server() as url:
        yield url


@pytest.fixture
async def provider(llama_url: str) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider("llama", llama_url, vendor="llama.cpp")
    yield made
    await made.close()


@pytest.fixture
def model() -> str:
    return MODEL


class TestRealLlama(ProviderContract):
    pass


async def test_a_request_that_llama_cpp_rejects_is_rejected_in_its_words(
    provider: OpenAIProvider,
) -> None:
    with pytest.raises(ProviderRejected, match="messages") as raised:
        await provider.send(wire(Dialect.CHAT, messages="hello"))

    assert raised.value.vendor_code == "invalid_request_error"


async def test_log_probabilities_of_a_stream_are_all_in_its_reply(
    provider: OpenAIProvider,
) -> None:
    request = wire(
        Dialect.CHAT, messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=1
    )

    stream = await provider.open(request)
    await blocks_of(stream)

    choice = json.loads(stream.reply().body)["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert all(token["logprob"] <= 0 for token in tokens)


async def test_tools_reach_a_model_whose_template_knows_none(provider: OpenAIProvider) -> None:
    request = wire(Dialect.CHAT, messages=HELLO, tools=[WEATHER], max_tokens=8)

    reply = await provider.send(request)

    assert json.loads(reply.body)["choices"][0]["message"]["role"] == "assistant"


async def test_a_response_streams_to_the_same_text_as_a_whole_one(
    provider: OpenAIProvider,
) -> None:
    request = wire(Dialect.RESPONSES, input="Say hello.", max_output_tokens=6, temperature=0)

    whole = await provider.send(request)
    stream = await provider.open(request)
    blocks = await blocks_of(stream)

    def said(body: bytes) -> str:
        return json.loads(body)["output"][0]["content"][0]["text"]

    assert said(stream.reply().body) == said(whole.body)
    assert stream.reply().usage.output_tokens == whole.usage.output_tokens == 6
    assert chunks_of(b"".join(blocks))[-1]["type"] == "response.completed"


async def test_a_stream_of_a_response_that_is_left_tells_what_had_come(
    provider: OpenAIProvider,
) -> None:
    request = wire(Dialect.RESPONSES, input="Tell a long story.", max_output_tokens=300)
    stream = await provider.open(request)
    while not stream.started:
        await stream.next()

    stream.hang_up()

    reply = stream.reply()
    body = json.loads(reply.body)
    assert (body["status"], reply.complete, reply.usage.estimated) == ("incomplete", False, True)
    assert body["output"][0]["content"][0]["text"]


async def test_embeddings_are_the_same_as_numbers_and_in_base64() -> None:
    pytest.importorskip("xllamacpp")
    with llama_server(embeddings=True) as url:
        provider = OpenAIProvider("llama", url, vendor="llama.cpp")
        plain = await provider.send(wire(Dialect.EMBEDDINGS, input=["a cat", "a dog"]))
        coded = await provider.send(
            wire(Dialect.EMBEDDINGS, input=["a cat", "a dog"], encoding_format="base64")
        )
        await provider.close()

    vectors = [one["embedding"] for one in json.loads(plain.body)["data"]]
    packed = [base64.b64decode(one["embedding"]) for one in json.loads(coded.body)["data"]]
    unpacked = [list(struct.unpack(f"<{len(one) // 4}f", one)) for one in packed]
    assert len(vectors) == 2
    assert unpacked == [pytest.approx(one, rel=1e-5) for one in vectors]
    assert (plain.usage.output_tokens, (plain.usage.input_tokens or 0) > 0) == (0, True)
