"""The path `/mcp`: Model Context Protocol over streamable HTTP, with the keys of every surface.

The protocol is the official SDK's; what stands before it is ours: whose key, from which page, how
long a body. Without sessions, so that any worker answers, and nothing is left behind by a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from splice.core.errors import Draining, RequestError, SpliceError, UnknownKey
from splice.serve.http.body import BodyReader, ClientGone, Receive
from splice.serve.http.gateway import Scope, Send
from splice.serve.http.problems import PROBLEM_JSON, problem
from splice.serve.http.trace import trace_of
from splice.serve.mcp.asking import STATE, Asking
from splice.serve.mcp.guard import check_host, check_origin
from splice.serve.tokens import token_of
from splice.serve.wire import GatewayDesk

if TYPE_CHECKING:
    from splice.serve.mcp.tools import Tools

MCP_BYTES = 4 << 20
"""Longest body; as much as the SDK takes by default."""

_EXTRA = "splice-ai[mcp]"

log = logging.getLogger("splice.mcp")


class _Params(msgspec.Struct, frozen=True):
    arguments: msgspec.Raw = msgspec.Raw()
    meta: object = msgspec.field(default=None, name="_meta")


class _Message(msgspec.Struct, frozen=True):
    params: _Params = _Params()


_MESSAGE = msgspec.json.Decoder(_Message)


class _Serving(Protocol):
    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class McpSurface:
    """An ASGI application for one path.

    Args:
        desk: The process behind it.
        reader: Reads bodies; its time limit is that of every surface.
        body_bytes: Longest body.
        hosts: Names of this server that callers without a key may use, beside `localhost` and its
            IP addresses.
        origins: Web pages that may call it from a browser, as `https://agents.example.com`, beside
            those of this server and of the caller's own machine.
        version: Version of the product, told to clients.
    """

    def __init__(
        self,
        desk: GatewayDesk,
        reader: BodyReader | None = None,
        body_bytes: int = MCP_BYTES,
        *,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        version: str = "",
    ) -> None:
        self._desk = desk
        self._reader = reader or BodyReader(15.0)
        self._body_bytes = body_bytes
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._version = version
        self._task: asyncio.Task[None] | None = None
        self._serving: asyncio.Future[_Serving] | None = None
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request over ASGI."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            check_origin(headers, self._origins)
            if self._desk.draining:
                raise Draining("mcp", got="a new request while shutting down")
            if scope["method"] != "POST":
                await _refuse_method(send)
                return
            address = scope["client"][0] if scope.get("client") else ""
            principal = await self._desk.engine.keyring.asker(token_of(headers), address)
            check_host(headers, principal, self._hosts)
            serving = await self._served()
            body = await self._reader.read("mcp", headers, receive, self._body_bytes)
        except SpliceError as error:
            await _refuse(error, send)
            return
        except ClientGone:
            return
        arguments, traceparent = _read(body)
        trace = trace_of(headers) or trace_of({b"traceparent": traceparent})
        scope = {**scope, STATE: Asking(principal, arguments, trace)}
        await serving.handle_request(scope, _again(body, receive), send)

    async def close(self) -> None:
        """Ends what is still open; a later request starts it anew."""
        task = self._task
        if task is None:
            return
        self._closing.set()
        await asyncio.gather(task, return_exceptions=True)
        self._task = self._serving = None
        self._closing = asyncio.Event()

    async def _served(self) -> _Serving:
        """What answers, started by the first request.

        Raises:
            RequestError: The extra is not installed.
        """
        if self._serving is None:
            try:
                from splice.serve.mcp.tools import Tools
            except ModuleNotFoundError as error:
                raise RequestError(
                    "mcp",
                    got=f"a request to a server without {error.name}",
                    mend=f"install {_EXTRA}",
                ) from None
            loop = asyncio.get_running_loop()
            self._serving = loop.create_future()
            self._task = loop.create_task(self._run(Tools(self._desk, self._version)))
        return await asyncio.shield(self._serving)

    async def _run(self, tools: Tools) -> None:
        # In a task of its own: what the SDK starts must end in the task that it began in.
        serving = self._serving
        if serving is None:
            return
        manager = tools.manager()
        try:
            async with manager.run():
                serving.set_result(manager)
                await self._closing.wait()
        except Exception as error:
            log.exception("the MCP surface ended")
            if not serving.done():
                serving.set_exception(error)
            self._serving = None  # the next request starts another


def _read(body: bytes) -> tuple[bytes | None, bytes]:
    """The arguments as they were written (None where they cannot be read), and the traceparent."""
    try:
        params = _MESSAGE.decode(body).params
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, b""
    return bytes(params.arguments) or b"{}", _traceparent(params.meta)


def _traceparent(meta: object) -> bytes:
    given = cast("dict[str, object]", meta).get("traceparent") if isinstance(meta, dict) else None
    return given.encode("latin-1", "replace") if isinstance(given, str) else b""


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body once more, then what the connection gives."""
    given = False

    async def replayed() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(error: SpliceError, send: Send) -> None:
    told = problem(error)
    if type(error) is RequestError:
        told = msgspec.structs.replace(told, status=404)
    headers = [(b"content-type", PROBLEM_JSON)]
    if isinstance(error, UnknownKey):
        # As the protocol's chapter on authorization wants it; the keys are not OAuth's.
        headers.append((b"www-authenticate", b'Bearer realm="splice"'))
    if isinstance(error, Draining):
        headers.append((b"connection", b"close"))
    await _whole(told.status, headers, msgspec.json.encode(told), send)


async def _refuse_method(send: Send) -> None:
    """There is no session to end, and no stream but the answer to a request."""
    await _whole(405, [(b"allow", b"POST")], b"", send)


async def _whole(status: int, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
