"""Answers given again through a real server: replayed, free, of one tenant; asked once for many."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gw_house import (
    BASE,
    CHAT,
    HELLO,
    MESSAGES,
    Gateway,
    events_of,
    eventually,
    provider,
    raw_request,
    serving,
)

from splice.core.call import Reason, Status
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Answer

INTEGRATIONS = '''
import splice


class Kept(splice.Conversation):
    """Answer, and keep the answers."""

    cache = splice.Cache(exact="1 h")
    models = ["a/*"]
    routes = [splice.LLM("a/m", retries=0)]


class Shared(splice.Conversation):
    """Answer, and keep the answers for everybody."""

    cache = splice.Cache(exact="1 h", across_tenants=True)
    routes = [splice.LLM("a/m", retries=0)]


class Short(splice.Conversation):
    """Answer, and keep the answers for a moment."""

    cache = splice.Cache(exact="300 ms")
    routes = [splice.LLM("a/m", retries=0)]


class Alike(splice.Conversation):
    """Answer the same questions once."""

    coalesce = True
    routes = [splice.LLM("a/m", retries=0)]


class Poor(splice.Conversation):
    """Answer for little money, and keep the answers."""

    cache = splice.Cache(exact="1 h")
    budget = splice.Spend("EUR 0.15", per="total")
    routes = [splice.LLM("a/m", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def plain(upstream: OpenAIServer) -> Iterator[None]:
    upstream.asked.clear()
    yield
    upstream.always = Scripted()


@pytest.fixture(scope="module")
def gateway(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    toml = BASE + provider("a", upstream.base_url)
    with serving(tmp_path_factory.mktemp("cache"), toml, INTEGRATIONS) as running:
        teams = {"ann": "red", "bob": "red", "eve": "blue"}
        keys = {name: {"team": team} for name, team in teams.items()}
        running.share_keys(**keys, own={"tenant": "own"})
        yield running


def text_of(answer: Answer) -> str:
    """What was said, in whatever shape."""
    if "event-stream" not in answer.headers["content-type"]:
        body = answer.json
        return (
            body["choices"][0]["message"]["content"]
            if "choices" in body
            else body["content"][0]["text"]
        )
    said = ""
    for event in events_of(answer.body):
        if event.get("choices"):
            said += event["choices"][0]["delta"].get("content") or ""
        elif event.get("type") == "content_block_delta":
            said += event["delta"].get("text", "")
    return said


@pytest.mark.parametrize("first_streams", [False, True], ids=["whole first", "stream first"])
def test_a_kept_answer_is_given_again_whole_and_as_a_stream_for_nothing(
    gateway: Gateway, upstream: OpenAIServer, first_streams: bool
) -> None:
    ann = gateway.shared_key("ann")
    upstream.always = Scripted(text="one two three")
    asked = {"model": "kept", "seed": int(first_streams)}

    first = gateway.ask({**asked, "stream": first_streams}, key=ann)
    again = [
        gateway.ask({**asked, "stream": stream}, key=ann) for stream in (False, True, True, False)
    ]
    with_usage = gateway.ask(
        {**asked, "stream": True, "stream_options": {"include_usage": True}}, key=ann
    )

    assert len(upstream.asked) == 1
    assert [text_of(one) for one in (first, *again, with_usage)] == ["one two three"] * 6
    for one in again:
        assert one.headers["splice-reason"] == "cached"
        assert one.headers["splice-cost"] == "0.000000000"
        record = gateway.record(one.headers["splice-call-id"])
        assert (record.status, record.reason) == (Status.ANSWERED, Reason.CACHED)
        assert (record.cost_nano, record.attempts) == (0, ())
    assert again[1].body.endswith(b"data: [DONE]\n\n")
    assert events_of(again[1].body)[0]["object"] == "chat.completion.chunk"
    assert '"prompt_tokens"' not in again[1].body.decode()
    assert events_of(with_usage.body)[-1]["usage"]["prompt_tokens"] == 12
    ids = {one.headers["splice-call-id"] for one in (first, *again)}
    assert len(ids) == 5


def test_the_official_clients_read_a_replayed_stream(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    ann = gateway.shared_key("ann")
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
        for n in range(2)
    ]
    upstream.always = Scripted(
        message={"role": "assistant", "content": None, "tool_calls": calls},
        finish_reason="tool_calls",
    )
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    ours: Any = {"model": "kept", "messages": HELLO, "tools": tools}
    theirs: Any = {
        "model": "kept", "messages": HELLO, "max_tokens": 9,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    }  # fmt: skip
    openai, anthropic = gateway.openai(ann), gateway.anthropic(ann)

    openai.chat.completions.create(**ours)
    anthropic.messages.create(**theirs)
    with openai.chat.completions.stream(**ours) as stream:
        message = stream.get_final_completion().choices[0].message
    with anthropic.messages.stream(**theirs) as other:
        whole = other.get_final_message()

    assert len(upstream.asked) == 2
    assert [one.id for one in message.tool_calls or ()] == ["call_0", "call_1"]
    assert [one.type for one in whole.content] == ["tool_use", "tool_use"]


def test_answers_are_never_given_across_tenants_unless_the_declaration_says_so(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    def ask(name: str, model: str) -> Answer:
        return gateway.ask({"model": model, "seed": 77}, key=gateway.shared_key(name))

    said = {
        model: [ask(name, model).headers["splice-reason"] for name in ("ann", "bob", "eve", "own")]
        for model in ("kept", "shared")
    }

    assert said == {
        "kept": ["first", "cached", "first", "first"],  # Ann and Bob are of one team
        "shared": ["first", "cached", "cached", "cached"],
    }


OTHERS: list[dict[str, Any]] = [
        {"seed": 2}, {"temperature": 0.3}, {"messages": [{"role": "user", "content": "hello"}]},
        {"model": "a/m"}, {"model": "a/m2"}, {"max_tokens": 3}, {"n": 2}, {"user": "someone"},
        {"tools": []}, {"response_format": {"type": "json_object"}},
    ]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_question_gets_an_answer_of_its_own(
    gateway: Gateway, upstream: OpenAIServer, other: dict[str, Any]
) -> None:
    key = gateway.shared_key("namer", models=("a/*",), tenant="namer")
    base = {"model": "kept", "seed": 100 + OTHERS.index(other)}
    gateway.ask(base, key=key)

    answer = gateway.ask({**base, **other}, key=key)

    if other == {"user": "someone"}:  # who asks is no part of the question, or it is: either way
        assert answer.headers["splice-reason"] in ("first", "cached")
    else:
        assert answer.headers["splice-reason"] == "first"


def test_what_failed_or_broke_is_not_kept(gateway: Gateway, upstream: OpenAIServer) -> None:
    ann = gateway.shared_key("ann")
    asked = {"model": "kept", "seed": 5}
    upstream.script(
        Scripted(status=500),
        Scripted(text="one two three four", events=3, breaks=True),
        Scripted(text="cut", finish_reason="content_filter"),
    )

    failed = gateway.ask(asked, key=ann)
    broken = gateway.ask({**asked, "stream": True}, key=ann)
    filtered = gateway.ask(asked, key=ann)
    upstream.always = Scripted(text="at last")
    answered, kept = gateway.ask(asked, key=ann), gateway.ask(asked, key=ann)

    assert failed.status == 503
    assert b"broke off" in broken.body
    assert filtered.status == 200
    assert text_of(answered) == text_of(kept) == "at last"
    assert kept.headers["splice-reason"] == "cached"


def test_an_answer_is_forgotten_when_its_time_has_passed(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    ann = gateway.shared_key("ann")
    reasons = [gateway.ask({"model": "short"}, key=ann).headers["splice-reason"] for _ in range(2)]

    eventually(lambda: gateway.ask({"model": "short"}, key=ann).headers["splice-reason"] == "first")
    assert reasons[0] == "first"


def test_kept_answers_spend_no_budget(gateway: Gateway, upstream: OpenAIServer) -> None:
    ann = gateway.shared_key("ann")
    asked = {"model": "poor", "max_tokens": 5}

    statuses = [gateway.ask(asked, key=ann).status for _ in range(30)]

    gateway.rest()
    assert statuses == [200] * 30
    assert len(upstream.asked) == 1
    assert sum(one.cost_nano or 0 for one in gateway.records(30, "poor")) == 22_000_000


@pytest.mark.parametrize(("stream", "seed"), [("whole", 1), ("streams", 2), ("both", 3)])
def test_fifty_who_ask_the_same_at_once_cost_one_call(
    gateway: Gateway, upstream: OpenAIServer, stream: str, seed: int
) -> None:
    ann = gateway.shared_key("ann")
    all_have_asked = threading.Event()
    upstream.always = Scripted(text="one two three", after=all_have_asked)

    def ask(number: int) -> Answer:
        streams = stream == "streams" or (stream == "both" and number % 2 == 0)
        return gateway.ask({"model": "alike", "stream": streams, "seed": seed}, key=ann)

    with ThreadPoolExecutor(50) as pool:
        asking = [pool.submit(ask, number) for number in range(50)]
        try:
            eventually(lambda: gateway.in_flight() == 50)
        finally:
            all_have_asked.set()
    answers = [one.result() for one in asking]

    gateway.rest()
    assert len(upstream.asked) == 1
    assert {text_of(one) for one in answers} == {"one two three"}
    ids = {one.headers["splice-call-id"] for one in answers}
    records = [gateway.record(one) for one in ids]
    assert Counter(one.reason for one in records) == {Reason.FIRST: 1, Reason.SHARED: 49}
    assert sum(one.cost_nano or 0 for one in records) == 22_000_000


def test_tenants_who_ask_the_same_at_once_are_asked_for_one_by_one(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(text="one", delay_s=0.3)
    keys = [gateway.shared_key(name) for name in ("ann", "bob", "eve", "own")] * 3

    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda key: gateway.ask({"model": "alike", "seed": 9}, key=key), keys)
        )

    assert {one.status for one in answers} == {200}
    assert len(upstream.asked) == 3


def test_the_ones_who_wait_for_a_stream_that_breaks_get_another_try_or_its_error(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    ann = gateway.shared_key("ann")
    upstream.script(Scripted(text="one two three four", events=3, breaks=True, pause_s=0.1))
    upstream.always = Scripted(text="whole again")
    body = {"model": "alike", "messages": HELLO, "seed": 11, "stream": True}
    with gateway.server.socket(20.0) as first:
        first.sendall(raw_request(body, CHAT, f"authorization: Bearer {ann}"))
        eventually(lambda: len(upstream.asked) == 1)
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: gateway.ask({**body, "stream": False}, key=ann), range(8))
            )

    assert {text_of(one) for one in answers} == {"whole again"}
    assert len(upstream.asked) <= 1 + 2
    gateway.rest()


def test_both_vendors_clients_share_no_answer_of_another_shape(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    ann = gateway.shared_key("ann")
    asked = {"model": "kept", "max_tokens": 31}

    answers = [gateway.ask(asked, path, ann) for path in (CHAT, MESSAGES, CHAT, MESSAGES)]

    assert [json.loads(one.body).get("object", "message") for one in answers] == [
        "chat.completion", "message", "chat.completion", "message",
    ]  # fmt: skip
    assert [one.headers["splice-reason"] for one in answers[2:]] == ["cached", "cached"]


def test_nothing_is_left(gateway: Gateway) -> None:
    gateway.rest()

    assert "Traceback" not in gateway.server.log
