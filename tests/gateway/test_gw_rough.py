"""Providers that misbehave over real sockets: who falls back, who breaks off, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from gw_house import BASE, HELLO, READ_NANO, WRITE_NANO, Gateway, provider, serving

from splice.core.call import Attempt, Reason, Record, Status
from splice.testing.rough_server import RoughServer

DEADLINE_S = 6.0
NEVER_ALONE = ("breaker_failures = 1000",)  # each test asks as if it were the first

# How the first route ends: of a whole answer, and of a stream.
FALLS_BACK = {
    "no head": ("timeout", "timeout"),
    "limited": ("provider_limited", "provider_limited"),
    "overloaded": ("provider_limited", "provider_limited"),
    "failing": ("provider_failed", "provider_failed"),
    "bad key": ("provider_failed", "provider_failed"),
    "elsewhere": ("provider_failed", "provider_failed"),
    "garbage": ("provider_failed", "provider_failed"),
    "no json": ("provider_failed", "provider_failed"),
    "half json": ("provider_failed", ""),
    "half": ("provider_failed", ""),
    "reset": ("provider_failed", ""),
    "endless": ("provider_failed", ""),
    "wrong type": ("provider_failed", "provider_failed"),
    "error inside": ("provider_failed", ""),
    "silent": ("timeout", ""),
}
BREAKS = {
    "half json": "provider_failed",
    "half": "provider_failed",
    "reset": "provider_failed",
    "error inside": "provider_failed",
    "silent": "timeout",
}
ANSWERS = ("well", "slow head", "slow tokens", "bit by bit", "large", "no done", "lingering")


def slug(behaviour: str) -> str:
    return behaviour.replace(" ", "-")


def declared(behaviours: tuple[str, ...]) -> str:
    text = "import splice\n"
    for one in (slug(behaviour) for behaviour in behaviours):
        wait = "250 ms" if one in ("no-head", "silent") else "5 s"
        text += f'''
class C{one.replace("-", "_")}(splice.Conversation):
    """Answer by a provider that behaves badly, or else by one that does not."""

    name = "{one}"
    deadline = "{DEADLINE_S} s"
    routes = [
        splice.LLM("{one}/m", retries=0, timeout="{wait}", first_token="{wait}",
                   between_tokens="{wait}"),
        splice.LLM("good/m", retries=0),
    ]


class Only{one.replace("-", "_")}(splice.Conversation):
    """Answer by a provider that behaves badly, and no other."""

    name = "only-{one}"
    deadline = "300 ms"
    routes = [splice.LLM("{one}/m", first_token="250 ms")]
'''
    return text


@pytest.fixture(scope="module")
def rough() -> Iterator[RoughServer]:
    with RoughServer(slow_s=0.02) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(rough: RoughServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rough")
    with RoughServer(tls=True, folder=folder) as untrusted:
        toml = BASE + provider("good", rough.base_url("well"))
        for one in rough.BEHAVIOURS:
            toml += provider(slug(one), rough.base_url(one), *NEVER_ALONE, kind="together")
        toml += provider("bad-tls", untrusted.base_url("well"), *NEVER_ALONE)
        toml += provider("nobody", "http://127.0.0.1:9/v1", *NEVER_ALONE)
        with serving(folder, toml, declared((*rough.BEHAVIOURS, "bad tls", "nobody"))) as running:
            yield running


def honest(attempt: Attempt) -> bool:
    """Whether an attempt costs what its tokens cost, at our prices."""
    usage = attempt.usage
    if usage is None:
        return attempt.cost_nano == 0
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return attempt.cost_nano == read * READ_NANO + written * WRITE_NANO


def bill(record: Record) -> int:
    return sum(one.cost_nano or 0 for one in record.attempts)


def ended_by(behaviour: str, stream: bool) -> str:
    """How the attempt ends; empty where it breaks after its first token, for which see below."""
    return FALLS_BACK.get(behaviour, ("provider_failed", "provider_failed"))[stream]


EARLY = [
    pytest.param(one, stream, id=f"{one}-{'stream' if stream else 'whole'}")
    for one in (*FALLS_BACK, "bad tls", "nobody")
    for stream in (False, True)
    if ended_by(one, stream)
]


@pytest.mark.parametrize(("behaviour", "stream"), EARLY)
def test_what_fails_before_the_first_token_falls_back_within_the_deadline(
    gateway: Gateway, behaviour: str, stream: bool
) -> None:
    ended = ended_by(behaviour, stream)
    began = time.monotonic()

    answer = gateway.ask({"model": slug(behaviour), "stream": stream})

    took = time.monotonic() - began
    record = gateway.record(answer.headers["splice-call-id"])
    assert answer.status == 200
    assert answer.headers["splice-route"] == "llm:good/m"
    assert b"three" in answer.body
    assert [one.ended for one in record.attempts] == [ended, "answered"]
    assert (record.status, record.reason) == (Status.ANSWERED, Reason.FALLBACK)
    assert all(honest(one) for one in record.attempts)
    assert record.cost_nano == bill(record)
    assert took < DEADLINE_S


@pytest.mark.parametrize("behaviour", BREAKS)
def test_a_chat_stream_that_breaks_later_ends_with_an_error_that_the_client_raises(
    gateway: Gateway, behaviour: str
) -> None:
    client = gateway.openai()
    stream = client.chat.completions.create(model=slug(behaviour), messages=HELLO, stream=True)
    call_id = stream.response.headers["splice-call-id"]
    said: list[str] = []

    with pytest.raises(openai.APIError) as caught:
        said.extend(one.choices[0].delta.content or "" for one in stream)

    record = gateway.record(call_id)
    assert "".join(said).startswith("one")
    assert caught.value.body["code"] == BREAKS[behaviour]
    assert slug(behaviour) in caught.value.message
    assert (record.status, record.reason) == (Status.FAILED, Reason.BROKEN)
    assert [one.ended for one in record.attempts] == [BREAKS[behaviour]]
    usage = record.attempts[0].usage
    assert usage is not None
    assert usage.estimated
    assert (usage.output_tokens or 0) > 0
    assert honest(record.attempts[0])
    assert "one" in (record.reply or b"").decode()


@pytest.mark.parametrize("behaviour", BREAKS)
def test_a_response_stream_that_breaks_later_ends_as_a_failed_response(
    gateway: Gateway, behaviour: str
) -> None:
    stream = gateway.openai().responses.create(model=slug(behaviour), input="hi", stream=True)

    events: list[Any] = []
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - the stream raises as it is read
        events.extend(stream)
        raise_of(events)

    assert BREAKS[behaviour] in str(caught.value.body or caught.value)
    record = gateway.record(stream.response.headers["splice-call-id"])
    assert (record.surface, record.reason) == ("openai-responses", Reason.BROKEN)


def raise_of(events: list[Any]) -> None:
    """What a failed response says; clients give it as an event, or raise it."""
    last = events[-1]
    if last.type in ("error", "response.failed"):
        body = last.model_dump()
        raise openai.APIError(json.dumps(body), None, body=body)  # type: ignore[arg-type]


@pytest.mark.parametrize("behaviour", BREAKS)
def test_an_anthropic_stream_that_breaks_later_ends_with_an_error_event(
    gateway: Gateway, behaviour: str
) -> None:
    client = gateway.anthropic()
    stream = client.messages.create(
        model=slug(behaviour), max_tokens=20, messages=HELLO, stream=True
    )
    said: list[str] = []

    with pytest.raises(anthropic.APIStatusError) as caught:  # noqa: PT012 - as above
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                said.append(event.delta.text)

    record = gateway.record(stream.response.headers["splice-call-id"])
    body: Any = caught.value.body
    assert "".join(said).startswith("one")
    assert body["type"] == "error"
    assert body["error"]["type"] in ("api_error", "timeout_error")
    assert slug(behaviour) in body["error"]["message"]
    assert (record.surface, record.reason) == ("anthropic", Reason.BROKEN)
    assert honest(record.attempts[0])


ODD = [
    pytest.param(one, stream, id=f"{one}-{'stream' if stream else 'whole'}")
    for one in ANSWERS
    for stream in (False, True)
    if stream or one not in ("no done", "lingering")  # those are ways to stream
]


@pytest.mark.parametrize(("behaviour", "stream"), ODD)
def test_what_is_only_odd_is_answered_by_the_first_route(
    gateway: Gateway, behaviour: str, stream: bool
) -> None:
    answer = gateway.ask({"model": slug(behaviour), "stream": stream})

    record = gateway.record(answer.headers["splice-call-id"])
    assert (record.status, record.reason) == (Status.ANSWERED, Reason.FIRST)
    assert record.cost_nano == 9 * READ_NANO + 3 * WRITE_NANO
    if stream:
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert b'"usage": {' not in answer.body  # nobody asked for it
    if behaviour == "large":
        assert answer.body.count(b"x") > 10_000_000
        assert (record.reply or b"").count(b"x") > 10_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_that_the_provider_calls_wrong_is_wrong_and_no_other_is_asked(
    gateway: Gateway, rough: RoughServer, stream: bool
) -> None:
    before = rough.asked.get("well", 0)

    with pytest.raises(openai.BadRequestError) as caught:
        gateway.openai().chat.completions.create(model="bad-request", messages=HELLO, stream=stream)

    assert "too hot" in caught.value.message
    assert rough.asked.get("well", 0) == before
    record = gateway.record(caught.value.response.headers["splice-call-id"])
    assert (record.status, record.reason) == (Status.FAILED, Reason.REJECTED)
    assert record.cost_nano == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "behaviour", ["no head", "limited", "failing", "garbage", "bad tls", "nobody"]
)
def test_where_no_route_answers_each_client_gets_an_error_of_its_vendor_in_time(
    gateway: Gateway, behaviour: str, stream: bool
) -> None:
    model = f"only-{slug(behaviour)}"
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as ours:
        gateway.openai().chat.completions.create(model=model, messages=HELLO, stream=stream)
    with pytest.raises(anthropic.InternalServerError) as theirs:
        gateway.anthropic().messages.create(
            model=model, max_tokens=9, messages=HELLO, stream=stream
        )
    took = time.monotonic() - began

    assert ours.value.status_code == 503
    assert ours.value.code == "exhausted"
    body: Any = theirs.value.body
    assert body["error"]["type"] == "api_error"
    record = gateway.record(ours.value.response.headers["splice-call-id"])
    assert (record.status, record.reason) == (Status.FAILED, Reason.EXHAUSTED)
    assert all(honest(one) for one in record.attempts)
    assert took < 2 * 0.3 + 3.0  # two deadlines, and a loaded machine


def test_the_story_of_a_broken_stream_can_be_told(gateway: Gateway) -> None:
    answer = gateway.ask({"model": "half", "stream": True})
    call_id = answer.headers["splice-call-id"]
    gateway.record(call_id)

    told = gateway.project.run("calls", "explain", call_id)
    shown = gateway.project.run("calls", "show", call_id)

    assert "broke off" in told.stdout
    assert "(estimated)" in told.stdout
    assert "Not answered" in told.stdout
    call = json.loads(shown.stdout)
    assert (call["status"], call["reason"]) == ("failed", "broken")
    assert call["cost"] == pytest.approx(sum(one["cost"] for one in call["attempts"]))


def test_nothing_is_left_in_flight(gateway: Gateway) -> None:
    gateway.rest()

    assert gateway.server.log.count("Traceback") == 0
