"""Clients that go away, on either way through the server: the provider hears of it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from gw_house import (
    BASE,
    CHAT,
    HELLO,
    MESSAGES,
    READ_NANO,
    WRITE_NANO,
    Gateway,
    eventually,
    provider,
    raw_request,
    read_response,
    serving,
)

from splice.core.call import Reason, Record, Status
from splice.testing.anthropic_server import AnthropicServer, Said
from splice.testing.openai_server import OpenAIServer, Scripted

INTEGRATIONS = '''
import splice


class Talk(splice.Conversation):
    """Talk by OpenAI's API."""

    deadline = "20 s"
    routes = [splice.LLM("a/m", retries=0)]


class Claude(splice.Conversation):
    """Talk by Anthropic's API."""

    deadline = "20 s"
    routes = [splice.LLM("c/m", retries=0)]


class Brief(splice.Conversation):
    """Talk by OpenAI's API, for three seconds at most."""

    deadline = "3 s"
    routes = [splice.LLM("a/m", retries=0)]


class Hedged(splice.Conversation):
    """Talk by OpenAI's API, by two tries at once."""

    deadline = "20 s"
    routes = [splice.LLM("a/m", retries=0, hedge="20 ms")]


class Careful(splice.Conversation):
    """Talk by OpenAI's API, where no answer may be lost."""

    deadline = "20 s"
    risk = splice.Risk.HIGH
    routes = [splice.LLM("a/m", retries=0)]


class Alike(splice.Conversation):
    """Talk by OpenAI's API, the same questions once."""

    deadline = "20 s"
    coalesce = True
    routes = [splice.LLM("a/m", retries=0)]
'''

TRACE = f"traceparent: 00-{'a' * 32}-{'b' * 16}-01"

# Ways of sending a request: the plain one takes the quick lane, the others uvicorn's.
LANES: dict[str, Callable[[bytes, str], bytes]] = {
    "quick": lambda body, path: raw_request(body, path),
    "trace": lambda body, path: raw_request(
        body, path, f"traceparent: 00-{'a' * 32}-{'b' * 16}-01"
    ),
    "key": lambda body, path: raw_request(body, path, f"idempotency-key: {hash(body)}"),
    "chunked": lambda body, path: (
        b"POST %b HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (path.encode(), len(body), body)
    ),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def claude() -> Iterator[AnthropicServer]:
    with AnthropicServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    upstream: OpenAIServer, claude: AnthropicServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    toml = BASE + provider("a", upstream.base_url, "breaker_failures = 2")
    toml += provider("c", claude.base_url, "breaker_failures = 2", kind="anthropic")
    with serving(tmp_path_factory.mktemp("gone"), toml, INTEGRATIONS) as running:
        yield running


@pytest.fixture
def slow(upstream: OpenAIServer) -> Iterator[OpenAIServer]:
    """The upstream, whose answers take a minute, and whose streams pause before each word."""
    upstream.always = Scripted(text="one two three four five six", delay_s=0.0, pause_s=30.0)
    before = upstream.disconnects
    upstream.asked.clear()
    upstream.disconnects = 0
    yield upstream
    upstream.always = Scripted()
    upstream.disconnects = before


def body_of(model: str = "talk", **more: object) -> bytes:
    return json.dumps({"model": model, "messages": HELLO, **more}).encode()


def gone_record(gateway: Gateway, integration: str, already: int) -> Record:
    return gateway.records(already + 1, integration)[0]


def hang_up(one: socket.socket) -> None:
    """As a process that was killed: with a reset."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("model", ["talk", "hedged", "careful", "alike"])
def test_a_client_that_goes_before_the_answer_stops_the_provider(
    gateway: Gateway, slow: OpenAIServer, lane: str, model: str
) -> None:
    slow.always = Scripted(delay_s=60.0)
    already = len(gateway.all_records(model))
    one = gateway.server.socket()
    one.sendall(LANES[lane](body_of(model), CHAT))
    tries = 2 if model == "hedged" else 1
    eventually(lambda: len(slow.asked) == tries)
    assert gateway.in_flight() == 1

    one.close()

    eventually(lambda: slow.disconnects >= tries)
    gateway.rest()
    record = gone_record(gateway, model, already)
    assert (record.status, record.reason) == (Status.FAILED, Reason.CANCELLED)
    assert record.problem is not None
    assert "went away" in record.problem.detail
    assert record.cost_nano is not None
    assert record.cost_nano >= 9 * READ_NANO  # the provider read the request, and may charge it


@pytest.mark.parametrize("leave", [socket.socket.close, hang_up], ids=["closed", "reset"])
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("model", ["talk", "hedged", "alike"])
def test_a_client_that_goes_in_mid_stream_stops_the_provider_and_pays_for_what_came(
    gateway: Gateway,
    slow: OpenAIServer,
    model: str,
    lane: str,
    leave: Callable[[socket.socket], None],
) -> None:
    slow.always = Scripted(text="one two three", pause_s=0.15)
    already = len(gateway.all_records(model))
    one = gateway.server.socket()
    one.sendall(LANES[lane](body_of(model, stream=True, n=1, user=leave.__name__), CHAT))
    came = b""
    while b"one" not in came:
        came += one.recv(65536)

    slow.always = Scripted(text="one two three", pause_s=30.0)
    leave(one)

    eventually(lambda: slow.disconnects >= 1)
    gateway.rest()
    record = gone_record(gateway, model, already)
    assert (record.status, record.reason) == (Status.FAILED, Reason.DISCONNECTED)
    last = record.attempts[-1]
    assert last.ended == "disconnected"
    assert last.usage is not None
    assert last.usage.estimated
    read, written = last.usage.input_tokens or 0, last.usage.output_tokens or 0
    assert read > 0
    assert written >= 1
    assert last.cost_nano == read * READ_NANO + written * WRITE_NANO
    assert b"one" in (record.reply or b"")


@pytest.mark.parametrize("lane", ["quick", "chunked"])
@pytest.mark.parametrize(("path", "model"), [(MESSAGES, "claude"), (CHAT, "claude")])
def test_the_same_holds_where_anthropic_answers(
    gateway: Gateway, claude: AnthropicServer, lane: str, path: str, model: str
) -> None:
    claude.forget()
    claude.always = Said(text="one two three four five six seven", pause_s=0.15)
    already = len(gateway.all_records(model))
    one = gateway.server.socket()
    one.sendall(LANES[lane](body_of(model, stream=True, max_tokens=50), path))
    came = b""
    while b"one" not in came:
        came += one.recv(65536)

    one.close()

    eventually(lambda: claude.disconnects >= 1)
    gateway.rest()
    record = gone_record(gateway, model, already)
    assert record.reason is Reason.DISCONNECTED
    assert (record.cost_nano or 0) > 0


def test_clients_that_go_away_do_not_open_the_breaker(gateway: Gateway, slow: OpenAIServer) -> None:
    for number in range(4):  # twice as many as failures open it
        slow.always = Scripted(delay_s=60.0)
        one = gateway.server.socket()
        one.sendall(raw_request(body_of(user=str(number))))
        eventually(lambda: len(slow.asked) == number + 1)  # noqa: B023 - it ends here
        one.close()
        gateway.rest()

    slow.always = Scripted(text="still here")
    assert b"still here" in gateway.ask().body


def test_the_next_in_line_asks_when_the_one_who_asked_for_all_goes_away(
    gateway: Gateway, slow: OpenAIServer
) -> None:
    slow.always = Scripted(delay_s=60.0)
    first, second = gateway.server.socket(), gateway.server.socket()
    first.sendall(raw_request(body_of("alike", user="line")))
    eventually(lambda: len(slow.asked) == 1)
    second.sendall(raw_request(body_of("alike", user="line")))
    eventually(lambda: gateway.in_flight() == 2)

    slow.always = Scripted(text="for you")
    first.close()

    status, _, answer = read_response(second)
    second.close()
    assert (status, len(slow.asked)) == (200, 2)
    assert b"for you" in answer


def test_a_client_that_sends_more_and_goes_is_noticed_all_the_same(
    gateway: Gateway, slow: OpenAIServer
) -> None:
    slow.always = Scripted(delay_s=60.0)
    one = gateway.server.socket()
    one.sendall(raw_request(body_of()))
    eventually(lambda: len(slow.asked) == 1)
    one.sendall(raw_request(body_of()))  # before its answer: it waits for its turn

    one.close()

    eventually(lambda: slow.disconnects >= 1)
    gateway.rest()
    assert len(slow.asked) == 1


def test_a_client_that_reads_nothing_does_not_fill_the_memory(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    word = "x" * 20_000
    upstream.always = Scripted(text=" ".join([word] * 50))
    # What a first large answer needs once; not so large that what its record takes later is seen.
    gateway.ask()
    upstream.always = Scripted(text=" ".join([word] * 1500))  # 30 MB
    before = gateway.server.memory()
    readers = [gateway.server.socket() for _ in range(3)]
    for one in readers:
        one.sendall(raw_request(body_of(stream=True)))

    eventually(lambda: gateway.in_flight() == 3)
    for one in readers:
        assert b"200 OK" in one.recv(100)
    grown = gateway.server.memory() - before
    for one in readers:
        hang_up(one)
    upstream.always = Scripted()
    gateway.rest()

    # Each holds what it has read of the stream so far for the record, and no whole answer.
    assert grown < 60 << 20


@pytest.mark.parametrize("lane", ["quick", "trace"])
def test_a_client_that_reads_nothing_and_stays_holds_no_call_beyond_its_deadline(
    gateway: Gateway, upstream: OpenAIServer, lane: str
) -> None:
    upstream.always = Scripted(text=" ".join(["x" * 20_000] * 1000))
    already = len(gateway.all_records("brief"))
    one = gateway.server.socket()
    one.sendall(LANES[lane](body_of("brief", stream=True), CHAT))

    gateway.records(already + 1, "brief")
    gateway.rest()

    record = gone_record(gateway, "brief", already)
    assert (record.status, record.reason) == (Status.FAILED, Reason.DISCONNECTED)
    assert record.problem is not None
    assert "did not take" in record.problem.detail
    # Who comes back to it is told, and given no end that looks regular.
    _, _, body = read_response(one)
    one.close()
    assert body.rstrip().endswith(b"}")
    assert b"did not take" in body[-500:]
    upstream.always = Scripted()


def test_no_traceback_was_logged(gateway: Gateway) -> None:
    assert "Traceback" not in gateway.server.log
    assert "never retrieved" not in gateway.server.log
