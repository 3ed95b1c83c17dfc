"""The mock provider of the gateway benchmark answers what the table claims, and its checks bite."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import table  # noqa: E402
from gateway.chat import request_body  # noqa: E402
from gateway.job import SUBJECTS  # noqa: E402
from gateway.replies import (  # noqa: E402
    PIECES,
    WrongReplyError,
    check_stream,
    check_whole,
    stream_events,
    whole_reply,
)
from gateway.subject import Subject, free_port  # noqa: E402

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The mock provider's port."""
    port = free_port()
    argv = [sys.executable, str(BENCHMARKS / "gateway" / "upstream.py"), str(port)]
    with subprocess.Popen(argv) as mock:
        try:
            while mock.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except ConnectionRefusedError:
                    continue  # it does not listen yet
            yield port
        finally:
            mock.terminate()


def asked(port: int, body: bytes) -> bytes:
    """The body of the answer to one chat."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    reply = response.read()
    connection.close()
    assert response.status == 200
    return reply


def test_a_whole_reply_is_the_one_that_subjects_are_held_to(port: int) -> None:
    reply = asked(port, request_body("mock-model", stream=False))

    check_whole(reply)


def test_a_stream_has_fifty_pieces_each_in_a_chunk_of_its_own(port: int) -> None:
    body = request_body("mock-model", stream=True)

    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(HEAD % len(body) + body)
        came = b""
        while not came.endswith(b"0\r\n\r\n"):
            came += caller.recv(65536)

    chunks = chunks_of(came.partition(b"\r\n\r\n")[2])
    check_stream(b"".join(chunks))
    assert sum(b'"content":' in chunk for chunk in chunks) == PIECES
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)
    assert [chunk.count(b"data: ") for chunk in chunks] == [1] * (PIECES + 3)  # end, usage, done


def test_a_stream_counts_its_tokens_only_where_that_was_asked(port: int) -> None:
    body = json.loads(request_body("mock-model", stream=True))
    del body["stream_options"]

    reply = asked(port, json.dumps(body).encode())

    assert b"prompt_tokens" not in reply
    assert reply.endswith(b"data: [DONE]\n\n")


def test_a_request_that_comes_in_pieces_is_answered_once_and_whole(port: int) -> None:
    body = request_body("mock-model", stream=False)
    request = HEAD % len(body) + body

    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(request), 100):
            caller.sendall(request[at : at + 100])
        caller.shutdown(socket.SHUT_WR)
        came = b"".join(iter(lambda: caller.recv(65536), b""))

    assert came.count(b"HTTP/1.1 200 OK") == 1
    check_whole(came.partition(b"\r\n\r\n")[2])


def test_the_provider_counts_what_it_was_asked(port: int) -> None:
    before = counts(port)

    asked(port, request_body("mock-model", stream=False))
    asked(port, request_body("mock-model", stream=True))

    after = counts(port)
    assert after["whole"] - before["whole"] == 1
    assert after["streamed"] - before["streamed"] == 1


EVENTS = stream_events(with_usage=True)


@pytest.mark.parametrize(
    "events",
    [
        EVENTS[:20] + EVENTS[21:],
        EVENTS[:20] + EVENTS[19:],
        [*EVENTS[:5], EVENTS[6], EVENTS[5], *EVENTS[7:]],
        EVENTS[:-1],
        EVENTS[:-2] + EVENTS[-1:],
        EVENTS[:-3] + EVENTS[-2:],
        [EVENTS[0].replace(b" part-00", b" part-00 part-01"), *EVENTS[2:]],
        [b"data: {\n\n", *EVENTS],
    ],
    ids=["lost", "doubled", "swapped", "no-done", "no-usage", "no-end", "joined", "garbage"],
)
def test_a_stream_that_is_not_the_providers_is_refused(events: list[bytes]) -> None:
    with pytest.raises(WrongReplyError):
        check_stream(b"".join(events))


@pytest.mark.parametrize(
    ("here", "there"),
    [(b"Leipzig", b"Dresden"), (b'"stop"', b'"length"'), (b"131", b"130"), (b"}", b"")],
)
def test_a_whole_reply_that_is_not_the_providers_is_refused(here: bytes, there: bytes) -> None:
    with pytest.raises(WrongReplyError):
        check_whole(whole_reply().replace(here, there))


def test_every_subject_says_what_it_is() -> None:
    told = {name: list(Subject(name).variants.values()) for name in SUBJECTS}

    assert all(variants and all(variants) for variants in told.values())


@pytest.mark.parametrize(
    ("row", "value", "broken"),
    [
        ((table.OURS, 64, "rps"), 5999.0, "throughput of tensorzero"),
        ((table.OURS, 64, "rps"), 5000.0, "throughput of litellm"),
        ((table.OURS, "stream-16", "rps"), 1699.0, "streams of tensorzero"),
        ((table.OURS, 1, "p50_ms"), 0.53, "added at one connection"),
        ((table.OURS, 16, "memory_mb"), 201.0, "MB after load"),
    ],
)
def test_a_floor_that_is_not_kept_is_told(
    row: tuple[str, int | str, str], value: float, broken: str
) -> None:
    kept: dict[tuple[str, int | str, str], float] = {
        ("direct", 1, "p50_ms"): 0.02,
        ("splice", 1, "p50_ms"): 0.4,
        ("splice", 64, "rps"): 6000.0,
        ("splice", "stream-16", "rps"): 1700.0,
        ("splice", 16, "memory_mb"): 150.0,
        ("tensorzero", 64, "rps"): 6000.0,
        ("tensorzero", "stream-16", "rps"): 340.0,
        ("litellm", 64, "rps"): 90.0,
    }

    before = table.gateway_floors(kept)
    after = table.gateway_floors(kept | {row: value})

    assert all(before.values())
    assert any(broken in sentence for sentence, holds in after.items() if not holds)


def counts(port: int) -> dict[str, int]:
    """What the provider says that it was asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/asked")
    told: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return told


def chunks_of(body: bytes) -> list[bytes]:
    """The chunks of the transfer encoding, without the empty one that ends it."""
    chunks: list[bytes] = []
    while body:
        length, _, body = body.partition(b"\r\n")
        chunks.append(body[: int(length, 16)])
        body = body[int(length, 16) + 2 :]
    assert chunks.pop() == b""
    return chunks
