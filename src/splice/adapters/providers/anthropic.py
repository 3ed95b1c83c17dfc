"""Anthropic's Messages API as a provider, natively and for callers who speak chat completions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splice.adapters.net.connection import HttpFault, HttpReply
from splice.adapters.net.http import BODY_LIMIT, Http, origin_of
from splice.adapters.providers.anthropic_batches import AnthropicBatches
from splice.adapters.providers.anthropic_events import ChatChunks
from splice.adapters.providers.anthropic_reply import Answer, WireUsage, cost_of, to_chat, usage_of
from splice.adapters.providers.anthropic_request import DEFAULT_MAX_TOKENS, to_messages
from splice.adapters.providers.anthropic_stream import AnthropicStream
from splice.adapters.providers.batch_wire import RESULTS_LIMIT, BatchWire
from splice.adapters.providers.headers import check_headers
from splice.adapters.providers.refusals import Refusals
from splice.core.call import Trace
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import BadAnswer, ProviderFailed, RequestError
from splice.core.prices import Price, in_batch
from splice.ports.providers import Completion, CompletionRequest

_MESSAGES = "/v1/messages"
_MODELS = "/v1/models?limit=1000"
_ERROR_MOST = 64 * 1024
_DIALECTS = frozenset({Dialect.MESSAGES, Dialect.CHAT})
_VENDOR = ("anthropic-version", "anthropic-beta")
_encode = msgspec.json.encode


class AnthropicSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to the server.

    `version` is sent where the caller names none. `max_tokens` bounds an answer where the caller
    of a chat completion does not: the API demands a number. `headers` are sent along and are as
    secret as the key; an `anthropic-beta` among them is joined with the caller's. `ca_file` holds
    certificates to trust instead of the system's.
    """

    version: str = "2023-06-01"
    max_tokens: int = DEFAULT_MAX_TOKENS
    headers: dict[str, str] = {}
    body_limit: int = BODY_LIMIT
    connect_s: float = 5.0
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"AnthropicSettings(version={self.version!r}, headers of {sorted(self.headers)})"


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


_ANSWER = msgspec.json.Decoder(Answer)
_LIST = msgspec.json.Decoder(_List)


class AnthropicProvider:
    """Claude models behind Anthropic's API, or behind a server that speaks it.

    Args:
        name: The provider's name in declarations, errors and records.
        base_url: Up to and without `/v1/messages`.
        api_key: Sent as `x-api-key`; never repeated in an error, a repr or a log.
        prices: By model name; the cost of a model that is not in it is unknown.
        settings: Version, further headers and bounds.
        now: Unix time in seconds.

    Raises:
        SettingsError: The URL, the key or a header cannot be sent.
    """

    def __init__(
        self,
        name: str,
        base_url: str = "https://api.anthropic.com",
        api_key: str | None = None,
        *,
        prices: Mapping[str, Price] | None = None,
        settings: AnthropicSettings | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._settings = settings or AnthropicSettings()
        self._prices: Mapping[str, Price] = {} if prices is None else prices
        self._now = now
        self._closed = False
        given = {key.lower(): value for key, value in self._settings.headers.items()}
        self._version = given.pop("anthropic-version", self._settings.version)
        self._beta = given.pop("anthropic-beta", "")
        self._refusals = Refusals(name, [api_key or "", *given.values()], now=now)
        origin = origin_of(base_url, name)
        headers = {"accept": "application/json", "user-agent": "splice", **given}
        if api_key:
            headers["x-api-key"] = api_key
        everyone = {**headers, "anthropic-version": self._version}
        check_headers(everyone, name, frozenset({"x-api-key"}))
        self._batches: AnthropicBatches | None = None
        self._http = Http(
            origin,
            headers,
            body_limit=self._settings.body_limit,
            connect_s=self._settings.connect_s,
            ca_file=self._settings.ca_file,
        )

    def __repr__(self) -> str:
        return f"AnthropicProvider({self.name!r})"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """See `splice.ports.providers.Provider`."""
        return _DIALECTS

    def price(self, model: str) -> Price | None:
        """See `splice.ports.providers.Provider`."""
        return self._prices.get(model)

    async def send(self, request: WireRequest) -> WireReply:
        """See `splice.ports.providers.Provider`."""
        where = self._where(request)
        body = self._body(request, stream=False)
        reply = await self._post(request, where, body)
        answer = self._decode(where, reply)
        usage = usage_of(answer.usage)
        model = answer.model or request.model
        cost = self._cost(request.model, answer)
        if request.dialect is Dialect.MESSAGES:
            return WireReply(Dialect.MESSAGES, reply.body, usage, model, cost)
        chat = _encode(to_chat(answer, int(self._now())))
        return WireReply(Dialect.CHAT, chat, usage, model, cost)

    async def open(self, request: WireRequest) -> AnthropicStream:
        """See `splice.ports.providers.Provider`."""
        where = self._where(request)
        chunks = None
        if request.dialect is Dialect.CHAT:
            wanted = _includes_usage(request.fields)
            chunks = ChatChunks(int(self._now()), include_usage=wanted)
        body = self._body(request, stream=True)
        headers, trace = self._headers(request.headers), _traceparent(request.trace)
        self._check_open(where)
        try:
            stream = await self._http.open(_MESSAGES, body, trace, headers, request.timeout_s)
            if stream.status != 200:
                said = await stream.rest(_ERROR_MOST)
                raise self._refusals.status(where, stream.status, stream.headers, said)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, request.timeout_s) from None
        if request.between_s is not None:
            stream.watch(request.between_s)
        asked = request.model

        def cost(model: str, usage: WireUsage) -> int | None:
            return cost_of(self._prices.get(asked) or self._prices.get(model), usage)

        return AnthropicStream(where, stream, self._refusals, request.timeout_s, chunks, cost)

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `splice.ports.providers.Provider`."""
        wire = _wire(request)
        where = self._where(wire)
        body = _encode(self._params(request))
        reply = await self._post(wire, where, body, rejects=False)
        return self._completion(request.model, reply, request.schema is not None)

    def offline(self) -> AnthropicBatches:
        """The Message Batches endpoint."""
        if self._batches is None:
            headers = self._headers({})
            wire = BatchWire(self.name, self._http.wider(RESULTS_LIMIT, headers), self._refusals)
            self._batches = AnthropicBatches(wire, self._params, self._completion, self.price)
        return self._batches

    def _params(self, request: CompletionRequest) -> dict[str, Any]:
        """The body of a completion."""
        wire = _wire(request)
        try:
            return self._fields(wire, stream=False)
        except RequestError as error:  # the parameters are the declaration's, not the caller's
            failed = ProviderFailed(
                self._where(wire), got=error.got, promised=error.promised, mend=error.mend
            )
            failed.retryable = False
            raise failed from None

    def _completion(
        self, model: str, reply: HttpReply, schema: bool, batch: bool = False
    ) -> Completion:
        """What a whole message says, and what it cost."""
        where = f"{self.name}/{model}"
        answer = self._decode(where, reply)
        cost = self._cost(model, answer, batch)
        problem, mend = _problem(answer, schema=schema)
        if problem:
            bad = BadAnswer(where, got=self._refusals.clean(problem), mend=mend)
            bad.cost_nano = cost  # it was answered, so it was charged
            raise bad
        text = "".join(block.text for block in answer.content if block.type == "text")
        finish = to_chat(answer, 0)["choices"][0]["finish_reason"] or ""
        usage = usage_of(answer.usage)
        return Completion(text, answer.model or model, finish, usage, cost)

    async def models(self) -> list[str]:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}.models"
        self._check_open(where)
        try:
            version = {"anthropic-version": self._version}
            reply = await self._http.get(_MODELS, 30.0, version)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, 30.0) from None
        if reply.status in (404, 405, 501):
            return []
        if reply.status != 200:
            raise self._refusals.status(where, reply.status, reply.headers, reply.body)
        try:
            return [model.id for model in _LIST.decode(reply.body).data]
        except msgspec.DecodeError:
            return []

    async def close(self) -> None:
        """Close the idle connections; calls in flight end by themselves."""
        self._closed = True
        await self._http.close()
        if self._batches is not None:
            await self._batches.close()

    def _where(self, request: WireRequest) -> str:
        return f"{self.name}/{request.model}"

    def _body(self, request: WireRequest, *, stream: bool) -> bytes:
        """The request as JSON."""
        return _encode(self._fields(request, stream=stream))

    def _fields(self, request: WireRequest, *, stream: bool) -> dict[str, Any]:
        """The fields of the body; the values of its own dialect are the caller's bytes."""
        fields: Mapping[str, Any] = request.fields
        if request.dialect is not Dialect.MESSAGES:
            fields = to_messages(fields, request.model, self._settings.max_tokens)
        return {**fields, "model": request.model, "stream": stream}

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        headers = {"anthropic-version": given.get("anthropic-version") or self._version}
        betas = [beta for beta in (self._beta, given.get("anthropic-beta", "")) if beta]
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        return headers

    def _check_open(self, where: str) -> None:
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")

    async def _post(
        self, request: WireRequest, where: str, body: bytes, *, rejects: bool = True
    ) -> HttpReply:
        """The answer with status 200, or an error of ours; it echoes no secret."""
        headers, trace = self._headers(request.headers), _traceparent(request.trace)
        self._check_open(where)
        try:
            reply = await self._http.post(_MESSAGES, body, trace, headers, request.timeout_s)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, request.timeout_s) from None
        if reply.status != 200:
            raise self._refusals.status(
                where, reply.status, reply.headers, reply.body, rejects=rejects
            )
        reply.body = self._refusals.scrub(reply.body)
        return reply

    def _decode(self, where: str, reply: HttpReply) -> Answer:
        try:
            return _ANSWER.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            kind = reply.headers.get("content-type", "no content type")
            got = f"status 200 with {len(reply.body)} bytes of {kind}: {error}"
            mend = "check that base_url ends where /v1/messages begins"
            raise self._refusals.bad(where, got, "a message", mend) from None

    def _cost(self, asked: str, answer: Answer, batch: bool = False) -> int | None:
        price = self._prices.get(asked) or self._prices.get(answer.model or "")
        return cost_of(in_batch(price) if batch else price, answer.usage)


def _wire(request: CompletionRequest) -> WireRequest:
    """A prompt as a chat completion."""
    fields: dict[str, Any] = {
        **request.params,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
    }
    for name in ("model", "stream"):
        fields.pop(name, None)
    if request.schema is not None:
        named = {"name": request.schema_name, "schema": request.schema}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    return WireRequest(Dialect.CHAT, request.model, fields, request.timeout_s, trace=request.trace)


def _problem(answer: Answer, *, schema: bool) -> tuple[str, str]:
    """What is wrong with an answer, and the mend; empty where nothing is."""
    if answer.stop_reason == "refusal":
        said = answer.stop_details.explanation if answer.stop_details else None
        return f"a refusal: {said or 'without an explanation'}", ""
    if answer.stop_reason in ("max_tokens", "model_context_window_exceeded") and schema:
        return f"an answer cut off before its end ({answer.stop_reason})", "raise max_tokens"
    if not any(block.type == "text" for block in answer.content):
        return f"no text (stop_reason: {answer.stop_reason})", ""
    return "", ""


def _includes_usage(fields: Mapping[str, Any]) -> bool:
    """Whether the caller of a chat completion asked for a last chunk with the usage."""
    options = fields.get("stream_options")
    try:
        plain = msgspec.json.decode(_encode(options), type=dict[str, Any] | None)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return bool(plain and plain.get("include_usage"))


def _traceparent(trace: Trace | None) -> str:
    """The W3C header that lets the server continue the caller's trace; empty without one."""
    return f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}" if trace else ""
