"""A small OpenAI-compatible server that behaves as told: answers, delays, limits and faults.

Chat completions, responses and embeddings, whole and as streams. It thinks nothing: it is for what
a real model never does on demand. Runs in a thread of its own, on the loopback interface, on a
free port.
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
from splice.testing.openai_shapes import (
    DONE,
    chat_events,
    chat_reply,
    embeddings,
    event,
    example_of,
    response,
    response_events,
)

__all__ = ["USAGE", "Asked", "OpenAIServer", "Scripted", "example_of"]

USAGE: dict[str, Any] = {  # as the wire has it
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
}

_HELD_AT = 2


class Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and how it is given.

    Without `text` and `raw` the server answers with a value that satisfies the schema asked for, or
    with the last message in capitals. `raw` is sent as the body as it is. With `cut` the body stops
    after so many bytes and the connection is closed. `message` replaces the whole message, `body`
    the whole completion.

    A stream comes in events of a word each, `pause_s` apart. `raw` is then the whole stream;
    `events` is how many come before it just ends, `breaks` says that the connection is closed
    there, and `error` is an error that comes in their place. `usage` of None is a server that does
    not count. `after` is an event that the answer waits for, `delay_s` before it at the least;
    `rest_after` is one that a stream waits for after its first three events.
    """

    text: str | None = None
    raw: bytes | None = None
    body: dict[str, Any] | None = None  # any JSON
    message: dict[str, Any] | None = None  # any JSON
    status: int = 200
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    after: threading.Event | None = None
    rest_after: threading.Event | None = None
    cut: int | None = None
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = msgspec.field(default_factory=lambda: dict(USAGE))
    pause_s: float = 0.0
    events: int | None = None
    breaks: bool = False
    error: dict[str, Any] | None = None  # any JSON


class Asked(msgspec.Struct, frozen=True):
    """One request that came: path, headers (names in lower case), and the decoded body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]  # any JSON
    client: tuple[str, int]


class OpenAIServer:
    """The server; use it as a context manager.

    Args:
        models: Names that `/v1/models` lists; None leaves the path out (404), as some servers do.
    """

    def __init__(self, models: Sequence[str] | None = ("scripted",)) -> None:
        self.asked: list[Asked] = []
        self.disconnects = 0
        self.always = Scripted()
        self._models = models
        self._script: deque[Scripted] = deque()
        self._lock = threading.Lock()
        paths = ("chat/completions", "responses", "embeddings")
        routes = [Route(f"/v1/{path}", self._answer, methods=["POST"]) for path in paths]
        if models is not None:
            routes.append(Route("/v1/models", self._list))
        self._server = InThread(Starlette(routes=routes), "openai-server")

    def script(self, *answers: Scripted) -> None:
        """Queue answers for the next requests; after them comes `always`."""
        with self._lock:
            self._script.extend(answers)

    @property
    def base_url(self) -> str:
        """Ends with `/v1`, as clients want it."""
        return f"http://127.0.0.1:{self._server.port}/v1"

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
        listed = [{"id": name, "object": "model"} for name in self._models or ()]
        return JSONResponse({"object": "list", "data": listed})

    async def _answer(self, request: Request) -> Response:
        raw = await request.body()
        try:
            asked = json.loads(raw)
        except ValueError:
            return JSONResponse({"error": {"message": "the body is not JSON"}}, 400)
        if "messages" in asked and not isinstance(asked["messages"], list):
            told = {"message": "messages is no list", "param": "messages", "code": "wrong_type"}
            return JSONResponse({"error": told}, 400)
        client = request.client
        address = (client.host, client.port) if client else ("", 0)
        with self._lock:
            self.asked.append(Asked(request.url.path, dict(request.headers), asked, address))
            answer = self._script.popleft() if self._script else self.always
        if not await self._waited(request, answer):
            return Response(status_code=499)
        path = request.url.path.removeprefix("/v1/")
        if asked.get("stream") is True and answer.status == 200 and answer.body is None:
            headers = {"content-type": "text/event-stream", **answer.headers}
            return StreamingResponse(self._events(answer, asked, path), 200, headers)
        body = _body_of(answer, asked, path)
        headers = {"content-type": "application/json", **answer.headers}
        if answer.cut is None:
            return Response(body, answer.status, headers)
        headers["content-length"] = str(len(body))
        return StreamingResponse(_cut(body[: answer.cut]), answer.status, headers)

    async def _events(
        self, answer: Scripted, asked: Mapping[str, Any], path: str
    ) -> AsyncIterator[bytes]:
        """A stream; it notes a caller who leaves before its end."""
        ended = False
        try:
            for number, one in enumerate(_events_of(answer, asked, path)):
                if number == answer.events:
                    if answer.error is not None:
                        yield event({"error": answer.error})
                    break
                yield one
                await asyncio.sleep(answer.pause_s)
                held = answer.rest_after if number == _HELD_AT else None
                while held is not None and not held.is_set():
                    await asyncio.sleep(0.01)
            ended = True
        finally:
            if not ended:
                with self._lock:
                    self.disconnects += 1
        if answer.breaks:
            raise _HangUp

    async def _waited(self, request: Request, answer: Scripted) -> bool:
        """Whether the client was still there at the end of the delay."""
        end = time.monotonic() + answer.delay_s
        while True:
            left = end - time.monotonic()
            if left <= 0 and (answer.after is None or answer.after.is_set()):
                return True
            if await request.is_disconnected():
                with self._lock:
                    self.disconnects += 1
                return False
            await asyncio.sleep(min(0.01, left) if left > 0 else 0.01)


class _HangUp(Exception):
    """Ends a body in its middle; uvicorn then closes the connection."""


async def _cut(part: bytes) -> AsyncIterator[bytes]:
    yield part
    raise _HangUp


def _events_of(answer: Scripted, asked: Mapping[str, Any], path: str) -> Iterator[bytes]:
    model = asked.get("model", "")
    if answer.raw is not None:
        yield answer.raw
    elif path == "responses":
        yield from response_events(model, _text_of(answer, asked), answer.usage)
    else:
        options: dict[str, Any] = asked.get("stream_options") or {}
        counted = bool(options.get("include_usage"))
        messages = _messages_of(answer, asked)
        yield from chat_events(model, messages, answer.finish_reason, answer.usage, counted)
        yield DONE


def _body_of(answer: Scripted, asked: Mapping[str, Any], path: str) -> bytes:
    if answer.raw is not None:
        return answer.raw
    if answer.body is not None:
        return json.dumps(answer.body).encode()
    if answer.status != 200:
        return json.dumps({"error": {"message": answer.text or "as scripted"}}).encode()
    model = asked.get("model", "")
    if path == "embeddings":
        reply = embeddings(model, asked, answer.usage)
    elif path == "responses":
        reply = response(model, _text_of(answer, asked), answer.usage)
    else:
        reply = chat_reply(model, _messages_of(answer, asked), answer.finish_reason, answer.usage)
    return json.dumps(reply).encode()


def _messages_of(answer: Scripted, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    message = answer.message
    if message is None:
        message = {"role": "assistant", "content": _text_of(answer, asked), "refusal": None}
    return [message] * int(asked.get("n") or 1)


def _text_of(answer: Scripted, asked: Mapping[str, Any]) -> str:
    if answer.text is not None:
        return answer.text
    wanted: dict[str, Any] = asked.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(example_of(wanted["json_schema"]["schema"]))
    said = asked["messages"][-1]["content"] if "messages" in asked else asked.get("input")
    return str(said).upper()
