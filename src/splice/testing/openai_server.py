"""A small OpenAI-compatible server that behaves as told: answers, delays, limits and faults.

It thinks nothing: it is for what a real model never does on demand. Runs in a thread of its own, on
the loopback interface, on a free port.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE: dict[str, Any] = {  # as the wire has it
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
}


class Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and how it is given.

    Without `text` and `raw` the server answers with a value that satisfies the schema asked for, or
    with the last message in capitals. `raw` is sent as the body as it is. With `cut` the body stops
    after so many bytes and the connection is closed. `message` replaces the whole message, `body`
    the whole completion.
    """

    text: str | None = None
    raw: bytes | None = None
    body: dict[str, Any] | None = None  # any JSON
    message: dict[str, Any] | None = None  # any JSON
    status: int = 200
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    cut: int | None = None
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = msgspec.field(default_factory=lambda: dict(USAGE))


class Asked(msgspec.Struct, frozen=True):
    """One request that came: path, headers (names in lower case), and the decoded body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]  # any JSON
    client: tuple[str, int]


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """The plainest value that satisfies a JSON Schema of the kind that replies have."""
    root = root if root is not None else schema
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return example_of(root["$defs"][name], root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:  # null where it may be: another option may lead back here
            options = cast("list[Mapping[str, Any]]", schema[key])
            return example_of(min(options, key=lambda o: o.get("type") != "null"), root)
    told: Any = schema.get("type", "object" if "properties" in schema else "string")
    kind = str(cast("list[Any]", told)[0] if isinstance(told, list) else told)
    if kind == "object":
        named = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
        return {name: example_of(below, root) for name, below in named.items()}
    if kind == "array":
        return [example_of(schema["items"], root)] * int(schema.get("minItems", 0))
    if kind in ("number", "integer"):
        return schema.get("minimum", 0)
    plain: dict[str, Any] = {"boolean": False, "null": None}
    return plain.get(kind, "x" * int(schema.get("minLength", 1)))


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
        routes = [Route("/v1/chat/completions", self._complete, methods=["POST"])]
        if models is not None:
            routes.append(Route("/v1/models", self._list))
        self._app = Starlette(routes=routes)
        self._socket = socket.socket()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def script(self, *answers: Scripted) -> None:
        """Queue answers for the next requests; after them comes `always`."""
        with self._lock:
            self._script.extend(answers)

    @property
    def base_url(self) -> str:
        """Ends with `/v1`, as clients want it."""
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}/v1"

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(self._app, log_level="critical", lifespan="off", access_log=False)
        server = uvicorn.Server(config)
        self._server = server
        self._thread = threading.Thread(
            target=lambda: server.run(sockets=[self._socket]), name="openai-server", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the scripted server did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True  # answers that still wait are not waited for
            self._thread.join(10)
        self._socket.close()

    async def _list(self, request: Request) -> Response:
        listed = [{"id": name, "object": "model"} for name in self._models or ()]
        return JSONResponse({"object": "list", "data": listed})

    async def _complete(self, request: Request) -> Response:
        raw = await request.body()
        try:
            asked = json.loads(raw)
        except ValueError:
            return JSONResponse({"error": {"message": "the body is not JSON"}}, 400)
        client = request.client
        address = (client.host, client.port) if client else ("", 0)
        with self._lock:
            self.asked.append(Asked(request.url.path, dict(request.headers), asked, address))
            answer = self._script.popleft() if self._script else self.always
        if answer.delay_s and not await self._waited(request, answer.delay_s):
            return Response(status_code=499)
        body = _body_of(answer, asked)
        headers = {"content-type": "application/json", **answer.headers}
        if answer.cut is None:
            return Response(body, answer.status, headers)
        headers["content-length"] = str(len(body))
        return StreamingResponse(_cut(body[: answer.cut]), answer.status, headers)

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


def _body_of(answer: Scripted, asked: Mapping[str, Any]) -> bytes:
    if answer.raw is not None:
        return answer.raw
    if answer.body is not None:
        return json.dumps(answer.body).encode()
    if answer.status != 200:
        return json.dumps({"error": {"message": answer.text or "as scripted"}}).encode()
    message = answer.message or {"role": "assistant", "content": _text_of(answer, asked)}
    completion: dict[str, Any] = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": asked.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
    }
    if answer.usage is not None:
        completion["usage"] = answer.usage
    return json.dumps(completion).encode()


def _text_of(answer: Scripted, asked: Mapping[str, Any]) -> str:
    if answer.text is not None:
        return answer.text
    wanted = asked.get("response_format", {})
    if wanted.get("type") == "json_schema":
        return json.dumps(example_of(wanted["json_schema"]["schema"]))
    return str(asked["messages"][-1]["content"]).upper()
