"""Conversations: fallback, retries, breakers, hedging, streams that break, clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chat_house import ChatHouse, Chatting, Says, ScriptedProvider, balanced, chat_line, heard

import splice
from splice.core.access import Key, Principal
from splice.core.call import Reason, Status
from splice.core.errors import (
    ExhaustedError,
    InputMismatch,
    NotAllowed,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    UnknownModel,
)
from splice.core.prices import Price
from splice.engine.routing.balanced import Breaking

MakeHouse = Callable[..., ChatHouse]


@pytest.fixture
def make_house(tmp_path: Path) -> Iterator[MakeHouse]:
    houses: list[ChatHouse] = []

    def make(cls: type[splice.Conversation] = Chatting, *to: Any, **engine: Any) -> ChatHouse:
        houses.append(ChatHouse(tmp_path / str(len(houses)), chat_line(cls, *to), **engine))
        return houses[-1]

    yield make
    for house in houses:
        house.close()


def down(after: int = -1) -> Says:
    return Says(error=ProviderFailed("a/m", got="status 500"), after=after)


async def test_an_answer_is_recorded_with_its_route_its_usage_and_its_cost(
    make_house: MakeHouse,
) -> None:
    house = make_house(Chatting, balanced(ScriptedProvider()), balanced(ScriptedProvider()))

    spoken = await house.say()

    (record,) = await house.records()
    assert spoken.reply is not None
    assert (record.status, record.reason, record.route) == (
        Status.ANSWERED,
        Reason.FIRST,
        "llm:a/m",
    )
    assert record.cost_nano == 10 * 1000 + 5 * 2000
    assert record.reply == spoken.reply.body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_is_down_hands_the_call_to_the_next(
    make_house: MakeHouse, stream: bool
) -> None:
    house = make_house(Chatting, balanced(ScriptedProvider(down())), balanced(ScriptedProvider()))

    spoken = await house.say(stream=stream)
    if stream:
        said, error = await heard(spoken)
        assert (error, said.count(b"data:")) == (None, 3)

    (record,) = await house.records()
    assert [one.ended for one in record.attempts] == ["provider_failed", "answered"]
    assert (record.reason, record.route) == (Reason.FALLBACK, "llm:b/m")


async def test_a_stream_that_breaks_before_its_first_token_falls_back(
    make_house: MakeHouse,
) -> None:
    first = ScriptedProvider(down(after=0))
    house = make_house(Chatting, balanced(first), balanced(ScriptedProvider()))

    said, error = await heard(await house.say(stream=True))

    (record,) = await house.records()
    assert error is None
    assert b"hello" in said
    assert record.route == "llm:b/m"
    assert first.hung_up == 1


async def test_a_stream_that_breaks_later_ends_with_its_error_and_an_honest_bill(
    make_house: MakeHouse,
) -> None:
    house = make_house(
        Chatting, balanced(ScriptedProvider(down(after=2))), balanced(ScriptedProvider())
    )

    said, error = await heard(await house.say(stream=True))

    (record,) = await house.records()
    assert isinstance(error, ProviderFailed)
    assert said.count(b"data:") == 2
    assert (record.status, record.reason) == (Status.FAILED, Reason.BROKEN)
    assert record.cost_nano == 10 * 1000 + 2 * 2000
    usage = record.attempts[-1].usage
    assert usage is not None
    assert usage.estimated
    assert b"hello " in (record.reply or b"")


async def test_a_client_that_goes_away_stops_the_provider_and_is_billed_for_what_came(
    make_house: MakeHouse,
) -> None:
    gate = asyncio.Event()
    provider = ScriptedProvider(Says(after=1, gate=gate))
    house = make_house(Chatting, balanced(provider), balanced(ScriptedProvider()))
    spoken = await house.say(stream=True)
    assert spoken.stream is not None
    await spoken.stream.next()

    await spoken.stream.close()

    (record,) = await house.records()
    assert provider.hung_up == 1
    assert (record.status, record.reason) == (Status.FAILED, Reason.DISCONNECTED)
    assert record.cost_nano == 10 * 1000 + 1 * 2000
    assert house.engine.in_flight == 0


async def test_a_reader_that_is_cancelled_while_it_waits_loses_no_record(
    make_house: MakeHouse,
) -> None:
    gate = asyncio.Event()
    house = make_house(
        Chatting,
        balanced(ScriptedProvider(Says(after=1, gate=gate))),
        balanced(ScriptedProvider()),
    )
    reading = asyncio.ensure_future(heard(await house.say(stream=True)))
    await asyncio.sleep(0.01)

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    (record,) = await house.records()
    assert record.reason is Reason.DISCONNECTED
    assert house.engine.in_flight == 0


async def test_a_caller_that_goes_away_before_the_answer_cancels_the_provider(
    make_house: MakeHouse,
) -> None:
    provider = ScriptedProvider(Says(delay_s=30))
    house = make_house(Chatting, balanced(provider), balanced(ScriptedProvider()))
    asking = asyncio.ensure_future(house.say())
    await asyncio.sleep(0.01)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    (record,) = await house.records()
    assert provider.cancelled == 1
    assert record.reason is Reason.CANCELLED
    assert house.engine.in_flight == 0


async def test_a_disconnect_never_opens_the_breaker(make_house: MakeHouse) -> None:
    provider = ScriptedProvider(*(Says(delay_s=30) for _ in range(5)))
    to = balanced(provider, breaking=Breaking(failures=2, seconds=60))
    house = make_house(Chatting, to, balanced(ScriptedProvider()))
    for _ in range(5):
        asking = asyncio.ensure_future(house.say())
        await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    spoken = await house.say()

    assert spoken.route == "llm:a/m"


async def test_an_open_breaker_spares_the_provider_and_closes_when_it_is_back(
    make_house: MakeHouse,
) -> None:
    first = ScriptedProvider(down(), down())
    to = balanced(first, breaking=Breaking(failures=2, seconds=0.05))
    house = make_house(Chatting, to, balanced(ScriptedProvider()))
    for _ in range(4):
        await house.say()
    asked_while_open = len(first.asked)

    await asyncio.sleep(0.06)
    spoken = await house.say()

    assert asked_while_open == 2
    assert spoken.route == "llm:a/m"


class Patient(Chatting):
    """Tries again."""

    routes = (splice.LLM("a/m", retries=2), splice.LLM("b/m", retries=0))


async def test_retries_honour_what_the_provider_says(make_house: MakeHouse) -> None:
    limited = ProviderLimited("a/m", retry_after=0.05, got="status 429")
    first = ScriptedProvider(Says(error=limited, after=-1))
    house = make_house(Patient, balanced(first), balanced(ScriptedProvider()))

    spoken = await house.say()

    (record,) = await house.records()
    assert spoken.route == "llm:a/m"
    assert [one.ended for one in record.attempts] == ["provider_limited", "answered"]
    assert record.attempts[1].started_us - record.attempts[0].started_us >= 50_000


async def test_a_limit_that_outlasts_the_deadline_is_not_waited_for(
    make_house: MakeHouse,
) -> None:
    limited = ProviderLimited("a/m", retry_after=60, got="status 429")
    house = make_house(
        Patient, balanced(ScriptedProvider(Says(error=limited))), balanced(ScriptedProvider())
    )

    spoken = await house.say()

    assert spoken.route == "llm:b/m"


async def test_another_deployment_is_asked_at_once(make_house: MakeHouse) -> None:
    sick, well = ScriptedProvider(*(down() for _ in range(9))), ScriptedProvider()
    house = make_house(Patient, balanced(sick, well), balanced(ScriptedProvider()))

    routes = [(await house.say()).route for _ in range(10)]

    assert routes == ["llm:a/m"] * 10
    assert len(well.asked) == 10


async def test_deployments_share_the_calls_by_their_weight(make_house: MakeHouse) -> None:
    one, two = ScriptedProvider(), ScriptedProvider()
    to = balanced(one, two)
    to.deployments[0].weight = 3.0
    for provider in (one, two):
        provider.script.extend(Says(delay_s=0.02) for _ in range(40))
    house = make_house(Chatting, to, balanced(ScriptedProvider()))

    await asyncio.gather(*(house.say() for _ in range(40)))

    assert 25 <= len(one.asked) <= 35


class Hedged(Chatting):
    """Starts a second try beside a slow first."""

    routes = (splice.LLM("a/m", retries=0, hedge="10 ms"), splice.LLM("b/m", retries=0))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hedged_try_overtakes_a_slow_one_and_the_slow_one_is_stopped(
    make_house: MakeHouse, stream: bool
) -> None:
    slow, fast = ScriptedProvider(Says(delay_s=30)), ScriptedProvider()
    to = balanced(slow, fast)
    to.deployments[0].weight = 2.0  # so that it is asked first
    house = make_house(Hedged, to, balanced(ScriptedProvider()))

    spoken = await house.say(stream=stream)
    if stream:
        await heard(spoken)

    (record,) = await house.records()
    await asyncio.sleep(0)
    assert slow.cancelled == 1
    assert [one.ended for one in record.attempts] == ["outrun", "answered"]
    assert record.cost_nano is not None
    assert record.cost_nano > 10 * 1000 + 5 * 2000  # the overtaken one is on the bill too


async def test_a_request_that_the_provider_calls_wrong_is_tried_nowhere_else(
    make_house: MakeHouse,
) -> None:
    second = ScriptedProvider()
    wrong = ProviderRejected("messages", got="an empty list")
    house = make_house(Chatting, balanced(ScriptedProvider(Says(error=wrong))), balanced(second))

    spoken = await house.say()

    (record,) = await house.records()
    assert spoken.error is wrong
    assert second.asked == []
    assert record.reason is Reason.REJECTED


async def test_what_cannot_be_said_to_one_provider_is_said_to_the_next(
    make_house: MakeHouse,
) -> None:
    untold = InputMismatch("n", got="3, which the other API has not")
    house = make_house(
        Chatting, balanced(ScriptedProvider(Says(error=untold))), balanced(ScriptedProvider())
    )

    spoken = await house.say()

    assert spoken.error is None
    assert spoken.route == "llm:b/m"


async def test_when_every_route_fails_the_error_names_each(make_house: MakeHouse) -> None:
    house = make_house(
        Chatting, balanced(ScriptedProvider(down())), balanced(ScriptedProvider(down()))
    )

    spoken = await house.say(stream=True)

    (record,) = await house.records()
    assert isinstance(spoken.error, ExhaustedError)
    assert "llm:a/m provider_failed; llm:b/m provider_failed" in str(spoken.error)
    assert record.reason is Reason.EXHAUSTED


class Careful(Chatting):
    """High risk: nothing is said before it is recorded."""

    risk = splice.Risk.HIGH


async def test_a_high_risk_stream_is_held_until_it_is_recorded(make_house: MakeHouse) -> None:
    house = make_house(Careful, balanced(ScriptedProvider()), balanced(ScriptedProvider()))
    house.store.failing = True

    refused = await house.say(stream=True)
    house.store.failing = False
    await asyncio.sleep(1.1)  # the recorder leaves a failed store alone for a second
    answered = await house.say(stream=True)

    assert refused.stream is None
    assert refused.error is not None
    assert refused.error.code == "not_recorded"
    assert answered.stream is None
    assert answered.reply is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_one_idempotency_key_is_one_answer(make_house: MakeHouse, stream: bool) -> None:
    provider = ScriptedProvider()
    house = make_house(Chatting, balanced(provider), balanced(ScriptedProvider()))
    first = await house.say(stream=stream, key="k1")
    if stream:
        await heard(first)

    again = await house.say(stream=stream, key="k1")

    assert again.reason is Reason.REPEATED
    assert again.reply is not None
    assert b"hello world" in again.reply.body
    assert len(provider.asked) == 1


async def test_a_name_means_an_integration_an_alias_or_a_model_that_is_allowed(
    make_house: MakeHouse,
) -> None:
    provider = ScriptedProvider()
    house = make_house(Chatting, balanced(provider), balanced(ScriptedProvider()))

    by_alias = await house.say(model="fast")
    direct = await house.say(model="a/other")
    chosen = await house.say(model="chatting/a/third")

    assert by_alias.route == "llm:a/m"
    assert (direct.integration, direct.route) == ("chatting", "llm:a/other")
    assert chosen.route == "llm:a/third"
    with pytest.raises(UnknownModel):
        await house.say(model="b/other")
    with pytest.raises(UnknownModel):
        await house.say(model="nothing")


async def test_a_key_reaches_only_what_it_names(make_house: MakeHouse) -> None:
    house = make_house(Chatting, balanced(ScriptedProvider()), balanced(ScriptedProvider()))
    key = Key("k", "k", "", integrations=("chatting",), models=("a/cheap-*",))
    stranger = msgspec.structs.replace(key, integrations=("other",))

    allowed = await house.say(model="a/cheap-1", principal=Principal("key:k", key=key))

    assert allowed.route == "llm:a/cheap-1"
    with pytest.raises(NotAllowed):
        await house.say(model="a/dear", principal=Principal("key:k", key=key))
    with pytest.raises(UnknownModel):  # it does not even learn that there is one
        await house.say(principal=Principal("key:k", key=stranger))


class Thrifty(Chatting):
    """The cheapest first."""

    choose = splice.Cheapest(within="1 s", quality=0.5)
    routes = (
        splice.LLM("a/m", retries=0, quality=0.9),
        splice.LLM("b/m", retries=0, quality=0.8),
        splice.LLM("c/m", retries=0, quality=0.1),
    )


async def test_the_cheapest_route_above_the_floor_is_tried_first(make_house: MakeHouse) -> None:
    def priced(factor: int) -> ScriptedProvider:
        return ScriptedProvider(cost=Price(input_nano=factor, output_nano=factor))

    house = make_house(Thrifty, balanced(priced(9)), balanced(priced(5)), balanced(priced(1)))

    spoken = await house.say()

    assert spoken.route == "llm:b/m"
