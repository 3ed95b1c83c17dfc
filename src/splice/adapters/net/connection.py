"""One HTTP/1.1 connection to a provider: one exchange at a time, whole or as a stream.

A wait that ends early hangs up: nobody pays for tokens that nobody waits for. Deadlines cost no
timer a call: a connection has one, and sets it again only when it has rung too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from splice.adapters.net.answers import (
    Fault,
    HttpFault,
    HttpReply,
    HttpStream,
    RawHeaders,
)

_HEAD_LIMIT = 64 * 1024
_REST_S = 1.0  # how long the end of a stream may take whose last event has come
_EARLY_S = 0.002  # uvloop's timers count in milliseconds
NEVER = float("inf")

Waiter = asyncio.Future[HttpReply | HttpStream]


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time.

    Args:
        loop: The event loop it lives in.
        body_limit: The most bytes that one answer may have, streams included.
        freed: Is told when an exchange has ended and the connection may be used again.
        lost: Is told when it cannot be used any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        body_limit: int,
        freed: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.usable = True
        self.idle_since = 0.0
        self._body_limit = body_limit
        self._freed = freed
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._fresh: list[bytes] = []  # of the body, from one read; never another list
        self.on_body = self._fresh.append  # the parser calls it for every chunk: no Python there
        self._parser = httptools.HttpResponseParser(self)  # one for all its exchanges
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER
        self._waiter: Waiter | None = None  # stays until the exchange is over
        self._reset(NEVER)

    def _reset(self, until: float) -> None:
        self._headers: RawHeaders = []
        self._answered: RawHeaders = []
        self._chunks: list[bytes] = []
        self._stream: HttpStream | None = None
        self._live = False
        self._status = 0
        self._size = 0
        self._received = 0
        self._done = False
        self._end = 0  # of the answer, among what is fresh
        self._unasked = False
        self._failed = False
        self._discards = False
        self._until = until
        self._silence_s = NEVER
        self._heard_at = 0.0

    def ask(self, head: bytes, body: bytes, until: float, *, live: bool) -> Waiter:
        """Send one request. What is returned gets the reply, or the stream once its head is there.

        `until` is on the loop's clock. Whoever stops waiting calls `drop`.
        """
        waiter: Waiter = self.loop.create_future()
        transport = self._transport
        if transport is None or not self.usable or transport.is_closing():
            gone = HttpFault("broken", "the connection was closed while idle", unread=True)
            waiter.set_exception(gone)
            return waiter
        self._reset(until)
        self._live = live
        self._waiter = waiter
        if until < self._alarm_at:
            self._set_alarm(until)
        if len(body) < _HEAD_LIMIT:
            transport.write(head + body)
        else:  # 32 MB need not be copied
            transport.write(head)
            transport.write(body)
        return waiter

    @property
    def waited_for(self) -> bool:
        """Whether somebody reads, or will read, what comes."""
        return self._waiter is not None and not self._discards

    def drop(self, waiter: Waiter) -> None:
        """Nobody waits any more: hang up, unless that exchange is over."""
        if self._waiter is waiter:
            self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self.usable = False
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    # Time

    def watch(self, between_s: float) -> None:
        """Allow no longer silences than this from now on."""
        self._silence_s = between_s
        self._heard_at = self.loop.time()
        self._set_alarm_for(min(self._until, self._heard_at + between_s))

    def finish(self) -> None:
        """Throw away what still comes of this exchange, and wait only briefly for its end."""
        self._discards = True
        self._silence_s = NEVER
        self._until = min(self._until, self.loop.time() + _REST_S)
        self._set_alarm_for(self._until)

    def resume(self) -> None:
        """Read on; the time in which we did not read was not the server's silence."""
        if self._transport is not None and not self._transport.is_closing():
            self._heard_at = self.loop.time()
            self._transport.resume_reading()

    def _set_alarm_for(self, due: float) -> None:
        if due < self._alarm_at:
            self._set_alarm(due)

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self.loop.call_at(due, self._ring)

    def _ring(self) -> None:
        """The alarm: too late, or not yet, and then it is set again."""
        self._alarm = None
        self._alarm_at = NEVER
        if self._waiter is None:
            return
        stream = self._stream
        now = self.loop.time() + _EARLY_S
        quiet_until = self._heard_at + self._silence_s
        if stream is not None and stream.paused:
            quiet_until = now + self._silence_s  # it is we who do not read
        if now >= self._until:
            self._fail("late", "the deadline passed")
        elif now >= quiet_until:
            self._fail("late", f"silence for {self._silence_s:g} s")
        elif (due := min(self._until, quiet_until)) < NEVER:
            self._set_alarm(due)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.usable = False
        if self._alarm is not None:
            self._alarm.cancel()
        self._lost(self)
        if self._waiter is None:
            return
        if exc is None and self._status >= 200 and not self._sized():
            self._answered = self._headers
            self._complete()  # an answer without a length ends with its connection
            self._over()
            return
        what = "in the middle of its answer" if self._received else "without an answer"
        self._fail("broken", f"the server hung up {what}", unread=not self._received)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._waiter is None:
            self.abort()  # nothing was asked: what comes now would be taken for the next answer
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unasked = True
            if not self._done:
                self._fail("garbled", "the server switched to another protocol")
        except httptools.HttpParserError as error:
            self._unasked = True  # of the next answer, which nobody wants, where this one is whole
            if not self._done:
                self._fail("garbled", f"not HTTP/1.1: {error}")
        if self._fresh:
            self._take()
        if self._failed:
            return
        if self._done:
            self._complete()
            self._over()
        elif self._stream is not None:
            if self._silence_s < NEVER:
                self._heard_at = self.loop.time()
            self._stream.heard()
        elif self._status == 0 and self._received > _HEAD_LIMIT:
            self._fail("too large", f"headers of more than {_HEAD_LIMIT} bytes")

    def _take(self) -> None:
        """Take what one read has brought of the body."""
        fresh = self._fresh
        if self._done:
            del fresh[self._end :]  # of a second answer, which nobody asked for
        chunk = fresh[0] if len(fresh) == 1 else b"".join(fresh)
        fresh.clear()
        self._size += len(chunk)
        if self._failed:
            return
        if self._size > self._body_limit:
            self._fail("too large", f"a body of more than {self._body_limit} bytes")
        elif self._stream is None:
            self._chunks.append(chunk)
        elif not self._discards and self._stream.take(chunk) and self._transport is not None:
            self._transport.pause_reading()

    # What the parser calls

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._done:  # a second answer to one question: whose would it be?
            self._unasked = True
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if status < 200 or self._done:  # an interim answer; the real one follows
            return
        self._status = status
        for name, value in self._headers:
            if (
                len(name) == 16
                and name.lower() == b"content-encoding"
                and value.lower() != b"identity"
            ):
                self._fail("garbled", "a compressed body, which was not asked for")
                return
        if self._live and self._waiter is not None and not self._waiter.done():
            self._stream = HttpStream(self, status, self._headers)
            self._waiter.set_result(self._stream)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._status >= 200 and not self._done:
            self.usable = self.usable and self._parser.should_keep_alive()
            self._done = True
            self._end = len(self._fresh)
            self._answered = self._headers

    # The end of an exchange

    def _sized(self) -> bool:
        return any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )

    def _complete(self) -> None:
        if self._stream is None and self._waiter is not None and not self._waiter.done():
            chunks = self._chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._waiter.set_result(HttpReply(self._status, self._answered, body))

    def _over(self) -> None:
        """The answer is whole: the connection is free, unless something is odd about it."""
        stream, self._stream = self._stream, None
        transport = self._transport
        self._waiter = None
        self._chunks = []
        if stream is not None:
            if stream.paused and transport is not None:
                transport.resume_reading()
            stream.end()
        # A server may answer before it has read all; what it has not read must not follow.
        unsent = transport is not None and transport.get_write_buffer_size() > 0
        if self.usable and not self._unasked and not unsent:
            self._freed(self)
        else:
            self.abort()

    def _fail(self, fault: Fault, detail: str, *, unread: bool = False) -> None:
        waiter, self._waiter = self._waiter, None
        stream, self._stream = self._stream, None
        error = HttpFault(fault, detail, unread=unread)
        self._done = self._failed = True
        if stream is not None:
            stream.end(error)
        elif waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()
