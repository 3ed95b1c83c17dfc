"""The Anthropic surface behind a real socket, with a scripted engine behind the surface."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self, cast

import uvicorn

from splice.adapters.providers.anthropic import AnthropicProvider
from splice.core.access import Principal
from splice.core.call import Call
from splice.core.chat import Asked, Dialect, WireRequest
from splice.core.errors import RouteError, UnknownKey, UnknownModel
from splice.engine.converse import Spoken, SpokenStream
from splice.ports.providers import Stream
from splice.serve.anthropic.surface import AnthropicSurface
from splice.serve.wire import GatewayDesk, WireCall

KEY = "sk-splice-test"
Scope = MutableMapping[str, Any]
Converse = Callable[[Call, Asked], Awaitable[Spoken]]


class Relayed:
    """A provider's stream as the engine hands it on."""

    def __init__(self, stream: Stream, dialect: Dialect, house: ScriptedEngine) -> None:
        self.dialect = dialect
        self._stream = stream
        self._house = house

    async def next(self) -> bytes | None:
        return await self._stream.next()

    async def close(self) -> None:
        self._house.closed += 1
        self._stream.hang_up()


class ScriptedEngine:
    """Stands where the engine stands. It relays to a provider, or does as `instead` says."""

    def __init__(self) -> None:
        self.provider: AnthropicProvider | None = None
        self.dialect = Dialect.MESSAGES
        self.held = False
        self.instead: Converse | None = None
        self.calls: list[tuple[Call, Asked]] = []
        self.closed = 0
        self.keyring = self
        self.names = self

    def principal(self, token: str, address: str) -> Principal:
        if token != KEY:
            raise UnknownKey("key", got="no key that is known", promised="an API key of this house")
        return Principal(caller="tests", tenant=address)

    async def asker(self, token: str, address: str) -> Principal:
        return self.principal(token, address)

    def find(self, model: str, principal: Principal) -> str:
        if model == "nobody":
            raise UnknownModel(model, got="no such model")
        return model

    async def converse(self, call: Call, asked: Asked) -> Spoken:
        self.calls.append((call, asked))
        if self.instead is not None:
            return await self.instead(call, asked)
        assert self.provider is not None
        native = self.dialect is Dialect.MESSAGES
        fields = asked.fields if native else asked.as_chat() if asked.as_chat else {}
        request = WireRequest(
            self.dialect, "scripted", fields, 10.0, 5.0, asked.headers if native else {}
        )
        spoken = Spoken(call.id, "chat", 1, "llm:claude/scripted")
        try:
            if asked.stream and not self.held:
                stream = await self.provider.open(request)
                spoken.stream = cast("SpokenStream", Relayed(stream, self.dialect, self))
            else:
                spoken.reply = await self.provider.send(request)
                spoken.cost_nano = 1_234_567
        except RouteError as error:
            spoken.error = error
        return spoken


class Desk:
    """The process behind the surface."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.draining = False

    def new_id(self) -> str:
        return str(uuid.uuid4())


class Door:
    """An HTTP server with the surface in it; use it as a context manager."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.desk = Desk(self.engine)
        self.crashes: list[BaseException] = []
        self._surface = AnthropicSurface(cast("GatewayDesk", self.desk))
        self._socket = socket.socket()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    def forget(self) -> None:
        """As if it had just been opened."""
        self.engine.__init__()
        self.desk.draining = False

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._app, interface="asgi3", log_level="critical", lifespan="off", access_log=False
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: server.run(sockets=[self._socket]), daemon=True
        )
        self._thread.start()
        end = time.monotonic() + 10
        while not server.started and time.monotonic() < end:
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    async def _app(self, scope: Scope, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        call = WireCall(
            scope["method"], scope["path"], dict(scope["headers"]), body, scope["client"][0]
        )
        try:
            answer = await self._surface.answer(call)
        except BaseException as crash:
            self.crashes.append(crash)
            raise
        headers = [(b"content-type", answer.content_type), *answer.headers]
        if answer.stream is None:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.stream is None:
            await send({"type": "http.response.body", "body": answer.body})
            return
        gone = asyncio.ensure_future(receive())
        try:
            while (block := await answer.stream.next()) is not None and not gone.done():
                await send({"type": "http.response.body", "body": block, "more_body": True})
        finally:
            gone.cancel()
            await answer.stream.close()
        await send({"type": "http.response.body"})
