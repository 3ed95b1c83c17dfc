"""Bounds on what comes before and after a body: uvicorn has none for the head of a request.

A client may send the head byte by byte for ever, or a head without end; each holds a connection, or
memory. A head has so many bytes and so many seconds here; trailers and the framing of chunks have
as much again, and a body that nobody reads any more is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from splice.serve.http.certificates import with_names
from splice.serve.http.problems import PROBLEM_JSON, ProblemDetails

MAX_HEAD = 64 * 1024
"""Bytes of the request line and all headers; h11 and most proxies take as much."""

_FRAMING = 8
"""Bytes on the wire for one of a body, at most: chunks of one byte take six."""

_MOST_FRAMING = 8 << 20
"""Bytes of framing, at most: nobody cuts a long body into single bytes in earnest."""

_TOO_LARGE = ProblemDetails(
    "urn:splice:error:head_too_large", "The head of the request is too large", 431,
    f"got more than {MAX_HEAD} bytes, expected at most {MAX_HEAD}", "head_too_large", "http",
    f"more than {MAX_HEAD} bytes", f"at most {MAX_HEAD} bytes",
    "send fewer or shorter headers",
)  # fmt: skip
_TOO_SLOW = ProblemDetails(
    "urn:splice:error:head_too_slow", "The request did not arrive", 408,
    "got no whole request in time", "head_too_slow", "http", "no whole request in time",
    "the head of a request at once",
)  # fmt: skip


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds of its application: `longest_body(path)`, `body_seconds`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app: Any = cast("Any", self.config).loaded_app
        self._longest: Callable[[str], int] = getattr(app, "longest_body", _longest)
        self._max_message = _message_bytes(self._longest(""))
        self._max_seconds: float = getattr(app, "body_seconds", 15.0)
        self._in_message = False
        self._in_head = False
        self._received = 0
        self._since = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client connected: its first request is due."""
        super().connection_made(transport)
        self.client = with_names(self.client, transport)
        self._in_head, self._since = True, self.loop.time()
        self._watch = self.loop.call_later(self._max_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._received += len(data)
        super().data_received(data)
        if self._in_head:
            if self._received > MAX_HEAD:
                self._refuse(_TOO_LARGE)
        elif self._received > self._max_message and self._in_message:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_message = self._in_head = True
        self._received, self._since = 0, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._in_head = False
        super().on_headers_complete()
        self._max_message = _message_bytes(self._longest(self.scope["path"]))
        self.headers = _Trailers()

    def on_message_complete(self) -> None:
        """It is here to its end."""
        self._in_message = False
        super().on_message_complete()

    def _look(self) -> None:
        """One timer a connection, not one a request."""
        self._watch = self.loop.call_later(self._max_seconds, self._look)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        unread = self._in_message and cycle is not None and cycle.response_complete
        if not (self._in_head or unread):
            return
        if self.loop.time() - self._since >= self._max_seconds and not self.transport.is_closing():
            if self._in_message and self._in_head:
                self._refuse(_TOO_SLOW)
            else:
                self.transport.close()

    def _refuse(self, wrong: ProblemDetails) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(wrong)
        self.transport.write(
            b"HTTP/1.1 %d \r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (wrong.status, PROBLEM_JSON, len(body), body)
        )
        self.transport.close()


def _longest(_: str) -> int:
    return 1 << 20


def _message_bytes(body_bytes: int) -> int:
    """Bytes on the wire of a whole request, its framing included."""
    return MAX_HEAD + body_bytes + min((_FRAMING - 1) * body_bytes, _MOST_FRAMING)


class _Trailers(list[tuple[bytes, bytes]]):
    """Trailers are read by nobody, and so not kept."""

    def append(self, _: tuple[bytes, bytes], /) -> None:
        """Let go of it."""
