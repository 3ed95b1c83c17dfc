"""Any OpenAI-compatible server as a provider: chat completions, responses, embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.net.http import (
    BODY_LIMIT,
    Http,
    HttpFault,
    HttpReply,
    HttpStream,
    origin_of,
)
from splice.adapters.providers.batch_wire import RESULTS_LIMIT, BatchWire
from splice.adapters.providers.chat_stream import ChatStream
from splice.adapters.providers.completion import (
    Answer,
    problem_of,
    request_fields,
    text_of,
    traceparent,
)
from splice.adapters.providers.event_stream import Asking, EventStream
from splice.adapters.providers.headers import check_headers
from splice.adapters.providers.openai_batches import OpenAIBatches
from splice.adapters.providers.refusals import Refusals
from splice.adapters.providers.responses_stream import ResponsesStream
from splice.adapters.providers.usage import WireUsage, request_tokens, usage_of
from splice.adapters.providers.vendors import Vendor, adapted, path_of, plain, vendor_of
from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import (
    BadAnswer,
    InputMismatch,
    ProviderFailed,
    SpliceError,
)
from splice.core.prices import Price, cost_nano, in_batch
from splice.ports.providers import Completion, CompletionRequest

_encode = msgspec.json.encode
_ERROR_LIMIT = 256 * 1024  # of the body of a failure; its words stand at its beginning
_NULL = b"null"


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to one server.

    `dialect` is `json_schema` where the server takes a schema in `response_format`, `json_object`
    where it knows only JSON: the schema then goes into the system prompt, and the server promises
    nothing. `headers` are sent along and are as secret as the key. `ca_file` holds certificates to
    trust instead of the system's. `api_version` is for Azure's dated API, and there only.
    `key_place` says where the key is set, for errors about it.
    """

    dialect: Literal["json_schema", "json_object"] = "json_schema"
    headers: dict[str, str] = {}
    body_limit: int = BODY_LIMIT
    connect_s: float = 5.0
    ca_file: str | None = None
    api_version: str | None = None
    key_place: str = ""

    def __repr__(self) -> str:
        return f"OpenAISettings(dialect={self.dialect!r}, headers of {sorted(self.headers)})"


class _Whole(msgspec.Struct, gc=False):
    """What we must know of any whole answer. `choices`, `output` or `data`: there must be some."""

    choices: list[Raw] | None = None
    output: list[Raw] | None = None
    data: list[Raw] | None = None
    model: str | None = None
    usage: WireUsage | None = None
    error: Raw | UnsetType = UNSET


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


_WHOLE = msgspec.json.Decoder(_Whole)
_ANSWER = msgspec.json.Decoder(Answer)
_LIST = msgspec.json.Decoder(_List)


class OpenAIProvider:
    """Language models behind an OpenAI-compatible server.

    Args:
        name: The provider's name in declarations, errors and records.
        base_url: Up to and without `/chat/completions`: `https://api.example.com/v1`. Empty is the
            vendor's own.
        api_key: Sent as the vendor wants it; never repeated in an error, a repr or a log.
        prices: By model name; the cost of a model that is not in it is unknown.
        settings: Dialect, further headers and bounds.
        vendor: Whose differences hold: a row of `splice.adapters.providers.vendors`.
        now: Unix time in seconds, to read a `Retry-After` that is a date.

    Raises:
        SettingsError: The URL, the key, the vendor or a header cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str = "",
        api_key: str | None = None,
        *,
        prices: Mapping[str, Price] | None = None,
        settings: OpenAISettings | None = None,
        vendor: str = "openai",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._settings = settings or OpenAISettings()
        self._vendor: Vendor = vendor_of(vendor, name)
        self._prices: Mapping[str, Price] = {} if prices is None else prices
        self._closed = False
        secrets = [v for v in (api_key, *self._settings.headers.values()) if v]
        self._refusals = Refusals(name, secrets, self._settings.key_place, now)
        headers = {"accept": "application/json", "user-agent": "splice", **self._settings.headers}
        if api_key:
            key = api_key if self._vendor.key_header == "api-key" else f"Bearer {api_key}"
            headers[self._vendor.key_header] = key
        check_headers(headers, name, frozenset({"authorization", "api-key"}))
        self._http = Http(
            origin_of(base_url or self._vendor.base_url, name),
            headers,
            body_limit=self._settings.body_limit,
            connect_s=self._settings.connect_s,
            ca_file=self._settings.ca_file,
        )
        self._dialects = self._vendor.dialects
        self._batches: OpenAIBatches | None = None

    def __repr__(self) -> str:
        return f"OpenAIProvider({self.name!r})"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """See `splice.ports.providers.Provider`."""
        return self._dialects

    def price(self, model: str) -> Price | None:
        """See `splice.ports.providers.Provider`."""
        return self._prices.get(model)

    async def send(self, request: WireRequest) -> WireReply:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        fields = self._fields(request, where)
        own: dict[str, Any] = {"model": request.model}
        if request.dialect is not Dialect.EMBEDDINGS:
            own["stream"] = False
        body = _encode({**own, **fields, **own})  # first in the body, and never replaced
        reply = await self._post(request, where, body)
        if reply.status != 200:
            raise self._refusals.status(where, reply.status, reply.headers, reply.body)
        answer = self._whole(where, reply)
        usage = usage_of(answer.usage)
        if request.dialect is Dialect.EMBEDDINGS and usage.input_tokens is not None:
            usage = Usage(usage.input_tokens, usage.output_tokens or 0)
        model = answer.model or request.model
        cost = self._cost(usage, request.model, model)
        body = self._refusals.scrub(reply.body)
        return WireReply(request.dialect, body, usage, model, cost)

    async def open(self, request: WireRequest) -> EventStream:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        own: dict[str, Any] = {"model": request.model, "stream": True}
        fields = {**own, **self._fields(request, where), **own}
        chat = request.dialect is Dialect.CHAT
        if request.dialect is Dialect.EMBEDDINGS:
            raise InputMismatch(where, got="a stream of embeddings", promised="a whole answer")
        hides_usage = chat and self._counting(fields)
        body = _encode(fields)
        asking = Asking(
            where,
            request.model,
            request.timeout_s,
            request_tokens(body),
            self._refusals,
            lambda usage, model: self._cost(usage, request.model, model),
            request.between_s,
            hides_usage,
        )
        http = await self._opened(request, where, body)
        return ChatStream(http, asking) if chat else ResponsesStream(http, asking)

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        body = _encode(self._completion_fields(request))
        wire = WireRequest(Dialect.CHAT, request.model, {}, request.timeout_s, trace=request.trace)
        reply = await self._post(wire, where, body)
        scrubbed = self._refusals.scrub(reply.body)
        if reply.status != 200:
            raise self._refusals.status(where, reply.status, reply.headers, scrubbed, rejects=False)
        return self._completion(request.model, reply, request.schema is not None)

    def offline(self) -> OpenAIBatches | None:
        """The vendor's batch endpoint; None where it has none of OpenAI's shape."""
        if self._batches is None and self._vendor.batches:
            wire = BatchWire(self.name, self._http.wider(RESULTS_LIMIT), self._refusals)
            self._batches = OpenAIBatches(
                wire, self._completion_fields, self._completion, self.price
            )
        return self._batches

    def _completion_fields(self, request: CompletionRequest) -> dict[str, Any]:
        """The whole body of a completion."""
        fields = adapted(
            self._vendor, request.model, request_fields(request, self._settings.dialect)
        )
        own: dict[str, Any] = {"model": request.model, "stream": False}
        return {**own, **fields, **own}

    def _completion(
        self, model: str, reply: HttpReply, schema: bool, batch: bool = False
    ) -> Completion:
        """What a whole answer says, and what it cost."""
        where = f"{self.name}/{model}"
        answer = self._answer(where, reply)
        usage = usage_of(answer.usage)
        cost = self._cost(usage, model, answer.model or model, batch)
        choice = answer.choices[0]
        problem = problem_of(choice, schema=schema)
        if problem is not None:
            error = BadAnswer(where, got=self._refusals.clean(problem.got), mend=problem.mend)
            error.cost_nano = cost  # it was answered, so it was charged
            raise error
        text = self._refusals.hide(text_of(choice) or "")
        named = self._refusals.hide(answer.model or model)
        return Completion(text, named, choice.finish_reason or "", usage, cost)

    async def models(self) -> list[str]:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}.models"
        version = self._settings.api_version
        path = "/models" if version is None else f"/models?api-version={version}"
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")
        try:
            reply = await self._http.get(path, timeout_s=30.0)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, 30.0) from None
        if reply.status in (404, 405, 501):
            return []
        if reply.status != 200:
            raise self._refusals.status(
                where, reply.status, reply.headers, reply.body, rejects=False
            )
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

    def _fields(self, request: WireRequest, where: str) -> Mapping[str, Any]:
        """The caller's fields as the vendor takes them."""
        if request.dialect not in self._dialects:
            raise InputMismatch(
                where,
                got=f"a request for {request.dialect}",
                promised=f"one for {', '.join(sorted(self._dialects))}",
            )
        if request.dialect is Dialect.CHAT:
            return adapted(self._vendor, request.model, request.fields)
        return request.fields

    def _counting(self, fields: dict[str, Any]) -> bool:
        """Ask for a count of tokens; whether that was us and not the caller."""
        given = fields.get("stream_options")
        try:
            told: object = plain(given)
            asked = msgspec.convert(told or {}, _StreamOptions).include_usage
        except msgspec.ValidationError:
            return False  # the server says what is wrong with it
        if self._vendor.stream_options:
            if not asked:
                options: dict[str, Any] = {**told} if isinstance(told, dict) else {}
                fields["stream_options"] = {**options, "include_usage": True}
        else:
            fields.pop("stream_options", None)
        return not asked

    async def _post(self, request: WireRequest, where: str, body: bytes) -> HttpReply:
        """The reply, or an error of ours in place of every error below HTTP."""
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")
        path = path_of(request.dialect, request.model, self._settings.api_version)
        trace = traceparent(request.trace)
        try:
            return await self._http.post(path, body, trace, request.headers, request.timeout_s)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, request.timeout_s) from None

    async def _opened(self, request: WireRequest, where: str, body: bytes) -> HttpStream:
        """A stream with status 200 and events in it."""
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")
        path = path_of(request.dialect, request.model, self._settings.api_version)
        trace = traceparent(request.trace)
        try:
            http = await self._http.open(path, body, trace, request.headers, request.timeout_s)
            if http.status == 200 and http.content_type.startswith(b"text/event-stream"):
                return http
            error = await self._no_stream(where, http)
        except HttpFault as fault:
            raise self._refusals.fault(where, fault, request.timeout_s) from None
        raise error

    async def _no_stream(self, where: str, http: HttpStream) -> SpliceError:
        """What an answer means that is no stream of events."""
        said = await http.rest(_ERROR_LIMIT)
        if http.status != 200:
            return self._refusals.status(where, http.status, http.headers, said)
        return self._unreadable(where, said, http.content_type, "no stream of events")

    def _whole(self, where: str, reply: HttpReply) -> _Whole:
        """What is in a whole answer, which is one."""
        # No local variable holds the body: a traceback might show it.
        try:
            if not _is_json(reply.content_type):
                raise msgspec.DecodeError("not JSON by its content type")
            answer = _WHOLE.decode(reply.body)
            if not reply.body.isascii():
                reply.body.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._unreadable(where, reply.body, reply.content_type, str(error)) from None
        if answer.error is not UNSET and bytes(answer.error) != _NULL:
            raise self._refusals.told(where, msgspec.json.decode(answer.error))
        if not (answer.choices or answer.data or answer.output is not None):
            raise self._refusals.bad(where, "status 200 with nothing in it")
        return answer

    def _answer(self, where: str, reply: HttpReply) -> Answer:
        try:
            answer = _ANSWER.decode(self._refusals.scrub(reply.body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._unreadable(where, reply.body, reply.content_type, str(error)) from None
        if answer.error is not None:
            raise self._refusals.told(where, answer.error)
        if not answer.choices:
            raise self._refusals.bad(where, "status 200 with no choices")
        return answer

    def _unreadable(self, where: str, body: bytes, kind: bytes, why: str) -> ProviderFailed:
        named = kind.decode("latin-1") or "no content type"
        return self._refusals.bad(
            where,
            f"status 200 with {len(body)} bytes of {named}: {why}",
            promised="a chat completion or another answer in OpenAI's shape",
            mend="check that base_url ends where /chat/completions begins",
        )

    def _cost(self, usage: Usage, asked: str, answered: str, batch: bool = False) -> int | None:
        price = self._prices.get(asked)
        if price is None:
            price = self._prices.get(answered)
        return cost_nano(in_batch(price) if batch else price, usage)


def _is_json(content_type: bytes) -> bool:
    return not content_type or b"json" in content_type.lower()
