"""Any OpenAI-compatible server's `/chat/completions` as a provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NoReturn, cast

import msgspec

from splice.adapters.providers.http import Http, HttpFault, HttpReply, origin_of
from splice.adapters.providers.limits import retry_after_s
from splice.adapters.providers.prices import Price, cost_nano
from splice.adapters.providers.schema import strict_schema
from splice.core.call import Trace, Usage
from splice.core.errors import (
    BadAnswer,
    ProviderFailed,
    ProviderLimited,
    RouteTimeout,
    SettingsError,
)
from splice.ports.providers import Completion, CompletionRequest

_LIMITED = frozenset({429, 503, 529})
_QUOTED = 300  # how much of a server's own words an error repeats
_SECRET = 8  # shorter keys are placeholders ("none", "local"): hiding them would garble plain words


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to one server.

    `dialect` is `json_schema` where the server takes a schema in `response_format`, `json_object`
    where it knows only JSON: the schema then goes into the system prompt, and the server promises
    nothing. `headers` are sent along and are as secret as the key. `ca_file` holds certificates to
    trust instead of the system's.
    """

    dialect: Literal["json_schema", "json_object"] = "json_schema"
    headers: dict[str, str] = {}
    body_limit: int = 8 * 1024 * 1024
    connect_s: float = 5.0
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"OpenAISettings(dialect={self.dialect!r}, headers of {sorted(self.headers)})"


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None  # some servers answer 200 with an error in it


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


_ANSWER = msgspec.json.Decoder(_Answer)
_LIST = msgspec.json.Decoder(_List)


class OpenAIProvider:
    """Language models behind an OpenAI-compatible server.

    Args:
        name: The provider's name in declarations, errors and records.
        base_url: Up to and without `/chat/completions`: `https://api.example.com/v1`.
        api_key: Sent as a bearer token; never repeated in an error, a repr or a log.
        prices: By model name; the cost of a model that is not in it is unknown.
        settings: Dialect, further headers and bounds.
        now: Unix time in seconds, to read a `Retry-After` that is a date.

    Raises:
        SettingsError: The URL, the key or a header cannot be sent.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        prices: Mapping[str, Price] | None = None,
        settings: OpenAISettings | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._settings = settings or OpenAISettings()
        self._prices = dict(prices or {})
        self._now = now
        self._closed = False
        self._secrets = [v for v in (api_key, *self._settings.headers.values()) if v]
        origin = origin_of(base_url, name)
        headers = {"accept": "application/json", "user-agent": "splice", **self._settings.headers}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        _check_headers(headers, name)
        self._http = Http(
            origin,
            headers,
            body_limit=self._settings.body_limit,
            connect_s=self._settings.connect_s,
            ca_file=self._settings.ca_file,
        )

    def __repr__(self) -> str:
        return f"OpenAIProvider({self.name!r})"

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        body = msgspec.json.encode(request_body(request, self._settings.dialect))
        reply = await self._within(
            request.timeout_s,
            where,
            lambda: self._http.post("/chat/completions", body, traceparent(request.trace)),
        )
        if reply.status != 200:
            self._refuse(where, reply)
        answer = self._decode(where, reply)
        usage = _usage(answer.usage)
        price = self._prices.get(request.model)
        if price is None and answer.model is not None:
            price = self._prices.get(answer.model)
        cost = cost_nano(price, usage)
        choice = answer.choices[0]
        finish = choice.finish_reason or ""
        problem, mend = _problem(choice, schema=request.schema is not None)
        if problem:
            error = BadAnswer(where, got=self._clean(problem), mend=mend)
            error.cost_nano = cost  # it was answered, so it was charged
            raise error
        text = self._hide(_text(choice.message) or "")
        return Completion(text, self._hide(answer.model or request.model), finish, usage, cost)

    async def models(self) -> list[str]:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}.models"
        reply = await self._within(30.0, where, lambda: self._http.get("/models"))
        if reply.status in (404, 405, 501):
            return []
        if reply.status != 200:
            self._refuse(where, reply)
        try:
            return [model.id for model in _LIST.decode(reply.body).data]
        except msgspec.DecodeError:
            return []

    async def close(self) -> None:
        """Close the idle connections; calls in flight end by themselves."""
        self._closed = True
        await self._http.close()

    async def _within(
        self, timeout_s: float, where: str, send: Callable[[], Awaitable[HttpReply]]
    ) -> HttpReply:
        """The reply, or an error of ours in place of every error below HTTP."""
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                return self._scrubbed(await send())
        except TimeoutError:
            error = RouteTimeout(where, got=f"no answer within {timeout_s:g} s")
            error.cost_nano = None  # the server may charge for what it did until we hung up
            raise error from None
        except HttpFault as fault:
            failed = ProviderFailed(
                where, got=self._clean(f"{fault.fault}: {fault.detail}"), mend=_MENDS[fault.fault]
            )
            if fault.fault in ("broken", "garbled", "too large"):
                failed.cost_nano = None
            raise failed from None

    def _decode(self, where: str, reply: HttpReply) -> _Answer:
        try:
            answer = _ANSWER.decode(reply.body)
        except msgspec.DecodeError as error:
            kind = reply.headers.get("content-type", "no content type")
            failed = ProviderFailed(
                where,
                got=self._clean(f"status 200 with {len(reply.body)} bytes of {kind}: {error}"),
                promised="a chat completion",
                mend="check that base_url ends where /chat/completions begins",
            )
            failed.cost_nano = None
            raise failed from None
        if answer.error is not None or not answer.choices:
            said = "no choices" if answer.error is None else self._clean(_words(answer.error))
            failed = ProviderFailed(where, got=f"status 200 with {said}")
            failed.cost_nano = None
            raise failed
        return answer

    def _refuse(self, where: str, reply: HttpReply) -> NoReturn:
        """Raise what a status other than 200 means."""
        said = self._clean(f"status {reply.status}: {_said(reply)}")
        if reply.status in _LIMITED:
            wait = retry_after_s(reply.headers, self._now())
            raise ProviderLimited(where, retry_after=wait, got=said)
        mend = ""
        if reply.status in (401, 403):
            mend = "check the provider's api_key and what it may use"
        elif reply.status == 404:
            mend = "check base_url and the name of the model"
        elif 300 <= reply.status < 400:
            mend = "set base_url to where the server really is; redirects are not followed"
        raise ProviderFailed(where, got=said, mend=mend)

    def _scrubbed(self, reply: HttpReply) -> HttpReply:
        """The reply without what it echoes of our secrets, before anything else looks at it."""
        secrets = [s.encode() for s in self._secrets if len(s) >= _SECRET]
        body = reply.body
        for secret in secrets:
            if secret in body:
                body = body.replace(secret, b"[hidden]")
        headers = {name: self._hide(value) for name, value in reply.headers.items()}
        return HttpReply(reply.status, headers, body)

    def _clean(self, text: str) -> str:
        """Text of a server as an error may repeat it: no secret, one line, bounded."""
        line = " ".join(self._hide(text, everything=True).split())
        return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"

    def _hide(self, text: str, *, everything: bool = False) -> str:
        """The text without the key and the header values, whatever a server echoes."""
        for secret in self._secrets:
            if (everything or len(secret) >= _SECRET) and secret in text:
                text = text.replace(secret, "[hidden]")
        return text


_MENDS = {
    "refused": "check that the server runs and that base_url names its host and port",
    "unknown host": "check the host in base_url and the name server",
    "tls": "check that the server speaks TLS there and that its certificate is trusted (ca_file)",
    "connect timeout": "check the network between here and the server",
    "broken": "",
    "garbled": "check that base_url leads to an HTTP server",
    "too large": "",
}


def request_body(request: CompletionRequest, dialect: str) -> dict[str, Any]:
    """The JSON of one request; its parameters never replace what the call itself says."""
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    body: dict[str, Any] = {**request.params, "model": request.model, "stream": False}
    if request.schema is not None and dialect == "json_schema":
        schema, strict = strict_schema(request.schema)
        named = {"name": request.schema_name, "schema": schema, "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif request.schema is not None:
        schema_text = msgspec.json.encode(request.schema).decode()
        told = (
            "Answer with one JSON object that satisfies this JSON Schema, and with nothing else:\n"
            + schema_text
        )
        if messages and messages[0]["role"] == "system":
            messages[0] = {"role": "system", "content": f"{messages[0]['content']}\n\n{told}"}
        else:
            messages.insert(0, {"role": "system", "content": told})
        body["response_format"] = {"type": "json_object"}
    body["messages"] = messages
    return body


def traceparent(trace: Trace | None) -> str:
    """The W3C header that lets the server continue the caller's trace; empty without one."""
    return f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}" if trace else ""


def _problem(choice: _Choice, *, schema: bool) -> tuple[str, str]:
    """What is wrong with an answer, and the mend; empty where nothing is."""
    if choice.message.refusal:
        return f"a refusal: {choice.message.refusal}", ""
    if choice.finish_reason == "content_filter":
        return "an answer stopped by the provider's content filter", ""
    if choice.finish_reason == "length" and schema:
        return "an answer cut off before its end (finish_reason: length)", "raise max_tokens"
    if _text(choice.message) is None:
        return f"no text (finish_reason: {choice.finish_reason})", ""
    return "", ""


def _text(message: _Message) -> str | None:
    if isinstance(message.content, list):
        return "".join(part.text for part in message.content)
    return message.content


def _usage(wire: _Usage | None) -> Usage:
    if wire is None:
        return Usage()
    details = wire.prompt_tokens_details
    cached = details.cached_tokens if details is not None else None
    return Usage(wire.prompt_tokens, wire.completion_tokens, cached)


def _said(reply: HttpReply) -> str:
    """The server's own words on a failure, as far as they can be read."""
    try:
        decoded = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        return reply.body.decode("utf-8", "replace")[: 4 * _QUOTED] or "an empty body"
    if isinstance(decoded, dict):
        return _words(cast("dict[str, Any]", decoded).get("error", cast("object", decoded)))
    return _words(decoded)


def _words(error: object) -> str:
    """The message of an error object, or all of it."""
    if isinstance(error, dict):
        message = cast("dict[str, Any]", error).get("message")
        if isinstance(message, str):
            return message
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()


def _check_headers(headers: Mapping[str, str], where: str) -> None:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()) or not (
            name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        ):
            raise SettingsError(
                f"{where}.headers.{name!r}" if name != "authorization" else f"{where}.api_key",
                got="a value that no header can carry",
                promised="printable ASCII without spaces around it",
                mend="look for a line end at the end of the secret",
            )
