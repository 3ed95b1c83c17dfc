"""OpenAIProvider as the gateway uses it: callers' own requests, whole and as streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import openai
import pytest

from splice.adapters.providers.openai import OpenAIProvider, OpenAISettings
from splice.core.call import Trace, Usage
from splice.core.chat import Dialect, WireRequest
from splice.core.errors import (
    InputMismatch,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    SettingsError,
)
from splice.core.prices import Price
from splice.testing.contracts.providers import blocks_of, chunks_of, text_of
from splice.testing.openai_server import USAGE, OpenAIServer, Scripted

KEY = "sk-canary-5a6b7c8d9e"
HELLO = [{"role": "user", "content": "hello dear world"}]
CALLS = [
    {"id": "call_1", "type": "function",
     "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}},
    {"id": "call_2", "type": "function",
     "function": {"name": "get_time", "arguments": "{}"}},
]  # fmt: skip
PRICE = Price(input_nano=1_000_000_000, output_nano=2_000_000_000, cached_nano=0)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
async def provider(server: OpenAIServer) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider("vendor", server.base_url, KEY, prices={"m": PRICE})
    yield made
    await made.close()


def wire(dialect: Dialect = Dialect.CHAT, **fields: Any) -> WireRequest:
    if dialect is Dialect.CHAT:
        fields = {"messages": HELLO} | fields
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}
    return WireRequest(dialect, "m", raw, 10.0, 5.0)


# What is sent


async def test_every_field_goes_on_as_the_caller_wrote_it(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    odd = b'{ "deep" : [1.10, 1e2, "\\u00fc", 12345678901234567890] }'
    fields = {"messages": msgspec.Raw(json.dumps(HELLO).encode()), "odd": msgspec.Raw(odd)}
    sent: list[bytes] = []
    post = provider._http.post  # pyright: ignore[reportPrivateUsage]

    async def listening(path: str, body: bytes, *rest: Any) -> Any:
        sent.append(body)
        return await post(path, body, *rest)

    provider._http.post = listening  # type: ignore[method-assign]
    await provider.send(WireRequest(Dialect.CHAT, "m", fields, 10.0))

    assert odd in sent[0]
    assert server.asked[0].body["model"] == "m"
    assert server.asked[0].body["stream"] is False


@pytest.mark.parametrize(
    ("request_", "path", "stream"),
    [
        (wire(), "/v1/chat/completions", False),
        (wire(Dialect.RESPONSES, input="x"), "/v1/responses", False),
        (wire(Dialect.EMBEDDINGS, input="x"), "/v1/embeddings", None),
    ],
)
async def test_a_dialect_has_its_path(
    server: OpenAIServer, provider: OpenAIProvider, request_: WireRequest, path: str, stream: object
) -> None:
    reply = await provider.send(request_)

    assert (server.asked[0].path, server.asked[0].body.get("stream")) == (path, stream)
    assert reply.dialect is request_.dialect


async def test_fields_cannot_change_the_model_or_the_way_of_the_answer(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    await provider.send(wire(model="dear", stream=True))

    assert (server.asked[0].body["model"], server.asked[0].body["stream"]) == ("m", False)


async def test_vendor_headers_and_the_trace_go_on_and_the_key_stays_ours(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    headers = {"openai-organization": "org-1", "authorization": "Bearer stolen"}
    request = msgspec.structs.replace(wire(), headers=headers, trace=Trace("ab" * 16, "cd" * 8))

    await provider.send(request)
    await blocks_of(await provider.open(request))

    for asked in server.asked:
        assert asked.headers["openai-organization"] == "org-1"
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["traceparent"].startswith("00-abab")


async def test_a_header_that_would_be_two_is_the_callers_mistake(
    provider: OpenAIProvider,
) -> None:
    request = msgspec.structs.replace(wire(), headers={"openai-beta": "a\r\nx: y"})

    with pytest.raises(InputMismatch):
        await provider.send(request)


# What comes back whole


async def test_the_body_is_the_providers_bytes(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    body = b'{ "choices":[{"x":1.10}],  "model":"m-2026", "usage":null, "new":{"a":[1]} }\n'
    server.script(Scripted(raw=body))

    reply = await provider.send(wire())

    assert reply.body == body
    assert (reply.model, reply.usage, reply.cost_nano) == ("m-2026", Usage(), None)


async def test_tokens_and_cost_are_counted(provider: OpenAIProvider) -> None:
    reply = await provider.send(wire())

    assert reply.usage == Usage(12, 5, 4)
    assert reply.cost_nano == (12 - 4) * 1000 + 5 * 2000
    assert provider.price("m") is PRICE
    assert provider.price("other") is None


async def test_thoughts_that_only_the_total_counts_are_counted(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    server.script(Scripted(usage=told))

    assert (await provider.send(wire())).usage.output_tokens == 105


async def test_embeddings_cost_their_input(provider: OpenAIProvider) -> None:
    reply = await provider.send(wire(Dialect.EMBEDDINGS, input=["a", "b"]))

    assert (reply.usage, reply.cost_nano) == (Usage(12, 0), 12_000)
    assert len(json.loads(reply.body)["data"]) == 2


async def test_a_response_has_its_tokens_counted(provider: OpenAIProvider) -> None:
    reply = await provider.send(wire(Dialect.RESPONSES, input="hello"))

    assert reply.usage == Usage(12, 5, 4)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Scripted(raw=b""), "truncated"),
        (Scripted(raw=b"[]"), "Expected `object`"),
        (Scripted(body={"choices": []}), "nothing in it"),
        (Scripted(body={"error": {"message": "quota"}}), "quota"),
        (Scripted(raw=b'{"choices":[{"a":"\xff"}]}'), "utf-8"),
        (Scripted(headers={"content-type": "text/html"}), "not JSON by its content type"),
    ],
)
async def test_a_200_that_is_no_answer_is_a_failed_provider(
    server: OpenAIServer, provider: OpenAIProvider, answer: Scripted, says: str
) -> None:
    server.script(answer)

    with pytest.raises(ProviderFailed, match=says) as raised:
        await provider.send(wire())

    assert raised.value.cost_nano is None


@pytest.mark.parametrize(
    ("status", "told", "kind", "retryable"),
    [
        (400, {"message": "bad", "param": "n", "code": "c"}, ProviderRejected, False),
        (413, {"message": "large"}, ProviderRejected, False),
        (422, {"message": [{"loc": ["body", "x"]}]}, ProviderRejected, False),
        (400, {"message": "API key not valid. Please pass one."}, ProviderFailed, False),
        (400, {"message": "Incorrect API key provided: sk-x"}, ProviderFailed, False),
        (401, {"message": "who are you"}, ProviderFailed, False),
        (403, {"message": "not yours"}, ProviderFailed, False),
        (404, {"message": "no such model"}, ProviderFailed, False),
        (402, {"message": "no credit"}, ProviderFailed, False),
        (408, {"message": "slow"}, ProviderFailed, True),
        (409, {"message": "conflict"}, ProviderFailed, True),
        (425, {"message": "early"}, ProviderFailed, True),
        (429, {"message": "often"}, ProviderLimited, True),
        (500, {"message": "oops"}, ProviderFailed, True),
        (503, {"message": "full"}, ProviderLimited, True),
    ],
)
async def test_a_status_means_the_same_whole_and_as_a_stream(
    server: OpenAIServer,
    provider: OpenAIProvider,
    status: int,
    told: dict[str, Any],
    kind: type[Exception],
    retryable: bool,
) -> None:
    server.script(*[Scripted(status=status, body={"error": told})] * 2)

    with pytest.raises(kind) as whole:
        await provider.send(wire())
    with pytest.raises(kind) as streamed:
        await provider.open(wire())

    for raised in (whole, streamed):
        assert raised.value.retryable is retryable  # type: ignore[attr-defined]
        assert f"status {status}" in str(raised.value)


async def test_an_error_in_a_list_is_read_as_google_sends_it(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    told = {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT"}
    server.script(Scripted(status=400, raw=json.dumps([{"error": told}]).encode()))

    with pytest.raises(ProviderRejected, match="Unknown name") as raised:
        await provider.send(wire())

    assert raised.value.vendor_code == "INVALID_ARGUMENT"


async def test_a_wrong_key_is_named_by_its_place_and_never_shown(server: OpenAIServer) -> None:
    settings = OpenAISettings(key_place="OPENAI_API_KEY")
    provider = OpenAIProvider("vendor", server.base_url, KEY, settings=settings)
    server.script(Scripted(status=401, text=f"Incorrect API key: {KEY}"))

    with pytest.raises(ProviderFailed, match="OPENAI_API_KEY") as raised:
        await provider.send(wire())
    await provider.close()

    assert KEY not in str(raised.value) + repr(raised.value.__dict__)
    assert "vendor" in raised.value.where


async def test_a_key_that_is_echoed_is_in_no_answer(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(*[Scripted(text=f"it is {KEY} indeed")] * 2)

    whole = await provider.send(wire())
    stream = await provider.open(wire())
    blocks = await blocks_of(stream)

    assert text_of(whole.body) == "it is [hidden] indeed"
    assert KEY.encode() not in b"".join(blocks) + stream.reply().body


# Streams


async def test_events_are_the_providers_bytes(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    raw = (
        b'data: { "choices":[{"index":0,"delta":{"content":"a\\u00fc"},"new":1.10}]}\n\n'
        b": a comment\n\n"
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_vendor":{"a":1}}\n\n'
        b"data: [DONE]\n\n"
    )
    server.script(Scripted(raw=raw))

    stream = await provider.open(wire())

    assert b"".join(await blocks_of(stream)) == raw.replace(b": a comment\n\n", b"")
    assert text_of(stream.reply().body) == "aü"


async def test_tokens_are_always_asked_for_and_told_only_to_who_asked(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    silent = await provider.open(wire())
    unasked = b"".join(await blocks_of(silent))
    counting = await provider.open(wire(stream_options={"include_usage": True}))
    asked = b"".join(await blocks_of(counting))

    assert [a.body["stream_options"] for a in server.asked] == [{"include_usage": True}] * 2
    assert b"completion_tokens" not in unasked
    assert chunks_of(asked)[-1]["usage"] == USAGE
    assert silent.reply().usage == counting.reply().usage == Usage(12, 5, 4)
    assert silent.reply().cost_nano == (12 - 4) * 1000 + 5 * 2000


@pytest.mark.parametrize("options", ["yes", 7, {"include_usage": "yes"}])
async def test_wrong_stream_options_are_left_to_the_provider_to_reject(
    server: OpenAIServer, provider: OpenAIProvider, options: object
) -> None:
    server.script(Scripted(status=400, text="no such option"))

    with pytest.raises(ProviderRejected):
        await provider.open(wire(stream_options=options))

    assert server.asked[0].body["stream_options"] == options


async def test_a_stream_without_a_count_is_estimated_and_says_so(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(text="one two three " + "x" * 400, usage=None))

    stream = await provider.open(wire())
    await blocks_of(stream)

    usage = stream.reply().usage
    assert usage.estimated
    assert usage.output_tokens == -(-414 // 4)
    assert (usage.input_tokens or 0) > 20


async def test_a_stream_cut_short_is_charged_for_what_came(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(text="a b c d e f", events=4, breaks=True))
    stream = await provider.open(wire())

    with pytest.raises(ProviderFailed, match="broke off"):
        await blocks_of(stream)

    reply = stream.reply()
    assert (text_of(reply.body), reply.usage.output_tokens) == ("a b c", 3)
    assert (reply.complete, reply.usage.estimated) == (False, True)
    assert reply.cost_nano == (reply.usage.input_tokens or 0) * 1000 + 3 * 2000


async def test_a_stream_that_just_ends_without_its_end_broke_off(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(text="a b c d e f", events=4))
    stream = await provider.open(wire())

    with pytest.raises(ProviderFailed, match="broke off"):
        await blocks_of(stream)

    assert not stream.reply().complete


async def test_an_error_event_is_a_failure_and_a_limit_a_limit(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(
        Scripted(events=2, error={"message": "crashed"}),
        Scripted(events=0, error={"message": "full", "code": 429}),
    )

    with pytest.raises(ProviderFailed, match="crashed"):
        await blocks_of(await provider.open(wire()))
    with pytest.raises(ProviderLimited, match="full"):
        await blocks_of(await provider.open(wire()))


async def test_a_head_alone_is_no_beginning(provider: OpenAIProvider, server: OpenAIServer) -> None:
    server.script(Scripted(text="hi", pause_s=0.05))
    stream = await provider.open(wire())

    first = await stream.next()
    before = stream.started
    second = await stream.next()

    assert first is not None
    assert second is not None
    assert b'"content":"hi"' in second
    assert (before, stream.started) == (False, True)
    stream.hang_up()


async def test_calls_of_tools_are_put_together(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    server.script(Scripted(message=message, finish_reason="tool_calls"))

    stream = await provider.open(wire())
    await blocks_of(stream)

    choice = json.loads(stream.reply().body)["choices"][0]
    assert choice["message"]["tool_calls"] == CALLS
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    assert stream.started


async def test_several_choices_are_kept_apart(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    stream = await provider.open(wire(n=3))
    await blocks_of(stream)

    choices = json.loads(stream.reply().body)["choices"]
    assert [c["index"] for c in choices] == [0, 1, 2]
    assert {c["message"]["content"] for c in choices} == {"HELLO DEAR WORLD"}


async def test_refusals_and_thoughts_are_part_of_the_answer(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(
        Scripted(message={"role": "assistant", "content": None, "refusal": "I will not do it"}),
        Scripted(message={"content": "four", "reasoning_content": "two and two"}),
    )

    replies = []
    for _ in range(2):
        stream = await provider.open(wire())
        await blocks_of(stream)
        replies.append(json.loads(stream.reply().body)["choices"][0]["message"])

    assert (replies[0]["content"], replies[0]["refusal"]) == (None, "I will not do it")
    assert replies[1]["content"] == "four"
    assert replies[1]["reasoning_content"] == "two and two"


async def test_a_streamed_answer_is_what_a_whole_one_would_have_been(
    provider: OpenAIProvider,
) -> None:
    whole = json.loads((await provider.send(wire())).body)
    stream = await provider.open(wire())
    await blocks_of(stream)

    assert json.loads(stream.reply().body) == whole


async def test_a_response_streams_to_the_providers_own(provider: OpenAIProvider) -> None:
    request = wire(Dialect.RESPONSES, input="hello dear world")
    whole = await provider.send(request)

    stream = await provider.open(request)
    blocks = await blocks_of(stream)

    assert json.loads(stream.reply().body) == json.loads(whole.body)
    assert stream.reply().usage == whole.usage
    assert stream.started
    assert chunks_of(b"".join(blocks))[0]["type"] == "response.created"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Scripted(events=6), "broke off"),
        (Scripted(events=6, breaks=True), "broke off"),
        (Scripted(raw=b'event: error\ndata: {"type":"error","message":"crashed"}\n\n'), "crashed"),
        (Scripted(raw=b'data: {"type":"response.failed","response":{"error":{"code":"x",'
                      b'"message":"crashed"}}}\n\n'), "crashed"),
        (Scripted(raw=b"data: {{{\n\n"), "not JSON"),
    ],
)  # fmt: skip
async def test_a_response_that_fails_or_breaks_is_a_failed_provider(
    server: OpenAIServer, provider: OpenAIProvider, answer: Scripted, says: str
) -> None:
    server.script(answer)
    stream = await provider.open(wire(Dialect.RESPONSES, input="hello dear world"))

    with pytest.raises(ProviderFailed, match=says):
        await blocks_of(stream)

    assert not stream.reply().complete
    if answer.events:
        output = json.loads(stream.reply().body)["output"]
        assert output[0]["content"][0]["text"] == "HELLO DEAR"
        assert stream.reply().usage.output_tokens == 3


async def test_embeddings_do_not_stream(provider: OpenAIProvider) -> None:
    with pytest.raises(InputMismatch, match="stream of embeddings"):
        await provider.open(wire(Dialect.EMBEDDINGS, input="x"))


@pytest.mark.parametrize("url", ["ftp://x/v1", "file:///etc/passwd", "unix:///x", "/v1"])
def test_only_plain_http_is_spoken(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url"):
        OpenAIProvider("vendor", url)


async def test_the_scripted_server_satisfies_the_official_client(server: OpenAIServer) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    server.script(Scripted(message=message, finish_reason="tool_calls"))
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k") as client:
        async with client.chat.completions.stream(model="m", messages=HELLO) as chat:  # type: ignore[arg-type]
            called = (await chat.get_final_completion()).choices[0].message.tool_calls
        async with client.responses.stream(model="m", input="hello dear world") as responding:
            final = await responding.get_final_response()
        vectors = await client.embeddings.create(model="m", input=["a", "b"])

    assert [call.function.name for call in called or []] == ["get_weather", "get_time"]
    assert final.output_text == "HELLO DEAR WORLD"
    assert [len(one.embedding) for one in vectors.data] == [8, 8]
