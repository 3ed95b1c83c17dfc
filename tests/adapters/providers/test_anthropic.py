"""AnthropicProvider against the scripted server: both dialects, whole and streamed, and faults."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from splice.adapters.providers.anthropic import AnthropicProvider, AnthropicSettings
from splice.core.call import Trace
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import (
    BadAnswer,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RequestError,
    RouteError,
    RouteTimeout,
    SettingsError,
)
from splice.core.prices import Price
from splice.ports.providers import CompletionRequest, Message, Stream
from splice.testing.anthropic_server import AnthropicServer, Said
from splice.testing.contracts.providers import LABEL_SCHEMA, ProviderContract

CANARY = "sk-ant-canary-7f3a9c1e5b"
PRICE = Price(
    input_nano=3_000_000_000,
    output_nano=15_000_000_000,
    cached_nano=300_000_000,
    cache_write_nano=3_750_000_000,
)
WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Graz"}}
CLOCK = {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}}


@pytest.fixture(scope="module")
def running() -> Iterator[AnthropicServer]:
    with AnthropicServer(models=["scripted", "other"]) as server:
        yield server


@pytest.fixture
def server(running: AnthropicServer) -> AnthropicServer:
    running.forget()
    return running


@pytest.fixture
async def provider(server: AnthropicServer) -> AsyncIterator[AnthropicProvider]:
    made = AnthropicProvider("claude", server.base_url, CANARY, prices={"scripted": PRICE})
    yield made
    await made.close()


@pytest.fixture
def model() -> str:
    return "scripted"


class TestContract(ProviderContract):
    pass


def native(body: bytes | None = None, **changes: Any) -> WireRequest:
    raw = body or b'{"max_tokens": 99, "messages": [{"role": "user",   "content": "hello"}]}'
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return WireRequest(**({"dialect": Dialect.MESSAGES, "model": "scripted", "fields": fields,
                           "timeout_s": 10.0} | changes))  # fmt: skip


def chat(timeout_s: float = 10.0, **fields: Any) -> WireRequest:
    body = {"messages": [{"role": "user", "content": "hello"}], **fields}
    return WireRequest(Dialect.CHAT, "scripted", body, timeout_s)


async def read(stream: Stream, told: bytearray | None = None) -> bytes:
    told = bytearray() if told is None else told
    while (block := await stream.next()) is not None:
        told += block
    return bytes(told)


async def disconnects(server: AnthropicServer, wanted: int) -> int:
    """How often clients hung up, once it is so often as wanted, or after a while."""
    end = time.monotonic() + 5
    while server.disconnects < wanted and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return server.disconnects


def events(told: bytes) -> list[Any]:
    lines = [line[6:] for line in told.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


# Its own dialect


async def test_a_native_request_goes_on_byte_for_byte(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    body = b'{"max_tokens":  7,"messages": [{"role":"user","content":"\\u00e9"}],"new": [1.50, {}]}'

    await provider.send(native(body))

    sent = server.asked[0].raw
    for part in (b'"max_tokens":7', b'[{"role":"user","content":"\\u00e9"}]', b"[1.50, {}]"):
        assert part in sent
    assert server.asked[0].body["model"] == "scripted"
    assert server.asked[0].body["stream"] is False


async def test_key_version_and_beta_are_sent_as_headers(server: AnthropicServer) -> None:
    settings = AnthropicSettings(headers={"anthropic-beta": "ours-1", "x-team": "fraud"})
    provider = AnthropicProvider("claude", server.base_url, CANARY, settings=settings)
    given = {"anthropic-version": "2024-01-01", "anthropic-beta": "theirs-2"}

    await provider.send(native(headers=given))
    await provider.send(native(trace=Trace("ab" * 16, "cd" * 8)))
    await provider.close()

    first, second = (one.headers for one in server.asked)
    assert (first["x-api-key"], first["x-team"]) == (CANARY, "fraud")
    assert first["anthropic-version"] == "2024-01-01"
    assert first["anthropic-beta"] == "ours-1,theirs-2"
    assert second["anthropic-version"] == "2023-06-01"
    assert second["anthropic-beta"] == "ours-1"
    assert second["traceparent"] == f"00-{'ab' * 16}-{'cd' * 8}-01"


async def test_a_native_answer_comes_back_untouched(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    raw = b'{"id":"m", "type": "message","content":[{"type":"brand_new","x":1.50}],"model":"s" }'
    server.script(Said(raw=raw))

    reply = await provider.send(native())

    assert reply.body == raw
    assert reply.dialect is Dialect.MESSAGES
    assert reply.cost_nano is None


async def test_a_native_stream_comes_back_untouched_and_is_put_together(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    thinking = {"type": "thinking", "thinking": "let me think", "signature": "c2ln"}
    content = [thinking, {"type": "text", "text": "It is sunny — really."}, WEATHER, CLOCK]
    server.script(Said(content=content), Said(content=content))

    stream = await provider.open(native())
    told = await read(stream)
    whole = await provider.send(native())

    assert [e["type"] for e in events(told)][:3] == ["message_start", "content_block_start", "ping"]
    assert b"event: message_stop\n" in told
    assert server.asked[0].body["stream"] is True
    reply = stream.reply()
    assert json.loads(reply.body) == json.loads(whole.body)
    assert (reply.usage, reply.cost_nano, reply.complete) == (whole.usage, whole.cost_nano, True)


async def test_a_stream_has_started_with_its_first_token_and_not_before(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(text="hello", pause_s=0.02))
    stream = await provider.open(native())
    seen: list[tuple[bool, bool]] = []

    told = b""
    while (block := await stream.next()) is not None:
        told += block
        seen.append((b"text_delta" in told, stream.started))

    assert all(came == started for came, started in seen)
    assert seen[0] == (False, False)


# Prices under prompt caching


async def test_input_is_all_that_was_read_and_each_part_has_its_price(
    provider: AnthropicProvider,
) -> None:
    reply = await provider.send(native())

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (18, 5)
    assert (reply.usage.cached_tokens, reply.usage.cache_write_tokens) == (4, 2)
    assert reply.cost_nano == 12 * 3000 + 4 * 300 + 2 * 3750 + 5 * 15000


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_kept_for_an_hour_costs_twice_the_input(
    server: AnthropicServer, provider: AnthropicProvider, streamed: bool
) -> None:
    written = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 900}
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 1000, "output_tokens": 1,
             "cache_creation": written}  # fmt: skip
    server.script(Said(usage=usage))

    if streamed:
        stream = await provider.open(native())
        await read(stream)
        cost = stream.reply().cost_nano
    else:
        cost = (await provider.send(native())).cost_nano

    assert cost == 10 * 3000 + 100 * 3750 + 900 * 6000 + 15000


@pytest.mark.parametrize(
    "more", [{"server_tool_use": {"web_search_requests": 2}}, {"speed": "fast"}]
)
async def test_what_costs_more_than_its_tokens_has_an_unknown_cost(
    server: AnthropicServer, provider: AnthropicProvider, more: dict[str, Any]
) -> None:
    server.script(Said(usage={"input_tokens": 10, "output_tokens": 1, **more}))

    reply = await provider.send(native())

    assert reply.usage.input_tokens == 10
    assert reply.cost_nano is None


async def test_a_model_without_a_price_costs_nobody_knows_what(server: AnthropicServer) -> None:
    provider = AnthropicProvider("claude", server.base_url)

    reply = await provider.send(native())
    await provider.close()

    assert provider.price("scripted") is None
    assert reply.cost_nano is None


# Chat completions


async def test_a_chat_completion_is_answered_as_one(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(content=[{"type": "text", "text": "Let me look."}, WEATHER, CLOCK]))

    reply = await provider.send(chat())

    answer = json.loads(reply.body)
    message = answer["choices"][0]["message"]
    assert reply.dialect is Dialect.CHAT
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] == "Let me look."
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["weather", "clock"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Graz"}
    assert answer["usage"]["prompt_tokens"] == reply.usage.input_tokens == 18
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert answer["usage"]["total_tokens"] == 23


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
async def test_a_stop_reason_becomes_a_finish_reason(
    server: AnthropicServer, provider: AnthropicProvider, stop_reason: str, finish_reason: str
) -> None:
    server.script(Said(stop_reason=stop_reason), Said(stop_reason=stop_reason))

    whole = json.loads((await provider.send(chat())).body)
    told = events(await read(await provider.open(chat())))

    assert whole["choices"][0]["finish_reason"] == finish_reason
    assert told[-1]["choices"][0]["finish_reason"] == finish_reason


@pytest.mark.parametrize("usage_wanted", [False, True])
async def test_a_stream_of_chunks_tells_text_calls_and_usage(
    server: AnthropicServer, provider: AnthropicProvider, usage_wanted: bool
) -> None:
    content = [{"type": "text", "text": "Let me look: é"}, WEATHER, CLOCK]
    server.script(Said(content=content))
    options = {"stream_options": msgspec.Raw(b'{"include_usage": true}')} if usage_wanted else {}

    stream = await provider.open(chat(**options))
    told = await read(stream)

    chunks = events(told)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(d.get("content") or "" for d in deltas) == "Let me look: é"
    assert [(c["index"], c["id"]) for c in calls if "id" in c] == [(0, "toolu_1"), (1, "toolu_2")]
    arguments = [
        "".join(c["function"]["arguments"] for c in calls if c["index"] == i) for i in (0, 1)
    ]
    assert [json.loads(one) for one in arguments] == [{"city": "Graz"}, {}]
    assert told.endswith(b"data: [DONE]\n\n")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["usage"]["prompt_tokens"] for chunk in chunks if not chunk["choices"]] == (
        [18] if usage_wanted else []
    )
    reply = stream.reply()
    whole = json.loads(reply.body)["choices"][0]
    assert whole["message"]["content"] == "Let me look: é"
    assert len(whole["message"]["tool_calls"]) == 2
    assert whole["finish_reason"] == "tool_calls"
    assert reply.cost_nano == 12 * 3000 + 4 * 300 + 2 * 3750 + 5 * 15000


async def test_thinking_is_told_as_reasoning(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    content = [{"type": "thinking", "thinking": "hmm, well", "signature": "s"},
               {"type": "text", "text": "ok"}]  # fmt: skip
    server.script(Said(content=content), Said(content=content))

    whole = json.loads((await provider.send(chat())).body)["choices"][0]["message"]
    told = events(await read(await provider.open(chat())))

    parts = [c["choices"][0]["delta"].get("reasoning_content", "") for c in told]
    assert (whole["content"], whole["reasoning_content"]) == ("ok", "hmm, well")
    assert "".join(parts) == "hmm, well"


async def test_a_schema_is_asked_for_as_structured_output(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    request = CompletionRequest(
        "scripted", (Message("system", "Sort."), Message("user", "x")), 10.0, LABEL_SCHEMA
    )

    completion = await provider.complete(request)

    sent = server.asked[0].body
    assert sent["output_config"]["format"]["type"] == "json_schema"
    assert sent["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert sent["system"] == [{"type": "text", "text": "Sort."}]
    assert json.loads(completion.text) == {"label": "billing"}
    assert completion.finish_reason == "stop"


# Errors


@pytest.mark.parametrize(
    ("said", "kind", "says_what", "retryable"),
    [
        (Said(status=400, text="max_tokens: required"), ProviderRejected, "max_tokens: req", False),
        (Said(status=413), ProviderRejected, "413", False),
        (Said(status=401, text="invalid x-api-key"), ProviderFailed, "api_key", False),
        (Said(status=403), ProviderFailed, "what it may use", False),
        (Said(status=404, text="model: nope"), ProviderFailed, "name of the model", False),
        (Said(status=500, raw=b"oops"), ProviderFailed, "oops", True),
        (Said(status=302, raw=b""), ProviderFailed, "redirects", False),
        (Said(status=529, text="Overloaded"), ProviderLimited, "Overloaded", True),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_went_wrong_is_said(
    server: AnthropicServer,
    provider: AnthropicProvider,
    said: Said,
    kind: type[RouteError],
    says_what: str,
    retryable: bool,
    streamed: bool,
) -> None:
    server.script(said)

    with pytest.raises(kind, match=says_what) as raised:
        await (provider.open(native()) if streamed else provider.send(native()))

    assert raised.value.retryable is retryable
    assert (await provider.send(native())).complete


@pytest.mark.parametrize(
    ("said", "says_what"),
    [
        (Said(raw=b"<html>login</html>"), "base_url"),
        (Said(raw=b""), "a message"),
        (Said(raw=b'{"content": 5}'), "a message"),
        (Said(raw=b'{"content": ' + b"[" * 5000 + b"]" * 5000 + b"}"), "a message"),
        (Said(cut=20), "hung up in the middle"),
    ],
)
async def test_an_answer_that_is_none_is_a_failed_provider(
    server: AnthropicServer, provider: AnthropicProvider, said: Said, says_what: str
) -> None:
    server.script(said)

    with pytest.raises(ProviderFailed, match=says_what) as raised:
        await provider.send(native())

    assert raised.value.cost_nano is None


async def test_a_rate_limit_says_how_long_to_wait(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(status=429, headers={"retry-after": "7"}))

    with pytest.raises(ProviderLimited) as raised:
        await provider.send(native())

    assert raised.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("said", "says_what"),
    [
        (Said(content=[WEATHER]), "no text"),
        (Said(stop_reason="refusal"), "refusal"),
        (Said(text="{", stop_reason="max_tokens"), "raise max_tokens|Raise max_tokens"),
    ],
)
async def test_an_answer_that_does_not_complete_is_bad_and_costs_all_the_same(
    server: AnthropicServer, provider: AnthropicProvider, said: Said, says_what: str
) -> None:
    server.script(said)
    request = CompletionRequest("scripted", (Message("user", "x"),), 10.0, LABEL_SCHEMA)

    with pytest.raises(BadAnswer, match=says_what) as raised:
        await provider.complete(request)

    assert raised.value.cost_nano == 12 * 3000 + 4 * 300 + 2 * 3750 + 5 * 15000


async def test_a_request_for_what_it_cannot_do_is_refused_before_it_is_sent(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    for fields in ({"n": 2}, {"logprobs": True}, {"messages": 5}):
        with pytest.raises(RequestError):
            await provider.send(chat(**fields))
        with pytest.raises(RequestError):
            await provider.open(chat(**fields))

    assert server.asked == []


# Streams that end before their time


@pytest.mark.parametrize("request_", [native(), chat()], ids=["messages", "chat"])
@pytest.mark.parametrize("how", ["cut", "fail_after"])
async def test_a_stream_that_breaks_is_an_error_with_an_estimated_bill(
    server: AnthropicServer, provider: AnthropicProvider, request_: WireRequest, how: str
) -> None:
    server.script(Said(text="x" * 400, **{how: 33}))  # three events before the text, seven a piece
    stream = await provider.open(request_)
    told = bytearray()

    with pytest.raises((ProviderFailed, ProviderLimited), match=r"verloaded|hung up") as raised:
        await read(stream, told)

    reply = stream.reply()
    text = 7 * 30
    assert isinstance(raised.value, RouteError)
    assert raised.value.cost_nano is None
    assert told.count(b"xxxxxxx") == 30
    assert (reply.complete, reply.usage.estimated) == (False, True)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (18, -(-text // 4))
    assert reply.cost_nano == 12 * 3000 + 4 * 300 + 2 * 3750 + -(-text // 4) * 15000
    assert b"x" * text in reply.body


async def test_a_stream_cut_within_the_arguments_of_a_call_is_put_together_all_the_same(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(content=[WEATHER], cut=5))
    stream = await provider.open(native())

    with pytest.raises(ProviderFailed):
        await read(stream)

    block = json.loads(stream.reply().body)["content"][0]
    assert block["input"] == {"partial_json": '{"city"'}


async def test_silence_and_slowness_are_timeouts_that_hang_up(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(delay_s=30), Said(pause_s=30), Said(delay_s=30))

    with pytest.raises(RouteTimeout):
        await provider.send(native(timeout_s=0.2))
    stream = await provider.open(native(between_s=0.2))
    with pytest.raises(RouteTimeout):
        await read(stream)
    with pytest.raises(RouteTimeout):
        await provider.open(native(timeout_s=0.2))

    assert await disconnects(server, 3) == 3


@pytest.mark.parametrize("how", ["hang_up", "cancel"])
async def test_nobody_reading_on_stops_the_provider(
    server: AnthropicServer, provider: AnthropicProvider, how: str
) -> None:
    server.script(Said(text="x" * 7000, pause_s=0.01))
    stream = await provider.open(native())
    while not stream.started:
        await stream.next()

    if how == "hang_up":
        stream.hang_up()
        stream.hang_up()
    else:
        reading = asyncio.create_task(read(stream))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert await disconnects(server, 1) == 1


async def test_a_connection_carries_one_stream_after_another(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    for _ in range(3):
        await read(await provider.open(native()))
        await provider.send(chat())

    assert len({asked.client for asked in server.asked}) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        b'data: {"type": 5}\n\n',
        b"data: oops\n\n",
        b"event: error\ndata: {}\n\n",
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
        b'data: {"type": "message_start", "message": {"usage": 5}}\n\n',
        b'data: {"type": "message_start", "message": {"id": 5}}\n\n',
        b'data: {"type": "message_delta", "usage": {"output_tokens": "many"}}\n\n',
        b'data: {"type": "content_block_start", "content_block": {"type": "text", "text": 5}}\n\n',
    ],
)
@pytest.mark.parametrize("request_", [native(), chat()], ids=["messages", "chat"])
async def test_what_came_before_an_error_is_told_before_it(
    server: AnthropicServer, provider: AnthropicProvider, wrong: bytes, request_: WireRequest
) -> None:
    start = b'data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}'
    delta = b'data: {"type": "content_block_delta", "index": 0, "delta": %b}'
    good = delta % b'{"type": "text_delta", "text": "good"}'
    server.script(Said(raw=start + b"\n\n" + good + b"\n\n" + wrong + good + b"\n\n"))
    stream = await provider.open(request_)
    told = bytearray()

    with pytest.raises((ProviderFailed, ProviderLimited)):
        await read(stream, told)
    with pytest.raises((ProviderFailed, ProviderLimited)):
        await stream.next()

    assert told.count(b"good") == 1
    assert stream.reply().body.count(b"good") == 1


async def test_streams_at_the_same_time_do_not_mix(provider: AnthropicProvider) -> None:
    async def one(number: int) -> WireReply:
        text = f"number {number}"
        fields = {"max_tokens": 9, "messages": [{"role": "user", "content": text}]}
        stream = await provider.open(native(fields=fields))
        await read(stream)
        return stream.reply()

    replies = await asyncio.gather(*(one(number) for number in range(16)))

    texts = [json.loads(reply.body)["content"][0]["text"] for reply in replies]
    assert texts == [f"NUMBER {number}" for number in range(16)]


# The key


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        Said(status=401, text=f"invalid x-api-key {CANARY}"),
        Said(status=400, text=CANARY),
        Said(status=500, raw=CANARY.encode()),
        Said(raw=CANARY.encode()),
        Said(text=CANARY, fail_after=4),
    ],
)
async def test_the_key_is_in_no_error(
    server: AnthropicServer, provider: AnthropicProvider, said: Said, streamed: bool
) -> None:
    server.script(said)

    async def asked() -> None:
        if streamed:
            await read(await provider.open(native()))
        elif said.fail_after is None:
            await provider.send(native())
        else:
            raise ProviderFailed("a whole answer cannot fail in its middle")

    with pytest.raises((RouteError, RequestError)) as raised:
        await asked()

    ours = raised.value.__traceback__.tb_next if raised.value.__traceback__ else None
    shown = traceback.TracebackException(type(raised.value), raised.value, ours)
    assert CANARY not in "".join(shown.format()) + repr(raised.value) + repr(provider)


async def test_the_key_is_in_no_answer(
    server: AnthropicServer, provider: AnthropicProvider
) -> None:
    server.script(Said(text=f"your key: {CANARY}"))

    reply = await provider.send(native())

    assert b"your key: [hidden]" in reply.body


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (f"https://user:{CANARY}@vendor.example", None),
        (f"https://vendor.example/?key={CANARY}", None),
        ("https://vendor.example", f"{CANARY}\n"),
        ("https://vendor.example", f"{CANARY}\r\nx: y"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_without_repeating_them(
    url: str, key: str | None
) -> None:
    with pytest.raises(SettingsError) as raised:
        AnthropicProvider("claude", url, key)

    assert CANARY not in str(raised.value) + repr(raised.value)
