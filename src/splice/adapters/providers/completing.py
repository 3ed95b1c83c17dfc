"""Completing: what a provider that only completes prompts needs to serve chat clients too.

Inherit it beside your own `complete`: whole requests become completions, and a stream is the whole
answer in one piece. It refuses what a completion cannot carry, such as tools and images.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NoReturn, cast

import msgspec
from msgspec import Raw

from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import InputMismatch, ProviderRejected
from splice.core.prices import Price
from splice.ports.providers import Completion, CompletionRequest, Message, Provider, Stream

_encode = msgspec.json.encode
_TURNS: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant",
}  # fmt: skip
_REFUSED = ("tools", "tool_choice", "functions", "logprobs", "audio", "modalities")
_OURS = frozenset({"messages", "response_format", "stream_options", "max_completion_tokens", "n"})


class Completing:
    """`dialects`, `price`, `send` and `open` by means of `complete`; see `Provider`."""

    dialects: frozenset[Dialect] = frozenset({Dialect.CHAT})

    def price(self, model: str) -> Price | None:
        """Unknown; say otherwise where you know it."""
        return None

    async def send(self, request: WireRequest) -> WireReply:
        """The completion as a chat completion.

        Raises:
            RequestError: It asks for something that a completion cannot carry.
            RouteError: As `complete` does.
        """
        provider = cast("Provider", self)
        return _reply(await provider.complete(_completion_request(request)))

    async def open(self, request: WireRequest) -> Stream:
        """The same, in one piece."""
        reply = await self.send(request)
        options: dict[str, Any] = _plain(request.fields.get("stream_options") or {})
        return _OnePiece(reply, with_usage=bool(options.get("include_usage")))


class _OnePiece:
    """A stream that has all to say at once."""

    def __init__(self, reply: WireReply, *, with_usage: bool) -> None:
        self._reply = reply
        self._with_usage = with_usage
        self._said = self.started = False

    async def next(self) -> bytes | None:
        if self._said:
            return None
        self._said = self.started = True
        whole = cast("dict[str, Any]", msgspec.json.decode(self._reply.body))
        head = {name: whole[name] for name in ("id", "created", "model")}
        head["object"] = "chat.completion.chunk"
        choice = whole["choices"][0]
        chunks: list[dict[str, Any]] = [
            {**head, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
            {
                **head,
                "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}],
            },
        ]
        if self._with_usage:
            chunks.append({**head, "choices": [], "usage": whole["usage"]})
        events = [b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks]
        return b"".join(events) + b"data: [DONE]\n\n"

    def reply(self) -> WireReply:
        return self._reply

    def hang_up(self) -> None:
        self._said = True


def _completion_request(request: WireRequest) -> CompletionRequest:
    fields: dict[str, Any] = {name: _plain(value) for name, value in request.fields.items()}
    messages: Any = fields.get("messages")
    if not isinstance(messages, list):
        raise InputMismatch("messages", got=type(messages).__name__, promised="a list of turns")
    for name in _REFUSED:
        if fields.get(name):
            _cannot(request.model, name)
    if fields.get("n") not in (None, 1):
        _cannot(request.model, "n")
    params = {k: v for k, v in fields.items() if v is not None and k not in _OURS}
    most = fields.get("max_completion_tokens")
    if most is not None:
        params["max_tokens"] = most
    schema, name = None, "reply"
    wanted: Any = fields.get("response_format")
    if isinstance(wanted, dict):
        named: dict[str, Any] = cast("dict[str, Any]", wanted).get("json_schema") or {}
        schema, name = named.get("schema"), named.get("name", name)
    return CompletionRequest(
        model=request.model,
        messages=tuple(_message(request.model, one) for one in cast("list[Any]", messages)),
        timeout_s=request.timeout_s,
        schema=schema,
        schema_name=name,
        params=params,
        trace=request.trace,
    )


def _message(model: str, said: Any) -> Message:
    turn = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    role = _TURNS.get(str(turn.get("role")))
    content: Any = turn.get("content")
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        if any(part.get("type") != "text" for part in parts):
            _cannot(model, "messages")
        content = "".join(str(part.get("text", "")) for part in parts)
    if role is None or not isinstance(content, str):
        raise InputMismatch("messages", got=f"a turn of {turn.get('role')!r}", promised="text")
    return Message(role, content)


def _cannot(model: str, field: str) -> NoReturn:
    error = ProviderRejected(
        model, got=f"{field}, which this provider cannot carry", mend="leave it out"
    )
    error.param, error.elsewhere = field, True
    raise error


def _reply(completion: Completion) -> WireReply:
    usage = completion.usage
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    body = {
        "id": f"chatcmpl-{time.time_ns():x}",
        "object": "chat.completion",
        "created": time.time_ns() // 1_000_000_000,
        "model": completion.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.text},
                "finish_reason": completion.finish_reason or "stop",
            }
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }
    return WireReply(Dialect.CHAT, _encode(body), usage, completion.model, completion.cost_nano)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, Raw) else value
