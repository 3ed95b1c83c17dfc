"""OpenAIProvider: against the scripted server, against faults, and against a real llama.cpp."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from splice.adapters.providers.openai import OpenAIProvider, OpenAISettings
from splice.adapters.providers.prices import Price
from splice.core.call import Trace
from splice.core.errors import (
    BadAnswer,
    ProviderFailed,
    ProviderLimited,
    RouteError,
    RouteTimeout,
    SettingsError,
)
from splice.ports.providers import CompletionRequest, Message
from splice.testing.contracts.providers import LABEL_SCHEMA, ProviderContract
from splice.testing.openai_server import OpenAIServer, Scripted

CANARY = "sk-canary-7f3a9c1e5b"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(models=["scripted", "other"]) as running:
        yield running


@pytest.fixture
async def provider(server: OpenAIServer) -> AsyncIterator[OpenAIProvider]:
    made = OpenAIProvider("vendor", server.base_url, CANARY)
    yield made
    await made.close()


@pytest.fixture
def model() -> str:
    return "scripted"


def ask(text: str = "hello", timeout_s: float = 10.0, **fields: object) -> CompletionRequest:
    return CompletionRequest("scripted", (Message("user", text),), timeout_s, **fields)  # type: ignore[arg-type]


class TestContract(ProviderContract):
    pass


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A TCP server that does as it likes once a request's head has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        listening.close()


def says(raw: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


# What is sent


async def test_a_schema_is_sent_strictly(server: OpenAIServer, provider: OpenAIProvider) -> None:
    await provider.complete(ask(schema=LABEL_SCHEMA, schema_name="triage"))

    sent = server.asked[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "triage"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["additionalProperties"] is False


async def test_params_are_passed_on_and_cannot_replace_the_call(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    await provider.complete(ask(params={"temperature": 0.2, "model": "evil", "stream": True}))

    body = server.asked[0].body
    assert (body["temperature"], body["model"], body["stream"]) == (0.2, "scripted", False)


async def test_a_server_without_json_schema_gets_it_in_the_system_prompt(
    server: OpenAIServer,
) -> None:
    server.script(Scripted(text='{"label": "billing"}'), Scripted(text='{"label": "billing"}'))
    provider = OpenAIProvider(
        "plain", server.base_url, settings=OpenAISettings(dialect="json_object")
    )
    told = CompletionRequest(
        "scripted", (Message("system", "Be brief."), Message("user", "x")), 10.0, LABEL_SCHEMA
    )

    await provider.complete(ask(schema=LABEL_SCHEMA))
    await provider.complete(told)
    await provider.close()

    alone, beside = (asked.body for asked in server.asked)
    assert alone["response_format"] == {"type": "json_object"}
    assert json.dumps(LABEL_SCHEMA, separators=(",", ":")) in alone["messages"][0]["content"]
    assert [m["role"] for m in alone["messages"]] == ["system", "user"]
    assert beside["messages"][0]["content"].startswith("Be brief.\n")
    assert [m["role"] for m in beside["messages"]] == ["system", "user"]


async def test_the_trace_goes_on_in_the_server(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    await provider.complete(ask(trace=Trace("ab" * 16, "cd" * 8, flags=1)))
    await provider.complete(ask())

    assert server.asked[0].headers["traceparent"] == f"00-{'ab' * 16}-{'cd' * 8}-01"
    assert "traceparent" not in server.asked[1].headers


async def test_the_key_and_further_headers_are_sent(server: OpenAIServer) -> None:
    settings = OpenAISettings(headers={"x-team": "fraud"})
    provider = OpenAIProvider("vendor", server.base_url, CANARY, settings=settings)

    await provider.complete(ask())
    await provider.close()

    assert server.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    assert server.asked[0].headers["x-team"] == "fraud"


async def test_a_connection_is_used_again(server: OpenAIServer, provider: OpenAIProvider) -> None:
    for _ in range(5):
        await provider.complete(ask())

    assert len({asked.client for asked in server.asked}) == 1


async def test_a_connection_that_the_server_closed_while_idle_is_replaced(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.always = Scripted(headers={"connection": "close"})
    for _ in range(3):
        assert (await provider.complete(ask())).text == "HELLO"

    assert len({asked.client for asked in server.asked}) == 3


async def test_a_hang_up_on_a_kept_connection_is_tried_once_more() -> None:
    answered = 0
    body = json.dumps({"choices": [{"message": {"content": "ok"}}]}).encode()
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        writer.write(reply)
        await writer.drain()
        await reader.readuntil(b"}]}")
        await reader.readuntil(b"\r\n\r\n")  # the second request comes, and is not answered

    async with raw_server(once) as url:
        provider = OpenAIProvider("raw", url)
        assert (await provider.complete(ask())).text == "ok"
        assert (await provider.complete(ask())).text == "ok"
        await provider.close()

    assert answered == 2


def test_it_does_the_same_in_uvloop(server: OpenAIServer) -> None:
    uvloop = pytest.importorskip("uvloop")
    server.script(Scripted(), Scripted(), Scripted(cut=30), Scripted(delay_s=9))

    async def calls() -> list[str]:
        provider = OpenAIProvider("vendor", server.base_url)
        said = [(await provider.complete(ask())).text for _ in range(2)]
        for other in (provider, provider, OpenAIProvider("gone", "http://127.0.0.1:1/v1")):
            with pytest.raises(RouteError) as raised:
                await other.complete(ask(timeout_s=0.3))
            said.append(raised.value.got)
        with pytest.raises(ProviderFailed, match="tls: "):
            await OpenAIProvider("tls", server.base_url.replace("http", "https")).complete(ask())
        await provider.close()
        return said

    said = uvloop.run(calls())

    assert said[:2] == ["HELLO", "HELLO"]
    assert said[2] == "broken: the server hung up in the middle of its answer"
    assert said[3] == "no answer within 0.3 s"
    assert said[4].startswith("refused: 127.0.0.1:1")
    assert len({asked.client for asked in server.asked[:2]}) == 1
    end = time.monotonic() + 2
    while not server.disconnects and time.monotonic() < end:
        time.sleep(0.01)
    assert server.disconnects == 1


# What comes back


async def test_usage_and_cost_are_counted(server: OpenAIServer) -> None:
    prices = {
        "scripted": Price(input_nano=150_000_000, cached_nano=75_000_000, output_nano=600_000_000)
    }
    provider = OpenAIProvider("vendor", server.base_url, prices=prices)

    completion = await provider.complete(ask())
    await provider.close()

    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (12, 5)
    assert completion.usage.cached_tokens == 4
    assert completion.cost_nano == 8 * 150 + 4 * 75 + 5 * 600


async def test_the_cost_of_a_model_without_a_price_or_a_count_is_unknown(
    server: OpenAIServer,
) -> None:
    price = Price(input_nano=1_000_000, output_nano=1_000_000)
    provider = OpenAIProvider("vendor", server.base_url, prices={"other": price})
    counted = OpenAIProvider("vendor", server.base_url, prices={"scripted": price})
    server.script(Scripted(), Scripted(usage=None))

    unpriced = await provider.complete(ask())
    uncounted = await counted.complete(ask())
    await provider.close()
    await counted.close()

    assert unpriced.cost_nano is None
    assert uncounted.cost_nano is None


async def test_content_in_parts_is_joined(server: OpenAIServer, provider: OpenAIProvider) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    server.script(Scripted(message={"role": "assistant", "content": parts}))

    assert (await provider.complete(ask())).text == "ab"


async def test_text_cut_off_without_a_schema_is_still_an_answer(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(text="once upon", finish_reason="length"))

    assert (await provider.complete(ask())).finish_reason == "length"


# Errors


@pytest.mark.parametrize(
    ("answer", "kind", "says_what"),
    [
        (Scripted(text="{", finish_reason="length"), BadAnswer, "cut off"),
        (Scripted(message={"refusal": "I will not"}), BadAnswer, "I will not"),
        (Scripted(message={"content": None}, finish_reason="tool_calls"), BadAnswer, "no text"),
        (Scripted(text="", finish_reason="content_filter"), BadAnswer, "content filter"),
        (Scripted(body={"choices": []}), ProviderFailed, "no choices"),
        (Scripted(body={"error": {"message": "quota"}}), ProviderFailed, "quota"),
        (Scripted(body={"choices": "none"}), ProviderFailed, "chat completion"),
        (Scripted(raw=b"<html>login</html>"), ProviderFailed, "chat completion"),
        (Scripted(raw=b"\xff\xfe"), ProviderFailed, "chat completion"),
        (Scripted(raw=b""), ProviderFailed, "chat completion"),
        (Scripted(cut=30), ProviderFailed, "hung up in the middle"),
        (Scripted(status=400, text="bad schema"), ProviderFailed, "status 400: bad schema"),
        (Scripted(status=401, text="who are you"), ProviderFailed, "api_key"),
        (Scripted(status=404), ProviderFailed, "name of the model"),
        (Scripted(status=500, raw=b"oops"), ProviderFailed, "status 500: oops"),
        (Scripted(status=302, headers={"location": "/elsewhere"}), ProviderFailed, "redirects"),
        (Scripted(headers={"content-encoding": "gzip"}), ProviderFailed, "compressed"),
    ],
)
async def test_what_went_wrong_is_said(
    server: OpenAIServer,
    provider: OpenAIProvider,
    answer: Scripted,
    kind: type[RouteError],
    says_what: str,
) -> None:
    server.script(answer)

    with pytest.raises(kind, match=says_what):
        await provider.complete(ask(schema=LABEL_SCHEMA))

    assert (await provider.complete(ask())).text == "HELLO"


async def test_an_answer_that_cannot_be_used_still_costs(server: OpenAIServer) -> None:
    price = Price(input_nano=1_000_000_000, output_nano=1_000_000_000)
    provider = OpenAIProvider("vendor", server.base_url, prices={"scripted": price})
    server.script(Scripted(text="{", finish_reason="length"))

    with pytest.raises(BadAnswer) as raised:
        await provider.complete(ask(schema=LABEL_SCHEMA))
    await provider.close()

    assert raised.value.cost_nano == 17_000


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_a_limit_says_how_long_to_wait(
    server: OpenAIServer, provider: OpenAIProvider, status: int
) -> None:
    server.script(Scripted(status=status, headers={"retry-after": "7"}), Scripted(status=status))

    with pytest.raises(ProviderLimited) as told:
        await provider.complete(ask())
    with pytest.raises(ProviderLimited) as untold:
        await provider.complete(ask())

    assert told.value.retry_after == 7.0
    assert untold.value.retry_after is None


async def test_a_limit_may_end_at_a_date(server: OpenAIServer) -> None:
    now = 1_800_000_000.0
    until = email.utils.formatdate(now + 90, usegmt=True)
    provider = OpenAIProvider("vendor", server.base_url, now=lambda: now)
    server.script(Scripted(status=429, headers={"retry-after": until}))

    with pytest.raises(ProviderLimited) as raised:
        await provider.complete(ask())
    await provider.close()

    assert raised.value.retry_after == 90.0


async def test_a_slow_answer_is_a_timeout_of_unknown_cost(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(delay_s=5))
    before = time.monotonic()

    with pytest.raises(RouteTimeout) as raised:
        await provider.complete(ask(timeout_s=0.2))

    assert time.monotonic() - before < 1
    assert raised.value.cost_nano is None


@pytest.mark.parametrize("give_up", ["cancel", "timeout"])
async def test_giving_up_hangs_up_on_the_server(
    server: OpenAIServer, provider: OpenAIProvider, give_up: str
) -> None:
    server.script(Scripted(delay_s=30))
    call = asyncio.create_task(provider.complete(ask(timeout_s=0.3 if give_up == "timeout" else 9)))
    while not server.asked:
        await asyncio.sleep(0.01)

    if give_up == "cancel":
        call.cancel()
    with pytest.raises((asyncio.CancelledError, RouteTimeout)):
        await call

    end = time.monotonic() + 2
    while not server.disconnects and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert server.disconnects == 1


async def test_nobody_listens_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        provider = OpenAIProvider("gone", f"http://127.0.0.1:{free.getsockname()[1]}/v1")

        with pytest.raises(ProviderFailed, match="refused: 127"):
            await provider.complete(ask())


async def test_the_host_is_unknown() -> None:
    provider = OpenAIProvider("gone", "http://no-such-host.invalid/v1")

    with pytest.raises(ProviderFailed, match="unknown host: no-such-host"):
        await provider.complete(ask())


async def test_the_server_does_not_speak_tls(server: OpenAIServer) -> None:
    provider = OpenAIProvider("plain", server.base_url.replace("http:", "https:"))

    with pytest.raises(ProviderFailed, match=r"tls: .*speaks TLS"):
        await provider.complete(ask())


@pytest.mark.parametrize(
    ("raw", "says_what"),
    [
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, "headers of more"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nz", "protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
    ],
)
async def test_a_broken_server_is_a_failed_provider(raw: bytes, says_what: str) -> None:
    async with raw_server(says(raw)) as url:
        provider = OpenAIProvider("raw", url)

        with pytest.raises(ProviderFailed, match=says_what):
            await provider.complete(ask(timeout_s=3))
        await provider.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n",
    ],
)
async def test_unusual_but_right_answers_are_read(head: bytes) -> None:
    body = b'{"choices": [{"message": {"content": "ok"}}]}'
    raw = (head % len(body) if b"%d" in head else head) + body

    async with raw_server(says(raw)) as url:
        provider = OpenAIProvider("raw", url)

        assert (await provider.complete(ask(timeout_s=3))).text == "ok"
        await provider.close()


async def test_a_second_answer_to_one_question_is_never_given_to_the_next() -> None:
    def of(text: str) -> bytes:
        body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def two_for_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        smuggled = of("smuggled")
        writer.write(of("mine") + smuggled[:20])  # its rest waits for the next question
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        writer.write(smuggled[20:])
        await writer.drain()
        await reader.read()

    async with raw_server(two_for_one) as url:
        provider = OpenAIProvider("raw", url)

        texts = [(await provider.complete(ask(timeout_s=3))).text for _ in range(2)]
        await provider.close()

    assert texts == ["mine", "mine"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_without_end_is_not_read_to_its_end(chunked: bool) -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        kind = b"transfer-encoding: chunked" if chunked else b"content-length: 9999999999"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
        block = b"x" * 65536
        while True:
            writer.write(b"10000\r\n" + block + b"\r\n" if chunked else block)
            await writer.drain()
            sent += len(block)

    async with raw_server(endless) as url:
        provider = OpenAIProvider("raw", url, settings=OpenAISettings(body_limit=1_000_000))

        with pytest.raises(ProviderFailed, match="more than 1000000 bytes"):
            await provider.complete(ask())
        await provider.close()

    assert sent < 8_000_000


# The key


def _everywhere(error: BaseException) -> str:
    ours = error.__traceback__.tb_next if error.__traceback__ else None  # without the test's frame
    shown = traceback.TracebackException(type(error), error, ours, capture_locals=True)
    return "".join(shown.format()) + repr(error) + str(error) + repr(error.__dict__)


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(status=401, text=f"Incorrect API key provided: {CANARY}. Bearer {CANARY}"),
        Scripted(status=500, raw=f"<h1>{CANARY}</h1>".encode()),
        Scripted(status=429, text=CANARY + " too often"),
        Scripted(status=400, text="x" * 290 + CANARY),
        Scripted(body={"error": {"message": CANARY}}),
        Scripted(body={"choices": CANARY}),
        Scripted(message={"refusal": f"I saw {CANARY}"}),
        Scripted(raw=CANARY.encode(), headers={"content-type": CANARY}),
    ],
)
async def test_the_key_is_in_no_error_and_no_log(
    server: OpenAIServer,
    provider: OpenAIProvider,
    answer: Scripted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(answer)

    with pytest.raises(RouteError) as raised:
        await provider.complete(ask(schema=LABEL_SCHEMA))

    shown = _everywhere(raised.value)
    assert CANARY not in shown
    assert CANARY[:12] not in str(raised.value)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("key", [CANARY, "short"])
async def test_a_key_that_comes_back_in_disguise_or_is_short_is_hidden_too(
    server: OpenAIServer, key: str
) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in key)
    server.script(
        Scripted(status=400, raw=b'{"error": {"message": "%s"}}' % escaped.encode()),
        Scripted(raw=b'{"error": {"message": "%s"}}' % escaped.encode()),
    )
    provider = OpenAIProvider("vendor", server.base_url, key)

    for _ in range(2):
        with pytest.raises(ProviderFailed, match=r"\[hidden\]") as raised:
            await provider.complete(ask())
        assert key not in str(raised.value)
    await provider.close()


async def test_the_key_is_in_no_answer_repr_or_transport_error(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.script(Scripted(text=f"your key is {CANARY}"))
    settings = OpenAISettings(headers={"x-key": CANARY})
    gone = OpenAIProvider("gone", "http://127.0.0.1:1/v1", CANARY, settings=settings)

    completion = await provider.complete(ask())
    with pytest.raises(ProviderFailed) as raised:
        await gone.complete(ask())

    assert completion.text == "your key is [hidden]"
    assert CANARY not in _everywhere(raised.value) + repr(provider) + repr(settings)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (f"https://user:{CANARY}@vendor.example/v1", None),
        (f"https://vendor.example/v1?key={CANARY}", None),
        (f"ftp://{CANARY}/v1", None),
        (f"https://vendor.example/v1\r\nx: {CANARY}", None),
        (f"http://[{CANARY}", None),
        ("https://vendor.example/v1", f"{CANARY}\n"),
        ("https://vendor.example/v1", f"{CANARY}\r\nx: y"),
        ("https://vendor.example/v1", f"{CANARY}é"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_without_repeating_them(
    url: str, key: str | None
) -> None:
    with pytest.raises(SettingsError) as raised:
        OpenAIProvider("vendor", url, key)

    assert CANARY not in str(raised.value) + repr(raised.value)


async def test_models_that_cannot_be_listed_are_no_models() -> None:
    with OpenAIServer(models=None) as server:
        provider = OpenAIProvider("vendor", server.base_url)

        assert await provider.models() == []
        await provider.close()
