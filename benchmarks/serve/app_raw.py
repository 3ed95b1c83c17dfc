"""The floor under everything: an ASGI function that parses, runs the model and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from onnx_model import OnnxModel

MODEL = OnnxModel()
HEADERS = [(b"content-type", b"application/json")]

# Any: what ASGI passes over its wire.
Message = dict[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer `{"features": [...]}` with `{"probability": ...}`, one model run a request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    answer = orjson.dumps({"probability": MODEL.one(orjson.loads(body)["features"])})
    length = (b"content-length", str(len(answer)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": answer})
