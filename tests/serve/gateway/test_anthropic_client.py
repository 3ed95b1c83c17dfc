"""The official Anthropic client against the surface: it must not notice that it is not Anthropic.

Every test of an answer runs twice: with a provider that speaks Anthropic's API, and with one that
speaks chat completions only, so that the request is translated there and the answer back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx2
import pydantic
import pytest
from anthropic import AsyncAnthropic
from anthropic_door import KEY, Door

from splice.adapters.providers.anthropic import AnthropicProvider
from splice.core import errors
from splice.core.call import Call
from splice.core.chat import Asked, Dialect
from splice.engine.converse import Spoken
from splice.testing.anthropic_server import AnthropicServer, Said

WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Graz"}}
CLOCK = {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}}
TOOLS: Any = [
    {"name": "weather", "description": "Weather", "input_schema": {"type": "object"}},
    {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
]
HELLO: Any = [{"role": "user", "content": "hello"}]
both = pytest.mark.parametrize("dialect", [Dialect.MESSAGES, Dialect.CHAT])


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[AnthropicServer, Door]]:
    with AnthropicServer() as server, Door() as door:
        yield server, door


@pytest.fixture
def server(running: tuple[AnthropicServer, Door]) -> AnthropicServer:
    running[0].forget()
    return running[0]


@pytest.fixture
async def door(
    running: tuple[AnthropicServer, Door], server: AnthropicServer
) -> AsyncIterator[Door]:
    door = running[1]
    door.forget()
    door.engine.provider = AnthropicProvider("claude", server.base_url, "sk-upstream")
    yield door
    await door.engine.provider.close()
    assert door.crashes == []


@pytest.fixture
async def client(door: Door) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=door.url, api_key=KEY, max_retries=0) as made:
        yield made


async def ask(client: AsyncAnthropic, **fields: Any) -> Any:
    return await client.messages.create(
        **{"model": "triage", "max_tokens": 99, "messages": HELLO, **fields}
    )


async def stream(client: AsyncAnthropic, **fields: Any) -> tuple[list[str], Any]:
    """Types of the events as they came, and the message that the client makes of them."""
    asked = {"model": "triage", "max_tokens": 99, "messages": HELLO, **fields}
    async with client.messages.stream(**asked) as told:
        kinds = [event.type async for event in told if not event.type.startswith("content_block_d")]
        return kinds, await told.get_final_message()


# Answers


@both
async def test_a_message_is_answered(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect
) -> None:
    door.engine.dialect = dialect

    message = await ask(
        client, system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0.5}
    )

    assert message.content[0].text == "HELLO"
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    usage = message.usage
    assert (usage.input_tokens, usage.output_tokens) == (12, 5)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (4, 2)
    sent = server.asked[0].body
    assert sent["max_tokens"] == 99
    assert sent["stop_sequences"] == ["END"]
    assert sent["temperature"] == 0.5
    assert "Be brief." in json.dumps(sent["system"])


@both
@pytest.mark.parametrize("held", [False, True])
async def test_a_stream_tells_the_same_as_a_whole_message(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect, held: bool
) -> None:
    door.engine.dialect, door.engine.held = dialect, held
    content = [{"type": "text", "text": "Let me look — é."}, WEATHER, CLOCK]
    server.always = Said(content=content)

    whole = await ask(client, tools=TOOLS)
    kinds, told = await stream(client, tools=TOOLS)

    blocks = [block.model_dump(exclude={"parsed_output"}) for block in told.content]
    assert blocks == [block.model_dump() for block in whole.content]
    assert [block.type for block in told.content] == ["text", "tool_use", "tool_use"]
    assert told.content[1].input == {"city": "Graz"}
    assert (told.stop_reason, told.usage.input_tokens) == ("tool_use", 12)
    assert told.usage.output_tokens == whole.usage.output_tokens == 5
    assert told.usage.cache_read_input_tokens == 4
    frame = [kind for kind in kinds if kind not in ("text", "input_json", "ping")]
    assert frame[0] == "message_start"
    assert frame[-2:] == ["message_delta", "message_stop"]
    assert frame.count("content_block_start") == frame.count("content_block_stop") == 3


async def test_thinking_passes_to_a_provider_that_knows_it(
    client: AsyncAnthropic, door: Door, server: AnthropicServer
) -> None:
    block = {"type": "thinking", "thinking": "hmm, well then", "signature": "c2ln"}
    server.always = Said(content=[block, {"type": "text", "text": "ok"}])
    history = [*HELLO, {"role": "assistant", "content": [block]}, *HELLO]

    whole = await ask(client, thinking={"type": "adaptive"}, messages=history)
    door.engine.held = True
    _, told = await stream(client)

    assert whole.content[0].thinking == told.content[0].thinking == "hmm, well then"
    assert told.content[0].signature == "c2ln"
    assert server.asked[0].body["thinking"] == {"type": "adaptive"}
    assert server.asked[0].body["messages"][1]["content"] == [block]


@both
async def test_tools_and_their_results_go_there_and_back(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect
) -> None:
    door.engine.dialect = dialect
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": [{"type": "text", "text": "noon"}],
            "is_error": True,
        },
        {"type": "text", "text": "go on"},
    ]
    messages = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "text", "text": "hm"}, WEATHER, CLOCK]},
        {"role": "user", "content": results},
    ]

    choice = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
    await ask(client, messages=messages, tools=TOOLS, tool_choice=choice)

    sent = server.asked[0].body
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][1]["content"][1:] == [WEATHER, CLOCK]
    given = sent["messages"][2]["content"]
    assert [b["type"] for b in given] == ["tool_result", "tool_result", "text"]
    assert "sunny" in json.dumps(given[0])
    assert "noon" in json.dumps(given[1])
    assert sent["tool_choice"] == choice
    assert [tool["name"] for tool in sent["tools"]] == ["weather", "clock"]


@both
async def test_images_and_documents_go_there(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect
) -> None:
    door.engine.dialect = dialect
    pixel = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image", "source": pixel},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
    ]

    await ask(client, messages=[{"role": "user", "content": content}])

    assert server.asked[0].body["messages"][0]["content"] == content


@both
async def test_structured_output_goes_there_and_back(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect
) -> None:
    door.engine.dialect = dialect

    class Ticket(pydantic.BaseModel):
        urgent: bool
        team: str

    parsed = await client.messages.parse(
        model="triage", max_tokens=99, messages=HELLO, output_format=Ticket
    )

    assert parsed.parsed_output == Ticket(urgent=False, team="x")
    sent = server.asked[0].body["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False
    assert sorted(sent["required"]) == ["team", "urgent"]


@both
@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "end_turn"])
async def test_a_stop_reason_survives(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect, reason: str
) -> None:
    door.engine.dialect = dialect
    server.always = Said(stop_reason=reason)

    whole = await ask(client)
    _, told = await stream(client)

    assert (whole.stop_reason, told.stop_reason) == (reason, reason)


async def test_a_system_message_in_the_middle_and_unknown_fields_pass(
    client: AsyncAnthropic, door: Door, server: AnthropicServer
) -> None:
    messages = [*HELLO, {"role": "system", "content": "Hurry."}, *HELLO]
    blocks = [{"role": "user", "content": [{"type": "brand_new", "x": [1]}, *_text("hi")]}]

    await ask(client, messages=messages, extra_body={"brand_new": {"x": 1.5}})
    await ask(client, messages=blocks, extra_headers={"anthropic-beta": "new-2026-01-01"})
    door.engine.dialect = Dialect.CHAT
    await ask(client, messages=messages)

    first, second, third = server.asked
    assert first.body["messages"] == messages
    assert first.body["brand_new"] == {"x": 1.5}
    assert second.body["messages"] == blocks
    assert second.headers["anthropic-beta"] == "new-2026-01-01"
    assert third.body["system"][0]["text"] == "Hurry."


def _text(text: str) -> Any:
    return [{"type": "text", "text": text}]


async def test_what_chat_cannot_carry_is_refused_by_name(
    client: AsyncAnthropic, door: Door
) -> None:
    door.engine.dialect = Dialect.CHAT
    by_id = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}

    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        await ask(client, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content\[0\]: got a block"):
        await ask(client, messages=[{"role": "user", "content": [by_id]}])


async def test_headers_name_the_call_the_route_and_the_cost(
    client: AsyncAnthropic, door: Door
) -> None:
    raw = await client.messages.with_raw_response.create(
        model="triage",
        max_tokens=9,
        messages=HELLO,
        extra_headers={
            "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
            "idempotency-key": "order-1",
        },
    )

    call, asked = door.engine.calls[0]
    assert raw.headers["splice-call-id"] == call.id
    assert raw.headers["request-id"] == f"req_{call.id.replace('-', '')}"
    assert raw.headers["splice-route"] == "llm:claude/scripted"
    assert raw.headers["splice-cost"] == "0.001234567"
    assert (call.surface, call.caller, call.key) == ("anthropic", "tests", "order-1")
    assert call.trace is not None
    assert call.trace.trace_id == "ab" * 16
    assert (asked.dialect, asked.model, asked.output_tokens) == (Dialect.MESSAGES, "triage", 9)
    assert (await raw.parse()).content[0].text == "HELLO"  # type: ignore[union-attr]


# Streams that break


@both
@pytest.mark.parametrize("how", ["cut", "fail_after"])
async def test_a_stream_that_breaks_ends_with_an_error_event(
    client: AsyncAnthropic, door: Door, server: AnthropicServer, dialect: Dialect, how: str
) -> None:
    door.engine.dialect = dialect
    server.always = Said(text="x" * 70, **{how: 8})

    with pytest.raises(anthropic.APIStatusError) as raised:
        await stream(client)

    assert raised.value.type in ("api_error", "overloaded_error")
    assert raised.value.body["request_id"].startswith("req_")  # type: ignore[index]
    assert door.engine.closed >= 1


# Errors


@pytest.mark.parametrize(
    ("error", "kind", "status", "type_", "tries"),
    [
        (errors.NotAllowed("x"), anthropic.PermissionDeniedError, 403, "permission_error", 1),
        (errors.UnknownModel("x"), anthropic.NotFoundError, 404, "not_found_error", 1),
        (errors.OverBudget("x"), anthropic.PaymentRequiredError, 402, "billing_error", 1),
        (errors.BodyTooLarge("x"), anthropic.APIStatusError, 413, "request_too_large", 1),
        (errors.RateLimited("x", retry_after=0.001), anthropic.RateLimitError, 429,
         "rate_limit_error", 2),
        (errors.MeterAway("x"), anthropic.ServiceUnavailableError, 503, "api_error", 2),
        (errors.Overloaded("x"), anthropic.OverloadedError, 529, "overloaded_error", 2),
        (errors.Stopped("x"), anthropic.ServiceUnavailableError, 503, "api_error", 1),
        (errors.ExhaustedError("x"), anthropic.ServiceUnavailableError, 503, "api_error", 2),
        (errors.ProviderRejected("x", got="too hot"), anthropic.BadRequestError, 400,
         "invalid_request_error", 1),
        (errors.RouteTimeout("x"), anthropic.GatewayTimeoutError, 504, "timeout_error", 2),
        (errors.DecisionError("x"), anthropic.InternalServerError, 500, "api_error", 1),
        (ValueError("a mistake of ours"), anthropic.InternalServerError, 500, "api_error", 1),
    ],
)  # fmt: skip
async def test_an_error_is_of_the_clients_own_class_and_is_tried_again_where_that_helps(
    door: Door,
    error: Exception,
    kind: type[anthropic.APIStatusError],
    status: int,
    type_: str,
    tries: int,
) -> None:
    async def instead(call: Call, asked: Asked) -> Spoken:
        if isinstance(error, (errors.ExhaustedError, errors.ProviderRejected)):
            return Spoken(call.id, "chat", error=error)
        raise error

    door.engine.instead = instead
    client = AsyncAnthropic(base_url=door.url, api_key=KEY, max_retries=1)

    with pytest.raises(kind) as seen:
        await ask(client)
    await client.close()

    assert (seen.value.status_code, seen.value.type) == (status, type_)
    assert seen.value.request_id == f"req_{door.engine.calls[-1][0].id.replace('-', '')}"
    assert len(door.engine.calls) == tries
    assert "mistake of ours" not in str(seen.value)


async def test_a_limit_says_when_to_come_again(client: AsyncAnthropic, door: Door) -> None:
    async def instead(call: Call, asked: Asked) -> Spoken:
        raise errors.RateLimited("key", retry_after=6.2)

    door.engine.instead = instead

    with pytest.raises(anthropic.RateLimitError) as raised:
        await ask(client)

    assert raised.value.response.headers["retry-after"] == "7"


async def test_a_house_that_closes_sends_callers_elsewhere(
    client: AsyncAnthropic, door: Door
) -> None:
    door.desk.draining = True

    with pytest.raises(anthropic.OverloadedError):
        await ask(client)

    assert door.engine.calls == []


async def test_the_key_comes_as_either_header_or_not_at_all(door: Door) -> None:
    body = {"model": "triage", "max_tokens": 9, "messages": HELLO}
    async with httpx2.AsyncClient(base_url=door.url) as plain:
        answers = [
            (await plain.post("/v1/messages", json=body, headers=headers)).status_code
            for headers in (
                {"x-api-key": KEY},
                {"authorization": f"Bearer {KEY}"},
                {"authorization": f"Basic {KEY}"},
                {"x-api-key": "sk-other"},
                {},
            )
        ]

    assert answers == [200, 200, 401, 401, 401]


async def test_a_wrong_key_is_the_clients_own_error(door: Door) -> None:
    async with AsyncAnthropic(base_url=door.url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as raised:
            await ask(client)

    assert raised.value.type == "authentication_error"
    assert "sk-wrong" not in str(raised.value)


# Counting


async def test_tokens_are_estimated_and_it_is_said(client: AsyncAnthropic) -> None:
    text = "word " * 300

    raw = await client.messages.with_raw_response.count_tokens(
        model="triage", messages=[{"role": "user", "content": text}]
    )
    counted = await raw.parse()  # type: ignore[misc]

    assert raw.headers["splice-estimated"] == "true"
    assert 300 <= counted.input_tokens <= 900


async def test_tokens_are_counted_only_for_a_model_that_there_is(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.count_tokens(model="nobody", messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.count_tokens(model="triage", messages="hello")  # type: ignore[arg-type]


async def test_what_is_not_here_is_not_found(door: Door) -> None:
    async with httpx2.AsyncClient(base_url=door.url, headers={"x-api-key": KEY}) as plain:
        wrong = await plain.post("/v1/complete", json={})
        method = await plain.get("/v1/messages")

    assert (wrong.status_code, method.status_code) == (404, 405)
    assert wrong.json()["error"]["type"] == "not_found_error"
    assert method.headers["allow"] == "POST"
