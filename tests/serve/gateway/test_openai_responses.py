"""The Responses API through OpenAI's own client, over providers that know only chat completions."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest
from openai_desk import Site, said
from openai_fixtures import async_client, client, open_door, site
from openai_samples import LOGPROBS, NATIVE, TOOLS, completion, tool_call
from pydantic import BaseModel

from splice.core.chat import Dialect
from splice.core.errors import RequestError

__all__ = ["async_client", "client", "open_door", "site"]


class Place(BaseModel):
    city: str
    people: int


def as_chat(site: Site) -> dict[str, Any]:
    """The last request as a chat completion, as a provider would get it."""
    assert site.asked.as_chat is not None
    return msgspec.json.decode(msgspec.json.encode(site.asked.as_chat()))


def test_an_answer_in_chat_comes_as_a_response(site: Site, client: openai.OpenAI) -> None:
    site.says(completion())

    answer = client.responses.create(
        model="triage", input="Hi", instructions="Be brief.", max_output_tokens=20, temperature=0
    )

    assert answer.output_text == "Hello there."
    assert answer.status == "completed"
    assert answer.id.startswith("resp_")
    assert (answer.instructions, answer.max_output_tokens) == ("Be brief.", 20)
    assert answer.usage is not None
    assert answer.usage.input_tokens == 11
    assert answer.usage.input_tokens_details.cached_tokens == 4
    assert answer.usage.output_tokens_details.reasoning_tokens == 2
    assert answer.usage.total_tokens == 18
    assert site.asked.dialect is Dialect.RESPONSES
    assert site.asked.output_tokens == 20
    assert as_chat(site) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "max_completion_tokens": 20,
        "temperature": 0,
    }


def test_a_native_answer_passes_as_it_is(site: Site, client: openai.OpenAI) -> None:
    body = msgspec.json.encode(NATIVE)
    site.engine.answering = lambda call, asked: said(call, body, Dialect.RESPONSES)

    raw = client.responses.with_raw_response.create(model="triage", input="Hi")

    assert raw.http_response.content == body


def test_a_conversation_with_tools_and_pictures_becomes_chat_messages(
    site: Site, client: openai.OpenAI
) -> None:
    site.says(completion())

    client.responses.create(
        model="triage",
        input=[
            {"role": "developer", "content": "Rules."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look"},
                    {"type": "input_image", "image_url": "https://example.com/a.png",
                     "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,AA=="},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "cold"},
            {
                "type": "function_call_output", "call_id": "b",
                "output": [{"type": "input_text", "text": "warm"}],
            },
            {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
        ],
    )  # fmt: skip

    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert as_chat(site)["messages"] == [
        {"role": "system", "content": "Rules."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://example.com/a.png", "detail": "low"},
                },
                {
                    "type": "file",
                    "file": {"file_data": "data:;base64,AA==", "filename": "a.pdf"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "a", **call}, {"id": "b", **call}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "cold"},
        {"role": "tool", "tool_call_id": "b", "content": "warm"},
        {"role": "user", "content": "And?"},
    ]


def test_tools_formats_and_settings_become_those_of_chat(site: Site, client: openai.OpenAI) -> None:
    site.says(completion())

    client.responses.create(
        model="triage",
        input="Hi",
        tools=TOOLS,
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        reasoning={"effort": "low"},
        top_p=0.5,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
        text={
            "format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}},
            "verbosity": "low",
        },
    )

    function = {name: value for name, value in TOOLS[0].items() if name != "type"}
    assert as_chat(site) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "top_p": 0.5,
        "logprobs": True,
        "top_logprobs": 2,
        "verbosity": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"type": "object"}},
        },
    }


def test_a_list_of_allowed_tools_leaves_the_others_out(site: Site, client: openai.OpenAI) -> None:
    site.says(completion())
    other = {**TOOLS[0], "name": "news"}

    client.responses.create(
        model="triage",
        input="Hi",
        tools=[*TOOLS, other],
        tool_choice={
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "news"}],
        },
    )

    fields = as_chat(site)
    assert [tool["function"]["name"] for tool in fields["tools"]] == ["news"]
    assert fields["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [{"type": "custom", "name": "c"}]}, "tools[0]"),
        ({"tools": TOOLS, "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0]",
        ),
    ],
)
def test_what_only_openai_can_do_is_refused_by_name(
    site: Site, client: openai.OpenAI, more: dict[str, Any], where: str
) -> None:
    site.says(completion())
    client.responses.create(**{"model": "triage", "input": "Hi", **more})
    assert site.asked.as_chat is not None

    with pytest.raises(RequestError, match="Responses API") as caught:
        site.asked.as_chat()

    assert caught.value.where == where


def test_calls_of_tools_come_as_items(site: Site, client: openai.OpenAI) -> None:
    calls = [tool_call("weather", {"city": city}, f"call_{city}") for city in ("Oslo", "Rome")]
    site.says(completion("Let me see.", "tool_calls", tool_calls=calls, reasoning_content="Hm."))

    answer = client.responses.create(model="triage", input="Hi", tools=TOOLS)

    assert [item.type for item in answer.output] == [
        "reasoning", "message", "function_call", "function_call",
    ]  # fmt: skip
    made = [item for item in answer.output if item.type == "function_call"]
    assert [(one.call_id, json.loads(one.arguments)["city"]) for one in made] == [
        ("call_Oslo", "Oslo"),
        ("call_Rome", "Rome"),
    ]
    assert len({item.id for item in answer.output}) == 4


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_cut_short_is_incomplete(
    site: Site, client: openai.OpenAI, finish: str, reason: str
) -> None:
    site.says(completion("Hel", finish))

    answer = client.responses.create(model="triage", input="Hi")

    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == reason


def test_a_refusal_and_logprobs_come_through(site: Site, client: openai.OpenAI) -> None:
    answer = completion("Hi!", refusal="I will not.")
    answer["choices"][0]["logprobs"] = LOGPROBS
    site.says(answer)

    got = client.responses.create(model="triage", input="Hi")

    message = got.output[0]
    assert message.type == "message"
    text, refusal = message.content
    assert text.type == "output_text"
    assert [one.token for one in text.logprobs or []] == ["Hi", "!"]
    assert refusal.type == "refusal"
    assert refusal.refusal == "I will not."


def test_a_pydantic_model_is_parsed_from_a_response(site: Site, client: openai.OpenAI) -> None:
    site.says(completion('{"city":"Oslo","people":700000}'))

    answer = client.responses.parse(model="triage", input="Hi", text_format=Place)

    assert answer.output_parsed == Place(city="Oslo", people=700000)
