"""Every difference between vendors, one by one, and what is really sent because of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from splice.adapters.providers.openai import OpenAIProvider, OpenAISettings
from splice.adapters.providers.vendors import VENDORS, adapted, path_of
from splice.core.chat import Dialect, WireRequest
from splice.core.errors import InputMismatch, SettingsError
from splice.testing.contracts.providers import blocks_of
from splice.testing.openai_server import OpenAIServer

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def of(vendor: str, model: str = "some-model", **fields: Any) -> dict[str, Any]:
    """The fields as a vendor gets them, from the bytes of a caller."""
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}
    return json.loads(msgspec.json.encode(adapted(VENDORS[vendor], model, raw)))


@pytest.mark.parametrize(
    ("vendor", "model", "given", "sent"),
    [
        ("openai", "gpt-4o", {"max_tokens": 5}, {"max_tokens": 5}),
        ("openai", "gpt-4o", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai", "o3-mini", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai", "gpt-5-nano", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openrouter", "openai/o3", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("mistral", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("together", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("deepseek", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("ollama", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("llama.cpp", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("fireworks", "m", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("fireworks", "m", {"max_completion_tokens": 5, "max_tokens": 3}, {"max_tokens": 3}),
        ("mistral", "m", {"seed": 1}, {"random_seed": 1}),
        ("mistral", "m", {"logprobs": True, "user": "u", "stop": "x"}, {"stop": "x"}),
        ("groq", "m", {"logprobs": True, "top_logprobs": 2, "logit_bias": {}}, {}),
        ("gemini", "m", {"seed": 1, "frequency_penalty": 1, "top_p": 0.5}, {"top_p": 0.5}),
        ("deepseek", "m", {"parallel_tool_calls": False}, {}),
        ("vllm", "m", {"parallel_tool_calls": False, "guided_choice": ["a"]},
         {"guided_choice": ["a"]}),
        ("xai", "m", {"search_parameters": {"mode": "auto"}},
         {"search_parameters": {"mode": "auto"}}),
        ("azure", "m", {"data_sources": []}, {"data_sources": []}),
    ],
)  # fmt: skip
def test_fields_are_sent_as_the_vendor_takes_them(
    vendor: str, model: str, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert of(vendor, model, messages=HELLO, **given) == {"messages": HELLO, **sent}


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_what_a_vendor_takes_is_not_even_copied(vendor: str) -> None:
    fields = {"messages": msgspec.Raw(b"[]"), "temperature": 1, "anything_new": {"a": 1}}

    assert adapted(VENDORS[vendor], "m", fields) is fields


def test_a_schema_is_told_where_it_cannot_be_enforced() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}

    sent = of("deepseek", messages=HELLO, response_format=wanted)

    assert sent["response_format"] == {"type": "json_object"}
    assert sent["messages"][0]["role"] == "system"
    assert json.dumps(SCHEMA, separators=(",", ":")) in sent["messages"][0]["content"]
    assert sent["messages"][1:] == HELLO


def test_other_formats_and_wrong_ones_are_left_to_the_server() -> None:
    for wanted in ({"type": "json_object"}, "json", 7):
        sent = of("deepseek", messages=HELLO, response_format=wanted)
        assert sent == {"messages": HELLO, "response_format": wanted}


@pytest.mark.parametrize("vendor", list(VENDORS))
async def test_streams_ask_for_tokens_only_where_the_vendor_knows_the_field(vendor: str) -> None:
    with OpenAIServer() as server:
        provider = OpenAIProvider("v", server.base_url, vendor=vendor)
        fields = {"messages": HELLO, "stream_options": {"include_obfuscation": False}}

        await blocks_of(await provider.open(WireRequest(Dialect.CHAT, "m", fields, 5.0)))
        await provider.close()

        known = {"include_obfuscation": False, "include_usage": True}
        expected = known if VENDORS[vendor].stream_options else None
        assert server.asked[0].body.get("stream_options") == expected


@pytest.mark.parametrize(
    ("vendor", "header", "value"),
    [("openai", "authorization", "Bearer secret-key"), ("azure", "api-key", "secret-key")],
)
async def test_the_key_is_sent_as_the_vendor_wants_it(vendor: str, header: str, value: str) -> None:
    with OpenAIServer() as server:
        provider = OpenAIProvider("v", server.base_url, "secret-key", vendor=vendor)

        await provider.send(WireRequest(Dialect.CHAT, "m", {"messages": HELLO}, 5.0))
        await provider.close()

        sent = server.asked[0].headers
    assert sent[header] == value
    assert {"authorization", "api-key"} & set(sent) == {header}


@pytest.mark.parametrize(
    ("dialect", "model", "path"),
    [
        (Dialect.CHAT, "gpt", "/deployments/gpt/chat/completions?api-version=2024-10-21"),
        (Dialect.EMBEDDINGS, "e", "/deployments/e/embeddings?api-version=2024-10-21"),
        (Dialect.RESPONSES, "gpt", "/responses?api-version=2024-10-21"),
        (
            Dialect.CHAT,
            "../x y\r\n?#é",
            "/deployments/..%2Fx%20y%0D%0A%3F%23%C3%A9/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_azures_dated_api_has_the_deployment_in_its_path(
    dialect: Dialect, model: str, path: str
) -> None:
    assert path_of(dialect, model, "2024-10-21") == path


async def test_azures_dated_api_is_asked_at_that_path() -> None:
    with OpenAIServer() as server:
        settings = OpenAISettings(api_version="2024-10-21")
        url = server.base_url.removesuffix("/v1") + "/openai"
        provider = OpenAIProvider("v", url, "k", vendor="azure", settings=settings)

        with pytest.raises(Exception, match="404"):  # the scripted server knows no such path
            await provider.send(WireRequest(Dialect.CHAT, "m", {"messages": HELLO}, 5.0))
        await provider.close()


def test_what_a_vendor_has_not_is_not_among_its_dialects() -> None:
    assert VENDORS["groq"].dialects == {Dialect.CHAT, Dialect.RESPONSES}
    assert VENDORS["mistral"].dialects == {Dialect.CHAT, Dialect.EMBEDDINGS}
    assert all(Dialect.CHAT in vendor.dialects for vendor in VENDORS.values())


async def test_a_dialect_that_the_vendor_has_not_is_refused_before_anything_is_sent() -> None:
    provider = OpenAIProvider("v", "http://127.0.0.1:9/v1", vendor="mistral")

    with pytest.raises(InputMismatch, match="a request for responses"):
        await provider.send(WireRequest(Dialect.RESPONSES, "m", {"input": "x"}, 5.0))


@pytest.mark.parametrize("vendor", [name for name in VENDORS if VENDORS[name].base_url])
def test_a_vendor_has_an_address_of_its_own(vendor: str) -> None:
    assert repr(OpenAIProvider("v", vendor=vendor)) == "OpenAIProvider('v')"


def test_a_vendor_without_address_and_an_unknown_vendor_are_settings_errors() -> None:
    with pytest.raises(SettingsError, match="base_url"):
        OpenAIProvider("v", vendor="azure")
    with pytest.raises(SettingsError, match="one of compatible, openai, azure"):
        OpenAIProvider("v", vendor="openia")
