"""Anthropic's API: messages and the counting of their tokens; wire to nouns and back."""

from __future__ import annotations

import re
import time

import msgspec

from splice.core.access import Principal
from splice.core.call import Call
from splice.core.chat import Asked, Dialect, WireReply
from splice.core.errors import BadAnswer, Draining, MalformedBody, RequestError, SpliceError
from splice.core.units import NANO
from splice.engine.converse import Spoken
from splice.engine.tokens import input_tokens_of
from splice.serve.anthropic.events import MessageEvents, replayed
from splice.serve.anthropic.faults import Header, refusal, request_id
from splice.serve.anthropic.from_chat import message_of
from splice.serve.anthropic.request import read_count, read_messages
from splice.serve.anthropic.streams import Passed, Told, unforeseen
from splice.serve.anthropic.to_chat import chat_fields
from splice.serve.http.trace import trace_of
from splice.serve.wire import GatewayDesk, WireAnswer, WireCall

_EVENTS = b"text/event-stream; charset=utf-8"
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_VENDOR = ("anthropic-version", "anthropic-beta")
_PLAIN_VALUE = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?")
_encode = msgspec.json.Encoder().encode


class AnthropicSurface:
    """Answers the requests of Anthropic's clients.

    Args:
        desk: The process behind it.
    """

    def __init__(self, desk: GatewayDesk) -> None:
        self._desk = desk

    async def answer(self, call: WireCall) -> WireAnswer:
        """The answer to one request; whatever goes wrong is an answer in Anthropic's shape."""
        call_id = self._desk.new_id()
        headers = _headers_of(Spoken(call_id))
        try:
            if self._desk.draining:
                raise Draining("server", got="a new call while shutting down")
            principal = await self._desk.engine.keyring.asker(_token(call.headers), call.address)
            if call.path == _MESSAGES and call.method == "POST":
                return await self._message(call, call_id, principal, headers)
            if call.path == _COUNT and call.method == "POST":
                return self._count(call, principal, headers)
        except SpliceError as error:
            return refusal(error, call_id, headers)
        except Exception as error:  # noqa: BLE001  here ends the task that nobody else watches
            return refusal(unforeseen(call.path[:80], error), call_id, headers)
        return _nowhere(call, call_id, headers)

    def refuse(self, error: SpliceError, call: WireCall) -> WireAnswer:
        """An error that came before the request was read, in Anthropic's shape."""
        call_id = self._desk.new_id()
        return refusal(error, call_id, _headers_of(Spoken(call_id)))

    async def _message(
        self, wire: WireCall, call_id: str, principal: Principal, headers: list[Header]
    ) -> WireAnswer:
        """Says what was asked, has it answered, and gives it back; fills in the headers."""
        asked = asked_message(wire.body, _passed_on(wire.headers))
        key = wire.headers.get(b"idempotency-key")
        call = Call(
            call_id,
            "",
            wire.body,
            time.time_ns() // 1000,
            "anthropic",
            principal.caller,
            None if key is None else key.decode("latin-1"),
            trace_of(wire.headers) if b"traceparent" in wire.headers else None,
            principal,
        )
        spoken = await self._desk.engine.converse(call, asked)
        headers[:] = _headers_of(spoken)
        if spoken.error is not None:
            return refusal(spoken.error, spoken.call_id, headers)
        if spoken.stream is not None:
            if spoken.stream.dialect is Dialect.MESSAGES:
                stream = Passed(spoken.stream, spoken.call_id)
            else:
                events = MessageEvents(_message_id(spoken), asked.model, spoken.integration)
                stream = Told(spoken.stream, events, spoken.call_id)
            return WireAnswer(200, b"", _EVENTS, headers, stream)
        if spoken.reply is None:
            raise BadAnswer(spoken.integration, got="neither a reply nor a stream")
        body = _body_of(spoken, spoken.reply, asked.model)
        if asked.stream:
            return WireAnswer(200, replayed(body), _EVENTS, headers)
        return WireAnswer(200, body, headers=headers)

    def _count(self, wire: WireCall, principal: Principal, headers: list[Header]) -> WireAnswer:
        """An estimate, by the rule by which budgets are reserved: a third of the bytes."""
        read = read_count(wire.body)
        self._desk.engine.names.find(read.said.model, principal)
        asked = Asked(Dialect.MESSAGES, read.said.model, False, read.fields, len(wire.body))
        tokens = input_tokens_of(asked, wire.body)
        headers.append((b"splice-estimated", b"true"))
        return WireAnswer(200, _encode({"input_tokens": tokens}), headers=headers)


def asked_message(body: bytes, headers: dict[str, str]) -> Asked:
    """What a body asks for; `headers` go to a provider that speaks Anthropic's API, too.

    Raises:
        RequestError: It is malformed, or a documented field is of a wrong type.
    """
    read = read_messages(body)
    said = read.said
    return Asked(
        dialect=Dialect.MESSAGES,
        model=said.model,
        stream=bool(said.stream),
        fields=read.fields,
        size=len(body),
        as_chat=lambda: chat_fields(said),
        output_tokens=said.max_tokens,
        headers=headers,
    )


def _body_of(spoken: Spoken, reply: WireReply, model: str) -> bytes:
    """A whole reply as a message."""
    if reply.dialect is Dialect.MESSAGES:
        return reply.body
    try:
        return _encode(message_of(reply.body, _message_id(spoken), reply.model or model))
    except (MalformedBody, msgspec.ValidationError) as error:
        raise BadAnswer(spoken.integration, got=str(error), promised="a chat completion") from error


def _message_id(spoken: Spoken) -> str:
    return f"msg_{spoken.call_id.replace('-', '')}"


def _token(headers: dict[bytes, bytes]) -> str:
    """The API key, where either of Anthropic's clients puts it; empty where there is none."""
    own = headers.get(b"x-api-key", b"").strip()
    if own:
        return own.decode("latin-1")
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def _passed_on(headers: dict[bytes, bytes]) -> dict[str, str]:
    """Vendor headers for the provider.

    Raises:
        RequestError: One has a character that could begin another header.
    """
    passed: dict[str, str] = {}
    for name in _VENDOR:
        value = headers.get(name.encode())
        if value:
            if not _PLAIN_VALUE.fullmatch(value):
                raise RequestError(
                    f"headers.{name}", got="a value of other characters", promised="plain ASCII"
                )
            passed[name] = value.decode()
    return passed


def _headers_of(spoken: Spoken) -> list[Header]:
    headers = [
        (b"request-id", request_id(spoken.call_id).encode()),
        (b"splice-call-id", spoken.call_id.encode()),
    ]
    if spoken.integration:
        headers.append((b"splice-integration", _value(spoken.integration)))
        headers.append((b"splice-reason", spoken.reason.encode()))
    if spoken.route:
        headers.append((b"splice-route", _value(spoken.route)))
    if spoken.cost_nano is not None:
        headers.append((b"splice-cost", b"%d.%09d" % divmod(spoken.cost_nano, NANO)))
    return headers


def _value(text: str) -> bytes:
    """A header value; a route may hold the model that a caller named, and so any character."""
    return text.encode() if text.isascii() and text.isprintable() else ascii(text).encode()


def _nowhere(call: WireCall, call_id: str, headers: list[Header]) -> WireAnswer:
    known = call.path in (_MESSAGES, _COUNT)
    message = f"{call.method[:16]} {call.path[:200]}: not here; POST {_MESSAGES} or {_COUNT}"
    end = call.path.removeprefix("/v1").removeprefix("/v1")
    if known:
        message = f"{call.method[:16]} {call.path}: use POST"
    elif f"/v1{end}" in (_MESSAGES, _COUNT):
        message = f"{call.path}: not here; did you mean /v1{end}? base_url has no /v1"
    shown = {"type": "not_found_error", "message": message}
    body = _encode({"type": "error", "error": shown, "request_id": request_id(call_id)})
    more = [(b"allow", b"POST")] if known else []
    return WireAnswer(405 if known else 404, body, headers=headers + more)
