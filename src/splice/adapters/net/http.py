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
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import cast
from urllib.parse import urlsplit

import msgspec

from splice.adapters.net.answers import Fault, HttpFault, HttpReply, HttpStream
from splice.adapters.net.connection import NEVER, Connection
from splice.core.errors import InputMismatch, SettingsError

__all__ = ["Fault", "Http", "HttpFault", "HttpReply", "HttpStream", "Origin", "origin_of"]

_IDLE_S = 30.0  # shorter than the keep-alive of common servers but uvicorn's 5 s, hence the retry
_IDLE_MOST = 512
_HEADS_MOST = 256
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest answer that is read, streams included."""

# What says where a message begins and ends, or whose connection it is, is ours to say.
_OURS = frozenset({
    "connection", "content-length", "content-type", "expect", "host", "keep-alive",
    "proxy-authorization", "proxy-connection", "te", "trailer", "traceparent", "transfer-encoding",
    "upgrade", "accept-encoding",
})  # fmt: skip


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


class _Pool:
    """The idle connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.idle: list[Connection] = []
        self.every: set[Connection] = set()
        self.closed = False
        self.keeper = self._keep()

    def take(self, now: float) -> Connection | None:
        """The connection that was used last, unless it has been idle for long."""
        while self.idle:
            connection = self.idle.pop()
            if connection.usable and now - connection.idle_since < _IDLE_S:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for later."""
        if len(self.idle) < _IDLE_MOST and not self.closed:
            connection.idle_since = connection.loop.time()
            self.idle.append(connection)
        else:
            connection.abort()

    def forget(self, connection: Connection) -> None:
        """A connection was lost."""
        self.every.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def drain(self) -> None:
        """Hang up those that nobody waits for; only in the loop that they belong to."""
        self.closed = True
        self.idle.clear()
        for connection in list(self.every):
            if not connection.waited_for:
                connection.abort()

    async def _keep(self) -> AsyncGenerator[None]:
        """Drains the pool when its loop shuts down: a loop then closes its async generators.

        Without it, connections of a loop that ends before `Http.close()` would stay open.
        """
        try:
            yield
        finally:
            self.drain()


class Http:
    """Requests to one origin. For use from any event loop: each has connections of its own.

    Args:
        origin: Where to.
        headers: Sent with every request; a `host` or `content-type` among them replaces ours.
        body_limit: The most bytes of one answer, whole or streamed.
        connect_s: Seconds for a new connection, TLS included.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self,
        origin: Origin,
        headers: Mapping[str, str],
        *,
        body_limit: int = BODY_LIMIT,
        connect_s: float,
        ca_file: str | None = None,
    ) -> None:
        given = {name.lower(): value for name, value in headers.items()}
        host = given.pop("host", origin.host_header)
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._typed = "content-type" in given
        self._origin = origin
        self._headers = dict(headers)
        self._ca_file = ca_file
        self._common = f"host: {host}\r\n{lines}".encode("latin-1")
        self._own = _OURS | given.keys()
        self._heads: dict[str, bytes] = {}
        self._body_limit = body_limit
        self._connect_s = connect_s
        self._tls = ssl.create_default_context(cafile=ca_file) if origin.tls else None
        if self._tls is not None:
            self._tls.set_alpn_protocols(["http/1.1"])
        self._lock = threading.Lock()
        self._recent: _Pool | None = None
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = (
            weakref.WeakKeyDictionary()
        )

    async def get(
        self, path: str, timeout_s: float | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """The answer to a GET of a path below the base URL.

        Raises:
            HttpFault: There was no whole answer, or not within `timeout_s`.
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = self._head("GET", path) + more.encode("latin-1") + b"\r\n"
        return cast("HttpReply", await self._ask(head, b"", timeout_s, live=False))

    async def post(
        self,
        path: str,
        body: bytes,
        trace: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpReply:
        """The answer to a POST of JSON; `trace` becomes the `traceparent` header.

        `headers` are sent beside the common ones, which they never replace.

        Raises:
            HttpFault: There was no whole answer, or not within `timeout_s`.
            InputMismatch: One of `headers` cannot be sent.
        """
        head = self._post_head(path, body, trace, headers)
        return cast("HttpReply", await self._ask(head, body, timeout_s, live=False))

    async def open(
        self,
        path: str,
        body: bytes,
        trace: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpStream:
        """The same as a stream, once its status and headers have come.

        `timeout_s` is for the whole of it; `HttpStream.watch` bounds its silences.

        Raises:
            HttpFault: There was no answer, or not within `timeout_s`.
            InputMismatch: One of `headers` cannot be sent.
        """
        head = self._post_head(path, body, trace, headers)
        return cast("HttpStream", await self._ask(head, body, timeout_s, live=True))

    async def post_once(
        self,
        path: str,
        body: bytes,
        kind: str,
        timeout_s: float | None = None,
        method: str = "POST",
    ) -> HttpReply:
        """The answer to a POST (or a PUT) of a content type that must not be sent twice.

        It goes over a connection of its own: an idle one that the server closes as we write would
        leave open whether it read the request.

        Raises:
            HttpFault: There was no whole answer, or not within `timeout_s`.
        """
        start = self._head(method, path, kind)
        head = b"%bcontent-length: %d\r\n\r\n" % (start, len(body))
        reply = await self._ask(head, body, timeout_s, live=False, fresh=True)
        return cast("HttpReply", reply)

    async def fetch(self, path: str, timeout_s: float | None = None) -> HttpStream:
        """The answer to a GET as a stream, for what is too large to be held whole.

        Raises:
            HttpFault: There was no answer, or not within `timeout_s`.
        """
        head = self._head("GET", path) + b"\r\n"
        return cast("HttpStream", await self._ask(head, b"", timeout_s, live=True))

    def wider(self, body_limit: int, headers: Mapping[str, str] | None = None) -> Http:
        """A client of the same place with another bound for answers, and further headers."""
        return Http(
            self._origin,
            {**self._headers, **(headers or {})},
            body_limit=body_limit,
            connect_s=self._connect_s,
            ca_file=self._ca_file,
        )

    def _post_head(
        self, path: str, body: bytes, trace: str, headers: Mapping[str, str] | None
    ) -> bytes:
        if not trace and not headers:
            return b"%bcontent-length: %d\r\n\r\n" % (self._head("POST", path), len(body))
        more = f"traceparent: {trace}\r\n" if trace else ""
        for name, value in (headers or {}).items():
            more += self._line(name, value)
        start = self._head("POST", path)
        return b"%bcontent-length: %d\r\n%b\r\n" % (start, len(body), more.encode("ascii"))

    def _line(self, name: str, value: str) -> str:
        """One header of a caller; empty where it is not for callers to say."""
        if not sendable(name, value):
            raise InputMismatch(
                f"headers.{name!r}"[:100],
                got="a name or a value that no header can carry",
                promised="printable ASCII without spaces around it",
            )
        return "" if name.lower() in self._own else f"{name}: {value}\r\n"

    def _head(self, method: str, path: str, kind: str = "application/json") -> bytes:
        """Request line and common headers, made once a path."""
        key = method + path + kind
        head = self._heads.get(key)
        if head is None:
            if not path.startswith("/") or not path.isascii() or not path.isprintable():
                raise ValueError("a path that no request line can carry")
            if " " in path:
                raise ValueError("a path with a space")
            typed = f"content-type: {kind}\r\n" if method != "GET" and not self._typed else ""
            start = f"{method} {self._origin.path}{path} HTTP/1.1\r\n"
            head = start.encode("ascii") + self._common + typed.encode("ascii")
            if len(self._heads) >= _HEADS_MOST:  # paths with names of models in them add up
                self._heads = {}
            self._heads[key] = head
        return head

    async def _ask(
        self,
        head: bytes,
        body: bytes,
        timeout_s: float | None,
        *,
        live: bool,
        fresh: bool = False,
    ) -> HttpReply | HttpStream:
        loop = asyncio.get_running_loop()
        pool = self._recent
        if pool is None or pool.loop() is not loop:
            pool = await self._pool(loop)
        now = loop.time()
        until = NEVER if timeout_s is None else now + timeout_s
        if until <= now:
            raise HttpFault("late", "no time was left", unread=True)
        kept = None if fresh else pool.take(now)
        while True:
            connection = kept or await self._connect(pool, loop, until)
            waiter = connection.ask(head, body, until, live=live)
            try:
                return await waiter
            except HttpFault as fault:
                # A server may close an idle connection just as we write. No byte came, so one more
                # try on a fresh connection: at worst a completion is made, and paid, twice.
                if kept is None or not fault.unread:
                    raise
                kept = None
            except BaseException:
                connection.drop(waiter)
                if waiter.done() and not waiter.cancelled():
                    waiter.exception()  # asyncio would complain that nobody looked at it
                raise

    async def _connect(
        self, pool: _Pool, loop: asyncio.AbstractEventLoop, until: float
    ) -> Connection:
        origin = self._origin
        at = f"{origin.host}:{origin.port}"
        left = until - loop.time()

        def protocol() -> Connection:
            return Connection(loop, self._body_limit, pool.give_back, pool.forget)

        try:
            async with asyncio.timeout(min(self._connect_s, left)):
                _, connection = await loop.create_connection(
                    protocol, origin.host, origin.port, ssl=self._tls
                )
        except TimeoutError:
            if left <= self._connect_s:
                raise HttpFault("late", "the deadline passed") from None
            raise HttpFault("connect timeout", f"{at} after {self._connect_s:g} s") from None
        except socket.gaierror as error:
            raise HttpFault("unknown host", f"{origin.host} ({error.strerror})") from None
        except ssl.SSLError as error:
            # The whole text, for `reason` alone does not say which check of a certificate failed.
            raise HttpFault("tls", f"{at}: {error}") from None
        except OSError as error:
            raise HttpFault("refused", f"{at} ({error.strerror or error})") from None
        pool.every.add(connection)
        return connection

    async def _pool(self, loop: asyncio.AbstractEventLoop) -> _Pool:
        with self._lock:
            pool = self._pools.get(loop)
            if pool is not None and not pool.closed:
                self._recent = pool
                return pool
            pool = self._recent = self._pools[loop] = _Pool(loop)
        await anext(pool.keeper)
        return pool

    async def close(self) -> None:
        """Hang up every idle connection, whichever loop it belongs to."""
        with self._lock:
            pools = list(self._pools.items())
            self._pools.clear()
            self._recent = None
        here = asyncio.get_running_loop()
        for loop, pool in pools:
            if loop is here:
                await pool.keeper.aclose()
                pool.drain()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(pool.drain)


def sendable(name: str, value: str) -> bool:
    """Whether a header can be sent as it is, and only as itself."""
    return (
        value.isascii()
        and value.isprintable()
        and value == value.strip()
        and name.isascii()
        and name.replace("-", "").replace("_", "").isalnum()
    )
