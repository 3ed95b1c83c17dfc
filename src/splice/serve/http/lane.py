"""The HTTP surface: a short lane for calls, everything else delegated to Starlette.

The lane is raw ASGI, for this is the path that every caller waits on; it knows one method of one
path. What it answers is described by `openapi.py`, as the rest is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.types import ASGIApp

from splice.core.call import Call, Reason, Trace
from splice.core.errors import (
    BodyTooLarge,
    Draining,
    MalformedBody,
    SpliceError,
    UnsupportedMediaType,
)
from splice.engine.line import Line
from splice.serve.http.desk import Desk, answer_of
from splice.serve.http.pages import pages
from splice.serve.http.problems import PROBLEM_JSON, problem, status_of
from splice.serve.http.trace import trace_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PREFIX, _SUFFIX = "/v1/integrations/", "/calls"
_json = msgspec.json.Encoder().encode


class Limits(msgspec.Struct, frozen=True):
    """What one request may take: bytes of its body, and seconds for the body to arrive."""

    body_bytes: int
    body_seconds: float


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


log = logging.getLogger("splice.http")

_REPEATED = [(b"idempotent-replayed", b"true")]
_NO_HEADERS: list[tuple[bytes, bytes]] = []


class _Gone(Exception):
    """The client went away before its request was whole."""


class HttpSurface:
    """An ASGI application.

    Args:
        desk: The process behind it.
        limits: Bounds on one request.
        currency: Currency of costs.
    """

    def __init__(self, desk: Desk, limits: Limits, currency: str) -> None:
        self._desk = desk
        self._limits = limits
        self._currency = currency
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self.max_body_bytes = limits.body_bytes
        self.body_seconds = limits.body_seconds
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
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._pages(scope, receive, send)

    async def _call(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            if not self._desk.started:
                await self._desk.start()
            self._desk.engine.line(name)
            body = await self._body(name, headers, receive)
            key = headers.get(b"idempotency-key")
            reply = await self.answer(
                name,
                body,
                None if key is None else key.decode("latin-1"),
                trace_of(headers) if b"traceparent" in headers else None,
            )
        except SpliceError as error:
            reply = _problem_reply(error, "")
        except _Gone:
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
    ) -> Reply:
        """The reply to a call, whichever way its bytes came in; an error is a reply too."""
        desk = self._desk
        try:
            if desk.draining:
                raise Draining("server", got="a new call while shutting down")
            call = Call(desk.new_id(), name, body, time.time_ns() // 1000, "http", "", key, trace)
            answered = await desk.engine.answer(call, line)
        except SpliceError as error:
            return _problem_reply(error, "")
        except Exception:
            log.exception("a call of %s raised what nobody foresaw", name)
            return _problem_reply(_unforeseen(name), "")
        record = answered.record
        if answered.error is not None:
            return _problem_reply(answered.error, record.call_id)
        payload = _json(answer_of(record, self._currency))
        extra = _REPEATED if record.reason is Reason.REPEATED else _NO_HEADERS
        return Reply(200, b"application/json", payload, record.call_id, extra)

    def simple_line(self, name: str) -> Line | None:
        """The live line of an integration if a call of it needs no task of its own."""
        desk = self._desk
        if not desk.started or desk.draining:
            return None
        line = desk.engine.lines.get(name)
        return line if line is not None and line.simple else None

    async def _body(self, name: str, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        content_type = headers.get(b"content-type", b"application/json")
        if content_type != b"application/json":
            _check_media_type(name, content_type)
        limit = self._limits.body_bytes
        length = headers.get(b"content-length")
        if length is not None and not (length.isdigit() and int(length[:13]) <= limit):
            raise _too_large(name, length.decode("latin-1") + " bytes", limit)

        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an ASGI application runs in a task")
        self._reading[task] = time.monotonic()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)
        try:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body: bytes = message.get("body", b"")
            if not message.get("more_body", False) and len(body) <= limit:
                return body
            chunks, size = [body], len(body)
            while message.get("more_body", False):
                if size > limit:
                    raise _too_large(name, f"more than {size} bytes", limit)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
            if size > limit:
                raise _too_large(name, f"{size} bytes", limit)
            return b"".join(chunks)
        except asyncio.CancelledError:
            if task in self._reading:  # not by us
                raise
            task.uncancel()
            raise MalformedBody(
                f"{name}.input",
                got=f"no whole body within {self._limits.body_seconds:g} s",
                promised="the bytes that the headers announced",
                mend="send them, or fewer",
            ) from None
        finally:
            self._reading.pop(task, None)

    def _sweep(self) -> None:
        """One timer for all slow senders: a timer a request would cost each of the fast ones."""
        overdue = time.monotonic() - self._limits.body_seconds
        for task in [task for task, since in self._reading.items() if since < overdue]:
            del self._reading[task]
            task.cancel()
        self._sweeper = None
        if self._reading:
            self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)

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


def _too_large(name: str, got: str, limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"{name}.input",
        got=got,
        promised=f"at most {limit} bytes",
        mend="send less, or raise server.max_body_bytes",
    )


def _unforeseen(name: str) -> SpliceError:
    return SpliceError(
        name[:80], got="an error that nobody foresaw", mend="the log of the server tells which"
    )


def _problem_reply(error: SpliceError, call_id: str) -> Reply:
    status = status_of(error)
    extra: list[tuple[bytes, bytes]] = []
    if status == 503:
        extra.append((b"retry-after", b"1"))
    if isinstance(error, Draining):
        extra.append((b"connection", b"close"))
    # After a refusal the rest of a body is thrown away as it comes, within the bounds of the
    # protocol: who closes at once has the answer lost with the bytes that are still on their way.
    return Reply(status, PROBLEM_JSON, _json(problem(error, call_id or None)), call_id, extra)
