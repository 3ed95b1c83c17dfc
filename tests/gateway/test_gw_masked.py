"""What a provider sees has placeholders, and the caller gets his values back, by every door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from gw_house import BASE, MESSAGES, Gateway, events_of, provider, serving

from splice.core.call import Record
from splice.testing.anthropic_server import AnthropicServer
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.openai_shapes import DONE, event

ANN, BOB = "ann.quokka@canary-mail.example", "bob.wombat@canary-mail.example"
IBAN, CARD = "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111"
KEY = 'canary"quoted\\secret77'
RAW = ("quokka", "wombat", "3704 0044", "1111 1111", "secret77", "canary-mail")

INTEGRATIONS = '''
import splice

MASKED = splice.Protect(mask=("all",))


class Talk(splice.Conversation):
    """Talk with people."""

    protect = MASKED
    deadline = "10 s"
    cache = splice.Cache(exact="1 h")
    aliases = ["gpt-known"]
    models = ["a/*"]
    routes = [splice.LLM("a/m", retries=1), splice.LLM("b/m", retries=0)]


class Claude(splice.Conversation):
    """Talk with people by another vendor."""

    protect = MASKED
    routes = [splice.LLM("c/m", retries=0)]


class Seeing(splice.Conversation):
    """Look at pictures."""

    protect = splice.Protect(mask=("all",), files=True)
    routes = [splice.LLM("a/m", retries=0)]


class Letter(splice.Request):
    customer: splice.Entity
    text: str


class Draft(splice.Reply):
    to: str
    text: str


class Typed(splice.Integration):
    """Draft an answer to a letter."""

    protect = MASKED
    routes = [splice.LLM("a/m", prompt="draft.md", retries=0)]
    shadow = splice.Shadow(routes=[splice.LLM("b/m", prompt="draft.md", retries=0)], share=1.0)
    request = Letter
    reply = Draft
'''
PROMPT = "Write as help@our-house.example to {{ customer }}, who says:\n\n{{ text }}\n"


@pytest.fixture(scope="module")
def up() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def claude() -> Iterator[AnthropicServer]:
    with AnthropicServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, up: OpenAIServer, claude: AnthropicServer
) -> Iterator[Gateway]:
    toml = BASE + provider("a", up.base_url, "breaker_failures = 1000")
    toml += provider("b", up.base_url, "breaker_failures = 1000")
    toml += provider("c", claude.base_url, kind="anthropic")
    folder = tmp_path_factory.mktemp("masked")
    (folder / "p").mkdir()
    (folder / "p" / "draft.md").write_text(PROMPT)
    with serving(folder, toml, INTEGRATIONS) as one:
        yield one


@pytest.fixture(autouse=True)
def fresh(up: OpenAIServer) -> None:
    up.always = Scripted()
    up.asked.clear()


def seen(up: OpenAIServer) -> str:
    """All that the provider was sent."""
    return json.dumps([[one.body, one.headers] for one in up.asked], ensure_ascii=False)


def unseen(up: OpenAIServer) -> list[str]:
    """What of the raw values the provider saw all the same."""
    return [one for one in RAW if one in seen(up)]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def content(body: bytes) -> str:
    return json.loads(body)["choices"][0]["message"]["content"]


def streamed(body: bytes) -> str:
    deltas = [one["choices"][0]["delta"] for one in events_of(body) if one["choices"]]
    return "".join(one.get("content") or "" for one in deltas)


def test_a_value_has_one_placeholder_and_comes_back(gateway: Gateway, up: OpenAIServer) -> None:
    text = f"{ANN} owes {BOB}; {ANN} has {IBAN}"
    up.always = Scripted(text="[email-1] pays [email-2] by [iban-1]; see [email-9]")

    answer = gateway.ask(said(text))

    assert up.asked[-1].body["messages"] == [
        {"role": "user", "content": "[email-1] owes [email-2]; [email-1] has [iban-1]"}
    ]
    assert content(answer.body) == f"{ANN} pays {BOB} by {IBAN}; see [email-9]"


def test_every_field_of_a_request_is_searched(gateway: Gateway, up: OpenAIServer) -> None:
    arguments = json.dumps({"who": ANN, "nested": json.dumps([CARD])})
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    gateway.ask(
        {
            "messages": [
                {"role": "system", "content": f"Serve {ANN}"},
                {"role": "user", "content": [{"type": "text", "text": f"I am {BOB}"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": json.dumps({ANN: IBAN})},
            ],
            "user": BOB,
            "metadata": {"mail": ANN, BOB: "as a name"},
            "stop": [CARD],
            "tools": [{"type": "function", "function": {"name": "f", "description": f"as {BOB}"}}],
            "seed": 4111111111111111,
        }
    )

    assert unseen(up) == []
    body = up.asked[-1].body
    assert body["messages"][0]["content"] == f"Serve {body['metadata']['mail']}"
    assert json.loads(body["messages"][3]["content"]) == {body["metadata"]["mail"]: "[iban-1]"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 200])
def test_a_placeholder_cut_over_chunks_comes_back_whole(
    gateway: Gateway, up: OpenAIServer, size: int
) -> None:
    text = "[ [email-1], [email-2]! [emai not [email-77] or [x] [email-1]"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    ends: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [
        event({"choices": [{**ends, "delta": {"content": one}, "finish_reason": None}]})
        for one in pieces
    ]
    end = event({"choices": [ends]})
    up.always = Scripted(raw=b"".join([*chunks, end, DONE]))

    answer = gateway.ask(said(f"{ANN}, {BOB}, by {size}", stream=True))

    assert streamed(answer.body) == f"[ {ANN}, {BOB}! [emai not [email-77] or [x] {ANN}"
    assert unseen(up) == []


def test_arguments_of_tools_come_back_with_values_and_are_still_json(
    gateway: Gateway, up: OpenAIServer
) -> None:
    arguments = '{"to": "[email-1]", "password": "[secret-1]"}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    up.always = Scripted(
        message={"role": "assistant", "content": None, "tool_calls": [call]},
        finish_reason="tool_calls",
    )
    asked = {"messages": [{"role": "user", "content": json.dumps({"from": ANN, "password": KEY})}]}

    whole = gateway.ask(asked)
    stream = gateway.ask({**asked, "stream": True})

    told = json.loads(whole.body)["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(told["arguments"]) == {"to": ANN, "password": KEY}
    deltas = [one["choices"][0]["delta"] for one in events_of(stream.body) if one["choices"]]
    parts = [
        call["function"].get("arguments", "")
        for one in deltas
        for call in one.get("tool_calls", ())
    ]
    assert json.loads("".join(parts)) == {"to": ANN, "password": KEY}
    assert unseen(up) == []


def test_what_looks_like_a_placeholder_is_never_filled(gateway: Gateway, up: OpenAIServer) -> None:
    text = f"Say [email-1] and ［EMAIL-1］; my own is {ANN}"

    answer = gateway.ask(said(text))

    sent = up.asked[-1].body["messages"][0]["content"]
    assert sent.startswith("Say [email-1] and ［EMAIL-1］; my own is [email-1-")
    up.always = Scripted(text=sent)
    assert content(gateway.ask(said(text)).body) == text
    assert answer.status == 200


def test_responses_and_messages_are_masked_too(
    gateway: Gateway, up: OpenAIServer, claude: AnthropicServer
) -> None:
    up.always = Scripted(text="to [email-1] at once")
    for stream in (False, True):
        told = gateway.ask(
            {
                "model": "talk",
                "input": f"I am {ANN}",
                "instructions": f"for {CARD}",
                "stream": stream,
            },
            "/v1/responses",
        )
        assert f"to {ANN} at once" in told.body.decode().replace('","', "") or stream
        assert "[email-1]" not in told.body.decode()
        told = gateway.ask({**said(f"I am {ANN}"), "max_tokens": 9, "stream": stream}, MESSAGES)
        assert "[email-1]" not in told.body.decode()
        told = gateway.ask(
            {**said(f"I am {ANN}"), "model": "claude", "max_tokens": 9, "stream": stream}, MESSAGES
        )
        assert told.status == 200

    assert unseen(up) == []
    asked = json.dumps([one.body for one in claude.asked])
    assert "[email-1]" in asked
    assert "quokka" not in asked


def test_vectors_are_of_masked_texts_and_tokens_are_refused(
    gateway: Gateway, up: OpenAIServer
) -> None:
    texts = gateway.ask({"input": [f"of {ANN}", f"of {BOB}"]}, "/v1/embeddings")
    sent = [one.body["input"] for one in up.asked]
    tokens = gateway.ask({"input": [1, 2, 3]}, "/v1/embeddings")

    assert texts.status == 200
    assert sent == [["of [email-1]", "of [email-2]"]]
    assert tokens.status == 503
    assert b"masking_failed" in tokens.body
    assert len(up.asked) == 1


def test_a_file_goes_out_only_where_that_is_declared(gateway: Gateway, up: OpenAIServer) -> None:
    url = "data:image/png;base64," + "iVBORw0KGgo" * 60
    parts = [
        {"type": "text", "text": f"Who is {ANN}?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    asked = {"messages": [{"role": "user", "content": parts}]}

    refused = gateway.ask(asked)
    came = len(up.asked)
    let = gateway.ask({**asked, "model": "seeing"})

    assert (refused.status, came, let.status) == (503, 0, 200)
    sent = up.asked[-1].body["messages"][0]["content"]
    assert sent[1]["image_url"]["url"] == url
    assert sent[0]["text"] == "Who is [email-1]?"


def test_a_typed_route_masks_what_a_context_holds_and_not_its_prompt(
    gateway: Gateway, up: OpenAIServer
) -> None:
    up.always = Scripted(
        text=json.dumps({"to": "[email-1]", "text": "From help@our-house.example"})
    )

    answer = gateway.server.post(
        "/v1/integrations/typed/calls", {"customer": ANN, "text": f"I, {ANN}"}
    )

    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["reply"] == {"to": ANN, "text": "From help@our-house.example"}
    gateway.rest()
    sent = [one.body["messages"][-1]["content"] for one in up.asked]
    assert all(
        "help@our-house.example to [email-1], who says:\n\nI, [email-1]" in one for one in sent
    )
    assert unseen(up) == []


def test_retries_fallbacks_and_models_that_a_caller_names_see_placeholders(
    gateway: Gateway, up: OpenAIServer
) -> None:
    up.script(*[Scripted(status=500, text="no")] * 2)
    up.always = Scripted(text="for [email-1]")

    fallback = gateway.ask(said(f"I am {ANN}, thrice"))
    named = gateway.ask(said(f"I am {ANN}", model="talk/a/other"))

    assert content(fallback.body) == f"for {ANN}"
    assert content(named.body) == f"for {ANN}", named.body
    assert len(up.asked) == 4
    assert unseen(up) == []


def test_what_is_somebodys_is_in_no_cache(gateway: Gateway, up: OpenAIServer) -> None:
    up.always = Scripted(text="of [email-1]")
    mine = [gateway.ask(said(f"Whose? {one}")).body for one in (ANN, ANN, BOB)]
    up.always = Scripted(text="of nobody")
    plain = [gateway.ask(said("Whose is nothing?")).body for _ in range(2)]

    assert [content(one) for one in mine] == [f"of {ANN}", f"of {ANN}", f"of {BOB}"]
    assert [content(one) for one in plain] == ["of nobody"] * 2
    assert len(up.asked) == 4


def test_the_record_counts_what_was_masked_and_holds_none_of_it(
    gateway: Gateway, up: OpenAIServer
) -> None:
    up.always = Scripted(text="to [email-1]")
    answer = gateway.ask(said(f"{ANN} {BOB} {IBAN}, counted"))

    record: Record = gateway.record(answer.headers["splice-call-id"])

    assert record.attempts[-1].masked == {"email": 2, "iban": 1}
    assert b"quokka" not in record.input + (record.reply or b"")
    assert b"[email] [email] [iban], counted" in record.input


def test_nothing_personal_is_written_anywhere(gateway: Gateway, up: OpenAIServer) -> None:
    text = f"{ANN} {BOB} {IBAN} {CARD} {json.dumps({'password': KEY})}"
    up.always = Scripted(status=500, text=f"you said {text}")
    for model in ("talk", "claude", "seeing"):
        gateway.ask(said(text, model=model))
        gateway.ask(said(text, model=model, stream=True))
    gateway.ask(said(text, model=f"no-{ANN}"))
    gateway.server.post("/v1/integrations/typed/calls", {"customer": ANN, "text": text, BOB: 1})
    gateway.rest()
    gateway.records(10)

    written: dict[str, bytes] = {
        str(file): file.read_bytes()
        for file in gateway.project.folder.rglob("*")
        if file.is_file() and file.suffix not in (".toml", ".py", ".pyc", ".md")
    }
    written["log"] = gateway.server.log.encode()
    written["metrics"] = gateway.metrics().encode()
    written |= {
        one.call_id: msgspec.json.encode(one, enc_hook=str)
        + one.input + (one.reply or b"") + (one.context or b"") + (one.prediction or b"")
        for one in gateway.all_records()
    }  # fmt: skip

    found = [(where, raw) for where, held in written.items() for raw in RAW if raw.encode() in held]
    assert found == []
    assert unseen(up) == []
