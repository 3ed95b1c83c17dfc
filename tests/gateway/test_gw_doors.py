"""What else comes in: typed integrations, replays, agents, a real llama.cpp server."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
from gw_house import BASE, HELLO, Gateway, eventually, provider, serving
from mcp import Client

from splice.core.call import Reason
from splice.testing.openai_server import OpenAIServer, Scripted

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "adapters" / "providers"))  # where the real server is started

from llama_server import MODEL, llama_server  # noqa: E402

INTEGRATIONS = '''
from typing import Literal

import splice


class Talk(splice.Conversation):
    """Talk."""

    routes = [splice.LLM("a/m", retries=0)]


class Message(splice.Request):
    text: str


class Triage(splice.Reply):
    queue: Literal["billing", "other"]


class MessageTriage(splice.Integration):
    """Sort messages."""

    aliases = ["triage-fast"]
    routes = [splice.Rule(lambda context: "billing" if "invoice" in context["text"] else "other")]

    def decide(self, message: Message, prediction) -> Triage:
        return Triage(prediction.value)
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OpenAIServer) -> Iterator[Gateway]:
    toml = BASE + provider("a", upstream.base_url)
    with serving(tmp_path_factory.mktemp("doors"), toml, INTEGRATIONS) as made:
        yield made


def test_a_typed_integration_is_asked_as_if_it_were_a_model(gateway: Gateway) -> None:
    client = gateway.openai()

    plain = client.chat.completions.create(
        model="message-triage", messages=[{"role": "user", "content": "My invoice is wrong"}]
    )
    as_json = client.chat.completions.create(
        model="triage-fast", messages=[{"role": "user", "content": '{"text": "hello"}'}]
    )
    streamed = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(
            model="triage-fast", stream=True, messages=[{"role": "user", "content": "an invoice"}]
        )
        if chunk.choices
    )
    told = gateway.anthropic().messages.create(
        model="message-triage", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
    )

    assert json.loads(plain.choices[0].message.content or "") == {"queue": "billing"}
    assert json.loads(as_json.choices[0].message.content or "") == {"queue": "other"}
    assert json.loads(streamed) == {"queue": "billing"}
    assert json.loads(told.content[0].text) == {"queue": "other"}
    records = gateway.records(4, "message-triage")
    assert {one.surface for one in records} == {"openai", "anthropic"}


def test_a_typed_integration_says_what_its_request_should_have_been(gateway: Gateway) -> None:
    wrong = gateway.ask(
        {"model": "message-triage", "messages": [{"role": "user", "content": '{"txt": 1}'}]}
    )

    assert wrong.status in (400, 422)
    assert "txt" in wrong.json["error"]["message"]


def test_conversations_are_replayed_in_whatever_shape_they_were_asked(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    chat = gateway.ask({"messages": HELLO, "stream": True})
    gateway.anthropic().messages.create(model="talk", max_tokens=9, messages=HELLO)
    gateway.openai().responses.create(model="talk", input="hello there")
    records = gateway.records(3, "talk")
    upstream.script(*(Scripted(text="SOMETHING ELSE") for _ in records))

    said = [
        subprocess.run(
            [sys.executable, "-m", "splice.cli.main", "--project", gateway.project.folder,
             "calls", "replay", one.call_id],
            capture_output=True, text=True, check=False,
        )
        for one in records
    ]  # fmt: skip

    assert chat.status == 200
    assert {one.surface for one in records} == {"openai", "anthropic", "openai-responses"}
    for one in said:
        assert "SOMETHING" in one.stdout, one.stdout + one.stderr
    assert len(gateway.all_records("talk")) == len(records)


async def test_agents_find_integrations_as_tools_at_the_same_server(gateway: Gateway) -> None:
    async with Client(f"{gateway.url}/mcp") as agent:
        tools = {tool.name for tool in (await agent.list_tools()).tools}
        said = await agent.call_tool("message-triage", {"text": "the invoice"})

    assert {"message-triage", "talk"} <= tools
    assert said.structured_content == {"queue": "billing"}
    (record,) = eventually(
        lambda: [one for one in gateway.all_records("message-triage") if one.surface == "mcp"]
    )
    assert record.reason is Reason.FIRST


class Label(pydantic.BaseModel):
    queue: Literal["billing", "technical", "other"]


@pytest.mark.model
def test_a_real_llama_server_streams_obeys_a_schema_and_embeds_for_openais_client(
    tmp_path: Path,
) -> None:
    declared = (
        INTEGRATIONS.replace("a/m", f"chat/{MODEL}")
        + f'''

class Vectors(splice.Conversation):
    """Vectors of texts."""

    routes = [splice.LLM("vectors/{MODEL}")]
'''
    )
    ask: list[Any] = [{"role": "user", "content": "My invoice is wrong. Which queue?"}]
    with llama_server() as chat, llama_server(embeddings=True) as vectors:
        toml = BASE + "".join(
            f'[providers.{name}]\nkind = "llama.cpp"\nbase_url = "{url}"\n'
            for name, url in (("chat", chat), ("vectors", vectors))
        )
        with serving(tmp_path, toml, declared) as gateway:
            client = gateway.openai()
            chunks = list(
                client.chat.completions.create(
                    model="talk", messages=ask, max_tokens=12, stream=True, temperature=0,
                    stream_options={"include_usage": True},
                )
            )  # fmt: skip
            label = client.chat.completions.parse(
                model="talk", messages=ask, max_tokens=40, response_format=Label
            )
            vector = client.embeddings.create(model="vectors", input=["one text", "another"])
            raw = gateway.ask(
                {"model": "vectors", "input": ["one text", "another"], "encoding_format": "base64"},
                "/v1/embeddings",
            )
            record = next(one for one in gateway.records(4) if one.attempts[0].first_token_us)

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert label.choices[0].message.parsed is not None
    assert len(vector.data) == 2
    assert len(vector.data[0].embedding) == 576
    packed = base64.b64decode(raw.json["data"][0]["embedding"])
    assert struct.unpack("<576f", packed)[0] == pytest.approx(vector.data[0].embedding[0])
    assert record.cost_nano is None  # nobody said what it costs
