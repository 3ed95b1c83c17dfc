"""OpenAI's API: chat completions, responses, embeddings, models; wire to nouns and back."""

from __future__ import annotations

import re
import time

import msgspec

from splice.core.access import Principal
from splice.core.call import Call
from splice.core.chat import Asked, Dialect, WireReply
from splice.core.errors import BadAnswer, MalformedBody, SpliceError
from splice.core.units import NANO
from splice.engine.converse import Spoken
from splice.serve.http.trace import trace_of
from splice.serve.openai.chat import asked_chat
from splice.serve.openai.embeddings import asked_embeddings, in_base64
from splice.serve.openai.faults import Header, nowhere, refusal, unforeseen
from splice.serve.openai.models import model_list, one_model, visible_models
from splice.serve.openai.narration import Narration
from splice.serve.openai.reading import as_object, lenient
from splice.serve.openai.replay import chat_events, response_events
from splice.serve.openai.responses import asked_response, head_of
from splice.serve.openai.spoken_chat import narrate_reply
from splice.serve.openai.streams import Passed, Told, Translated
from splice.serve.wire import EventStream, GatewayDesk, WireAnswer, WireCall

_CHAT, _RESPONSES = "/v1/chat/completions", "/v1/responses"
_EMBEDDINGS, _MODELS = "/v1/embeddings", "/v1/models"
_ASKED = frozenset((_CHAT, _RESPONSES, _EMBEDDINGS))
_EVENTS = b"text/event-stream; charset=utf-8"
_encode = msgspec.json.Encoder().encode
_NO_HEADERS: dict[str, str] = {}
_PLAIN_VALUE = re.compile(rb"[\x20-\x7e]{1,256}")


class OpenAISurface:
    """Answers the requests of OpenAI's clients.

    Args:
        desk: The process behind it.
    """

    def __init__(self, desk: GatewayDesk) -> None:
        self._desk = desk

    async def answer(self, call: WireCall) -> WireAnswer:
        """The answer to one request; whatever goes wrong is an answer in OpenAI's shape."""
        headers: list[Header] = []
        try:
            principal = await self._desk.engine.keyring.asker(_token(call.headers), call.address)
            path = call.path
            if path in _ASKED:
                if call.method != "POST":
                    return nowhere(call.method, path, b"POST")
                return await self._answer(call, principal, headers)
            return self._models(call, principal)
        except SpliceError as error:
            return refusal(error, headers)
        except Exception:  # noqa: BLE001 - the request ends here, and its caller is told
            return refusal(unforeseen(f"a request to {call.path[:80]}"), headers)

    def refuse(self, error: SpliceError, call: WireCall) -> WireAnswer:
        """An error that came before the request was read, in OpenAI's shape."""
        return refusal(error, [])

    async def _answer(
        self, wire: WireCall, principal: Principal, headers: list[Header]
    ) -> WireAnswer:
        """Says what was asked, has it answered, and gives it back; fills in the headers."""
        call_id = self._desk.new_id()
        encoded = call_id.encode()
        headers += (b"x-request-id", encoded), (b"splice-call-id", encoded)
        with_usage = packed = False
        sent, body = wire.headers, wire.body
        passed = _passed_on(sent[b"openai-beta"]) if b"openai-beta" in sent else _NO_HEADERS
        if wire.path == _CHAT:
            chat = asked_chat(body, passed)
            asked, with_usage = chat.asked, chat.with_usage
        elif wire.path == _RESPONSES:
            asked = asked_response(body, passed)
        else:
            embeddings = asked_embeddings(body, passed)
            asked, packed = embeddings.asked, embeddings.in_base64
        key = sent.get(b"idempotency-key")
        call = Call(
            call_id,
            "",
            body,
            time.time_ns() // 1000,
            "openai",
            principal.caller,
            None if key is None else key.decode("latin-1"),
            trace_of(sent) if b"traceparent" in sent else None,
            principal,
        )
        spoken = await self._desk.engine.converse(call, asked)
        headers[:] = _headers_of(spoken)
        if spoken.error is not None:
            return refusal(spoken.error, headers)
        if spoken.stream is not None:
            stream = self._streamed(spoken, asked)
            return WireAnswer(200, b"", _EVENTS, headers, stream)
        if spoken.reply is None:
            raise BadAnswer(spoken.integration, got="neither a reply nor a stream")
        return _replied(spoken, spoken.reply, asked, headers, with_usage=with_usage, packed=packed)

    def _streamed(self, spoken: Spoken, asked: Asked) -> EventStream:
        stream = spoken.stream
        if stream is None:
            raise BadAnswer(spoken.integration, got="no stream")
        if stream.dialect is asked.dialect:
            return Passed(stream)
        return Translated(stream, Narration(head_of(asked, spoken.call_id, asked.model)))

    def _models(self, call: WireCall, principal: Principal) -> WireAnswer:
        path = call.path
        if path != _MODELS and not path.startswith(_MODELS + "/"):
            return nowhere(call.method, path)
        if call.method != "GET":
            return nowhere(call.method, path, b"GET")
        shown = visible_models(self._desk.engine.lines, principal)
        if path == _MODELS:
            return WireAnswer(200, _encode(model_list(shown)))
        return WireAnswer(200, _encode(one_model(shown, path[len(_MODELS) + 1 :])))


def _replied(
    spoken: Spoken,
    reply: WireReply,
    asked: Asked,
    headers: list[Header],
    *,
    with_usage: bool,
    packed: bool,
) -> WireAnswer:
    """A whole reply in the dialect of its request; told as a stream where one was asked for."""
    same = reply.dialect is asked.dialect
    if same and not asked.stream:
        body = in_base64(reply.body) if packed else reply.body
        return WireAnswer(200, body, headers=headers)
    if not same and asked.dialect is not Dialect.RESPONSES:
        raise BadAnswer(spoken.integration, got=f"an answer of {reply.dialect}")
    try:
        plain = as_object(lenient(reply.body))
    except MalformedBody as error:
        raise BadAnswer(spoken.integration, got="no JSON", promised="a JSON object") from error
    if not plain:
        raise BadAnswer(spoken.integration, got="no object", promised="a JSON object")
    if asked.dialect is Dialect.CHAT:
        events = chat_events(plain, reply.usage, with_usage=with_usage)
        return WireAnswer(200, b"", _EVENTS, headers, Told(events))
    if not same:
        narration = Narration(head_of(asked, spoken.call_id, reply.model), quiet=True)
        narrate_reply(plain, narration, reply.usage)
        plain = narration.response
    if asked.stream:
        return WireAnswer(200, b"", _EVENTS, headers, Told(response_events(plain)))
    return WireAnswer(200, _encode(plain), headers=headers)


def _token(headers: dict[bytes, bytes]) -> str:
    """The API key, wherever a client puts it; empty where there is none."""
    given = headers.get(b"authorization")
    if given is not None:
        scheme, _, token = given.partition(b" ")
        if scheme.lower() == b"bearer":
            return token.strip().decode("latin-1")
    other = headers.get(b"x-api-key") or headers.get(b"api-key") or b""
    return other.strip().decode("latin-1")


def _passed_on(beta: bytes) -> dict[str, str]:
    """Vendor headers for the provider: only of characters that cannot begin another header."""
    return {"openai-beta": beta.decode()} if _PLAIN_VALUE.fullmatch(beta) else _NO_HEADERS


def _headers_of(spoken: Spoken) -> list[Header]:
    call_id = spoken.call_id.encode()
    headers = [
        (b"x-request-id", call_id),
        (b"splice-call-id", call_id),
        (b"splice-integration", _value(spoken.integration)),
        (b"splice-route", _value(spoken.route)),
        (b"splice-reason", spoken.reason.encode()),
    ]
    if spoken.cost_nano is not None:
        headers.append((b"splice-cost", b"%d.%09d" % divmod(spoken.cost_nano, NANO)))
    return headers


def _value(text: str) -> bytes:
    """A header value; a route may hold the model that a caller named, and so any character."""
    return text.encode() if text.isascii() and text.isprintable() else ascii(text).encode()
