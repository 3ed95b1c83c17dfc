"""No request makes a 5xx by its content; each bad field is named: what came, what was due."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types import embedding_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from openai_desk import CHAT, EMBEDDINGS, RESPONSES, Door

from splice.serve.openai.chat import ChatBody
from splice.serve.openai.embeddings import EmbeddingsBody
from splice.serve.openai.items import Body

TURN: dict[str, Any] = {"role": "user", "content": "Hi"}
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [TURN]},
    RESPONSES: {"model": "m", "input": "Hi"},
    EMBEDDINGS: {"model": "m", "input": "Hi"},
}


@pytest.fixture
def door() -> Door:
    return Door()


def wrong_fields() -> list[Any]:
    """Every documented field of every request, with a value of a wrong type."""
    kinds: list[tuple[str, type[msgspec.Struct]]] = [
        (CHAT, ChatBody), (RESPONSES, Body), (EMBEDDINGS, EmbeddingsBody),
    ]  # fmt: skip
    found: list[Any] = []
    for path, kind in kinds:
        for field in msgspec.structs.fields(kind):
            for value in (True, 7, 0.5, "text", ["x", 7.5], [[[]]], {"x": {"y": [7]}}):
                try:
                    msgspec.json.decode(json.dumps(value), type=field.type)
                except msgspec.ValidationError:
                    name = f"{path[4:]}:{field.name}={value}"
                    found.append(pytest.param(path, field.name, value, id=name))
    return found


@pytest.mark.parametrize(("path", "field", "value"), wrong_fields())
async def test_a_field_of_a_wrong_type_is_named(
    door: Door, path: str, field: str, value: Any
) -> None:
    error = await door.refused(path, {**GOOD[path], field: value})

    assert error["param"].startswith(field)
    assert error["message"].startswith(f"{error['param']}: got ")
    assert error["code"] in ("invalid_type", "invalid_value", "missing_required_parameter")


@pytest.mark.parametrize(
    ("kind", "documented"),
    [
        (ChatBody, completion_create_params.CompletionCreateParamsBase),
        (Body, response_create_params.ResponseCreateParamsBase),
        (EmbeddingsBody, embedding_create_params.EmbeddingCreateParams),
    ],
)
def test_every_field_that_the_official_client_knows_has_a_type(
    kind: type[msgspec.Struct], documented: Any
) -> None:
    assert set(documented.__annotations__) <= {*kind.__struct_fields__, "stream"}


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"messages": [7]}, "messages[0]"),
        (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [TURN, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "system", "content": {}}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "assistant", "content": 7}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (CHAT, {"messages": [{"role": "function", "content": "x"}]}, "messages[0].name"),
        (CHAT, {"messages": [{**TURN, "name": 7}]}, "messages[0].name"),
        (
            CHAT,
            {"messages": [{"role": "assistant", "tool_calls": [{"type": "function"}]}]},
            "messages[0].tool_calls[0].id",
        ),
        (
            CHAT,
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": 1000}, "n"),
        (CHAT, {"seed": 2**70}, "seed"),
        (CHAT, {"stop": ["a", 7]}, "stop[1]"),
        (CHAT, {"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        (CHAT, {"tools": [{"type": "function"}]}, "tools[0].function"),
        (CHAT, {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            CHAT,
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        (CHAT, {"tool_choice": {"type": "function"}}, "tool_choice.function"),
        (CHAT, {"tool_choice": {"function": {"name": "f"}}}, "tool_choice.type"),
        (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        (CHAT, {"prediction": {"type": "content", "content": 7}}, "prediction.content"),
        (RESPONSES, {"input": None}, "input"),
        (RESPONSES, {"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        (RESPONSES, {"input": [{"role": "user"}]}, "input[0].content"),
        (RESPONSES, {"input": [{"type": "function_call", "call_id": "a"}]}, "input[0].name"),
        (
            RESPONSES,
            {"input": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": {}}]},
            "input[0].arguments",
        ),
        (RESPONSES, {"input": [{"type": "function_call_output"}]}, "input[0].call_id"),
        (RESPONSES, {"tools": [{"type": "function"}]}, "tools[0].name"),
        (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        (RESPONSES, {"reasoning": {"effort": 7}}, "reasoning.effort"),
        (RESPONSES, {"tool_choice": {"type": "function"}}, "tool_choice.name"),
        (EMBEDDINGS, {"encoding_format": "hex"}, "encoding_format"),
        (EMBEDDINGS, {"dimensions": 1.5}, "dimensions"),
    ],
)
async def test_a_wrong_field_below_the_top_is_named_by_its_path(
    door: Door, path: str, more: dict[str, Any], param: str
) -> None:
    error = await door.refused(path, {**GOOD[path], **more})

    assert error["param"] == param


@pytest.mark.parametrize(
    ("part", "place"),
    [
        (7, ""),
        ({}, ".type"),
        ({"type": "text"}, ".text"),
        ({"type": "text", "text": 7}, ".text"),
        ({"type": "refusal"}, ".refusal"),
        ({"type": "image_url"}, ".image_url"),
        ({"type": "image_url", "image_url": {}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": 7}}, ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:,", "detail": 7}}, ".image_url.detail"),
        ({"type": "input_audio"}, ".input_audio"),
        ({"type": "input_audio", "input_audio": {"data": "AA=="}}, ".input_audio.format"),
        ({"type": "file"}, ".file"),
        ({"type": "file", "file": {"file_id": 7}}, ".file.file_id"),
    ],
)
async def test_a_wrong_part_of_a_content_is_named(door: Door, part: Any, place: str) -> None:
    content = [{"type": "text", "text": "x"}, part]

    error = await door.refused(CHAT, {"model": "m", "messages": [{**TURN, "content": content}]})

    assert error["param"] == f"messages[0].content[1]{place}"


INNER = "http://169.254.169.254/latest/meta-data/secret-42"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        *(
            (CHAT, {"messages": [{**TURN, "content": [part]}]}, f"messages[0].content[0].{place}")
            for part, place in [
                ({"type": "image_url", "image_url": {"url": INNER}}, "image_url.url"),
                ({"type": "image_url", "image_url": INNER}, "image_url"),
                ({"type": "text", "text": "x", "image_url": {"url": INNER}}, "image_url.url"),
                ({"type": "video_url", "video_url": {"url": INNER}}, "video_url.url"),
                ({"type": "file", "file": {"file_url": INNER}}, "file.file_url"),
                ({"type": "new", "new_url": [{"url": INNER}]}, "new_url[0].url"),
                ({"type": "new", "a": {"b": {"uri": "file:///etc/passwd"}}}, "a.b.uri"),
                ({"type": "image_url", "image_url": {"url": "http://0x7f.1/"}}, "image_url.url"),
            ]
        ),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": INNER}]}]},
            "input[0].content[0].image_url",
        ),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": INNER}]}]},
            "input[0].content[0].file_url",
        ),
        (
            RESPONSES,
            {
                "input": [
                    {
                        "type": "computer_call_output", "call_id": "a",
                        "output": {"type": "computer_screenshot", "image_url": INNER},
                    }
                ]
            },
            "input[0].output.image_url",
        ),
        (
            RESPONSES,
            {
                "input": [
                    {
                        "type": "function_call_output", "call_id": "a",
                        "output": [{"type": "input_image", "image_url": INNER}],
                    }
                ]
            },
            "input[0].output[0].image_url",
        ),
        (RESPONSES, {"tools": [{"type": "mcp", "server_url": INNER}]}, "tools[0].server_url"),
    ],
)  # fmt: skip
async def test_no_url_into_our_own_network_reaches_a_provider(
    door: Door, path: str, body: dict[str, Any], param: str
) -> None:
    error = await door.refused(path, {**GOOD[path], **body})

    assert error["param"] == param
    assert "secret-42" not in error["message"]


NEST = 5000


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "malformed JSON"),
        (b"[]", "got an array, expected an object"),
        (b"null", "got null, expected an object"),
        (b'{"model":"m"', "malformed JSON"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "not UTF-8"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":"\xc3"}', "not UTF-8"),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "half a character"),
        (
            b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":"\\udc00"}',
            "half a character",
        ),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":NaN}', "malformed JSON"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":Infinity}', "malformed"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}],"y":1e999}', "out of range"),
        (b'{"model":"m","model":"n","messages":[]}', "the key 'model' twice"),
        (
            b'{"model":"m","messages":[{"role":"user","content":[],"cont\\u0065nt":"x"}]}',
            "the key 'content' twice",
        ),
        (
            b'{"model":"m","messages":[{"role":"user","content":"\\u0022\\u0022","x":1,"x":2}]}',
            "the key 'x' twice",
        ),
        (b'{"a":' * NEST + b"1" + b"}" * NEST, "nested too deep"),
        (b'{"model":"m","x":' + b"[" * 101 + b"]" * 101 + b"}", "nested too deep"),
        (b'{"model":"m","x":' + b'[{"a":' * 60 + b'"]}"' + b"}]" * 60 + b"}", "nested too deep"),
        (b'{"a":' + b"[" * 3_000_000, "nested too deep"),
    ],
    ids=range(18),
)
@pytest.mark.parametrize("path", list(GOOD))
async def test_what_is_not_one_plain_json_object_is_refused(
    door: Door, path: str, raw: bytes, told: str
) -> None:
    error = await door.refused(path, raw)

    assert told in error["message"]


RECURSIVE = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "tree": {"$ref": "#/$defs/tree"}},
    "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (
            CHAT,
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": RECURSIVE}}]},
        ),
        (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": RECURSIVE}]}),
        (
            RESPONSES,
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": RECURSIVE}}},
        ),
        (CHAT, {"messages": [{**TURN, "content": 'a "quoted" [{text \\' * 80_000}]}),
        (RESPONSES, {"input": "long \n" * 350_000}),
        (EMBEDDINGS, {"input": ["x" * 1_000_000] * 2}),
        (CHAT, {"unknown": 10**400, "max_tokens": 2**62}),
        (CHAT, {"unknown": [[[[{}]]]] * 200}),
        (CHAT, {"model": "m" * 1_000_000}),
        (CHAT, {"max_tokens": -1}),
    ],
    ids=range(10),
)  # fmt: skip
async def test_what_is_large_or_odd_but_right_is_answered(
    door: Door, path: str, more: dict[str, Any]
) -> None:
    answer = await door.post(path, {**GOOD[path], **more})

    assert answer.status == 200, answer.body[:300]


async def test_a_bound_on_tokens_fits_every_meter(door: Door) -> None:
    await door.post(CHAT, {**GOOD[CHAT], "max_tokens": 2**62})
    await door.post(CHAT, {**GOOD[CHAT], "max_tokens": -1})

    first, second = (asked.output_tokens for _, asked in door.desk.engine.asked)
    assert first == 2**31
    assert second is None


async def test_an_unknown_role_is_told_the_known_ones(door: Door) -> None:
    messages = [{"role": "robot", "content": "x"}]

    error = await door.refused(CHAT, {**GOOD[CHAT], "messages": messages})

    assert "system, developer, user, assistant, tool, function" in error["message"]
    assert error["code"] == "invalid_value"


async def test_no_messages_at_all_are_called_empty(door: Door) -> None:
    error = await door.refused(CHAT, {**GOOD[CHAT], "messages": []})

    assert "got empty" in error["message"]
    assert error["param"] == "messages"
