"""Streams of the Responses API through OpenAI's own client, over chunks of chat completions."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest
from openai_desk import Site, said
from openai_fixtures import async_client, client, open_door, site
from openai_samples import (
    LOGPROBS,
    NATIVE,
    TEXT_STREAM,
    TOOL_STREAM,
    TOOLS,
    USAGE,
    chunk,
    completion,
    tool_call,
)
from pydantic import BaseModel

from splice.core.chat import Dialect
from splice.core.errors import ProviderFailed

__all__ = ["async_client", "client", "open_door", "site"]


class Place(BaseModel):
    city: str
    people: int


def as_chat(site: Site) -> dict[str, Any]:
    """The last request as a chat completion, as a provider would get it."""
    assert site.asked.as_chat is not None
    return msgspec.json.decode(msgspec.json.encode(site.asked.as_chat()))


def test_a_stream_of_chunks_has_the_events_of_a_response_in_their_order(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(*TEXT_STREAM)

    events = list(client.responses.create(model="triage", input="Hi", stream=True))

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(11))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Hello there."
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == USAGE["total_tokens"]
    assert as_chat(site)["stream_options"] == {"include_usage": True}


def test_the_clients_stream_helper_has_the_final_response_with_its_tools(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(*TOOL_STREAM)

    with client.responses.stream(model="triage", input="Hi", tools=TOOLS) as stream:
        done = [e for e in stream if e.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()

    assert [one.arguments for one in done] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert final.output_text == "Let me see."
    calls = [item for item in final.output if item.type == "function_call"]
    assert [one.call_id for one in calls] == ["call_a", "call_b"]
    assert [one.status for one in final.output if one.type != "reasoning"] == ["completed"] * 3


async def test_the_async_client_parses_a_streamed_response(
    site: Site, async_client: openai.AsyncOpenAI
) -> None:
    site.streams(
        chunk({"role": "assistant", "reasoning_content": "Hm."}),
        chunk({"content": '{"city":"Oslo",'}) + chunk({"content": '"people":7}'}),
        chunk({}, "stop"),
    )

    async with async_client.responses.stream(
        model="triage", input="Hi", text_format=Place
    ) as stream:
        final = await stream.get_final_response()

    assert final.output_parsed == Place(city="Oslo", people=7)
    assert final.usage is None


def test_logprobs_and_a_refusal_stream(site: Site, client: openai.OpenAI) -> None:
    site.streams(
        chunk({"role": "assistant", "content": "Hi!"}, logprobs=LOGPROBS),
        chunk({"refusal": "I will"}),
        chunk({"refusal": " not."}),
        chunk({}, "stop"),
    )

    events = list(client.responses.create(model="triage", input="Hi", stream=True))

    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [one.token for one in deltas[0].logprobs] == ["Hi", "!"]
    refusals = [event for event in events if event.type == "response.refusal.done"]
    assert [one.refusal for one in refusals] == ["I will not."]
    assert [one.content_index for one in refusals] == [1]


@pytest.mark.parametrize("native", [True, False])
def test_a_kept_answer_is_told_as_events(site: Site, client: openai.OpenAI, native: bool) -> None:
    calls = [tool_call("weather", {"city": "Oslo"}, "call_1")]
    chat = completion("Native.", "tool_calls", tool_calls=calls, reasoning_content="Hm.")
    body = msgspec.json.encode(NATIVE if native else chat)
    dialect = Dialect.RESPONSES if native else Dialect.CHAT
    site.engine.answering = lambda call, asked: said(call, body, dialect)

    with client.responses.stream(model="triage", input="Hi", tools=TOOLS) as stream:
        events = list(stream)
        final = stream.get_final_response()

    assert final.output_text == "Native."
    assert [one.arguments for one in final.output if one.type == "function_call"] == [
        '{"city": "Oslo"}'
    ]
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(texts) == "Native."
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_stream_cut_short_is_incomplete(site: Site, client: openai.OpenAI) -> None:
    site.streams(chunk({"role": "assistant", "content": "Hel"}), chunk({}, "length"))

    events = list(client.responses.create(model="triage", input="Hi", stream=True))

    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.output[0].status == "incomplete"  # type: ignore[union-attr]


def test_a_translated_stream_that_breaks_fails_and_raises(
    site: Site, client: openai.OpenAI
) -> None:
    site.streams(*TEXT_STREAM[:2], ProviderFailed("openai", got="a reset connection"))
    stream = client.responses.create(model="triage", input="Hi", stream=True)
    came: list[Any] = []

    with pytest.raises(openai.APIError, match="a reset connection"):
        came.extend(stream)

    last = came[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error.message == "openai: got a reset connection"
    assert last.response.output_text == "Hello there"


def test_a_native_stream_that_breaks_raises_with_the_next_number(
    site: Site, client: openai.OpenAI
) -> None:
    first = (
        b"event: response.created\n"
        b'data: {"type":"response.created","sequence_number":6,"response":{"id":"r"}}\n\n'
    )
    site.streams(first, ProviderFailed("openai", got="a reset"), dialect=Dialect.RESPONSES)

    with client.responses.with_streaming_response.create(
        model="triage", input="Hi", stream=True
    ) as raw:
        body = raw.read()

    assert body.startswith(first)
    told = json.loads(body[len(first) :].split(b"data: ")[1])
    assert told["type"] == "error"
    assert told["sequence_number"] == 7
    assert told["message"] == told["error"]["message"] == "openai: got a reset"


def test_a_chunk_that_is_no_json_fails_the_response(site: Site, client: openai.OpenAI) -> None:
    site.streams(TEXT_STREAM[0], b"data: {broken\n\n")

    stream = client.responses.create(model="triage", input="Hi", stream=True)

    with pytest.raises(openai.APIError, match="no JSON"):
        list(stream)


def test_a_message_is_done_before_its_tools_are_called(site: Site, client: openai.OpenAI) -> None:
    site.streams(*TOOL_STREAM)

    events = list(client.responses.create(model="triage", input="Hi", tools=TOOLS, stream=True))

    told = [
        (event.type.removeprefix("response.output_item."), event.output_index)
        for event in events
        if event.type in ("response.output_item.added", "response.output_item.done")
    ]
    assert told == [("added", 0), ("done", 0), ("added", 1), ("added", 2), ("done", 1), ("done", 2)]


def test_a_second_choice_is_not_mixed_into_the_response(site: Site, client: openai.OpenAI) -> None:
    second = chunk({"content": "Other"}).replace(b'"index": 0', b'"index": 1')
    site.streams(TEXT_STREAM[0], second, *TEXT_STREAM[1:])

    events = list(client.responses.create(model="triage", input="Hi", stream=True))

    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Hello there."
