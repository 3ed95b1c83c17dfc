"""The HTTP client's streams: whole, left, silent, endless; and what it does with connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from splice.adapters.net.http import Http, HttpFault, origin_of
from splice.core.errors import InputMismatch

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Upstream:
    """A TCP server that answers each request by a function, and counts."""

    def __init__(self, answer: Callable[[Upstream, Writer, bytes], Awaitable[None]]) -> None:
        self.answer = answer
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()
        self.go_on = asyncio.Event()

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode().lower().split("\r\n")
                sized = [one for one in lines if one.startswith("content-length:")]
                body = await reader.readexactly(int(sized[0].split(":")[1])) if sized else b""
                self.heads.append(head)
                self.bodies.append(body)
                await self.answer(self, writer, body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def running(
    answer: Callable[[Upstream, Writer, bytes], Awaitable[None]], body_limit: int = 1 << 20
) -> AsyncIterator[tuple[Upstream, Http]]:
    upstream = Upstream(answer)
    calls: set[asyncio.Task[None]] = set()

    def accept(reader: Reader, writer: Writer) -> None:
        calls.add(asyncio.ensure_future(upstream.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    origin = origin_of(f"http://127.0.0.1:{port}/v1", "test")
    http = Http(origin, {"authorization": "Bearer k"}, body_limit=body_limit, connect_s=5)
    try:
        yield upstream, http
    finally:
        await http.close()
        server.close()
        upstream.go_on.set()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


async def three(upstream: Upstream, writer: Writer, body: bytes) -> None:
    writer.write(CHUNKED + chunk(b"one ") + chunk(b"two ") + chunk(b"three") + b"0\r\n\r\n")


async def first_and_wait(upstream: Upstream, writer: Writer, body: bytes) -> None:
    writer.write(CHUNKED + chunk(b"one "))
    await writer.drain()
    await upstream.go_on.wait()


async def test_what_has_come_is_given_together_and_the_connection_is_used_again() -> None:
    async with running(three) as (upstream, http):
        for _ in range(3):
            stream = await http.open("/chat", b"{}")
            assert (stream.status, await stream.rest(99)) == (200, b"one two three")
            assert await stream.next() is None

        assert upstream.connections == 1


async def test_whole_replies_and_streams_share_connections() -> None:
    async with running(three) as (upstream, http):
        assert (await http.post("/chat", b"{}")).body == b"one two three"
        stream = await http.open("/chat", b"{}")
        assert await stream.rest(99) == b"one two three"
        assert (await http.post("/chat", b"{}")).status == 200

        assert upstream.connections == 1


async def test_a_stream_that_is_left_hangs_up_at_once() -> None:
    async with running(first_and_wait) as (upstream, http):
        stream = await http.open("/chat", b"{}")
        assert await stream.next() == b"one "

        stream.hang_up()
        stream.hang_up()

        upstream.go_on.set()
        await asyncio.wait_for(upstream.gone.wait(), 5)
        assert await stream.next() is None


async def test_a_cancelled_reader_hangs_up_at_once() -> None:
    async with running(first_and_wait) as (upstream, http):
        stream = await http.open("/chat", b"{}")
        await stream.next()
        reading = asyncio.create_task(stream.next())
        await asyncio.sleep(0)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        upstream.go_on.set()
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_an_opening_that_is_cancelled_as_the_head_comes_leaves_no_connection() -> None:
    async with running(first_and_wait) as (upstream, http):
        opening = asyncio.create_task(http.open("/chat", b"{}"))
        while not upstream.heads:
            await asyncio.sleep(0)

        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        upstream.go_on.set()
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_silence_is_a_fault_only_once_it_is_watched_for() -> None:
    async with running(first_and_wait) as (_, http):
        stream = await http.open("/chat", b"{}", timeout_s=30)
        assert await stream.next() == b"one "

        stream.watch(0.05)

        with pytest.raises(HttpFault, match=r"silence for 0.05 s") as raised:
            await stream.next()
        assert raised.value.fault == "late"


async def test_a_stream_that_goes_on_is_not_silent() -> None:
    async def slowly(upstream: Upstream, writer: Writer, body: bytes) -> None:
        writer.write(CHUNKED)
        for _ in range(12):
            writer.write(chunk(b"x"))
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")

    async with running(slowly) as (_, http):
        stream = await http.open("/chat", b"{}")
        stream.watch(1.0)  # less than all of it takes

        assert await stream.rest(99) == b"x" * 12


async def test_the_deadline_holds_for_the_whole_of_a_stream() -> None:
    async def endlessly(upstream: Upstream, writer: Writer, body: bytes) -> None:
        writer.write(CHUNKED)
        while not upstream.go_on.is_set():
            writer.write(chunk(b"x"))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with running(endlessly) as (_, http):
        stream = await http.open("/chat", b"{}", timeout_s=0.2)

        with pytest.raises(HttpFault, match="deadline"):
            await stream.rest(10_000)


async def test_a_short_deadline_after_a_long_one_is_kept_on_the_same_connection() -> None:
    async def second_never(upstream: Upstream, writer: Writer, body: bytes) -> None:
        if len(upstream.heads) == 1:
            await three(upstream, writer, body)
        else:
            await upstream.go_on.wait()

    async with running(second_never) as (upstream, http):
        await http.post("/chat", b"{}", timeout_s=60)

        with pytest.raises(HttpFault, match="deadline"):
            await http.post("/chat", b"{}", timeout_s=0.1)
        assert upstream.connections == 1


async def test_what_nobody_reads_is_not_taken_from_the_server() -> None:
    sent = 0

    async def much(upstream: Upstream, writer: Writer, body: bytes) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _ in range(512):
            writer.write(chunk(b"x" * 65536))
            await writer.drain()
            sent += 65536
        writer.write(b"0\r\n\r\n")

    async with running(much, body_limit=64 << 20) as (_, http):
        stream = await http.open("/chat", b"{}")
        before = -1
        while sent != before:  # until the server can write no more
            before = sent
            await asyncio.sleep(0.05)
        held = sent

        assert held < 32 << 20
        assert len(await stream.rest(64 << 20)) == 32 << 20


async def test_a_stream_that_nobody_reads_is_not_blamed_for_silence() -> None:
    async def much(upstream: Upstream, writer: Writer, body: bytes) -> None:
        writer.write(CHUNKED + chunk(b"x" * 700_000))
        await writer.drain()
        await upstream.go_on.wait()
        writer.write(b"0\r\n\r\n")

    async with running(much) as (upstream, http):
        stream = await http.open("/chat", b"{}")
        stream.watch(0.05)
        await asyncio.sleep(0.3)
        upstream.go_on.set()

        assert len(await stream.rest(1 << 20)) == 700_000


async def test_a_stream_is_bounded_in_total() -> None:
    async def endlessly(upstream: Upstream, writer: Writer, body: bytes) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(chunk(b"x" * 65536))
            await writer.drain()

    async with running(endlessly, body_limit=1_000_000) as (_, http):
        stream = await http.open("/chat", b"{}")

        with pytest.raises(HttpFault, match="more than 1000000 bytes"):
            await stream.rest(1 << 30)


async def test_an_end_that_comes_soon_after_is_waited_for_and_the_connection_kept() -> None:
    async def end_later(upstream: Upstream, writer: Writer, body: bytes) -> None:
        writer.write(CHUNKED + chunk(b"last"))
        await writer.drain()
        await upstream.go_on.wait()
        writer.write(b"0\r\n\r\n")

    async with running(end_later) as (upstream, http):
        stream = await http.open("/chat", b"{}")
        assert await stream.next() == b"last"

        stream.finish()
        upstream.go_on.set()
        await asyncio.sleep(0.05)

        assert await (await http.open("/chat", b"{}")).rest(9) == b"last"
        assert upstream.connections == 1


async def test_an_end_that_never_comes_costs_the_connection() -> None:
    async with running(first_and_wait) as (upstream, http):
        stream = await http.open("/chat", b"{}")
        await stream.next()

        stream.finish()

        await asyncio.sleep(1.2)
        upstream.go_on.set()
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_what_comes_unasked_costs_the_connection() -> None:
    async def twice(upstream: Upstream, writer: Writer, body: bytes) -> None:
        await three(upstream, writer, body)
        await writer.drain()
        await upstream.go_on.wait()
        await three(upstream, writer, body)

    async with running(twice) as (upstream, http):
        await http.post("/chat", b"{}")
        upstream.go_on.set()
        await asyncio.wait_for(upstream.gone.wait(), 5)

        assert (await http.post("/chat", b"{}")).status == 200
        assert upstream.connections == 2


async def test_a_body_of_32_mb_is_sent_whole() -> None:
    async with running(three) as (upstream, http):
        body = bytes(range(256)) * (128 * 1024)

        assert (await http.post("/chat", body, timeout_s=30)).status == 200

        assert upstream.bodies == [body]


async def test_an_answer_before_the_request_was_read_costs_the_connection() -> None:
    ended = asyncio.Semaphore(0)

    async def too_early(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        with contextlib.suppress(OSError):
            await reader.read()  # until the client hangs up
        writer.transport.abort()
        ended.release()

    server = await asyncio.start_server(too_early, "127.0.0.1", 0, limit=1 << 16)
    port = server.sockets[0].getsockname()[1]
    http = Http(origin_of(f"http://127.0.0.1:{port}", "test"), {}, connect_s=5)
    for _ in range(2):
        reply = await http.post("/chat", b"x" * (32 << 20), timeout_s=30)
        assert (reply.status, reply.body) == (413, b"no")
        await asyncio.wait_for(ended.acquire(), 5)
    await http.close()
    server.close()


async def test_headers_of_a_request_are_sent_beside_the_common_ones() -> None:
    async with running(three) as (upstream, http):
        headers = {"openai-beta": "x=1", "Authorization": "Bearer evil", "Host": "evil"}

        await http.post("/chat", b"{}", "00-a-b-01", headers)

        lines = upstream.heads[0].decode().split("\r\n")
        assert "openai-beta: x=1" in lines
        assert "traceparent: 00-a-b-01" in lines
        assert "authorization: Bearer k" in lines
        assert "evil" not in upstream.heads[0].decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nevil: 1"),
        ("x", "a\nb"),
        ("x", "a\0"),
        ("x", "é"),
        ("x: 1\r\ny", "a"),
        ("", "a"),
        ("x", " a"),
    ],
)
async def test_a_header_that_would_be_another_is_refused(name: str, value: str) -> None:
    async with running(three) as (upstream, http):
        with pytest.raises(InputMismatch, match="no header can carry"):
            await http.post("/chat", b"{}", headers={name: value})
        with pytest.raises(InputMismatch, match="no header can carry"):
            await http.open("/chat", b"{}", headers={name: value})

        assert upstream.heads == []


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "a", "/é"])
async def test_a_path_that_would_be_more_than_a_path_is_refused(path: str) -> None:
    async with running(three) as (_, http):
        with pytest.raises(ValueError, match="path"):
            await http.get(path)
