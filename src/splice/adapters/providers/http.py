"""A small HTTP/1.1 client for JSON endpoints: pooled, bounded, and a cancelled call hangs up.

Why not a library: pyreqwest 0.15.1 goes on with the upstream request after its task is cancelled
(also after `Client.close()`), so tokens nobody waits for would be paid; pyqwest 0.12.0 hangs up but
always obeys proxy variables of the environment. Here the parser is httptools (llhttp), and aborting
is closing the socket. Not spoken: HTTP/2, compression, redirects (a key must not follow one).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import Literal, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from splice.core.errors import SettingsError

_HEAD_LIMIT = 64 * 1024
_IDLE_S = 30.0  # shorter than the keep-alive of common servers but uvicorn's 5 s, hence the retry
_IDLE_MOST = 128

Fault = Literal[
    "refused", "unknown host", "tls", "connect timeout", "broken", "garbled", "too large"
]


class HttpFault(Exception):
    """The exchange failed below HTTP; `unread` says that no byte of an answer had come."""

    def __init__(self, fault: Fault, detail: str, *, unread: bool = False) -> None:
        super().__init__(fault, detail)
        self.fault: Fault = fault
        self.detail = detail
        self.unread = unread


class HttpReply(msgspec.Struct, frozen=True):
    """Status, headers (names in lower case, the last of a name wins) and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:  # a traceback with local variables must not hold what was said
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


class Origin(msgspec.Struct, frozen=True):
    """Where a base URL leads, with the path that comes before every other."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def host_header(self) -> str:
        """What to send as `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def origin_of(url: str, where: str) -> Origin:
    """The parts of a base URL.

    Raises:
        SettingsError: It is not plain http(s), or it carries a user, a password or a query, which
            would end in logs; the error does not repeat the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or not printable:
        raise SettingsError(
            f"{where}.base_url",
            got="something else",
            promised='a URL such as "https://api.example.com/v1", without user, query or fragment',
            mend="hand credentials over as api_key or as headers",
        )
    tls = parts.scheme == "https"
    return Origin(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self, body_limit: int) -> None:
        self._body_limit = body_limit
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[HttpReply] | None = None
        self.usable = True
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._headed = False
        self._until_close = False
        self._done = False

    async def exchange(self, head: bytes, body: bytes) -> HttpReply:
        """Send one request and wait for its whole answer; a cancelled wait hangs up."""
        if self._transport is None or self._transport.is_closing():
            raise HttpFault("broken", "the connection was closed while idle", unread=True)
        self._reset()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(head + body)
            return await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def abort(self) -> None:
        """Hang up at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._headed and self._until_close and not self._done and exc is None:
            self._complete()
        else:
            what = "in the middle of its answer" if self._received else "without an answer"
            self._fail("broken", f"the server hung up {what}", unread=not self._received)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # nothing was asked: what comes now would be taken for the next answer
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("garbled", "the server switched to another protocol")
        except httptools.HttpParserError as error:
            self._fail("garbled", f"not HTTP/1.1: {error}")
        if not self._headed and self._received > _HEAD_LIMIT:
            self._fail("too large", f"headers of more than {_HEAD_LIMIT} bytes")

    def on_message_begin(self) -> None:
        if self._done:  # a second answer to one question: whose would it be?
            self.usable = False
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headed = True
        sized = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._until_close = not sized
        encoding = self._headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            self._fail("garbled", "a compressed body, which was not asked for")

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._body_limit:
            self._fail("too large", f"a body of more than {self._body_limit} bytes")
        else:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # an interim answer; the real one follows
            self._headed = False
            return
        self._complete()

    def _complete(self) -> None:
        if self._done:
            return
        self._done = True
        self.usable = self.usable and not self._until_close and self._parser.should_keep_alive()
        reply = HttpReply(self._parser.get_status_code(), self._headers, b"".join(self._chunks))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)

    def _fail(self, fault: Fault, detail: str, *, unread: bool = False) -> None:
        self.usable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(HttpFault(fault, detail, unread=unread))
        if self._transport is not None:
            self._transport.abort()


class _Pool:
    """The idle connections of one event loop."""

    def __init__(self) -> None:
        self.idle: list[_Connection] = []
        self.keeper = self._keep()

    def drain(self) -> None:
        """Hang them all up; only in the loop that they belong to."""
        while self.idle:
            self.idle.pop().abort()

    async def _keep(self) -> AsyncGenerator[None]:
        """Drains the pool when its loop shuts down: a loop then closes its async generators.

        Without it, connections of a loop that ends before `Http.close()` would stay open.
        """
        try:
            yield
        finally:
            self.drain()


class Http:
    """Requests to one origin. For use from any event loop: each has connections of its own."""

    def __init__(
        self,
        origin: Origin,
        headers: Mapping[str, str],
        *,
        body_limit: int,
        connect_s: float,
        ca_file: str | None = None,
    ) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._origin = origin
        self._common = f"host: {origin.host_header}\r\n{lines}".encode("latin-1")
        self._body_limit = body_limit
        self._connect_s = connect_s
        self._tls = ssl.create_default_context(cafile=ca_file) if origin.tls else None
        if self._tls is not None:
            self._tls.set_alpn_protocols(["http/1.1"])
        self._lock = threading.Lock()
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = (
            weakref.WeakKeyDictionary()
        )

    async def get(self, path: str) -> HttpReply:
        """The answer to a GET of a path below the base URL.

        Raises:
            HttpFault: There was no whole answer.
        """
        return await self._send("GET", path, b"", b"")

    async def post(self, path: str, body: bytes, trace: str = "") -> HttpReply:
        """The answer to a POST of JSON; `trace` becomes the `traceparent` header.

        Raises:
            HttpFault: There was no whole answer.
        """
        extra = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        if trace:
            extra += f"traceparent: {trace}\r\n"
        return await self._send("POST", path, extra.encode("latin-1"), body)

    async def _send(self, method: str, path: str, extra: bytes, body: bytes) -> HttpReply:
        start = f"{method} {self._origin.path}{path} HTTP/1.1\r\n".encode("latin-1")
        head = start + self._common + extra + b"\r\n"
        pool = await self._pool()
        kept = self._take(pool)
        if kept is not None:
            try:
                return await self._exchange(pool, kept, head, body)
            except HttpFault as fault:
                # A server may close an idle connection just as we write. No byte came, so one more
                # try on a fresh connection: at worst a completion is made, and paid, twice.
                if not fault.unread:
                    raise
        return await self._exchange(pool, await self._connect(), head, body)

    async def _exchange(
        self, pool: _Pool, connection: _Connection, head: bytes, body: bytes
    ) -> HttpReply:
        reply = await connection.exchange(head, body)
        self._give_back(pool, connection)
        return reply

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        origin = self._origin
        at = f"{origin.host}:{origin.port}"
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._body_limit), origin.host, origin.port, ssl=self._tls
                )
        except TimeoutError:
            raise HttpFault("connect timeout", f"{at} after {self._connect_s:g} s") from None
        except socket.gaierror as error:
            raise HttpFault("unknown host", f"{origin.host} ({error.strerror})") from None
        except ssl.SSLError as error:
            # The whole text, for `reason` alone does not say which check of a certificate failed.
            raise HttpFault("tls", f"{at}: {error}") from None
        except OSError as error:
            raise HttpFault("refused", f"{at} ({error.strerror or error})") from None
        return connection

    async def _pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        with self._lock:
            pool = self._pools.get(loop)
            if pool is not None:
                return pool
            pool = self._pools[loop] = _Pool()
        await anext(pool.keeper)
        return pool

    def _take(self, pool: _Pool) -> _Connection | None:
        while pool.idle:
            connection = pool.idle.pop()
            if connection.usable and time.monotonic() - connection.idle_since < _IDLE_S:
                return connection
            connection.abort()
        return None

    def _give_back(self, pool: _Pool, connection: _Connection) -> None:
        if connection.usable and len(pool.idle) < _IDLE_MOST:
            connection.idle_since = time.monotonic()
            pool.idle.append(connection)
        else:
            connection.abort()

    async def close(self) -> None:
        """Hang up every idle connection, whichever loop it belongs to."""
        with self._lock:
            pools = list(self._pools.items())
            self._pools.clear()
        here = asyncio.get_running_loop()
        for loop, pool in pools:
            if loop is here:
                await pool.keeper.aclose()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.drain)
