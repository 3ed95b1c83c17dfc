"""Budgets and limits at a real server: the last cent, streams cut short, a clock set back."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from gw_house import (
    BASE,
    CHAT,
    HELLO,
    MESSAGES,
    READ_NANO,
    WRITE_NANO,
    Gateway,
    events_of,
    eventually,
    provider,
    serving,
)

from splice.core.call import Reason, Record, Status
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Answer

CENT = 10_000_000  # in billionths
SHORT = {"max_tokens": 5}

INTEGRATIONS = '''
import pathlib
import time

import splice

if not hasattr(time, "really"):  # the clock of this process can be set by a file
    time.really = time.time_ns
    shift = pathlib.Path("shift")
    time.time_ns = lambda: time.really() + (int(shift.read_text()) if shift.exists() else 0)


class Talk(splice.Conversation):
    """Talk, as far as the caller's own budget goes."""

    routes = [splice.LLM("a/m", retries=0)]


class Poor(splice.Conversation):
    """Talk for one euro in all."""

    budget = splice.Spend("EUR 1", per="total")
    routes = [splice.LLM("a/m", retries=0)]


class Poorer(Poor):
    """Talk for half a euro in all."""

    budget = splice.Spend("EUR 0.50", per="total")


class Hourly(splice.Conversation):
    """Talk for one euro an hour."""

    budget = splice.Spend("EUR 1", per="hour")
    routes = [splice.LLM("a/m", retries=0)]


class Wordy(splice.Conversation):
    """Talk at length, where the caller does not say how long."""

    routes = [splice.LLM("a/m", params={"max_tokens": 100_000}, retries=0)]


class Hedged(splice.Conversation):
    """Talk by two tries at once."""

    deadline = "10 s"
    routes = [splice.LLM("a/m", retries=0, hedge="20 ms")]


class Unpriced(splice.Conversation):
    """Talk with a model whose price nobody knows."""

    budget = splice.Spend("EUR 1", per="total")
    routes = [splice.LLM("a/unheard-of", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def plain(upstream: OpenAIServer) -> Iterator[None]:
    yield
    upstream.always = Scripted()


@pytest.fixture(scope="module")
def gateway(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    toml = BASE + provider("a", upstream.base_url)
    with serving(tmp_path_factory.mktemp("spend"), toml, INTEGRATIONS) as running:
        running.known_key("first")  # from here on the door asks for one
        yield running


def rush(
    gateways: Sequence[Gateway], callers: int, key: str, model: str, calls: int = 1
) -> list[Answer]:
    """Answers to so many callers at once, of both vendors' clients, whole and streamed."""

    def ask(number: int) -> list[Answer]:
        gateway = gateways[number % len(gateways)]
        path = MESSAGES if number % 3 == 0 else CHAT
        body = {"model": model, "messages": HELLO, **SHORT, "stream": number % 2 == 0}
        one = gateway.server.connection(60.0)
        try:
            headers = {"authorization": f"Bearer {key}"}
            return [one.ask("POST", path, body, headers) for _ in range(calls)]
        finally:
            one.close()

    with ThreadPoolExecutor(callers) as pool:
        return [one for answers in pool.map(ask, range(callers)) for one in answers]


def spent(records: Sequence[Record]) -> int:
    return sum(one.cost_nano or 0 for one in records)


def test_two_hundred_callers_spend_the_last_cents_and_not_one_more(gateway: Gateway) -> None:
    _, key = gateway.known_key("rush", ["EUR 0.50/total"])

    answers = rush([gateway], 200, key, "talk")

    gateway.rest()
    kinds = Counter(answer.status for answer in answers)
    assert set(kinds) == {200, 402, 429}
    mine = gateway.records(200, key=key)
    assert Counter(one.status for one in mine) == {
        Status.ANSWERED: kinds[200],
        Status.REFUSED: kinds[402] + kinds[429],
    }
    assert {one.reason for one in mine} == {Reason.FIRST, Reason.OVER_BUDGET}
    assert 0 < spent(mine) <= 50 * CENT

    while gateway.ask(SHORT, key=key).status == 200:  # one by one the rest is spent
        pass
    gateway.rest()
    mine = gateway.records(201, key=key)
    assert 50 * CENT - 49 * READ_NANO < spent(mine) <= 50 * CENT


def test_a_budget_that_is_spent_is_told_in_each_vendors_way(gateway: Gateway) -> None:
    _, key = gateway.known_key("spent", ["EUR 0.01/month"])

    with pytest.raises(openai.RateLimitError) as ours:
        gateway.openai(key).chat.completions.create(model="talk", messages=HELLO)
    with pytest.raises(anthropic.APIStatusError) as theirs:
        gateway.anthropic(key).messages.create(model="talk", messages=HELLO, max_tokens=5)

    assert ours.value.code == "insufficient_quota"
    assert ours.value.response.headers["x-should-retry"] == "false"
    assert "EUR 0.01" in ours.value.message
    body: Any = theirs.value.body
    assert (theirs.value.status_code, body["error"]["type"]) == (402, "billing_error")


def test_the_native_door_has_the_same_budget(gateway: Gateway) -> None:
    _, key = gateway.known_key("native", ["EUR 0.01/month"])

    answer = gateway.ask({"messages": HELLO}, "/v1/integrations/talk/calls", key=key)

    assert (answer.status, answer.json["code"]) == (402, "over_budget")


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
def test_a_budget_that_ends_in_mid_stream_ends_the_stream_and_bills_what_came(
    gateway: Gateway, upstream: OpenAIServer, surface: str
) -> None:
    words = " ".join(f"w{number}" for number in range(2000))
    upstream.always = Scripted(text=words, pause_s=0.002, usage=None)
    upstream.disconnects = 0
    _, key = gateway.known_key(f"stream-{surface}", ["EUR 0.60/total"])
    path, more = {
        "chat": (CHAT, SHORT),
        "messages": (MESSAGES, SHORT),
        "responses": ("/v1/responses", {"input": "hello there", "max_output_tokens": 5}),
    }[surface]

    answer = gateway.ask({"stream": True, **more}, path, key)

    *_, last = events_of(answer.body)
    came = len(set(re.findall(rb"\bw\d+\b", answer.body)))  # and not a piece of the key's id
    code = {
        "chat": lambda: last["error"]["code"],
        "messages": lambda: last["error"]["type"],
        "responses": lambda: last["code"],
    }[surface]()
    assert code == ("billing_error" if surface == "messages" else "insufficient_quota")
    assert 5 <= came < 10  # as far as was reserved, and a word or two
    (record,) = gateway.records(1, key=key)
    assert (record.status, record.reason) == (Status.FAILED, Reason.OVER_BUDGET)
    (attempt,) = record.attempts
    assert attempt.usage is not None
    read, written = attempt.usage.input_tokens or 0, attempt.usage.output_tokens or 0
    assert came <= written <= came + 5
    assert record.cost_nano == read * READ_NANO + written * WRITE_NANO <= 60 * CENT
    eventually(lambda: upstream.disconnects >= 1)
    gateway.rest()


def test_a_stream_of_few_large_events_is_measured_by_what_is_in_them(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    paragraph = "x" * 4000  # a thousand tokens, in one event
    upstream.always = Scripted(text=" ".join([paragraph] * 60), pause_s=0.002, usage=None)
    _, key = gateway.known_key("paragraphs", ["EUR 9/total"])

    answer = gateway.ask({"stream": True}, key=key)  # of unsaid length: 4096 tokens are reserved

    assert b"insufficient_quota" in answer.body
    (record,) = gateway.records(1, key=key)
    assert record.reason is Reason.OVER_BUDGET
    # It is looked at every 16 KB: that much more than was reserved may have come.
    assert (record.cost_nano or 0) < 9 * 100 * CENT + 2 * 4096 * WRITE_NANO


@pytest.mark.parametrize(
    "content",
    [
        "a" * 300_000 + " base64",
        [{"type": "text", "text": "data:image/png;base64," + "a" * 300_000}],
        [{"type": "image", "text": "data:image/png;base64," + "a" * 300_000}],
        [{"type": "document", "source": {"type": "text", "data": "a" * 300_000}, "x": "base64"}],
    ],
    ids=["word", "data URL", "odd image", "text document"],
)
def test_a_long_text_is_not_counted_as_a_picture_because_it_looks_like_one(
    gateway: Gateway, content: Any
) -> None:
    key = gateway.shared_key("pictures", ["EUR 20/total"])
    body = {"messages": [{"role": "user", "content": content}], **SHORT}

    answer = gateway.ask(body, key=key)

    assert answer.status == 429  # it may cost a hundred
    assert answer.json["error"]["code"] == "insufficient_quota"


def test_a_picture_counts_as_one_whatever_its_size(gateway: Gateway) -> None:
    key = gateway.shared_key("pictures", ["EUR 20/total"])
    url = "data:image/png;base64," + "a" * 3_000_000
    picture = [{"type": "image_url", "image_url": {"url": url}}]
    source = {"type": "base64", "media_type": "image/png", "data": "a" * 3_000_000}

    ours = gateway.ask({"messages": [{"role": "user", "content": picture}], **SHORT}, key=key)
    theirs = gateway.ask(
        {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}], **SHORT},
        MESSAGES,
        key,
    )

    assert (ours.status, theirs.status) == (200, 200)


def test_what_the_declaration_lets_a_model_write_is_reserved(gateway: Gateway) -> None:
    key = gateway.shared_key("pictures", ["EUR 20/total"])

    wordy = gateway.ask({"model": "wordy"}, key=key)
    natively = gateway.ask(
        {"messages": HELLO, "max_tokens": 100_000}, "/v1/integrations/talk/calls", key
    )

    assert (wordy.status, natively.status) == (429, 402)
    assert gateway.ask({"model": "wordy", **SHORT}, key=key).status == 200


def test_two_tries_at_once_have_room_for_both(gateway: Gateway, upstream: OpenAIServer) -> None:
    _, key = gateway.known_key("hedged", ["EUR 0.11/total"])
    upstream.always = Scripted(delay_s=0.1)

    while gateway.ask({"model": "hedged", **SHORT}, key=key).status == 200:
        pass

    gateway.rest()
    mine = gateway.records(2, key=key)
    assert any(one.ended == "outrun" for record in mine for one in record.attempts)
    assert 0 < spent(mine) <= 11 * CENT


def test_limits_of_a_minute_answer_429_with_the_time_to_wait(gateway: Gateway) -> None:
    _, requests = gateway.known_key("requests", requests_per_minute=3)
    _, tokens = gateway.known_key("tokens", tokens_per_minute=100)

    # So many that a minute which begins between two of them changes nothing.
    of_requests = [gateway.ask(SHORT, key=requests) for _ in range(7)]
    of_tokens = [gateway.ask(SHORT, key=tokens) for _ in range(20)]
    over_anthropic = [gateway.ask({"max_tokens": 5}, MESSAGES, key=requests) for _ in range(4)][-1]

    for answers in (of_requests, of_tokens):
        refused = [answer for answer in answers if answer.status != 200]
        assert answers[0].status == 200
        assert refused
        for answer in refused:
            assert answer.status == 429
            assert answer.json["error"]["code"] == "rate_limit_exceeded"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert over_anthropic.status == 429
    assert over_anthropic.json["error"]["type"] == "rate_limit_error"
    assert 1 <= int(over_anthropic.headers["retry-after"]) <= 60


def test_what_is_too_large_for_any_counter_is_refused_and_no_fault(gateway: Gateway) -> None:
    _, key = gateway.known_key("huge", ["EUR 5/month"], tokens_per_minute=10_000)

    for most in (10**9, 2**31, 2**53, 2**63 - 1):
        answer = gateway.ask({"max_tokens": most}, key=key)
        assert answer.status == 429, (most, answer.body)
    assert gateway.ask(SHORT, key=key).status == 200


def test_a_refused_call_gives_its_idempotency_key_back(gateway: Gateway) -> None:
    _, key = gateway.known_key("keyed", ["EUR 0.01/total"])
    headers = {"idempotency_key": "again"}

    first = gateway.ask(key=key, **headers)
    began = time.monotonic()
    second = gateway.ask(key=key, **headers)

    assert (first.status, second.status) == (429, 429)
    assert second.json["error"]["code"] == "insufficient_quota"
    assert time.monotonic() - began < 10.0  # it did not wait for a first call that never ran


def test_a_call_of_unknown_price_is_answered_noted_and_never_free_of_charge(
    gateway: Gateway,
) -> None:
    answer = gateway.ask({"model": "unpriced"}, key=gateway.known_key("unpriced")[1])

    record = gateway.record(answer.headers["splice-call-id"])
    assert answer.status == 200
    assert "splice-cost" not in answer.headers
    assert record.cost_nano is None
    assert any("cost unknown" in note for note in record.notes)


def test_a_clock_that_is_set_back_renews_nothing(
    gateway: Gateway,
) -> None:
    hour = 3_600_000_000_000
    shift = gateway.project.folder / "shift"
    _, limited = gateway.known_key("limited", requests_per_minute=2)
    _, ending = gateway.known_key("ending", expires="1 s")
    plain_key = gateway.known_key("clock")[1]
    while gateway.ask(SHORT, key=limited).status == 200:
        pass
    while gateway.ask({"model": "hourly", **SHORT}, key=plain_key).status == 200:
        pass
    eventually(lambda: gateway.ask(SHORT, key=ending).status == 401)

    try:
        shift.write_text(str(-2 * hour))
        back = [
            gateway.ask(SHORT, key=limited),
            gateway.ask({"model": "hourly", **SHORT}, key=plain_key),
            gateway.ask(SHORT, key=ending),
        ]
        shift.write_text(str(hour))
        ahead = gateway.ask({"model": "hourly", **SHORT}, key=plain_key)
        shift.write_text("0")
        back.append(gateway.ask(SHORT, key=ending))
    finally:
        shift.unlink()

    assert [answer.status for answer in back] == [429, 429, 401, 401]
    assert ahead.status == 200  # another hour has begun
