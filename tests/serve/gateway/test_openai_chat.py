"""Chat completions through OpenAI's own Python client: whole, streamed, replayed, with tools."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest
from openai_desk import ScriptedStream, Site, said
from openai_fixtures import async_client, client, open_door, site
from openai_samples import (
    DONE,
    LOGPROBS,
    TEXT_STREAM,
    TOOL_STREAM,
    completion,
    tool_call,
)
from pydantic import BaseModel

from splice.core.chat import Dialect
from splice.core.errors import ProviderFailed
from splice.engine.converse import Spoken

__all__ = ["async_client", "client", "open_door", "site"]

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


class Place(BaseModel):
    city: str
    people: int


def test_the_client_reads_an_answer_and_what_the_gateway_says_of_it(
    site: Site, client: openai.OpenAI
) -> None:
    site.says(completion())

    raw = client.chat.completions.with_raw_response.create(model="triage", messages=ASK)

    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello there."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 18
    assert raw.headers["x-request-id"] == raw.headers["splice-call-id"] == site.call.id
    assert raw.headers["splice-integration"] == "triage"
    assert raw.headers["splice-route"] == "llm:openai/gpt"
    assert raw.headers["splice-reason"] == "first"
    assert raw.headers["splice-cost"] == "0.000012300"


def test_an_unknown_cost_has_no_header(site: Site, client: openai.OpenAI) -> None:
    site.says(completion(), cost_nano=None)

    raw = client.chat.completions.with_raw_response.create(model="triage", messages=ASK)

    assert "splice-cost" not in raw.headers


async def test_the_async_client_reads_an_answer(
    site: Site, async_client: openai.AsyncOpenAI
) -> None:
    site.says(completion())

    answer = await async_client.chat.completions.create(model="triage", messages=ASK)

    assert answer.choices[0].message.content == "Hello there."


def test_what_the_gateway_does_not_know_passes_byte_for_byte(
    site: Site, client: openai.OpenAI
) -> None:
    site.says(completion())
    odd = b'{"b" : [1.50, 1e2,\n"\xc3\xa4\\u00e4"],"a":12345678901234567890123}'

    client.post(
        "/chat/completions",
        cast_to=object,
        content=b'{"model":"m","messages": [{"role":"user","content":"x","mood":0.10}],"odd":'
        + odd
        + b"}",
        options={"headers": {"content-type": "application/json"}},
    )

    assert bytes(site.asked.fields["odd"]) == odd
    assert bytes(site.asked.fields["messages"]) == b'[{"role":"user","content":"x","mood":0.10}]'
    assert set(site.asked.fields) == {"messages", "odd"}


def test_what_is_asked_is_told_to_the_engine(site: Site, client: openai.OpenAI) -> None:
    site.says(completion())

    client.chat.completions.create(
        model="triage",
        messages=ASK,
        n=3,
        max_completion_tokens=50,
        extra_headers={
            "Idempotency-Key": "k-1",
            "OpenAI-Beta": "assistants=v2",
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        },
    )

    asked, call = site.asked, site.call
    assert (asked.model, asked.dialect, asked.stream) == ("triage", Dialect.CHAT, False)
    assert (asked.answers, asked.output_tokens) == (3, 50)
    assert asked.headers == {"openai-beta": "assistants=v2"}
    assert (call.surface, call.key, call.integration) == ("openai", "k-1", "")
    assert call.trace is not None
    assert call.trace.trace_id == "a" * 32
    assert asked.size == len(call.body)


def test_every_documented_field_and_part_is_accepted(site: Site, client: openai.OpenAI) -> None:
    site.says(completion())
    messages: list[Any] = [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==",
                                                    "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==",
                                          "filename": "a.pdf"}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "I"}, {"type": "refusal", "refusal": "No."}],
            "tool_calls": [
                tool_call("weather", {"city": "Oslo"}, "a"),
                {"id": "b", "type": "custom", "custom": {"name": "sql", "input": "select 1"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "cold"}]},
        {"role": "assistant", "audio": {"id": "au"}, "function_call":
            {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": None},
    ]  # fmt: skip

    client.chat.completions.create(
        model="triage",
        messages=messages,
        audio={"format": "mp3", "voice": "alloy"},
        frequency_penalty=0,
        function_call="auto",
        functions=[{"name": "f", "parameters": {}}],
        logit_bias={"50256": -100},
        logprobs=True,
        top_logprobs=2,
        max_tokens=5,
        metadata={"a": "b"},
        modalities=["text"],
        n=1,
        parallel_tool_calls=False,
        prediction={"type": "content", "content": [{"type": "text", "text": "x"}]},
        presence_penalty=-0.5,
        prompt_cache_key="k",
        reasoning_effort="low",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
        safety_identifier="u",
        seed=-3,
        service_tier="auto",
        stop=["a", "b"],
        store=False,
        temperature=1,
        tool_choice={"type": "function", "function": {"name": "weather"}},
        tools=WEATHER,
        top_p=0.5,
        user="u",
        verbosity="low",
        web_search_options={"search_context_size": "low"},
        extra_body={"messages": [*messages, {"role": "user", "content": [{"type": "new_kind"}]}]},
    )

    assert len(msgspec.json.decode(site.asked.fields["messages"])) == len(messages) + 1


def test_tools_called_at_once_reach_the_client(site: Site, client: openai.OpenAI) -> None:
    calls = [tool_call("weather", {"city": city}, f"call_{city}") for city in ("Oslo", "Rome")]
    site.says(completion(None, "tool_calls", tool_calls=calls))

    answer = client.chat.completions.create(
        model="triage", messages=ASK, tools=WEATHER, parallel_tool_calls=True
    )

    made = answer.choices[0].message.tool_calls or []
    assert [json.loads(one.function.arguments)["city"] for one in made if one.type == "function"] \
        == ["Oslo", "Rome"]  # fmt: skip


def test_a_pydantic_model_is_parsed_from_an_answer(site: Site, client: openai.OpenAI) -> None:
    site.says(completion('{"city":"Oslo","people":700000}'))

    answer = client.chat.completions.parse(model="triage", messages=ASK, response_format=Place)

    assert answer.choices[0].message.parsed == Place(city="Oslo", people=700000)
    form = msgspec.json.decode(site.asked.fields["response_format"])
    assert form["json_schema"]["strict"] is True


def test_a_stream_passes_as_it_comes(site: Site, client: openai.OpenAI) -> None:
    site.streams(*TEXT_STREAM)

    with client.chat.completions.create(
        model="triage", messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)

    assert site.asked.stream
    assert "stream" not in site.asked.fields
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello there."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 11


def test_the_clients_stream_helper_puts_an_answer_together(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(*TOOL_STREAM)

    with client.chat.completions.stream(model="triage", messages=ASK, tools=WEATHER) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()

    made = answer.choices[0].message.tool_calls or []
    assert [one.function.arguments for one in made] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert "tool_calls.function.arguments.done" in kinds


async def test_the_async_client_reads_a_stream(
    site: Site, async_client: openai.AsyncOpenAI
) -> None:
    site.streams(*TEXT_STREAM)

    stream = await async_client.chat.completions.create(model="triage", messages=ASK, stream=True)
    texts = [c.choices[0].delta.content or "" async for c in stream if c.choices]

    assert "".join(texts) == "Hello there."


def test_a_stream_that_breaks_raises_after_what_came(site: Site, client: openai.OpenAI) -> None:
    site.streams(*TEXT_STREAM[:2], ProviderFailed("openai", got="a reset connection"))
    stream = client.chat.completions.create(model="triage", messages=ASK, stream=True)
    came: list[str | None] = []

    with pytest.raises(openai.APIError, match="a reset connection") as caught:
        came.extend(one.choices[0].delta.content for one in stream)

    assert "".join(filter(None, came)) == "Hello there"
    assert caught.value.code == "provider_failed"


def test_a_stream_that_breaks_by_a_mistake_of_ours_ends_with_an_error_too(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(TEXT_STREAM[0], RuntimeError("secret-42"))

    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="triage", messages=ASK, stream=True))

    assert "secret-42" not in str(caught.value)


@pytest.mark.parametrize("with_usage", [True, False])
def test_a_kept_answer_is_told_as_a_stream(
    site: Site, client: openai.OpenAI, with_usage: bool
) -> None:
    text = "A long answer. " * 40
    site.says(completion(text))

    chunks = list(
        client.chat.completions.create(
            model="triage", messages=ASK, stream=True,
            stream_options={"include_usage": with_usage},
        )
    )  # fmt: skip

    told = [c.choices[0] for c in chunks if c.choices]
    assert "".join(c.delta.content or "" for c in told) == text
    assert told[0].delta.role == "assistant"
    assert told[-1].finish_reason == "stop"
    assert 2 < len(told) < 20
    assert [c.usage.total_tokens for c in chunks if c.usage] == ([18] if with_usage else [])
    assert {c.id for c in chunks} == {"chatcmpl-1"}


def test_a_kept_answer_with_tools_logprobs_and_choices_is_told_whole(
    site: Site, client: openai.OpenAI
) -> None:
    answer = completion("Hi!")
    answer["choices"][0]["logprobs"] = LOGPROBS
    calls = [tool_call("weather", {"city": city}, f"call_{city}") for city in ("Oslo", "Rome")]
    message = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "m"}
    answer["choices"].append({"index": 1, "message": message, "finish_reason": "tool_calls"})
    site.says(answer)

    with client.chat.completions.stream(
        model="triage", messages=ASK, tools=WEATHER, n=2, logprobs=True
    ) as stream:
        final = stream.get_final_completion()

    first, second = final.choices
    assert first.message.content == "Hi!"
    assert first.logprobs is not None
    assert [one.token for one in first.logprobs.content or []] == ["Hi", "!"]
    assert [one.id for one in second.message.tool_calls or []] == ["call_Oslo", "call_Rome"]
    assert second.finish_reason == "tool_calls"


def test_a_stream_ends_with_the_mark_even_where_the_provider_forgets_it(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(*TEXT_STREAM[:-1])

    with client.chat.completions.with_streaming_response.create(
        model="triage", messages=ASK, stream=True
    ) as raw:
        body = raw.read()

    assert body.endswith(DONE)
    assert body.count(DONE) == 1


def test_a_kept_answer_that_ends_in_half_a_character_is_told_all_the_same(
    site: Site, client: openai.OpenAI
) -> None:
    body = msgspec.json.encode(completion("Hi X")).replace(b"X", b"\\ud83d")
    site.engine.answering = lambda call, asked: said(call, body)

    chunks = list(client.chat.completions.create(model="triage", messages=ASK, stream=True))

    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hi ?"


def test_usage_that_a_provider_left_out_is_told_as_we_counted_it(
    site: Site, client: openai.OpenAI
) -> None:
    answer = completion()
    del answer["usage"]
    site.says(answer)

    chunks = list(
        client.chat.completions.create(
            model="triage", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )

    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 18


@pytest.mark.parametrize("read", ["all", "some"])
def test_a_stream_is_closed_when_it_was_read_or_left(
    site: Site, client: openai.OpenAI, read: str
) -> None:
    endless = read == "some"
    events = TEXT_STREAM[:2] if endless else TEXT_STREAM
    stream = ScriptedStream(Dialect.CHAT, events, endless=endless)
    site.engine.answering = lambda call, asked: Spoken(call.id, "triage", stream=stream)

    with client.chat.completions.create(model="triage", messages=ASK, stream=True) as came:
        if endless:
            next(iter(came))
        else:
            list(came)

    assert stream.was_closed.wait(10)
