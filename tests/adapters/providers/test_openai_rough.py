"""OpenAIProvider before an upstream that misbehaves over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from splice.adapters.providers.openai import OpenAIProvider, OpenAISettings
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import (
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RouteTimeout,
    SpliceError,
)
from splice.testing.contracts.providers import blocks_of, text_of
from splice.testing.rough_server import RoughServer

KEY = "sk-canary-0f1e2d3c4b"
MB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[RoughServer]:
    with RoughServer(slow_s=0.1) as running:
        yield running


class Asker:
    """Providers at the rough server, closed at the end."""

    def __init__(self, server: RoughServer) -> None:
        self.server = server
        self.made: list[OpenAIProvider] = []

    def at(self, behaviour: str, body_limit: int = 32 * MB) -> OpenAIProvider:
        settings = OpenAISettings(body_limit=body_limit)
        url = self.server.base_url(behaviour)
        self.made.append(OpenAIProvider("rough", url, KEY, settings=settings))
        return self.made[-1]


@pytest.fixture
async def asker(server: RoughServer) -> AsyncIterator[Asker]:
    made = Asker(server)
    yield made
    for provider in made.made:
        await provider.close()


def ask(timeout_s: float = 5.0, between_s: float | None = None) -> WireRequest:
    fields = {"messages": [{"role": "user", "content": "hello"}]}
    return WireRequest(Dialect.CHAT, "m", fields, timeout_s, between_s)


async def whole(provider: OpenAIProvider, request: WireRequest) -> WireReply:
    return await provider.send(request)


async def streamed(provider: OpenAIProvider, request: WireRequest) -> WireReply:
    stream = await provider.open(request)
    await blocks_of(stream)
    return stream.reply()


@pytest.mark.parametrize("way", [whole, streamed])
@pytest.mark.parametrize("behaviour", ["well", "slow head", "slow tokens", "bit by bit", "large"])
async def test_what_is_only_slow_odd_or_large_is_answered(
    asker: Asker, behaviour: str, way: object
) -> None:
    reply = await way(asker.at(behaviour), ask())  # type: ignore[operator]

    assert reply.complete
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (9, 3)
    text = text_of(reply.body)
    assert text == ("x" * 10 * MB if behaviour == "large" else "one two three")


@pytest.mark.parametrize("way", [whole, streamed])
@pytest.mark.parametrize(
    ("behaviour", "kind", "says", "retryable"),
    [
        ("limited", ProviderLimited, "status 429: too many requests", True),
        ("overloaded", ProviderLimited, "status 503: overloaded", True),
        ("failing", ProviderFailed, "status 500: <h1>Internal", True),
        ("bad key", ProviderFailed, r"status 401.*api_key \(providers.rough.api_key_env\)", False),
        ("bad request", ProviderRejected, "status 400: 'temperature' is too hot", False),
        ("elsewhere", ProviderFailed, "redirects are not followed", False),
        ("garbage", ProviderFailed, "not HTTP/1.1", True),
        ("no json", ProviderFailed, r"malformed|not JSON", True),
        ("half json", ProviderFailed, r"truncated|not JSON|broke off", True),
        ("half", ProviderFailed, r"in the middle of its answer|broke off", True),
        ("reset", ProviderFailed, r"broke", True),
        ("wrong type", ProviderFailed, "bytes of text/html", True),
        ("error inside", ProviderFailed, "the model crashed", True),
    ],
)
async def test_what_went_wrong_is_said(
    asker: Asker,
    behaviour: str,
    kind: type[SpliceError],
    says: str,
    retryable: bool,
    way: object,
) -> None:
    with pytest.raises(kind, match=says) as raised:
        await way(asker.at(behaviour), ask())  # type: ignore[operator]

    assert raised.value.retryable is retryable
    assert KEY not in str(raised.value) + repr(raised.value)


async def test_a_limit_and_a_rejection_carry_what_the_provider_said(asker: Asker) -> None:
    for way in (whole, streamed):
        with pytest.raises(ProviderLimited) as limited:
            await way(asker.at("limited"), ask())
        with pytest.raises(ProviderRejected) as rejected:
            await way(asker.at("bad request"), ask())

        assert limited.value.retry_after == 7.0
        assert (rejected.value.param, rejected.value.vendor_code) == ("temperature", "too_hot")


@pytest.mark.parametrize("way", [whole, streamed])
async def test_no_head_is_a_timeout_that_hangs_up(
    server: RoughServer, asker: Asker, way: object
) -> None:
    left = server.left

    with pytest.raises(RouteTimeout, match=r"no answer within 0.2 s") as raised:
        await way(asker.at("no head"), ask(0.2))  # type: ignore[operator]

    assert raised.value.cost_nano is None
    await gone(server, left)


async def test_silence_after_the_first_token_is_a_timeout_with_an_honest_bill(
    server: RoughServer, asker: Asker
) -> None:
    left = server.left
    stream = await asker.at("silent").open(ask(30, between_s=0.1))

    with pytest.raises(RouteTimeout, match=r"silence for 0.1 s"):
        await blocks_of(stream)

    reply = stream.reply()
    assert text_of(reply.body) == "one"
    assert (reply.complete, reply.usage.estimated, reply.usage.output_tokens) == (False, True, 1)
    await gone(server, left)


async def test_silence_before_the_first_token_is_not_between_tokens(asker: Asker) -> None:
    stream = await asker.at("slow tokens").open(ask(30, between_s=0.02))

    assert await stream.next() is not None
    assert not stream.started
    assert await stream.next() is not None  # 0.1 s later
    with pytest.raises(RouteTimeout, match=r"silence for 0.02 s"):
        await blocks_of(stream)


async def test_a_stream_that_takes_too_long_as_a_whole_is_a_timeout(asker: Asker) -> None:
    stream = await asker.at("slow tokens").open(ask(0.25))

    with pytest.raises(RouteTimeout, match=r"no answer within 0.25 s"):
        await blocks_of(stream)


async def test_a_broken_stream_gives_what_came_and_then_fails(asker: Asker) -> None:
    stream = await asker.at("error inside").open(ask())
    given = b""
    while given.count(b"\n\n") < 3:
        given += await stream.next() or b""

    with pytest.raises(ProviderFailed, match="the model crashed") as raised:
        await stream.next()

    assert given.count(b"\n\n") == 3
    assert b"crashed" not in given
    assert raised.value.cost_nano is None
    with pytest.raises(ProviderFailed):
        await stream.next()


async def test_a_client_that_goes_away_cancels_the_upstream(
    server: RoughServer, asker: Asker
) -> None:
    for leave in ("hang up", "cancel"):
        left = server.left
        stream = await asker.at("silent").open(ask(30))
        while not stream.started:
            await stream.next()

        if leave == "hang up":
            stream.hang_up()
        else:
            reading = asyncio.create_task(stream.next())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

        await gone(server, left)


@pytest.mark.parametrize("behaviour", ["large", "endless"])
async def test_an_answer_beyond_the_bound_is_not_read(asker: Asker, behaviour: str) -> None:
    for way in (whole, streamed):
        with pytest.raises(ProviderFailed, match="more than 1000000 bytes"):
            await way(asker.at(behaviour, 1_000_000), ask())


@pytest.mark.parametrize("behaviour", ["no done", "lingering"])
async def test_a_stream_without_an_end_of_its_own_or_of_the_connection_is_whole(
    asker: Asker, behaviour: str
) -> None:
    stream = await asker.at(behaviour).open(ask(5))

    await blocks_of(stream)

    assert stream.reply().complete


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with RoughServer(tls=True, folder=tmp_path) as server:
        provider = OpenAIProvider("rough", server.base_url("well"), KEY)
        for way in (whole, streamed):
            with pytest.raises(ProviderFailed, match=r"tls: .*certificate verify failed.*ca_file"):
                await way(provider, ask())
        await provider.close()

        assert server.asked == {}


async def test_a_certificate_that_is_named_is_trusted(tmp_path: Path) -> None:
    with RoughServer(tls=True, folder=tmp_path) as server:
        settings = OpenAISettings(ca_file=str(tmp_path / "rough.pem"))
        url = server.base_url("well")
        provider = OpenAIProvider("rough", url, KEY, settings=settings)

        for way in (whole, streamed):
            assert json.loads((await way(provider, ask())).body)["choices"]
        await provider.close()


async def gone(server: RoughServer, before: int) -> None:
    """Wait until the server notices that its caller has left."""
    for _ in range(500):
        if server.left > before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the upstream was not cancelled")
