"""PydanticAIProvider: the library's own model classes, against servers that do as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider as AnthropicVendor
from pydantic_ai.providers.openai import OpenAIProvider as OpenAIVendor

from splice.adapters.providers.pydantic_ai import PydanticAIProvider
from splice.core.call import Trace, Usage
from splice.core.chat import Dialect, WireRequest
from splice.core.errors import (
    BadAnswer,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RequestError,
    RouteError,
    RouteTimeout,
    SettingsError,
    SpliceError,
)
from splice.core.prices import Price
from splice.ports.providers import CompletionRequest, Message, Stream
from splice.testing.anthropic_server import AnthropicServer, Said
from splice.testing.contracts.providers import LABEL_SCHEMA, ProviderContract
from splice.testing.openai_server import OpenAIServer, Scripted

CANARY = "sk-canary-51c0ffee77"
PRICES = {"scripted": Price(input_nano=1_000_000_000, output_nano=2_000_000_000, cached_nano=0)}
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def openai_models(base_url: str) -> Callable[[str], OpenAIChatModel]:
    return lambda name: OpenAIChatModel(
        name, provider=OpenAIVendor(base_url=base_url, api_key=CANARY)
    )


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
async def provider(server: OpenAIServer) -> AsyncIterator[PydanticAIProvider]:
    made = PydanticAIProvider("tail", prices=PRICES, make=openai_models(server.base_url))
    yield made
    await made.close()


@pytest.fixture
def model() -> str:
    return "scripted"


def chat(timeout_s: float = 10.0, between_s: float | None = None, **fields: Any) -> WireRequest:
    return WireRequest(
        Dialect.CHAT, "scripted", {"messages": HELLO, **fields}, timeout_s, between_s
    )


class TestContract(ProviderContract):
    pass


# What goes out


async def test_a_conversation_with_tools_goes_out_as_it_was_said(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    called = {"name": "weather", "arguments": '{"city": "Bern"}'}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Bern?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": called}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "And now?"},
    ]

    await provider.send(
        chat(
            messages=messages,
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            temperature=0.25,
            top_p=0.5,
            seed=7,
            stop="END",
            max_tokens=50,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            parallel_tool_calls=False,
        )
    )

    body = server.asked[0].body
    said = [(one["role"], one.get("content")) for one in body["messages"]]
    assert said[0] == ("system", "Be brief.")
    assert said[2] == ("assistant", None)
    assert said[3] == ("tool", "rain")
    assert body["messages"][2]["tool_calls"][0]["id"] == "c1"
    assert json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {
        "city": "Bern"
    }
    assert body["messages"][3]["tool_call_id"] == "c1"
    tool = body["tools"][0]["function"]
    assert tool["name"] == "weather"
    assert tool["parameters"]["required"] == ["city"]
    # Of one tool alone the library says that any is required, which is the same.
    assert body["tool_choice"] in (
        "required",
        {"type": "function", "function": {"name": "weather"}},
    )
    sent = {key: body[key] for key in ("temperature", "top_p", "seed", "presence_penalty")}
    assert sent == {"temperature": 0.25, "top_p": 0.5, "seed": 7, "presence_penalty": 0.1}
    assert (body["frequency_penalty"], body["parallel_tool_calls"]) == (0.2, False)
    assert body["stop"] == ["END"]
    assert 50 in (body.get("max_tokens"), body.get("max_completion_tokens"))


async def test_an_image_goes_out_as_it_came(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    pixel = "data:image/png;base64,iVBORw0KGgo="
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": pixel, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]

    await provider.send(chat(messages=[{"role": "user", "content": parts}]))

    content = server.asked[0].body["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "What is it?"}
    assert content[1]["image_url"] == {"url": pixel, "detail": "low"}
    assert content[2]["image_url"]["url"] == "https://example.com/a.png"


async def test_a_schema_goes_out_natively_where_the_model_takes_one(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    named = {"name": "label", "schema": LABEL_SCHEMA, "strict": False}

    reply = await provider.send(chat(response_format={"type": "json_schema", "json_schema": named}))

    wanted = server.asked[0].body["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"]["required"] == ["label"]
    content = json.loads(reply.body)["choices"][0]["message"]["content"]
    assert json.loads(content) == {"label": "billing"}


async def test_plain_json_is_asked_for_in_words(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    await provider.send(chat(response_format={"type": "json_object"}))

    body = server.asked[0].body
    assert body["messages"][0]["role"] == "system"
    assert "one JSON object" in body["messages"][0]["content"]


async def test_the_trace_of_the_caller_goes_along(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    trace = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")

    await provider.send(
        WireRequest(Dialect.CHAT, "scripted", {"messages": HELLO}, 10.0, trace=trace)
    )

    sent = server.asked[0].headers["traceparent"]
    assert sent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 2}),
        ("logprobs", {"logprobs": True}),
        ("user", {"user": "someone"}),
        ("web_search_options", {"web_search_options": {}}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("made_up", {"made_up": 1}),
        ("tools[0]", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
        ("tools", {"tools": {"type": "function"}}),
        ("tool_choice", {"tool_choice": {"type": "allowed_tools"}}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("service_tier", {"service_tier": "scale"}),
        ("reasoning_effort", {"reasoning_effort": "a lot"}),
        ("messages[0].role", {"messages": [{"role": "function", "content": "x"}]}),
        ("messages[0].name", {"messages": [{"role": "user", "content": "x", "name": "Ann"}]}),
        ("messages[0].role", {"messages": ["hello"]}),
        ("messages[0].content", {"messages": [{"role": "user", "content": 5}]}),
        ("messages[0].content[0]", {"messages": [{"role": "user", "content": [{"type": "x"}]}]}),
        (
            "messages[0].content[0]",
            {"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
        ),
        (
            "messages[0].content[0]",
            {"messages": [{"role": "user", "content": [
                {"type": "file", "file": {"file_id": "f-1"}}]}]},
        ),
        (
            "messages[0].tool_call_id",
            {"messages": [{"role": "tool", "tool_call_id": "c9", "content": "x"}]},
        ),
    ],
)  # fmt: skip
async def test_a_field_that_cannot_be_carried_is_refused_by_its_name(
    provider: PydanticAIProvider, server: OpenAIServer, param: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(ProviderRejected) as refused:
        await provider.send(chat(**fields))

    assert refused.value.param == param
    assert param in str(refused.value)
    assert server.asked == []


@pytest.mark.parametrize(
    "fields",
    [{"n": 1}, {"logprobs": False}, {"store": False}, {"modalities": ["text"]}, {"user": None}],
)
async def test_a_field_that_asks_for_nothing_is_no_reason_to_refuse(
    provider: PydanticAIProvider, fields: dict[str, Any]
) -> None:
    assert (await provider.send(chat(**fields))).body


# What comes back


async def test_an_answer_is_a_chat_completion_with_its_usage_and_its_cost(
    provider: PydanticAIProvider,
) -> None:
    reply = await provider.send(chat())

    whole = ChatCompletion.model_validate_json(reply.body)
    assert whole.choices[0].message.content == "HELLO"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (12, 5)
    assert reply.usage == Usage(12, 5, 4)
    assert reply.cost_nano == (8 * 1_000 + 5 * 2_000)


async def test_calls_of_tools_come_back_with_their_arguments(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    calls = [
        {"id": f"c{i}", "type": "function",
         "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
        for i, city in enumerate(("Bern", "Rome"))
    ]  # fmt: skip
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    server.script(Scripted(message=message, finish_reason="tool_calls"))

    reply = await provider.send(chat(tools=[WEATHER]))

    choice = ChatCompletion.model_validate_json(reply.body).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    made = choice.message.tool_calls
    assert made is not None
    assert [(one.id, one.type) for one in made] == [("c0", "function"), ("c1", "function")]
    cities = [json.loads(one.function.arguments)["city"] for one in made]  # type: ignore[union-attr]
    assert cities == ["Bern", "Rome"]


async def test_an_uncounted_answer_has_unknown_usage_and_unknown_cost(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(text="hi", usage=None))

    reply = await provider.send(chat())

    assert reply.usage == Usage()
    assert reply.cost_nano is None
    assert "usage" not in json.loads(reply.body)


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (Scripted(status=429, text="slow down"), ProviderLimited, True),
        (Scripted(status=503, text="busy"), ProviderLimited, True),
        (Scripted(status=500, text="broken"), ProviderFailed, True),
        (Scripted(status=401, text=f"Incorrect API key provided: {CANARY}"), ProviderFailed, False),
        (Scripted(status=404, text="no such model"), ProviderFailed, False),
        (Scripted(status=400, text="bad temperature"), ProviderRejected, False),
        (Scripted(raw=b"<html>it works</html>"), ProviderFailed, True),
        (Scripted(cut=20), ProviderFailed, True),
    ],
)
async def test_every_failure_is_an_error_of_ours_without_the_key(
    provider: PydanticAIProvider,
    server: OpenAIServer,
    answer: Scripted,
    kind: type[SpliceError],
    retryable: bool,
) -> None:
    server.script(answer)

    with pytest.raises(kind) as failed:
        await provider.send(chat())

    assert failed.value.retryable is retryable
    assert CANARY not in f"{failed.value} {failed.value!r} {failed.value.__cause__!r}"
    if answer.text and CANARY not in answer.text:
        assert answer.text in str(failed.value)
    assert len(server.asked) == 1, "retries are the engine's"


async def test_a_limit_says_how_long_to_wait(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(status=429, headers={"retry-after": "7"}))

    with pytest.raises(ProviderLimited) as limited:
        await provider.send(chat())

    assert limited.value.retry_after == 7


async def test_a_broken_answer_has_an_unknown_cost_and_a_refused_one_has_none(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(cut=20), Scripted(status=500))

    with pytest.raises(ProviderFailed) as broken:
        await provider.send(chat())
    with pytest.raises(ProviderFailed) as refused:
        await provider.send(chat())

    assert broken.value.cost_nano is None
    assert refused.value.cost_nano == 0


async def test_a_server_that_is_not_there_is_a_route_error() -> None:
    async with _tcp(lambda reader, writer: asyncio.sleep(0)) as base_url:
        pass  # the port is free again
    provider = PydanticAIProvider("tail", make=openai_models(base_url))

    with pytest.raises(RouteError):
        await provider.send(chat())

    await provider.close()


async def test_a_cancelled_call_hangs_up(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(delay_s=60))
    call = asyncio.create_task(provider.send(chat(timeout_s=60)))
    await _until(lambda: len(server.asked) == 1)

    call.cancel()

    await asyncio.gather(call, return_exceptions=True)
    await _until(lambda: server.disconnects == 1)


async def test_an_answer_cut_off_before_its_schema_is_no_completion(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(text='{"label": "bil', finish_reason="length"))
    messages = (Message("user", "hello"),)

    with pytest.raises(BadAnswer) as bad:
        await provider.complete(CompletionRequest("scripted", messages, 10.0, LABEL_SCHEMA))

    assert bad.value.cost_nano == 18_000


async def test_a_completion_that_cannot_be_asked_for_lets_the_next_route_try(
    provider: PydanticAIProvider,
) -> None:
    request = CompletionRequest("scripted", (Message("user", "x"),), 10.0, params={"n": 3})

    with pytest.raises(RouteError) as failed:
        await provider.complete(request)

    assert not isinstance(failed.value, RequestError)


# Streams


def _event(**choice: Any) -> bytes:
    chunk = {
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{"index": 0, "delta": {}, "finish_reason": None, **choice}],
    }  # fmt: skip
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _count() -> bytes:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    return b"data: " + json.dumps({**head, "choices": [], "usage": usage}).encode() + b"\n\n"


TEXT = [_event(delta={"role": "assistant", "content": ""}), _event(delta={"content": "Hel"}),
        _event(delta={"content": "lo"})]  # fmt: skip
END = [_event(finish_reason="stop"), _count(), b"data: [DONE]\n\n"]
EVENTS = {"content-type": "text/event-stream"}


async def _read(stream: Stream) -> list[bytes]:
    blocks: list[bytes] = []
    while (block := await stream.next()) is not None:
        blocks.append(block)
    return blocks


def _chunks(blocks: list[bytes]) -> list[ChatCompletionChunk]:
    assert blocks[-1] == b"data: [DONE]\n\n"
    return [ChatCompletionChunk.model_validate_json(block[6:]) for block in blocks[:-1]]


async def test_a_stream_comes_as_chunks_and_ends_as_the_whole_answer(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(raw=b"".join([*TEXT, *END]), headers=EVENTS))

    stream = await provider.open(chat())
    chunks = _chunks(await _read(stream))

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({c.id for c in chunks}) == 1
    assert all(c.usage is None for c in chunks), "nobody asked for it"
    reply = stream.reply()
    assert reply.complete
    assert reply.usage == Usage(9, 3)
    assert reply.cost_nano == 15_000
    assert ChatCompletion.model_validate_json(reply.body).choices[0].message.content == "Hello"


async def test_a_stream_ends_with_the_count_of_tokens_where_it_was_asked_for(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(raw=b"".join([*TEXT, *END]), headers=EVENTS))

    stream = await provider.open(chat(stream_options={"include_usage": True}))
    chunks = _chunks(await _read(stream))

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 12


async def test_calls_of_tools_are_streamed_by_their_index(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    pieces = [
        {"index": 0, "id": "c0", "type": "function",
         "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": '"Bern"}'}},
        {"index": 1, "id": "c1", "type": "function",
         "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
    ]  # fmt: skip
    events = [_event(delta={"role": "assistant", "tool_calls": [piece]}) for piece in pieces]
    last = [_event(finish_reason="tool_calls"), *END[1:]]
    server.script(Scripted(raw=b"".join([*events, *last]), headers=EVENTS))

    stream = await provider.open(chat(tools=[WEATHER]))
    chunks = _chunks(await _read(stream))

    heads = [t for c in chunks for t in (c.choices[0].delta.tool_calls or []) if t.id]
    assert [(t.index, t.id, t.function and t.function.name) for t in heads] == [
        (0, "c0", "weather"),
        (1, "c1", "weather"),
    ]
    whole = ChatCompletion.model_validate_json(stream.reply().body).choices[0]
    assert whole.finish_reason == "tool_calls"
    made = whole.message.tool_calls or []
    cities = [json.loads(one.function.arguments)["city"] for one in made]  # type: ignore[union-attr]
    assert cities == ["Bern", "Rome"]


async def test_a_stream_that_is_refused_is_refused_when_it_is_opened(
    provider: PydanticAIProvider, server: OpenAIServer
) -> None:
    server.script(Scripted(status=429), Scripted(status=400, text="no"))

    with pytest.raises(ProviderLimited):
        await provider.open(chat())
    with pytest.raises(ProviderRejected):
        await provider.open(chat())


@asynccontextmanager
async def _tcp(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]],
) -> AsyncIterator[str]:
    """A server that does as it likes once a request has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    async with listening:
        yield f"http://{host}:{port}/v1"


def _begin(writer: asyncio.StreamWriter, *events: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    writer.write(head + b"".join(events))


async def test_a_stream_that_breaks_off_ends_with_an_error_and_an_estimated_bill() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        writer.write(head + b"".join(TEXT))
        await writer.drain()

    async with _tcp(answer) as base_url:
        provider = PydanticAIProvider("tail", prices=PRICES, make=openai_models(base_url))
        stream = await provider.open(chat())

        with pytest.raises(RouteError):
            await _read(stream)

        reply = stream.reply()
        assert not reply.complete
        assert reply.usage.estimated
        assert reply.cost_nano is not None
        assert reply.cost_nano > 0
        assert json.loads(reply.body)["choices"][0]["message"]["content"] == "Hello"
        await provider.close()


async def test_hanging_up_stops_the_provider_at_once() -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _begin(writer, *TEXT)
        await writer.drain()
        while await reader.read(65536):  # the body of the request; then nothing is the end
            pass
        gone.set()

    async with _tcp(answer) as base_url:
        provider = PydanticAIProvider("tail", make=openai_models(base_url))
        stream = await provider.open(chat(timeout_s=60))
        first = await stream.next()

        stream.hang_up()
        stream.hang_up()

        async with asyncio.timeout(10):
            await gone.wait()
        assert first is not None
        assert await stream.next() is None
        assert not stream.reply().complete
        await provider.close()


async def test_silence_in_the_middle_of_a_stream_is_a_timeout() -> None:
    silent = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _begin(writer, *TEXT)
        await writer.drain()
        await silent.wait()

    async with _tcp(answer) as base_url:
        provider = PydanticAIProvider("tail", make=openai_models(base_url))
        stream = await provider.open(chat(timeout_s=60, between_s=0.2))

        with pytest.raises(RouteTimeout) as late:
            await _read(stream)

        assert late.value.cost_nano is None
        silent.set()
        await provider.close()


async def test_a_stream_that_never_begins_is_a_timeout() -> None:
    silent = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    async with _tcp(answer) as base_url:
        provider = PydanticAIProvider("tail", make=openai_models(base_url))

        with pytest.raises(RouteTimeout):
            await provider.open(chat(timeout_s=0.3))

        silent.set()
        await provider.close()


# Another vendor behind the same adapter


async def test_a_vendor_with_another_api_answers_the_same_request() -> None:
    with AnthropicServer() as server:
        vendor = AnthropicVendor(api_key=CANARY, base_url=server.base_url)
        provider = PydanticAIProvider("tail", make=lambda n: AnthropicModel(n, provider=vendor))
        use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}
        server.script(Said(content=[use], stop_reason="tool_use"), Said(text="Rain."))
        asked: list[dict[str, Any]] = [{"role": "system", "content": "Brief."}, *HELLO]

        first = await provider.send(chat(messages=asked, tools=[WEATHER]))
        message = json.loads(first.body)["choices"][0]["message"]
        told = {"role": "tool", "tool_call_id": "t1", "content": "rain"}
        second = await provider.send(chat(messages=[*asked, message, told], tools=[WEATHER]))

        assert message["tool_calls"][0]["function"]["name"] == "weather"
        assert json.loads(first.body)["choices"][0]["finish_reason"] == "tool_calls"
        assert first.usage == Usage(18, 5, 4, 2), "its input leaves out the cache, ours does not"
        assert json.loads(second.body)["choices"][0]["message"]["content"] == "Rain."
        results = server.asked[1].body["messages"][-1]["content"]
        assert results[0]["tool_use_id"] == "t1"
        await provider.close()


async def test_a_vendor_with_another_api_streams_the_same_chunks() -> None:
    with AnthropicServer() as server:
        vendor = AnthropicVendor(api_key=CANARY, base_url=server.base_url)
        provider = PydanticAIProvider("tail", make=lambda n: AnthropicModel(n, provider=vendor))
        server.script(Said(text="Rain in Bern."))

        stream = await provider.open(chat())
        chunks = _chunks(await _read(stream))

        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Rain in Bern."
        assert stream.reply().usage == Usage(18, 5, 4, 2)
        await provider.close()


# Settings


def test_an_unknown_vendor_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(SettingsError) as wrong:
        PydanticAIProvider("tail", "no-such-vendor")

    assert "no-such-vendor" in str(wrong.value)
    with pytest.raises(SettingsError):
        PydanticAIProvider("tail")


async def test_a_missing_key_makes_the_model_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    provider = PydanticAIProvider("tail", "openai-chat")

    with pytest.raises(ModelUnavailable) as missing:
        await provider.send(chat())

    assert "OPENAI_API_KEY" in str(missing.value)
    await provider.close()


async def test_a_vendor_of_the_library_finds_its_key_in_the_environment(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    provider = PydanticAIProvider("tail", "openai-chat")

    reply = await provider.send(chat())
    other = await provider.send(WireRequest(Dialect.CHAT, "other", {"messages": HELLO}, 10.0))

    assert (reply.model, other.model) == ("scripted", "other")
    assert server.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in repr(provider)
    await provider.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)
