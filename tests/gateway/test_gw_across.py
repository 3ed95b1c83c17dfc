"""Each vendor's client on the other vendor's model, through a real server: nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from gw_house import BASE, HELLO, Gateway, provider, serving

from splice.core.call import Record, Status, Usage
from splice.testing.anthropic_server import AnthropicServer, Said
from splice.testing.openai_server import OpenAIServer, Scripted

MILLI = 1_000_000  # a thousandth of a euro
# Prices of a token in thousandths: read, written, read from the cache, written into it.
READ, WRITE, CACHED, CACHE_WRITE = 1.0, 2.0, 0.1, 1.25
CACHE_PRICES = "cached = 100.0\ncache_write = 1250.0\n"

INTEGRATIONS = '''
import splice


class Gpt(splice.Conversation):
    """Talk by OpenAI's API."""

    routes = [splice.LLM("a/m", retries=0)]


class Claude(splice.Conversation):
    """Talk by Anthropic's API."""

    routes = [splice.LLM("c/m", retries=0)]


class Either(splice.Conversation):
    """Talk by Anthropic's API, and by OpenAI's where that fails."""

    routes = [splice.LLM("c/m", retries=0), splice.LLM("a/m", retries=0)]
'''

WEATHER: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
OPENAI_TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": WEATHER},
}
ANTHROPIC_TOOL: Any = {"name": "weather", "description": "Tells it.", "input_schema": WEATHER}
CITIES = ("Ulm", "Köln")


@pytest.fixture(scope="module")
def gpt() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def claude() -> Iterator[AnthropicServer]:
    with AnthropicServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    gpt: OpenAIServer, claude: AnthropicServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    toml = BASE + provider("a", gpt.base_url) + CACHE_PRICES
    toml += provider("c", claude.base_url, kind="anthropic") + CACHE_PRICES
    with serving(tmp_path_factory.mktemp("across"), toml, INTEGRATIONS) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(gpt: OpenAIServer, claude: AnthropicServer) -> None:
    claude.forget()
    gpt.always = Scripted()
    gpt.asked.clear()


def bill(record: Record) -> Usage:
    """The usage of an answered call, whose cost is right."""
    assert record.status is Status.ANSWERED
    usage = record.attempts[-1].usage
    assert usage is not None
    read, cached = usage.input_tokens or 0, usage.cached_tokens or 0
    written = usage.cache_write_tokens or 0
    cost = (
        (read - cached - written) * READ
        + cached * CACHED
        + written * CACHE_WRITE
        + (usage.output_tokens or 0) * WRITE
    )
    assert record.cost_nano == round(cost * MILLI)
    return usage


# OpenAI's client on Claude. Its scripted usage: 12 read, 4 from the cache, 2 into it, 5 written.


def test_an_openai_client_gets_claudes_answer_usage_and_cost(gateway: Gateway) -> None:
    raw = gateway.openai().chat.completions.with_raw_response.create(
        model="claude",
        messages=[{"role": "system", "content": "Shout."}, *HELLO],
        max_tokens=50,
        temperature=0.5,
        stop=["END"],
    )

    answer = raw.parse()
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "HELLO THERE"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (18, 5)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    usage = bill(gateway.record(raw.headers["splice-call-id"]))
    assert usage == Usage(18, 5, 4, 2)
    assert raw.headers["splice-cost"] == "0.024900000"


def test_an_openai_client_streams_claudes_answer_with_its_usage(
    gateway: Gateway, claude: AnthropicServer
) -> None:
    claude.always = Said(text="one two three four five")
    stream = gateway.openai().chat.completions.create(
        model="claude", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)

    said = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert said == "one two three four five"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 18
    assert len({one.id for one in chunks}) == 1
    assert bill(gateway.record(stream.response.headers["splice-call-id"])) == Usage(18, 5, 4, 2)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_an_openai_client_calls_tools_in_parallel_by_claude_and_gives_their_results(
    gateway: Gateway, claude: AnthropicServer, streams: bool
) -> None:
    content: list[Any] = [{"type": "text", "text": "Let me see."}]
    content += [
        {"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"city": city}}
        for n, city in enumerate(CITIES)
    ]
    claude.script(Said(content=content))
    client = gateway.openai()
    asked: Any = {"model": "claude", "messages": HELLO, "tools": [OPENAI_TOOL], "max_tokens": 99}

    if streams:
        with client.chat.completions.stream(**asked) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**asked).choices[0].message

    assert message.content == "Let me see."
    calls: Any = message.tool_calls
    assert [one.id for one in calls] == ["toolu_0", "toolu_1"]
    assert [json.loads(one.function.arguments) for one in calls] == [{"city": c} for c in CITIES]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": one.id, "content": f"rain {one.id}"} for one in calls
    ]
    claude.always = Said(text="Take a coat.")
    told = [*HELLO, message.model_dump(exclude_none=True, exclude={"parsed"}), *results]
    last = client.chat.completions.create(**{**asked, "messages": told})
    assert last.choices[0].message.content == "Take a coat."
    sent = claude.asked[-1].body["messages"]
    uses = [part for part in sent[1]["content"] if part["type"] == "tool_use"]
    assert [part["input"] for part in uses] == [{"city": city} for city in CITIES]
    assert [(p["type"], p["tool_use_id"]) for p in sent[2]["content"]] == [
        ("tool_result", "toolu_0"),
        ("tool_result", "toolu_1"),
    ]
    assert claude.asked[-1].body["tools"][0]["input_schema"] == WEATHER


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_an_openai_client_gets_responses_from_claude(
    gateway: Gateway, claude: AnthropicServer, streams: bool
) -> None:
    claude.always = Said(
        content=[
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_9", "name": "weather", "input": {"city": "Ulm"}},
        ]
    )
    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
    asked: Any = {"model": "claude", "input": "hi", "tools": [tool]}

    if streams:
        with gateway.openai().responses.stream(**asked) as stream:
            answer: Any = stream.get_final_response()
    else:
        answer = gateway.openai().responses.create(**asked)

    assert answer.output_text == "Let me see."
    (call,) = [one for one in answer.output if one.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Ulm"})
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (18, 5)
    newest = gateway.records(1, "claude")[0]
    assert bill(newest).cached_tokens == 4


# Anthropic's client on OpenAI's model. Its scripted usage: 12 read, 4 of them cached, 5 written.


def test_an_anthropic_client_gets_gpts_answer_usage_and_cost(
    gateway: Gateway, gpt: OpenAIServer
) -> None:
    raw = gateway.anthropic().messages.with_raw_response.create(
        model="gpt", max_tokens=50, system="Shout.", messages=HELLO, stop_sequences=["END"]
    )

    answer = raw.parse()
    assert answer.type == "message"
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "HELLO THERE"
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (8, 5)
    assert answer.usage.cache_read_input_tokens == 4
    assert gpt.asked[-1].body["messages"][0] == {"role": "system", "content": "Shout."}
    usage = bill(gateway.record(raw.headers["splice-call-id"]))
    assert usage == Usage(12, 5, 4)
    assert raw.headers["splice-cost"] == "0.018400000"


def test_an_anthropic_client_streams_gpts_answer_with_its_usage(
    gateway: Gateway, gpt: OpenAIServer
) -> None:
    gpt.always = Scripted(text="one two three four five")

    with gateway.anthropic().messages.stream(model="gpt", max_tokens=50, messages=HELLO) as stream:
        said = "".join(stream.text_stream)
        whole = stream.get_final_message()

    assert said == "one two three four five"
    assert whole.stop_reason == "end_turn"
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (8, 5)
    assert bill(gateway.records(1, "gpt")[0]) == Usage(12, 5, 4)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_an_anthropic_client_calls_tools_in_parallel_by_gpt_and_gives_their_results(
    gateway: Gateway, gpt: OpenAIServer, streams: bool
) -> None:
    calls = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city})},
        }
        for n, city in enumerate(CITIES)
    ]
    gpt.script(
        Scripted(
            message={"role": "assistant", "content": "Let me see.", "tool_calls": calls},
            finish_reason="tool_calls",
        )
    )
    client = gateway.anthropic()
    asked: Any = {"model": "gpt", "messages": HELLO, "tools": [ANTHROPIC_TOOL], "max_tokens": 99}

    if streams:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)

    assert message.stop_reason == "tool_use"
    text, *uses = message.content
    assert text.type == "text"
    assert text.text == "Let me see."
    assert [(one.type, one.id, one.input) for one in uses] == [
        ("tool_use", f"call_{n}", {"city": city}) for n, city in enumerate(CITIES)
    ]
    results = [
        {"type": "tool_result", "tool_use_id": one.id, "content": f"rain {one.id}"} for one in uses
    ]
    gpt.always = Scripted(text="Take a coat.")
    told = [
        *HELLO,
        {"role": "assistant", "content": [one.model_dump() for one in message.content]},
        {"role": "user", "content": results},
    ]
    last = client.messages.create(**{**asked, "messages": told})
    assert last.content[0].text == "Take a coat."
    sent = gpt.asked[-1].body["messages"]
    assert [one["id"] for one in sent[1]["tool_calls"]] == ["call_0", "call_1"]
    assert [(one["role"], one["tool_call_id"]) for one in sent[2:]] == [
        ("tool", "call_0"),
        ("tool", "call_1"),
    ]
    assert gpt.asked[-1].body["tools"][0]["function"]["parameters"] == WEATHER


# Fallback across the vendors


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_call_falls_back_across_vendors_in_either_clients_shape(
    gateway: Gateway, claude: AnthropicServer, gpt: OpenAIServer, streams: bool
) -> None:
    claude.always = Said(status=529, text="Overloaded")
    gpt.always = Scripted(text="here I am")

    for path, said in (
        ("/v1/chat/completions", b'"content"'),
        ("/v1/messages", b'"text"'),
        ("/v1/responses", b"output_text"),
    ):
        more = {"input": "hi"} if path == "/v1/responses" else {"max_tokens": 50}
        answer = gateway.ask({"model": "either", "stream": streams, **more}, path)
        assert answer.status == 200
        assert answer.headers["splice-route"] == "llm:a/m"
        assert said in answer.body
        assert b"here" in answer.body
        record = gateway.record(answer.headers["splice-call-id"])
        assert [one.ended for one in record.attempts] == ["provider_limited", "answered"]
        assert bill(record).input_tokens == 12
