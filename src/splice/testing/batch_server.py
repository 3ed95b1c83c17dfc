"""A small server with the batch endpoints of OpenAI and of Anthropic, and their online ones.

It is for what a real provider does only now and then: slow batches, rows that fail, batches that
expire or are refused, answers that get lost on their way. Results come in another order than the
requests, as they do in life. Runs in a thread of its own, on the loopback interface, on a free
port.
"""

from __future__ import annotations

import email
import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Literal, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from splice.testing.anthropic_server import error_of
from splice.testing.batch_shapes import (
    ENDED,
    RESULTS,
    Fate,
    Json,
    Made,
    chat,
    last,
    message,
    shown,
)
from splice.testing.in_thread import InThread

__all__ = ["BatchServer", "Fate", "Made"]


class BatchServer:
    """The server; use it as a context manager. `/v1` is OpenAI's API, `/v1/messages` Anthropic's.

    Attributes:
        batches: Every batch that was made, in that order.
        online: Bodies that came to the online endpoints.
        held: Batches that are made stay in progress until `release`.
        fate: What becomes of a request, by the text of its last message.
        step: Is told of every request before it is dealt with, and again before it is answered:
            `before POST /v1/batches`, `after POST /v1/batches`.
        refuses: Statuses for the next requests that would make a batch; of -1 the batch is made,
            and the connection dropped in the middle of the answer.
        ends_as: How batches end: `completed`, `expired`, or `failed` (refused as a whole).
        lists: Whether made batches are listed; a list may lag behind.
    """

    def __init__(self) -> None:
        self.batches: list[Made] = []
        self.online: list[Json] = []
        self.held = False
        self.fate: Callable[[str], Fate] = lambda text: Fate()
        self.step: Callable[[str], None] = lambda what: None
        self.refuses: deque[int] = deque()
        self.ends_as = "completed"
        self.lists = True
        self._files: dict[str, bytes] = {}
        self._numbers: Counter[str] = Counter()
        self._random = random.Random(7)  # noqa: S311 - an order, not a secret
        self._lock = threading.RLock()
        routes = [
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files/{id}/content", self._content),
            Route("/v1/batches", self._create, methods=["POST"]),
            Route("/v1/batches", self._list),
            Route("/v1/batches/{id}", self._get),
            Route("/v1/batches/{id}/cancel", self._cancel, methods=["POST"]),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
            Route("/v1/messages/batches", self._create, methods=["POST"]),
            Route("/v1/messages/batches", self._list),
            Route("/v1/messages/batches/{id}", self._get),
            Route("/v1/messages/batches/{id}/results", self._content),
            Route("/v1/messages/batches/{id}/cancel", self._cancel, methods=["POST"]),
            Route("/v1/messages", self._complete, methods=["POST"]),
        ]
        self._server = InThread(
            Starlette(routes=[_told(self, one) for one in routes]), "batch-server"
        )

    @property
    def url(self) -> str:
        """Of Anthropic's API; OpenAI's is below `/v1` of it."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def ran(self) -> Counter[str]:
        """How often each request was run in a batch, by its id: what is charged."""
        with self._lock:
            return Counter(one for batch in self.batches for one in batch.ran)

    def release(self) -> None:
        """Let the batches that are held end; those to come end at once."""
        with self._lock:
            self.held = False
            for batch in self.batches:
                if batch.status == "in_progress":
                    self._end(batch)

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

    # Endpoints

    async def _upload(self, request: Request) -> Response:
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + await request.body())
        parts: dict[Any, bytes] = {}
        for part in form.walk():
            name = part.get_param("name", header="content-disposition")
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                parts[name] = payload
        if parts.get("purpose") != b"batch" or "file" not in parts:
            return _wrong(400, "a file for a batch has purpose=batch")
        return JSONResponse({"object": "file", **self._keep(parts["file"])})

    async def _create(self, request: Request) -> Response:
        asked = json.loads(await request.body())
        anthropic = request.url.path.startswith("/v1/messages")
        with self._lock:
            refusal = self.refuses.popleft() if self.refuses else 0
            if refusal > 0:
                return _wrong(refusal, "as scripted", anthropic=anthropic)
            batch = self._made_of_requests(asked) if anthropic else self._made_of_file(asked)
            if isinstance(batch, str):
                return _wrong(400, batch, anthropic=anthropic)
            self.batches.append(batch)
            if not self.held and batch.status == "in_progress":
                self._end(batch)
            if refusal < 0:
                return StreamingResponse(_cut(), headers={"content-length": "999"})
            return JSONResponse(shown(batch))

    async def _list(self, request: Request) -> Response:
        kind = "anthropic" if request.url.path.startswith("/v1/messages") else "openai"
        after = request.query_params.get("after") or request.query_params.get("after_id")
        limit = int(request.query_params.get("limit", "20"))
        with self._lock:
            found = [one for one in reversed(self.batches) if one.kind == kind and self.lists]
            if after is not None:
                found = found[[one.id for one in found].index(after) + 1 :]
            page = [shown(one) for one in found[:limit]]
        return JSONResponse({"object": "list", "data": page, "has_more": len(found) > limit})

    async def _get(self, request: Request) -> Response:
        with self._lock:
            batch = self._batch(request)
            return _wrong(404, "no such batch") if batch is None else JSONResponse(shown(batch))

    async def _cancel(self, request: Request) -> Response:
        with self._lock:
            batch = self._batch(request)
            if batch is None or batch.status in ENDED:
                return _wrong(409, "a batch that has ended cannot be cancelled")
            batch.cancelled = True
            self._end(batch)
            return JSONResponse(shown(batch))

    async def _content(self, request: Request) -> Response:
        with self._lock:
            batch = self._batch(request)
            name = batch.files.get("results", "") if batch else request.path_params["id"]
            if name not in self._files:
                return _wrong(404, "no such file")
            return Response(self._files[name], media_type="application/octet-stream")

    async def _complete(self, request: Request) -> Response:
        asked = json.loads(await request.body())
        anthropic = request.url.path == "/v1/messages"
        with self._lock:
            self.online.append(asked)
        fate = self.fate(last(asked))
        if fate.status != 200:
            return _wrong(fate.status, "as scripted", anthropic=anthropic)
        return JSONResponse((message if anthropic else chat)(asked, fate))

    # Batches

    def _batch(self, request: Request) -> Made | None:
        wanted = request.path_params["id"]
        return next((one for one in self.batches if one.id == wanted), None)

    def _made_of_file(self, asked: Json) -> Made | str:
        content = self._files.get(asked.get("input_file_id", ""))
        if content is None or asked.get("completion_window") != "24h":
            return "no such file, or no completion_window of 24h"
        requests = [json.loads(line) for line in content.splitlines() if line.strip()]
        batch = self._made("openai", requests)
        batch.metadata = asked.get("metadata")
        if self.ends_as == "failed":
            batch.status, batch.why = "failed", "Enqueued token limit reached"
        elif any(one["url"] != asked["endpoint"] for one in requests) or _twice(requests):
            batch.status, batch.why = "failed", "a line with another url, or an id twice"
        return batch

    def _made_of_requests(self, asked: Json) -> Made | str:
        requests: list[Json] = asked.get("requests", [])
        if not requests or _twice(requests):
            return "requests: none, or an id twice"
        if any(
            "max_tokens" not in one["params"] or one["params"].get("stream") for one in requests
        ):
            return "requests: max_tokens: Field required"
        return self._made("anthropic", requests)

    def _made(self, kind: Literal["openai", "anthropic"], requests: list[Json]) -> Made:
        prefix = "batch" if kind == "openai" else "msgbatch"
        return Made(self._named(prefix), kind, requests, time.time(), "in_progress")

    def _end(self, batch: Made) -> None:
        """Run what is to be run, and write the results, in an order of their own."""
        good: list[bytes] = []
        bad: list[bytes] = []
        for one in self._random.sample(batch.requests, len(batch.requests)):
            body = one.get("body") or one["params"]
            fate = Fate(missing=True) if batch.cancelled else self.fate(last(body))
            ran = not (fate.expired or batch.cancelled)
            if ran:
                batch.ran = [*batch.ran, one["custom_id"]]
            if fate.missing and batch.kind == "openai":
                continue
            line = RESULTS[batch.kind](body, fate, batch.cancelled)
            whole = json.dumps({"custom_id": one["custom_id"], **line}).encode()
            (good if ran and fate.status == 200 else bad).append(
                whole[:25] if fate.garbled else whole
            )
        batch.status = "cancelled" if batch.cancelled else self.ends_as
        if batch.kind == "anthropic":
            batch.files = {"results": self._keep(b"\n".join([*bad, *good]))["id"]}
            return
        lines = {"output_file_id": good, "error_file_id": bad}
        batch.files = {
            name: self._keep(b"\n".join(some) + b"\n")["id"] for name, some in lines.items() if some
        }

    def _keep(self, content: bytes) -> Json:
        with self._lock:
            name = self._named("file")
            self._files[name] = content
            return {"id": name, "bytes": len(content), "purpose": "batch", "filename": "x.jsonl"}

    def _named(self, prefix: str) -> str:
        self._numbers[prefix] += 1
        return f"{prefix}_{self._numbers[prefix]:04d}"


class _HangUp(Exception):
    """Ends a body in its middle; uvicorn then closes the connection."""


async def _cut() -> AsyncIterator[bytes]:
    yield b"{"
    raise _HangUp


def _told(server: BatchServer, route: Route) -> Route:
    """The same route, of which the server's `step` is told."""
    inner = route.endpoint

    async def endpoint(request: Request) -> Response:
        what = f"{request.method} {request.url.path}"
        server.step(f"before {what}")
        try:
            return await inner(request)
        finally:
            server.step(f"after {what}")

    return Route(route.path, endpoint, methods=list(route.methods or ()))


def _twice(requests: list[Json]) -> bool:
    return len({one["custom_id"] for one in requests}) < len(requests)


def _wrong(status: int, said: str, *, anthropic: bool = False) -> Response:
    if anthropic:
        return JSONResponse(error_of(status, said), status)
    return JSONResponse({"error": {"message": said, "code": "scripted"}}, status)
