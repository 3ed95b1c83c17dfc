"""Other people's protocols over ASGI: whole answers, streams, clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from splice.core.errors import Draining, SpliceError
from splice.serve.anthropic.surface import AnthropicSurface
from splice.serve.http.body import BodyReader, ClientGone, Receive
from splice.serve.http.protocols import OpenProtocols
from splice.serve.openai.surface import OpenAISurface
from splice.serve.wire import EventStream, GatewayDesk, Surface, WireAnswer, WireCall

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OPENAI = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models")
_ANTHROPIC = ("/v1/messages", "/v1/messages/count_tokens")
# Where a base_url with a /v1 too many or too few leads: no answers, but an error that says so.
_OPENAI_SLIPS = tuple(
    slip for path in _OPENAI for slip in (path.removeprefix("/v1"), f"/v1{path}")
)  # fmt: skip
_ANTHROPIC_SLIPS = tuple(
    slip for path in _ANTHROPIC for slip in (path.removeprefix("/v1"), f"/v1{path}")
)  # fmt: skip

EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the tokens back
]


class Gateway:
    """Finds the surface of a path, and speaks ASGI for it.

    Args:
        desk: The process behind it.
        reader: Reads bodies.
        body_bytes: Longest body of the OpenAI and Anthropic surfaces.
        protocols: The open protocols; none where they are left out.
    """

    def __init__(
        self,
        desk: GatewayDesk,
        reader: BodyReader,
        body_bytes: int,
        protocols: OpenProtocols | None = None,
    ) -> None:
        self._desk = desk
        self._reader = reader
        self._body_bytes = body_bytes
        self._protocols = protocols
        openai, anthropic = OpenAISurface(desk), AnthropicSurface(desk)
        self._surfaces: dict[str, Surface] = dict.fromkeys(_OPENAI + _OPENAI_SLIPS, openai)
        self._surfaces |= dict.fromkeys(_ANTHROPIC + _ANTHROPIC_SLIPS, anthropic)
        self._models: Surface = openai

    def surface(self, path: str) -> Surface | None:
        """The surface that answers a path; None where none does."""
        found = self._surfaces.get(path)
        if found is None and path.startswith("/v1/models/"):
            return self._models
        if found is None and self._protocols is not None:
            return self._protocols.surface(path)
        return found

    def longest(self, surface: Surface) -> tuple[int, str]:
        """Bytes that a body for a surface may have, and the setting that says so."""
        if self._protocols is not None and self._protocols.has(surface):
            return self._protocols.body_bytes, "server.max_body_bytes"
        return self._body_bytes, "gateway.max_body_bytes"

    async def answered(self, surface: Surface, call: WireCall) -> WireAnswer:
        """The answer to a whole request."""
        if self._desk.draining:
            gone = Draining("server", got="a new call while shutting down")
            answer = surface.refuse(gone, call)
            answer.headers = [*answer.headers, (b"connection", b"close")]
            return answer
        return await surface.answer(call)

    def too_late(self, surface: Surface, call: WireCall) -> WireAnswer:
        """The answer to a request that still runs when the server must end."""
        late = "a call that still ran when the time for shutting down had passed"
        answer = surface.refuse(Draining("server", got=late, mend="ask again"), call)
        answer.headers = [*answer.headers, (b"connection", b"close")]
        return answer

    async def __call__(
        self, surface: Surface, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """One request over ASGI."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        address = scope["client"][0] if scope.get("client") else ""
        call = WireCall(scope["method"], path, headers, b"", address)
        try:
            if call.method == "POST":
                call.body = await self._reader.read(
                    "request", headers, receive, *self.longest(surface)
                )
        except SpliceError as error:
            await _whole(surface.refuse(error, call), send)
            return
        except ClientGone:
            return
        gone = asyncio.ensure_future(_gone(receive))
        answering = asyncio.ensure_future(self.answered(surface, call))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                return
            answer = answering.result()
            if answer.stream is None:
                await _whole(answer, send)
            else:
                await _streamed(answer, answer.stream, gone, send)
        except asyncio.CancelledError:
            if answering.done() or not self._desk.draining:
                raise
            await _whole(self.too_late(surface, call), send)
        finally:
            gone.cancel()
            if not answering.done():
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _whole(answer: WireAnswer, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _streamed(
    answer: WireAnswer, stream: EventStream, gone: asyncio.Future[None], send: Send
) -> None:
    async def pump() -> None:
        headers = [*EVENT_STREAM, *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        while (block := await stream.next()) is not None:
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    pumping = asyncio.ensure_future(pump())
    try:
        await asyncio.wait({pumping, gone}, return_when=asyncio.FIRST_COMPLETED)
        if pumping.done():
            pumping.result()
    finally:
        if not pumping.done():
            pumping.cancel()
            await asyncio.gather(pumping, return_exceptions=True)
        await stream.close()
