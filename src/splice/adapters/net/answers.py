"""What comes back over HTTP: a fault, a whole reply, or a stream."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

_UNREAD_MOST = 256 * 1024  # of a stream, before we stop reading from the socket

Fault = Literal[
    "refused", "unknown host", "tls", "connect timeout", "broken", "garbled", "too large", "late"
]


class HttpFault(Exception):
    """The exchange failed below HTTP; `unread` says that no byte of an answer had come.

    `late` is the caller's own deadline, or a silence longer than he allows.
    """

    def __init__(self, fault: Fault, detail: str, *, unread: bool = False) -> None:
        super().__init__(fault, detail)
        self.fault: Fault = fault
        self.detail = detail
        self.unread = unread


RawHeaders = list[tuple[bytes, bytes]]


def _read(raw: RawHeaders) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _content_type(raw: RawHeaders) -> bytes:
    for name, value in raw:
        if len(name) == 12 and name.lower() == b"content-type":
            return value
    return b""


class HttpReply:
    """Status, headers (names in lower case, the last of a name wins) and the whole body."""

    __slots__ = ("_raw", "body", "status")

    def __init__(self, status: int, raw: RawHeaders, body: bytes) -> None:
        self.status = status
        self._raw = raw
        self.body = body

    @property
    def headers(self) -> dict[str, str]:
        """Read anew each time: most replies are never asked for them."""
        return _read(self._raw)

    @property
    def content_type(self) -> bytes:
        """As the server wrote it; empty where it did not."""
        return _content_type(self._raw)

    def __repr__(self) -> str:  # a traceback with local variables must not hold what was said
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


class Carrier(Protocol):
    """The connection, as a stream sees it."""

    loop: asyncio.AbstractEventLoop

    def abort(self) -> None:
        """Hang up at once."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def watch(self, between_s: float) -> None:
        """Allow no longer silences than this."""
        ...

    def finish(self) -> None:
        """Throw away what still comes, and wait only briefly for the end."""
        ...


class HttpStream:
    """One answer whose body comes bit by bit. Read it to its end, or hang up.

    For one reader, in the event loop that opened it.
    """

    __slots__ = (
        "_chunks", "_connection", "_ended", "_fault", "_raw", "_unread", "_waiter", "paused",
        "status",
    )  # fmt: skip

    def __init__(self, connection: Carrier, status: int, raw: RawHeaders) -> None:
        self.status = status
        self._raw = raw
        self._connection: Carrier | None = connection  # None once it serves another
        self._chunks: list[bytes] = []
        self._unread = 0
        self.paused = False  # there is much unread: nothing more is read from the socket
        self._ended = False
        self._fault: HttpFault | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """As in `HttpReply`."""
        return _read(self._raw)

    @property
    def content_type(self) -> bytes:
        """As in `HttpReply`."""
        return _content_type(self._raw)

    def __repr__(self) -> str:
        return f"HttpStream({self.status})"

    async def next(self) -> bytes | None:
        """All of the body that has come since the last time; None after the regular end.

        A cancelled wait hangs up.

        Raises:
            HttpFault: It broke off, was silent for too long, or took too long as a whole.
        """
        chunks = self._chunks
        while not chunks:
            if self._fault is not None:
                raise self._fault
            if self._ended or self._connection is None:
                return None
            self._waiter = self._connection.loop.create_future()
            try:
                await self._waiter
            except BaseException:
                self.hang_up()
                raise
            finally:
                self._waiter = None
        taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._unread = 0
        if self.paused:
            self.paused = False
            if self._connection is not None:
                self._connection.resume()
        return taken

    async def rest(self, most: int) -> bytes:
        """The body to its end, cut after `most` bytes.

        Raises:
            HttpFault: As in `next`.
        """
        parts: list[bytes] = []
        size = 0
        while size < most:
            part = await self.next()
            if part is None:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
        self.hang_up()
        return b"".join(parts)[:most]

    def watch(self, between_s: float) -> None:
        """From now on, so many seconds without a byte of it are a fault (`late`)."""
        if self._connection is not None:
            self._connection.watch(between_s)

    def finish(self) -> None:
        """Nobody reads on, but the end is near: the connection is kept if it comes at once."""
        self._chunks.clear()
        if self._connection is not None and not self._ended:
            if self.paused:
                self._connection.resume()
            self._connection.finish()

    def hang_up(self) -> None:
        """Close the connection, unless the end has come; harmless when repeated."""
        connection, self._connection = self._connection, None
        self._chunks.clear()
        if connection is not None and not self._ended:
            connection.abort()
        self._wake()

    # What follows is for the connection.

    def take(self, chunk: bytes) -> bool:
        """Keep some of the body; whether there is now so much unread that no more should come."""
        self._chunks.append(chunk)
        self._unread += len(chunk)
        if self._unread > _UNREAD_MOST and not self.paused:
            self.paused = True
            return True
        return False

    def end(self, fault: HttpFault | None = None) -> None:
        """No more will come."""
        self._ended = True
        self._fault = fault
        self._connection = None
        self._wake()

    def heard(self) -> None:
        """Wake the reader if there is something to read."""
        if self._chunks:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
