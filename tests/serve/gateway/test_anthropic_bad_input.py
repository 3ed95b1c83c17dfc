"""What callers send that is wrong, or looks like it: one clear error each, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest
from anthropic_door import KEY, Desk, ScriptedEngine
from hypothesis import given
from hypothesis import strategies as st

from splice.adapters.providers.anthropic_request import to_messages
from splice.core.call import Call, Usage
from splice.core.chat import Asked, Dialect, WireReply
from splice.engine.converse import Spoken
from splice.serve.anthropic.surface import AnthropicSurface
from splice.serve.wire import GatewayDesk, WireAnswer, WireCall

BODY: dict[str, Any] = {
    "model": "triage",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


async def relayed(call: Call, asked: Asked) -> Spoken:
    """Does what both kinds of providers would do with the request, but for sending it."""
    msgspec.json.encode({**asked.fields, "model": "m"})
    assert asked.as_chat is not None
    chat = asked.as_chat()
    msgspec.json.encode(chat)
    msgspec.json.encode(to_messages(chat, "claude-opus-5"))
    message = b'{"id":"m","type":"message","content":[{"type":"text","text":"ok"}],"usage":{}}'
    return Spoken(call.id, "chat", reply=WireReply(Dialect.MESSAGES, message, Usage(), "m"))


async def answer(
    body: bytes | dict[str, Any], path: str = "/v1/messages", **headers: bytes
) -> WireAnswer:
    engine = ScriptedEngine()
    engine.instead = relayed
    surface = AnthropicSurface(cast("GatewayDesk", Desk(engine)))
    sent = {b"x-api-key": KEY.encode()}
    sent |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await surface.answer(WireCall("POST", path, sent, raw, "127.0.0.1"))


def said(wrong: WireAnswer) -> str:
    shown = json.loads(wrong.body)
    assert shown["type"] == "error"
    assert shown["request_id"].startswith("req_")
    assert shown["error"]["type"] == "invalid_request_error"
    message: str = shown["error"]["message"]
    return message


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("changes", "where", "got"),
    [
        ({"model": 5}, "model", "an integer"),
        ({"model": ""}, "model", ""),
        ({"max_tokens": "9"}, "max_tokens", "a string"),
        ({"max_tokens": 1.5}, "max_tokens", "a number"),
        ({"max_tokens": -1}, "max_tokens", ""),
        ({"max_tokens": None}, "max_tokens", "null"),
        ({"max_tokens": 10**400}, "max_tokens", ""),
        ({"messages": "hi"}, "messages", "a string"),
        ({"messages": []}, "messages", ""),
        ({"messages": [5]}, "messages[0]", "an integer"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "nothing"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "'robot'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "an integer"),
        (user(5), "messages[0].content[0]", "an integer"),
        (user({"text": "x"}), "messages[0].content[0].type", "nothing"),
        (user({"type": "text"}), "messages[0].content[0].text", "nothing"),
        (user({"type": "text", "text": 5}), "messages[0].content[0].text", "an integer"),
        (user({"type": "image"}), "messages[0].content[0].source", "nothing"),
        (user({"type": "image", "source": {"type": "base64"}}),
         "messages[0].content[0].source.data", "nothing"),
        (user({"type": "tool_use", "id": "a", "name": "f", "input": "x"}),
         "messages[0].content[0].input", "a string"),
        (user({"type": "tool_result", "tool_use_id": 1}),
         "messages[0].content[0].tool_use_id", "an integer"),
        (user({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}),
         "messages[0].content[0].content[0].text", "nothing"),
        ({"system": 5}, "system", "an integer"),
        ({"system": [{"type": "text"}]}, "system[0].text", "nothing"),
        ({"stream": "yes"}, "stream", "a string"),
        ({"stop_sequences": "END"}, "stop_sequences", "a string"),
        ({"stop_sequences": [1]}, "stop_sequences[0]", "an integer"),
        ({"temperature": "hot"}, "temperature", "a string"),
        ({"top_p": []}, "top_p", "an array"),
        ({"top_k": 1.5}, "top_k", "a number"),
        ({"metadata": []}, "metadata", "an array"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id", "an integer"),
        ({"service_tier": 5}, "service_tier", "an integer"),
        ({"thinking": True}, "thinking", "a boolean"),
        ({"thinking": {"type": "enabled", "budget_tokens": "all"}},
         "thinking.budget_tokens", "a string"),
        ({"tools": {}}, "tools", "an object"),
        ({"tools": [{}]}, "tools[0].name", "nothing"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema", "nothing"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema", "an array"),
        ({"tools": [{**TOOL, "description": 5}]}, "tools[0].description", "an integer"),
        ({"tools": [{**TOOL, "strict": "yes"}]}, "tools[0].strict", "a string"),
        ({"tool_choice": "auto"}, "tool_choice", "a string"),
        ({"tool_choice": {"type": "all"}}, "tool_choice.type", "'all'"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "nothing"),
        ({"output_config": {"format": {}}}, "output_config.format.type", "nothing"),
        ({"container": 5}, "container", "an integer"),
        ({"cache_control": 5}, "cache_control", "an integer"),
        ({"mcp_servers": [{"url": 5}]}, "mcp_servers[0].url", "an integer"),
    ],
)  # fmt: skip
async def test_a_field_of_a_wrong_type_is_named_with_what_came(
    changes: dict[str, Any], where: str, got: str
) -> None:
    wrong = await answer({**BODY, **changes})

    assert wrong.status == 400
    assert said(wrong).startswith(f"{where}: got {got}")


@pytest.mark.parametrize("field", ["model", "max_tokens", "messages"])
async def test_a_field_that_is_missing_is_named(field: str) -> None:
    wrong = await answer({name: value for name, value in BODY.items() if name != field})

    assert wrong.status == 400
    assert said(wrong).startswith(f"{field}: got nothing")


def raw(field: bytes) -> bytes:
    return json.dumps(BODY).encode()[:-1] + b", " + field + b"}"


@pytest.mark.parametrize(
    ("body", "says_what"),
    [
        (b"", "JSON"),
        (b"hello", "JSON"),
        (b"[]", "an array"),
        (b"null", "null"),
        (raw(b'"x": NaN'), "JSON"),
        (raw(b'"x": "\xff\xfe"'), "UTF-8"),
        (raw(b'"system": "\xc3"'), "UTF-8"),
        (raw(b'"system": "\\ud800"'), "half a character"),
        (raw(b'"x": ' + b"[" * 101 + b"]" * 101), "nested too deep"),
        (raw(b'"x": ' + b"[" * 100_000 + b"]" * 100_000), "nested too deep"),
        (raw(b'"model": "other"'), "twice"),
        (raw(b'"x": {"a": 1, "a": 2}'), "twice"),
        (json.dumps(BODY).encode() + b"{}", "JSON"),
    ],
)
async def test_a_body_that_two_readers_could_read_differently_is_refused(
    body: bytes, says_what: str
) -> None:
    wrong = await answer(body)

    assert wrong.status == 400
    assert says_what in said(wrong)


NODE = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": [{"name": "grow", "input_schema": {**NODE, "$defs": {"node": NODE}}}]},
        {"tools": [{"name": "grow", "strict": True, "input_schema": {"$ref": "#"}}]},
        {"tools": [{"name": "f", "strict": True, "input_schema": {"properties": 5, "anyOf": 1}}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"properties": True}}}},
        {"messages": [{"role": "user", "content": "word " * 400_000}]},
        {"x": 10**400, "metadata": {"user_id": "u", "x": -(10**30)}},
        {"temperature": 10**300, "seed": 1e308},
        {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]},
        {"system": "\ud83d\ude00 \u0000 \u202e"},
    ],
)
async def test_odd_but_right_requests_are_answered(changes: dict[str, Any]) -> None:
    assert (await answer({**BODY, **changes})).status == 200


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/latest"}},
        {"type": "document", "source": {"type": "url", "url": "http://[::ffff:7f00:1]/a.pdf"}},
        {
            "type": "tool_result",
            "tool_use_id": "a",
            "content": [{"type": "image", "source": {"type": "url", "url": "http://0x7f.1/"}}],
        },
        {
            "type": "document",
            "source": {
                "type": "content",
                "content": [{"type": "image", "source": {"type": "url", "url": "file:///etc"}}],
            },
        },
        {"type": "brand_new", "deep": [{"source": {"type": "url", "url": "http://localhost/"}}]},
        {"type": "brand_new", "deep": [{"source": {"type": "url", "\\u0075rl": "http://10.1/"}}]},
    ],
)
async def test_a_url_into_the_house_goes_to_no_provider(block: dict[str, Any]) -> None:
    raw = json.dumps({**BODY, **user(block)}).replace("\\\\u0075", "\\u0075").encode()

    wrong = await answer(raw)

    assert wrong.status == 400
    assert said(wrong).startswith("messages[0].content[0]")
    assert "URL" in said(wrong)


async def test_a_server_of_tools_in_the_house_is_not_for_the_provider_to_ask() -> None:
    wrong = await answer({**BODY, "mcp_servers": [{"type": "url", "url": "http://10.0.0.1/"}]})

    assert said(wrong).startswith("mcp_servers[0].url")


async def test_what_a_tool_is_given_may_hold_any_url() -> None:
    given = {"type": "url", "url": "http://localhost/"}
    used = {"type": "tool_use", "id": "a", "name": "fetch", "input": given}

    messages = [*BODY["messages"], {"role": "assistant", "content": [used]}]

    assert (await answer({**BODY, "messages": messages, "x": given})).status == 200


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\x00", b"\xff", b"a" * 2000])
async def test_a_vendor_header_that_could_begin_another_is_refused(value: bytes) -> None:
    wrong = await answer(BODY, anthropic_beta=value)

    assert wrong.status == 400
    assert said(wrong).startswith("headers.anthropic-beta")


async def test_the_headers_of_an_answer_cannot_be_split_by_a_route() -> None:
    engine = ScriptedEngine()

    async def instead(call: Call, asked: Asked) -> Spoken:
        spoken = await relayed(call, asked)
        spoken.route = "llm:a\r\nset-cookie: b=c"
        return spoken

    engine.instead = instead
    surface = AnthropicSurface(cast("GatewayDesk", Desk(engine)))
    sent = {b"x-api-key": KEY.encode()}

    told = await surface.answer(WireCall("POST", "/v1/messages", sent, json.dumps(BODY).encode()))

    assert all(b"\r" not in value and b"\n" not in value for _, value in told.headers)


@pytest.mark.parametrize("body", [b'{"choices": 5}', b"[]", b"\xff", b'{"choices":[{"message":'])
async def test_an_answer_that_is_no_completion_is_the_providers_fault(body: bytes) -> None:
    engine = ScriptedEngine()

    async def instead(call: Call, asked: Asked) -> Spoken:
        return Spoken(call.id, "chat", reply=WireReply(Dialect.CHAT, body, Usage(), "m"))

    engine.instead = instead
    surface = AnthropicSurface(cast("GatewayDesk", Desk(engine)))
    sent = {b"x-api-key": KEY.encode()}

    told = await surface.answer(WireCall("POST", "/v1/messages", sent, json.dumps(BODY).encode()))

    assert told.status == 502
    assert json.loads(told.body)["error"]["type"] == "api_error"


TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
KINDS = (
    "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking",
    "search_result", "other",
)  # fmt: skip
PARTS = (
    "text", "source", "content", "id", "name", "input", "title", "tool_use_id", "thinking", "data",
)  # fmt: skip
BLOCK = st.fixed_dictionaries({"type": st.sampled_from(KINDS)}, optional=dict.fromkeys(PARTS, JSON))
FIELD = st.sampled_from(
    ["model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "thinking",
     "output_config", "metadata", "stop_sequences", "mcp_servers", "top_k"]
)  # fmt: skip


@given(
    st.dictionaries(FIELD, JSON, max_size=3),
    st.lists(BLOCK, max_size=3),
    st.sampled_from(["/v1/messages", "/v1/messages/count_tokens"]),
)
async def test_nothing_in_a_body_makes_it_our_fault(
    fields: dict[str, Any], blocks: list[Any], path: str
) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": blocks}], **fields}

    assert (await answer(body, path)).status < 500


@given(st.binary(max_size=40))
async def test_no_bytes_make_it_our_fault(body: bytes) -> None:
    assert (await answer(body)).status == 400
