"""The quick lane: plain calls on a kept connection skip ASGI; everything else goes through it.

One caller after another sends requests whose heads are the same bytes but for the length of the
body. Such a head is parsed once, by the server's own parser, and remembered; a request that comes
whole, in one piece, under a known plain head is answered without a scope, a cycle and two messages:
those cost more than the model. What is not plain (an idempotency key, a trace, chunks, pipelining,
another path) is handed to uvicorn's own protocol unchanged.

This builds on uvicorn's `HttpToolsProtocol` and on attributes of it that are not documented. They
are used in this file only, and `fits()` says whether they are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from splice.engine.faults import faults
from splice.engine.line import Line
from splice.serve.drive import drive
from splice.serve.http.bounds import BoundedProtocol
from splice.serve.http.gateway import EVENT_STREAM, Gateway
from splice.serve.http.lane import HttpSurface, Reply
from splice.serve.tokens import token_of
from splice.serve.wire import EventStream, Surface, WireAnswer, WireCall

_STARTS = (b"POST /v1/", b"POST /v2/", b"POST /invocations ")
_NATIVE = b"/v1/integrations/"
_MAX_HEADS = 512
_MAX_HEAD = 4096  # bytes: what is remembered must be few, or callers could fill the memory
_MAX_LATER = 64 * 1024  # bytes of requests that wait behind one that runs
_NOT_PLAIN = frozenset(
    {b"transfer-encoding", b"expect", b"upgrade", b"content-encoding", b"trailer", b"te"}
    | {b"idempotency-key", b"traceparent"}
)
_NEEDED = (
    "data_received", "on_message_begin", "on_message_complete", "shutdown",
    "timeout_keep_alive_handler", "on_response_complete", "on_headers_complete",
)  # fmt: skip


class _Head(msgspec.Struct, frozen=True):
    """What is known of a plain head: what it calls, how long its body is, and who asks.

    `surface` is None for a native call of the integration `name`; else `name` is the path.
    """

    name: str
    length: int
    token: str
    headers: dict[bytes, bytes]
    surface: Surface | None = None


class _HeadReader:
    """Collects what httptools finds in one head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def read_head(head: bytes, max_body: int, gateway: Gateway | None = None) -> _Head | None:
    """The plain head in these bytes (up to and with its empty line), or None if it is not plain."""
    reader = _HeadReader()
    parser: Any = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
        return None
    if not parser.should_keep_alive():
        return None
    names = [name for name, _ in reader.headers]
    if _NOT_PLAIN.intersection(names) or names.count(b"content-length") != 1:
        return None
    headers = dict(reader.headers)
    url, length = reader.url, headers[b"content-length"]
    if b"%" in url or b"?" in url or not length.isdigit() or len(length) > 12:
        return None
    token = token_of(headers)
    wire = None if gateway is None else gateway.surface(url.decode("latin-1"))
    if gateway is not None and wire is not None:
        if not 0 < int(length) <= gateway.longest(wire)[0]:
            return None
        return _Head(url.decode("latin-1"), int(length), token, headers, wire)
    if headers.get(b"content-type", b"application/json") != b"application/json":
        return None
    if not (url.startswith(_NATIVE) and url.endswith(b"/calls")):
        return None
    name = url[len(_NATIVE) : -len(b"/calls")]
    if not name or b"/" in name or not 0 < int(length) <= max_body:
        return None
    return _Head(name.decode("latin-1"), int(length), token, headers)


class QuickProtocol(BoundedProtocol):
    """uvicorn's protocol with the quick lane before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app: Any = cast("Any", self.config).loaded_app
        self._surface = app if isinstance(app, HttpSurface) else None
        self._heads = _heads_of(self.server_state)
        self._busy = False
        self._task: asyncio.Task[None] | None = None  # a task that nobody holds may vanish
        self._later = b""
        self._last = 0.0
        self._closing = False
        self._address = ""

    def connection_made(self, transport: Any) -> None:
        """A client connected."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        """Bytes came: a whole plain request is taken here, anything else by uvicorn."""
        if self._busy:
            # The answer to the one before is still to come: keep the order. Whoever is not read
            # from cannot be seen to go away, so we push back only where much is waiting.
            self._later += data
            if len(self._later) > _MAX_LATER:
                self.flow.pause_reading()
            return
        if not self._in_message and data.startswith(_STARTS) and self._surface is not None:
            end = data.find(b"\r\n\r\n") + 4
            if 4 < end <= _MAX_HEAD:
                head = self._heads.get(data[:end]) or self._learn(data[:end])
                if head is not None and len(data) - end == head.length and self._is_idle():
                    self._in_head = False
                    self._begin(self._surface, head, data[end:])
                    return
        super().data_received(data)

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def _learn(self, raw: bytes) -> _Head | None:
        surface = self._surface
        if surface is None:
            return None
        head = read_head(raw, surface.max_body_bytes, surface.gateway)
        if head is not None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[raw] = head
        return head

    def _begin(self, surface: HttpSurface, head: _Head, body: bytes) -> None:
        if head.surface is not None:
            call = WireCall("POST", head.name, head.headers, body, self._address)
            self._busy = True
            self._run(self._answer_wire(surface, head.surface, call))
            return
        self._busy = True
        line = surface.simple_line(head.name, head.token)
        answering = self._answer(surface, head, body, line)
        if line is None:
            self._run(answering)
        else:
            drive(answering, self.loop)

    def _run(self, answering: Coroutine[Any, Any, None]) -> None:
        """In a task that the server knows of: one that outlives its shutdown is cancelled."""
        self._task = self.loop.create_task(answering)
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    async def _answer(
        self, surface: HttpSurface, head: _Head, body: bytes, line: Line | None
    ) -> None:
        reply = await surface.answer_for(head.token, self._address, head.name, body, line)
        if self.flow.write_paused:
            await self.flow.drain()
        if not self.transport.is_closing():
            self.transport.write(_bytes_of(reply, self.server_state.default_headers))
        if reply.extra and (b"connection", b"close") in reply.extra:
            self._closing = True
        self._done()

    async def _answer_wire(self, surface: HttpSurface, wire: Surface, call: WireCall) -> None:
        try:
            answer = await surface.gateway.answered(wire, call)
        except asyncio.CancelledError:
            if self.transport.is_closing():  # the client is gone
                raise
            answer = surface.gateway.too_late(wire, call)
        except Exception as error:  # noqa: BLE001 - the task ends here
            faults.told(f"a request for {call.path}", error)
            self.transport.close()
            return
        if (b"connection", b"close") in answer.headers:
            self._closing = True
        dates = self.server_state.default_headers
        if answer.stream is None:
            if self.flow.write_paused:
                await self.flow.drain()
            if not self.transport.is_closing():
                self.transport.write(_whole_bytes(answer, dates))
        else:
            await self._stream(answer, answer.stream)
        self._done()

    async def _stream(self, answer: WireAnswer, stream: EventStream) -> None:
        """Chunks of the transfer encoding, each of as many events as came at once."""
        try:
            head = _stream_head(answer, self.server_state.default_headers)
            while (block := await stream.next()) is not None:
                if self.flow.write_paused:
                    await self.flow.drain()
                if self.transport.is_closing():
                    return
                self.transport.write(b"%b%x\r\n%b\r\n" % (head, len(block), block))
                head = b""
            self.transport.write(head + b"0\r\n\r\n")
        finally:
            await stream.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it waited for is stopped."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        super().connection_lost(exc)

    def _done(self) -> None:
        self._busy, self._task = False, None
        self.server_state.total_requests += 1
        self._last = self.loop.time()
        if self._closing:
            self.transport.close()
            return
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._later and not self.transport.is_closing():
            later, self._later = self._later, b""
            self.flow.resume_reading()
            self.data_received(later)

    def timeout_keep_alive_handler(self) -> None:
        """One timer a connection, not one a request: if it was used since, look again later."""
        idle = self.loop.time() - self._last
        if not self._busy and idle >= self.timeout_keep_alive - 0.001:
            super().timeout_keep_alive_handler()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            max(0.01, self.timeout_keep_alive - idle), self.timeout_keep_alive_handler
        )

    def shutdown(self) -> None:
        """The server stops: a call that is running is answered first."""
        if self._surface is not None:
            self._surface.drain()
        if self._busy:
            self._closing = True
        else:
            super().shutdown()


def _bytes_of(reply: Reply, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    if reply.status == 200 and not reply.extra:
        dates = b"".join([b"%b: %b\r\n" % pair for pair in default_headers])
        return (
            b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\nsplice-call-id: %b\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (dates, reply.call_id.encode(), len(reply.body), reply.body)
        )
    headers = [*default_headers, *reply.headers()]
    lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    return b"%b%b\r\n%b" % (STATUS_LINE[reply.status], lines, reply.body)


def _whole_bytes(answer: WireAnswer, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join([b"%b: %b\r\n" % pair for pair in (*default_headers, *answer.headers)])
    return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        STATUS_LINE[answer.status], lines, answer.content_type, len(answer.body), answer.body,
    )  # fmt: skip


def _stream_head(answer: WireAnswer, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    pairs = (*default_headers, *EVENT_STREAM, *answer.headers)
    lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
    return b"%b%btransfer-encoding: chunked\r\n\r\n" % (STATUS_LINE[answer.status], lines)


def _heads_of(server_state: Any) -> dict[bytes, _Head]:
    """The heads that this server has seen: they live as long as it does."""
    if not hasattr(server_state, "splice_heads"):
        server_state.splice_heads = dict[bytes, _Head]()
    return server_state.splice_heads


def fits() -> bool:
    """Whether the installed uvicorn has what the quick lane builds on."""
    return all(hasattr(HttpToolsProtocol, name) for name in _NEEDED)
