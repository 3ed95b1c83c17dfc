"""Budgets that several servers share in Redis, and what they do while Redis is away."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from gw_house import BASE, CHAT, HELLO, MESSAGES, Gateway, eventually, provider, serving
from redis_server import OwnServer

from splice.core.call import Reason, Status
from splice.testing.openai_server import OpenAIServer
from splice.testing.project import Answer

pytestmark = pytest.mark.redis

EURO = 1_000_000_000
SHORT = {"max_tokens": 5}
LOADED_S = 3.0  # of an answer that takes half a second at most, on a machine that does much else

INTEGRATIONS = '''
import splice


class Shared(splice.Conversation):
    """Talk for half a euro in all, whichever server answers."""

    budget = splice.Spend("EUR 0.50", per="total")
    routes = [splice.LLM("a/m", retries=0)]


class Hung(Shared):
    """The same again, for another test."""


class Streamed(Shared):
    """The same again, for another test."""


class Free(splice.Conversation):
    """Talk without a budget."""

    routes = [splice.LLM("a/m", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


def toml(upstream: OpenAIServer, redis: OwnServer, when_away: str = "closed") -> str:
    meters = f'[meters]\nurl = "{redis.url}"\nwhen_away = "{when_away}"\n'
    return BASE + provider("a", upstream.base_url) + meters


@pytest.fixture(scope="module")
def closed(
    upstream: OpenAIServer, own_redis: OwnServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    own_redis.kill()
    own_redis.start()
    folder = tmp_path_factory.mktemp("closed")
    with serving(folder, toml(upstream, own_redis), INTEGRATIONS) as running:
        yield running


@pytest.fixture(autouse=True)
def anew(own_redis: OwnServer) -> None:
    """Each test finds a Redis that has just started."""
    own_redis.kill()
    own_redis.start()


def spent(gateway: Gateway, integration: str) -> int:
    return sum(one.cost_nano or 0 for one in gateway.all_records(integration))


def ready(gateway: Gateway, model: str) -> None:
    """Return once a call was answered: connections from before are gone."""
    eventually(lambda: gateway.ask({"model": model, **SHORT}).status == 200)


def test_two_servers_and_four_workers_share_the_last_cents(
    tmp_path: Path, upstream: OpenAIServer, own_redis: OwnServer
) -> None:
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(
                serving(tmp_path / name, toml(upstream, own_redis), INTEGRATIONS, workers=2)
            )
            for name in ("one", "two")
        ]

        def ask(number: int) -> Answer:
            path = MESSAGES if number % 3 == 0 else CHAT
            body = {"model": "shared", **SHORT, "stream": number % 2 == 0}
            return gateways[number % 2].ask(body, path)

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(ask, range(200)))
        for gateway in gateways:
            gateway.rest()

        kinds = Counter(answer.status for answer in answers)
        assert set(kinds) == {200, 402, 429}
        both = sum(spent(gateway, "shared") for gateway in gateways)
        assert 0 < both <= EURO // 2

        def all_is_spent() -> bool:
            for gateway in gateways:
                gateway.ask({"model": "shared", **SHORT})
            # What one call may cost had no room. A refusal alone does not show it: another worker
            # may still hold room for a call whose caller has his answer.
            return sum(spent(gateway, "shared") for gateway in gateways) > EURO // 2 - 49_000_000

        eventually(all_is_spent)
        for gateway in gateways:
            gateway.rest()
        assert sum(spent(gateway, "shared") for gateway in gateways) <= EURO // 2


def test_while_redis_is_away_closed_refuses_at_once_and_says_so_in_the_record(
    closed: Gateway, own_redis: OwnServer
) -> None:
    gateway = closed
    ready(gateway, "shared")

    own_redis.kill()
    answers = []
    for path in (CHAT, MESSAGES):
        began = time.monotonic()
        answers.append(gateway.ask({"model": "shared", **SHORT}, path))
        assert time.monotonic() - began < LOADED_S
    unlimited = gateway.ask({"model": "free", **SHORT})
    with ThreadPoolExecutor(32) as pool:  # the many do not wait one behind the other
        began = time.monotonic()
        many = list(pool.map(lambda _: gateway.ask({"model": "shared", **SHORT}), range(64)))
    took = time.monotonic() - began

    assert [answer.status for answer in answers] == [503, 503]
    assert answers[0].json["error"]["code"] == "meter_away"
    assert answers[1].json["error"]["type"] == "api_error"
    assert unlimited.status == 200
    assert {answer.status for answer in many} == {503}
    assert took < 2 * LOADED_S
    refused = [one for one in gateway.records(67, "shared") if one.status is Status.REFUSED]
    assert {one.reason for one in refused} == {Reason.METER_AWAY}
    assert len(refused) == 66

    own_redis.start()
    eventually(lambda: gateway.ask({"model": "shared", **SHORT}).status == 200)
    assert own_redis.url.removeprefix("unix://") not in gateway.server.log


def test_while_redis_hangs_closed_refuses_within_a_second_too(
    closed: Gateway, own_redis: OwnServer
) -> None:
    gateway = closed
    ready(gateway, "hung")
    pid = redis_pid(own_redis)

    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        first = gateway.ask({"model": "hung", **SHORT})
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)

    assert first.status == 503
    assert took < LOADED_S
    eventually(lambda: gateway.ask({"model": "hung", **SHORT}).status == 200)
    # What was asked while it hung was counted there, and given back: nothing is lost for good.
    before = spent(gateway, "hung")
    while gateway.ask({"model": "hung", **SHORT}).status == 200:
        pass
    gateway.rest()
    assert before < spent(gateway, "hung") <= EURO // 2


def test_while_redis_is_away_open_answers_notes_it_and_tells_redis_later(
    tmp_path: Path, upstream: OpenAIServer, own_redis: OwnServer
) -> None:
    with serving(tmp_path, toml(upstream, own_redis, "open"), INTEGRATIONS) as gateway:
        assert gateway.ask({"model": "shared", **SHORT}).status == 200

        own_redis.kill()
        while_away = [
            gateway.ask({"model": "shared", **SHORT, "stream": stream})
            for stream in (False, True, False)
        ]

        assert [answer.status for answer in while_away] == [200] * 3
        for answer in while_away:
            record = gateway.record(answer.headers["splice-call-id"])
            assert any("not checked" in note for note in record.notes)
            assert record.cost_nano
        own_redis.start()  # it comes back empty, and learns from the ledger what was spent
        gateway.takes_hold()
        while gateway.ask({"model": "shared", **SHORT}).status == 200:
            pass
        gateway.rest()
        assert spent(gateway, "shared") <= EURO // 2


def test_a_stream_that_outlives_redis_is_answered_and_settled_when_redis_is_back(
    closed: Gateway, own_redis: OwnServer
) -> None:
    gateway = closed
    own_redis.kill()
    own_redis.start("--appendonly", "yes", "--appendfsync", "always")
    ready(gateway, "streamed")
    stream = gateway.openai().chat.completions.create(
        model="streamed", messages=HELLO, max_tokens=100, stream=True
    )  # it has room for 239 thousandths of a euro
    own_redis.kill()

    said = "".join(one.choices[0].delta.content or "" for one in stream)

    assert said == "HELLO THERE"
    own_redis.start("--appendonly", "yes", "--appendfsync", "always")
    eventually(lambda: gateway.ask({"model": "streamed", **SHORT}).status == 200)

    def all_of_it_is_spent() -> bool:
        gateway.ask({"model": "streamed", **SHORT})
        gateway.rest()
        return spent(gateway, "streamed") > EURO // 2 - 49_000_000

    # All room that the stream did not use is given back, as soon as Redis was told.
    eventually(all_of_it_is_spent)
    assert spent(gateway, "streamed") <= EURO // 2


def redis_pid(redis: OwnServer) -> int:
    """The process behind it (Linux)."""
    folder = re.sub(r"^unix://", "", redis.url)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in entry.read_bytes():
                return int(entry.parent.name)
        except OSError:
            continue
    raise AssertionError("no such server")
