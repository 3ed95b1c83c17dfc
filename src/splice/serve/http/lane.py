"""The HTTP surface: a short lane for calls, everything else delegated to Starlette.

The lane is raw ASGI, for this is the path that every caller waits on; it knows one method of one
path. What it answers is described by `openapi.py`, as the rest is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec
from starlette.types import ASGIApp

from splice.core.access import ANYONE, Principal
from splice.core.call import Call, Reason, Trace
from splice.core.errors import Draining, RateLimited, SpliceError, UnknownKey, UnsupportedMediaType
from splice.engine.faults import faults
from splice.engine.keyring import is_signed
from splice.engine.line import Line
from splice.serve.http.body import BodyReader, ClientGone, Limits
from splice.serve.http.desk import Desk, answer_of
from splice.serve.http.gateway import Gateway
from splice.serve.http.pages import GUARDED, pages
from splice.serve.http.problems import PROBLEM_JSON, problem, status_of
from splice.serve.http.protocols import OpenLimits, OpenProtocols
from splice.serve.http.trace import trace_of
from splice.serve.mcp.guard import check_origin
from splice.serve.mcp.surface import McpSurface
from splice.serve.tokens import token_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PREFIX, _SUFFIX = "/v1/integrations/", "/calls"
_json = msgspec.json.Encoder().encode


class McpLimits(msgspec.Struct, frozen=True):
    """Names of this server, and web pages, that MCP clients may come by; see `McpSurface`."""

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class Console(Protocol):
    """Web pages; their paths are theirs."""

    def answers(self, path: str) -> bool:
        """Whether a path is one of theirs."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        ...

    def close(self) -> None:
        """Let go of what they hold."""
        ...


class Reply(msgspec.Struct, gc=False):
    """A whole HTTP response."""

    status: int
    content_type: bytes
    body: bytes
    call_id: str = ""
    extra: list[tuple[bytes, bytes]] = []

    def headers(self) -> list[tuple[bytes, bytes]]:
        """All headers, as ASGI has them."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if self.call_id:
            headers.append((b"splice-call-id", self.call_id.encode()))
        return headers + self.extra


_REPEATED = [(b"idempotent-replayed", b"true")]
_NO_HEADERS: list[tuple[bytes, bytes]] = []


class HttpSurface:
    """An ASGI application.

    Args:
        desk: The process behind it.
        limits: Bounds on one request.
        currency: Currency of costs.
        gateway_bytes: Longest body of the OpenAI and Anthropic surfaces, where it is another.
        mcp: Who may call the MCP surface without being this machine.
        open_limits: Bounds of the open protocols.
    """

    console: Console | None = None
    """Web pages; who makes the surface hands them in."""

    guarded: bool = False
    """Whether metrics, the OpenAPI document and what is wrong are for viewers only."""

    def __init__(
        self,
        desk: Desk,
        limits: Limits,
        currency: str,
        gateway_bytes: int | None = None,
        mcp: McpLimits | None = None,
        open_limits: OpenLimits | None = None,
    ) -> None:
        mcp = mcp or McpLimits()
        self._desk = desk
        self._currency = currency
        self._reader = BodyReader(limits.body_seconds)
        self.max_body_bytes = limits.body_bytes
        self.body_seconds = limits.body_seconds
        protocols = OpenProtocols(desk, open_limits or OpenLimits(), limits.body_bytes)
        gateway_bytes = gateway_bytes or limits.body_bytes
        self.gateway = Gateway(desk, self._reader, gateway_bytes, protocols)
        self._mcp = McpSurface(desk, self._reader, hosts=mcp.hosts, origins=mcp.origins)
        self._pages: ASGIApp = pages(desk, limits.body_bytes, limits.body_seconds, currency)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event, as ASGI has it."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if root := scope.get("root_path", ""):
                path = path.removeprefix(root)
            if (
                scope["method"] == "POST"
                and path.startswith(_PREFIX)
                and path.endswith(_SUFFIX)
                and len(path) > len(_PREFIX) + len(_SUFFIX)
            ):
                await self._call(path[len(_PREFIX) : -len(_SUFFIX)], scope, receive, send)
                return
            if not self._desk.started:
                await self._desk.start()
            surface = self.gateway.surface(path)
            if surface is not None:
                await self.gateway(surface, path, scope, receive, send)
                return
            if path == "/mcp":
                await self._mcp(scope, receive, send)
                return
            if self.console is not None and self.console.answers(path):
                await self.console(scope, receive, send)
                return
            asked = path.startswith("/v1/") or (self.guarded and path in GUARDED)
            if asked and not await self._known(scope, send):
                return
            if self.guarded:
                scope["splice.guarded"] = True
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._pages(scope, receive, send)

    async def _call(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            if not self._desk.started:
                await self._desk.start()
            engine = self._desk.engine
            address = scope["client"][0] if scope.get("client") else ""
            principal = await engine.keyring.asker(token_of(headers), address)
            engine.line(name)
            content_type = headers.get(b"content-type", b"application/json")
            if content_type != b"application/json":
                _check_media_type(name, content_type)
            body = await self._reader.read(name, headers, receive, self.max_body_bytes)
            key = headers.get(b"idempotency-key")
            reply = await self.answer(
                name,
                body,
                None if key is None else key.decode("latin-1"),
                trace_of(headers) if b"traceparent" in headers else None,
                principal=principal,
            )
        except SpliceError as error:
            reply = _problem_reply(error, "")
        except ClientGone:
            return
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": reply.headers()}
        )
        await send({"type": "http.response.body", "body": reply.body})

    async def answer(
        self,
        name: str,
        body: bytes,
        key: str | None = None,
        trace: Trace | None = None,
        line: Line | None = None,
        principal: Principal = ANYONE,
    ) -> Reply:
        """The reply to a call, whichever way its bytes came in; an error is a reply too."""
        desk = self._desk
        try:
            if desk.draining:
                raise Draining("server", got="a new call while shutting down")
            call = Call(
                desk.new_id(), name, body, time.time_ns() // 1000, "http", principal.caller, key,
                trace, principal,
            )  # fmt: skip
            answered = await desk.engine.answer(call, line)
        except SpliceError as error:
            return _problem_reply(error, "")
        except Exception as error:  # noqa: BLE001 - the call ends here, and its caller is told
            faults.told(f"a call of {name}", error)
            return _problem_reply(_unforeseen(name), "")
        record = answered.record
        if answered.error is not None:
            return _problem_reply(answered.error, record.call_id)
        payload = _json(answer_of(record, self._currency))
        extra = _REPEATED if record.reason is Reason.REPEATED else _NO_HEADERS
        return Reply(200, b"application/json", payload, record.call_id, extra)

    async def answer_for(
        self, token: str, address: str, name: str, body: bytes, line: Line | None
    ) -> Reply:
        """The reply to a plain call of whoever holds a key."""
        try:
            ring = self._desk.engine.keyring
            if is_signed(token):
                principal = await ring.asker(token, address)
            else:
                principal = ring.principal(token, address)
        except SpliceError as error:
            return _problem_reply(error, "")
        return await self.answer(name, body, line=line, principal=principal)

    def simple_line(self, name: str, token: str = "") -> Line | None:
        """The live line of an integration if a call of it needs no task of its own."""
        desk = self._desk
        if not desk.started or desk.draining or desk.engine.keyring.must_meet(token):
            return None
        line = desk.engine.lines.get(name)
        return line if line is not None and line.simple else None

    def longest_body(self, path: str) -> int:
        """Bytes that the body of a request for a path may have."""
        surface = self.gateway.surface(path)
        return self.max_body_bytes if surface is None else self.gateway.longest(surface)[0]

    def drain(self) -> None:
        """The server stops: no new calls from now on."""
        self._desk.drain()

    async def close(self) -> None:
        """End what the surfaces do beside requests."""
        await self._mcp.close()
        if self.console is not None:
            self.console.close()

    async def _known(self, scope: Scope, send: Send) -> bool:
        """Whether whoever asks for a page may ask at all; `scope` then says who he is."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        address = scope["client"][0] if scope.get("client") else ""
        try:
            principal = await self._desk.engine.keyring.asker(token_of(headers), address)
            if principal.anonymous and scope["method"] not in ("GET", "HEAD"):
                # Whoever is asked for no key may be a page that somebody on this machine looks at.
                check_origin(headers, (), "api")
        except SpliceError as error:
            reply = _problem_reply(error, "")
            start = {"type": "http.response.start", "status": reply.status}
            await send({**start, "headers": reply.headers()})
            await send({"type": "http.response.body", "body": reply.body})
            return False
        scope["splice.principal"] = principal
        return True

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._desk.start()
                except Exception as error:  # noqa: BLE001 - the server prints it and gives up
                    text = str(error) if isinstance(error, SpliceError) else repr(error)
                    await send({"type": "lifespan.startup.failed", "message": text})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._desk.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _check_media_type(name: str, content_type: bytes) -> None:
    media = content_type.partition(b";")[0].strip().lower()
    if media != b"application/json" and not media.endswith(b"+json"):
        raise UnsupportedMediaType(
            f"{name}.input",
            got=content_type.decode("latin-1")[:100] or "an empty content type",
            promised="application/json",
            mend="send JSON, and say so in Content-Type",
        )


def _unforeseen(name: str) -> SpliceError:
    return SpliceError(
        name[:80], got="an error that nobody foresaw", mend="the log of the server tells which"
    )


def _problem_reply(error: SpliceError, call_id: str) -> Reply:
    status = status_of(error)
    extra: list[tuple[bytes, bytes]] = []
    if isinstance(error, RateLimited) and error.retryable:
        extra.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, UnknownKey):
        extra.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        extra.append((b"retry-after", b"1"))
    if isinstance(error, Draining):
        extra.append((b"connection", b"close"))
    # After a refusal the rest of a body is thrown away as it comes, within the bounds of the
    # protocol: who closes at once has the answer lost with the bytes that are still on their way.
    return Reply(status, PROBLEM_JSON, _json(problem(error, call_id or None)), call_id, extra)
