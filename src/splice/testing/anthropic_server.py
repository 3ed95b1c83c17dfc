"""A small server with Anthropic's Messages API that behaves as told: answers, streams and faults.

It thinks nothing: it is for what a real model never does on demand. Runs in a thread of its own, on
the loopback interface, on a free port.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from splice.testing.in_thread import InThread
from splice.testing.openai_server import example_of

USAGE: dict[str, Any] = {  # as the wire has it
    "input_tokens": 12,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "output_tokens": 5,
}

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and how it is given.

    `content` are its blocks (`text`, `thinking`, `tool_use`, ...), else one block of `text`, else
    an example of the schema asked for, else the last text in capitals. With another `status` it is
    an error, whose message is `text`. `raw` is sent as the body as it is.

    Of a whole answer, the body stops after `cut` bytes and the connection is closed. Of a stream,
    `pause_s` passes before each event; after `cut` events the connection is closed, after
    `fail_after` events an `overloaded_error` follows.
    """

    text: str | None = None
    content: list[dict[str, Any]] | None = None  # any blocks
    raw: bytes | None = None
    status: int = 200
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    pause_s: float = 0.0
    cut: int | None = None
    fail_after: int | None = None
    stop_reason: str | None = None
    usage: dict[str, Any] = msgspec.field(default_factory=lambda: dict(USAGE))


class Question(msgspec.Struct, frozen=True):
    """One request that came: path, headers (names in lower case), the body as bytes and decoded.

    `client` is the address it came from: the same for requests over one connection.
    """

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]  # any JSON
    client: tuple[str, int]


class AnthropicServer:
    """The server; use it as a context manager.

    Args:
        models: Names that `/v1/models` lists.
    """

    def __init__(self, models: Sequence[str] = ("scripted",)) -> None:
        self.asked: list[Question] = []
        self.disconnects = 0
        self.always = Said()
        self._models = models
        self._script: deque[Said] = deque()
        self._lock = threading.Lock()
        routes = [
            Route("/v1/messages", self._answer, methods=["POST"]),
            Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
            Route("/v1/models", self._list),
        ]
        self._server = InThread(Starlette(routes=routes), "anthropic-server")

    def script(self, *answers: Said) -> None:
        """Queue answers for the next messages; after them comes `always`."""
        with self._lock:
            self._script.extend(answers)

    def forget(self) -> None:
        """As if it had just started: for a server that many tests share."""
        with self._lock:
            self._script.clear()
            self.asked.clear()
            self.disconnects = 0
            self.always = Said()

    @property
    def base_url(self) -> str:
        """Without `/v1`, as Anthropic's clients want it."""
        return f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    async def _list(self, request: Request) -> Response:
        if "anthropic-version" not in request.headers:  # as the vendor wants it
            wrong = {"type": "invalid_request_error", "message": "anthropic-version: required"}
            return JSONResponse({"type": "error", "error": wrong}, 400)
        listed = [{"type": "model", "id": n, "display_name": n.title()} for n in self._models]
        return JSONResponse({"data": listed, "has_more": False})

    async def _count(self, request: Request) -> Response:
        body = await request.body()
        self._note(request, body)
        return JSONResponse({"input_tokens": len(body) // 4})

    def _note(self, request: Request, body: bytes) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(body)
        client = (request.client.host, request.client.port) if request.client else ("", 0)
        headers = dict(request.headers)
        with self._lock:
            self.asked.append(Question(request.url.path, headers, body, asked, client))
        return asked

    async def _answer(self, request: Request) -> Response:
        try:
            asked = self._note(request, await request.body())
        except ValueError:
            return JSONResponse(error_of(400, "the body is not JSON"), 400)
        with self._lock:
            said = self._script.popleft() if self._script else self.always
        if said.delay_s and not await self._waited(request, said.delay_s):
            return Response(status_code=499)
        headers = {"request-id": "req_scripted", **said.headers}
        if said.raw is None and said.status != 200:
            error = error_of(said.status, said.text or "as scripted")
            return JSONResponse(error, said.status, headers)
        if asked.get("stream") and said.raw is None:
            return StreamingResponse(
                self._stream(said, asked), 200, headers, media_type="text/event-stream"
            )
        body = json.dumps(message_of(said, asked)).encode() if said.raw is None else said.raw
        headers = {"content-type": "application/json", **headers}
        if said.cut is None:
            return Response(body, said.status, headers)
        headers["content-length"] = str(len(body))
        return StreamingResponse(_cut(body[: said.cut]), said.status, headers)

    async def _stream(self, said: Said, asked: Mapping[str, Any]) -> AsyncIterator[bytes]:
        over = False
        try:
            for number, event in enumerate(events_of(message_of(said, asked))):
                if number in (said.cut, said.fail_after):
                    break
                if said.pause_s:
                    await asyncio.sleep(said.pause_s)
                yield _line(event)
            over = True
        finally:
            if not over:
                with self._lock:
                    self.disconnects += 1
        if said.fail_after is not None:
            yield _line(error_of(529, "Overloaded"))
        elif said.cut is not None:
            raise _HangUp

    async def _waited(self, request: Request, seconds: float) -> bool:
        """Whether the client was still there at the end of the delay."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if await request.is_disconnected():
                with self._lock:
                    self.disconnects += 1
                return False
            await asyncio.sleep(min(0.01, left))
        return True


class _HangUp(Exception):
    """Ends a body in its middle; uvicorn then closes the connection."""


async def _cut(part: bytes) -> AsyncIterator[bytes]:
    yield part
    raise _HangUp


def _line(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def error_of(status: int, message: str) -> dict[str, Any]:
    """The body of an error, as the API has it."""
    error = {"type": ERRORS.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_scripted"}


def message_of(said: Said, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The whole message that answers a request."""
    content = said.content
    if content is None:
        content = [{"type": "text", "text": _text_of(said, asked)}]
    called = any(block["type"] == "tool_use" for block in content)
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model", ""),
        "content": content,
        "stop_reason": said.stop_reason or ("tool_use" if called else "end_turn"),
        "stop_sequence": None,
        "usage": said.usage,
    }


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that tell a message, in the order of the API."""
    usage = message["usage"]
    early = {**usage, "output_tokens": 1}
    start: dict[str, Any] = {**message, "content": [], "stop_reason": None, "usage": early}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    counted = {"output_tokens": usage.get("output_tokens", 0)}
    yield {"type": "message_delta", "delta": stop, "usage": counted}
    yield {"type": "message_stop"}


def _empty(block: Mapping[str, Any]) -> dict[str, Any]:
    blank: dict[str, Any] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: blank.get(key, value) for key, value in block.items()}


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        yield from ({"type": "text_delta", "text": part} for part in _pieces(block["text"]))
    elif kind == "thinking":
        for part in _pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": part}
        yield {"type": "signature_delta", "signature": block.get("signature", "")}
    elif kind == "tool_use":
        yield {"type": "input_json_delta", "partial_json": ""}
        for part in _pieces(json.dumps(block["input"]) if block["input"] else ""):
            yield {"type": "input_json_delta", "partial_json": part}


def _pieces(text: str) -> Iterator[str]:
    yield from (text[at : at + 7] for at in range(0, len(text), 7))


def _text_of(said: Said, asked: Mapping[str, Any]) -> str:
    if said.text is not None:
        return said.text
    wanted = asked.get("output_config", {}).get("format")
    if wanted is not None:
        return json.dumps(example_of(wanted["schema"]))
    last = asked["messages"][-1]["content"]
    text = last if isinstance(last, str) else next(b["text"] for b in last if b["type"] == "text")
    return text.upper()
