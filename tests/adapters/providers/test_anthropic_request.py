"""Chat completion requests as Messages requests: what each field becomes, what holds for all."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.adapters.providers.anthropic_request import DEFAULT_MAX_TOKENS, to_messages
from splice.core.errors import RequestError

PIXEL = "iVBORw0KGgoAAAANSUhEUg=="
MODEL = "claude-sonnet-4-5-20250929"
NEW = "claude-opus-5"


def told(model: str = MODEL, /, **fields: Any) -> Any:
    asked = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return json.loads(msgspec.json.encode(to_messages(asked, model)))


def turns(*messages: Any) -> Any:
    return told(messages=list(messages))["messages"]


def call(identity: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_system_and_developer_messages_go_to_the_front_in_order() -> None:
    sent = told(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "user", "content": "hi"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        ]
    )

    assert [block["text"] for block in sent["system"]] == ["one", "two"]
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_a_system_message_alone_is_the_question() -> None:
    sent = told(messages=[{"role": "system", "content": "Say hello."}])

    assert "system" not in sent
    assert sent["messages"][0]["content"][0]["text"] == "Say hello."


def test_images_and_files_are_carried_in_base64_or_by_url() -> None:
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"},
        },
    ]

    blocks = turns({"role": "user", "content": content})[0]["content"]

    source = {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}
    assert blocks[1] == {"type": "image", "source": source}
    assert blocks[2]["source"] == {"type": "url", "url": "https://example.com/a.png"}
    assert blocks[3]["type"] == "document"
    assert (blocks[3]["source"]["media_type"], blocks[3]["title"]) == ("application/pdf", "a.pdf")


def test_parallel_calls_and_their_results_are_two_turns() -> None:
    sent = turns(
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("call.1", "weather", '{"city": "Graz"}'), call("b", "clock", "")],
        },
        {"role": "tool", "tool_call_id": "call.1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "and tomorrow?"},
    )

    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    used = sent[1]["content"]
    assert [(u["id"], u["input"]) for u in used] == [("call_1", {"city": "Graz"}), ("b", {})]
    kinds = [(block["type"], block.get("tool_use_id")) for block in sent[2]["content"]]
    assert kinds == [("tool_result", "call_1"), ("tool_result", "b"), ("text", None)]


def test_results_come_first_in_their_turn_even_where_the_user_spoke_before() -> None:
    sent = turns(
        {"role": "assistant", "tool_calls": [call("a", "f", "{}")]},
        {"role": "user", "content": "wait"},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    )

    assert [block["type"] for block in sent[1]["content"]] == ["tool_result", "text"]


def test_arguments_that_are_no_object_are_carried_as_text() -> None:
    sent = turns(
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("a", "f", "{oops"), call("b", "f", "[1]")]},
    )

    assert [u["input"] for u in sent[1]["content"]] == [
        {"arguments": "{oops"},
        {"arguments": "[1]"},
    ]


def test_a_tool_keeps_its_schema_and_a_missing_one_is_an_open_object() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    untyped = {"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}

    tools = told(tools=[TOOL, bare, untyped])["tools"]

    assert tools[0]["input_schema"] == TOOL["function"]["parameters"]  # type: ignore[index]
    assert tools[0]["description"] == "The weather"
    assert tools[1]["input_schema"] == {"type": "object", "properties": {}}
    assert tools[2]["input_schema"] == {"type": "object", "properties": {}}


def test_a_recursive_schema_passes() -> None:
    schema = {
        "type": "object",
        "properties": {"child": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
    }
    function = {"name": "grow", "parameters": schema, "strict": True}

    tool = told(tools=[{"type": "function", "function": function}])["tools"][0]

    assert tool["input_schema"]["$defs"]["node"]["properties"]["child"] == {"$ref": "#/$defs/node"}
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"type": "tool", "name": "weather"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_which_tool_must_be_used(fields: dict[str, Any], choice: Any) -> None:
    assert told(tools=[TOOL], **fields).get("tool_choice") == choice


def test_allowed_tools_are_the_only_ones_sent() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}

    sent = told(
        tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )

    assert [tool["name"] for tool in sent["tools"]] == ["weather"]
    assert sent["tool_choice"] == {"type": "any"}


def test_a_choice_without_tools_is_left_out_and_past_calls_are_named() -> None:
    past = told(
        messages=[
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call("a", "weather", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": "sunny"},
        ]
    )

    assert "tool_choice" not in told(tool_choice="auto")
    assert past["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert past["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {"max_tokens": DEFAULT_MAX_TOKENS}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 8, "max_tokens": 7}, {"max_tokens": 8}),
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"temperature": 0.3, "top_p": 0.9}, {"temperature": 0.3}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"safety_identifier": "u2"}, {"metadata": {"user_id": "u2"}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"top_k": 5}, {"top_k": 5}),
    ],
)
def test_a_field_becomes_its_counterpart(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    whole = told(**fields)

    assert {name: whole[name] for name in sent} == sent
    assert set(whole) == {"messages", "max_tokens", *sent}


def test_what_only_hints_is_left_out() -> None:
    sent = told(
        seed=1, frequency_penalty=0.5, presence_penalty=0.1, store=True, logprobs=False, n=1,
        service_tier="flex", metadata={"a": "b"}, prediction={"type": "content", "content": "x"},
        response_format={"type": "text"}, prompt_cache_key="k", verbosity="low",
    )  # fmt: skip

    assert set(sent) == {"messages", "max_tokens"}


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5-20261001"]
)
def test_newer_models_take_no_sampling_parameters(model: str) -> None:
    sent = told(model, temperature=0, top_p=0.5, top_k=4)

    assert set(sent) == {"messages", "max_tokens"}


@pytest.mark.parametrize(
    "model",
    ["claude-3-5-sonnet-20241022", "claude-opus-4-20250514", "claude-haiku-4-5", "kimi-k2", MODEL],
)
def test_others_do(model: str) -> None:
    assert told(model, temperature=0)["temperature"] == 0


def test_effort_is_adaptive_thinking_on_newer_models_and_a_budget_on_older_ones() -> None:
    new = told(NEW, reasoning_effort="minimal", temperature=0.5)
    old = told(MODEL, reasoning_effort="medium", max_tokens=20_000, temperature=0.5)
    tight = told(MODEL, reasoning_effort="high", max_tokens=5000)
    none = told(NEW, reasoning_effort="none")

    assert (new["output_config"], new["thinking"]) == ({"effort": "low"}, {"type": "adaptive"})
    assert old["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert tight["thinking"]["budget_tokens"] == 4999
    assert none["thinking"] == {"type": "disabled"}
    assert "temperature" not in new | old


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 500},
        {"tools": [TOOL], "tool_choice": "required"},
        {"messages": [{"role": "assistant", "tool_calls": [call("a", "f", "{}")]},
                      {"role": "tool", "tool_call_id": "a", "content": "x"}]},
    ],
)  # fmt: skip
def test_no_budget_is_set_where_the_api_would_refuse_it(fields: dict[str, Any]) -> None:
    assert "thinking" not in told(MODEL, reasoning_effort="high", **fields)


def test_a_schema_is_closed_and_its_bounds_are_told_in_words() -> None:
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "In years."},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^a"}, "maxItems": 3},
            "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}

    sent = told(response_format=wanted, output_config={"effort": "low"})

    config = sent["output_config"]
    closed = config["format"]["schema"]
    assert config["effort"] == "low"
    assert closed["additionalProperties"] is False
    assert closed["properties"]["age"]["description"] == 'In years.\n\n{"minimum":0}'
    assert "minimum" not in closed["properties"]["age"]
    assert closed["properties"]["tags"]["description"] == '{"maxItems":3}'
    assert closed["properties"]["mail"]["anyOf"][0]["format"] == "email"


def test_what_cannot_be_closed_and_plain_json_are_asked_for_in_words() -> None:
    open_map = {"type": "object", "additionalProperties": {"type": "number"}}
    wanted = {"type": "json_schema", "json_schema": {"name": "map", "schema": open_map}}

    by_schema = told(response_format=wanted)
    plain = told(response_format={"type": "json_object"})

    assert "output_config" not in by_schema | plain
    assert '"additionalProperties":{"type":"number"}' in by_schema["system"][0]["text"]
    assert "JSON object" in plain["system"][0]["text"]


def test_cache_marks_go_on() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "long", "cache_control": mark}

    sent = told(
        messages=[{"role": "system", "content": [part]}, {"role": "user", "content": [part]}],
        tools=[{**TOOL, "cache_control": mark}],
    )

    assert sent["system"][0]["cache_control"] == mark
    assert sent["messages"][0]["content"][0]["cache_control"] == mark
    assert sent["tools"][0]["cache_control"] == mark


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"logit_bias": {"5": -100}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": []}, "functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png,x"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(RequestError) as raised:
        told(**fields)

    assert raised.value.where == where


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PART = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, TEXT),
    st.builds(lambda t: {"type": "image_url", "image_url": {"url": f"https://e.com/{t}"}}, TEXT),
)
CONTENT = st.one_of(st.none(), TEXT, st.lists(PART, max_size=3))
CALLS = st.lists(st.builds(call, TEXT, TEXT, st.one_of(TEXT, st.just('{"a": 1}'))), max_size=3)
MESSAGE = st.one_of(
    st.builds(lambda c: {"role": "system", "content": c}, TEXT),
    st.builds(lambda c: {"role": "user", "content": c}, CONTENT),
    st.builds(lambda c, t: {"role": "assistant", "content": c, "tool_calls": t}, CONTENT, CALLS),
    st.builds(lambda i, c: {"role": "tool", "tool_call_id": f"c{i}", "content": c}, TEXT, CONTENT),
)


@given(st.lists(MESSAGE, max_size=8))
def test_every_conversation_becomes_alternating_turns_that_lose_no_text(
    messages: list[Any],
) -> None:
    try:
        sent = told(messages=messages)
    except RequestError as error:
        assert error.where == "messages"  # noqa: PT017  it may have no text at all
        return

    roles = [turn["role"] for turn in sent["messages"]]
    blocks = [block for turn in sent["messages"] for block in turn["content"]]
    assert all(one != other for one, other in itertools.pairwise(roles))
    assert all(turn["content"] for turn in sent["messages"])
    assert all(block["text"] for block in blocks if block["type"] == "text")
    for turn in sent["messages"]:
        results = [block["type"] == "tool_result" for block in turn["content"]]
        assert results == sorted(results, reverse=True)
    whole = json.dumps(sent, ensure_ascii=False)
    for message in messages:
        content = message["content"]
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            assert json.dumps(part.get("text") or "", ensure_ascii=False)[1:-1] in whole


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
FIELDS = (
    "messages", "tools", "tool_choice", "stop", "response_format", "max_tokens", "temperature",
    "user", "reasoning_effort", "thinking", "output_config", "n", "stream_options", "logit_bias",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.booleans())
def test_no_value_of_a_field_makes_it_fail_otherwise(fields: dict[str, Any], raw: bool) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], **fields}
    if raw:
        asked = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in asked.items()}

    with contextlib.suppress(RequestError):
        msgspec.json.encode(to_messages(asked, NEW))


KEYWORDS = st.sampled_from(
    ["type", "properties", "$defs", "items", "anyOf", "oneOf", "allOf", "required", "$ref", "enum",
     "format", "minItems", "additionalProperties", "minimum", "description"]
)  # fmt: skip
SCHEMA = st.recursive(
    st.one_of(JSON, st.sampled_from(["object", "string", "#/$defs/a", "email"])),
    lambda inner: st.one_of(
        st.dictionaries(KEYWORDS, inner, max_size=4),
        st.dictionaries(TEXT, inner, max_size=2),
        st.lists(inner, max_size=2),
    ),
    max_leaves=10,
)


@given(st.dictionaries(KEYWORDS, SCHEMA, max_size=4))
def test_no_schema_makes_it_fail_otherwise(schema: dict[str, Any]) -> None:
    function = {"name": "f", "parameters": schema, "strict": True}
    wanted = {"type": "json_schema", "json_schema": {"name": "r", "schema": schema}}

    sent = told(tools=[{"type": "function", "function": function}], response_format=wanted)

    assert "output_config" in sent or "JSON Schema" in sent["system"][0]["text"]
