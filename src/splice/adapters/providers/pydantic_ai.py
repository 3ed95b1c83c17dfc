"""The long tail of vendors, through pydantic-ai: Bedrock, Google Cloud, Cohere, Hugging Face.

What an OpenAI-compatible or an Anthropic server can do goes by its own adapter, untouched; here
every request and answer is translated twice, and what the library has no word for is refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider as Vendor
from pydantic_ai.providers import infer_provider, infer_provider_class

from splice.adapters.providers.pydantic_ai_faults import KNOWN, fault_of
from splice.adapters.providers.pydantic_ai_reply import completion_of, usage_of
from splice.adapters.providers.pydantic_ai_request import Translated, Translator
from splice.adapters.providers.pydantic_ai_stream import PydanticAIStream, Streaming
from splice.adapters.providers.refusals import Refusals
from splice.adapters.providers.usage import request_tokens
from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import (
    BadAnswer,
    ModelUnavailable,
    ProviderFailed,
    RequestError,
    RouteTimeout,
    SettingsError,
)
from splice.core.prices import Price, cost_nano
from splice.ports.providers import Completion, CompletionRequest

_DIALECTS = frozenset({Dialect.CHAT})
_MODELS = 256  # kept ready in one event loop; names may come from callers


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str = ""


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_ANSWER = msgspec.json.Decoder(_Answer)


class PydanticAIProvider:
    """Language models of any vendor that pydantic-ai knows.

    Args:
        name: The provider's name in declarations, errors and records.
        model_prefix: The vendor's name in pydantic-ai: `bedrock`, `google-cloud`, `cohere`, …
        prices: By model name; the cost of a model that is not in it is unknown.
        make: Makes a model by its name, instead of pydantic-ai's own rules; each has its client.

    Keys are those that the vendor's own library finds in the environment.

    Raises:
        SettingsError: pydantic-ai has no such vendor, or the vendor's library is not installed.
    """

    def __init__(
        self,
        name: str,
        model_prefix: str = "",
        *,
        prices: Mapping[str, Price] | None = None,
        make: Callable[[str], Model] | None = None,
    ) -> None:
        self.name = name
        self._prefix = model_prefix
        self._prices: Mapping[str, Price] = {} if prices is None else prices
        self._make = make
        self._closed = False
        self._lock = threading.Lock()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Models] = (
            weakref.WeakKeyDictionary()
        )
        if make is None:
            _check_vendor(name, model_prefix)

    def __repr__(self) -> str:
        return f"PydanticAIProvider({self.name!r}, {self._prefix!r})"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """See `splice.ports.providers.Provider`."""
        return _DIALECTS

    def price(self, model: str) -> Price | None:
        """See `splice.ports.providers.Provider`."""
        return self._prices.get(model)

    async def send(self, request: WireRequest) -> WireReply:
        """See `splice.ports.providers.Provider`."""
        where, model = await self._model(request.model)
        refusals = _refusals(self.name, model)
        asked = self._translated(where, model, request)
        try:
            async with asyncio.timeout(max(request.timeout_s, 0)):
                response = await model_request(
                    model,
                    asked.messages,
                    model_settings=asked.settings,
                    model_request_parameters=asked.parameters,
                )
            usage = usage_of(response.usage)
            body = completion_of(response, request.model, usage)
        except TimeoutError:
            late = RouteTimeout(where, got=f"no answer within {request.timeout_s:g} s")
            late.cost_nano = None  # the vendor may charge for what it did until we hung up
            raise late from None
        except KNOWN as error:
            raise fault_of(error, where, refusals) from None
        cost = self._cost(request.model, usage, response.model_name or "")
        if response.finish_reason == "error":
            failed = ProviderFailed(where, got="an answer that ended in an error")
            failed.cost_nano = cost
            raise failed
        return WireReply(
            Dialect.CHAT, msgspec.json.encode(body), usage, body["model"], cost
        )  # fmt: skip

    async def open(self, request: WireRequest) -> PydanticAIStream:
        """See `splice.ports.providers.Provider`."""
        where, model = await self._model(request.model)
        refusals = _refusals(self.name, model)
        asked = self._translated(where, model, request)
        stream = PydanticAIStream(
            Streaming(
                where,
                request.model,
                max(request.timeout_s, 0),
                request.between_s,
                request_tokens(msgspec.json.encode(request.fields)),
                asked.wants_usage,
                int(time.time()),
                refusals,
                lambda usage, told: self._cost(request.model, usage, told),
            )
        )
        try:
            source = model_request_stream(
                model,
                asked.messages,
                model_settings=asked.settings,
                model_request_parameters=asked.parameters,
            )
        except KNOWN as error:
            raise fault_of(error, where, refusals) from None
        await stream.open(source)
        return stream

    async def complete(self, request: CompletionRequest) -> Completion:
        """See `splice.ports.providers.Provider`."""
        where = f"{self.name}/{request.model}"
        messages = [{"role": one.role, "content": one.content} for one in request.messages]
        fields: dict[str, Any] = {**request.params, "messages": messages}
        if request.schema is not None:
            named = {"name": request.schema_name, "schema": request.schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": named}
        asked = WireRequest(
            Dialect.CHAT, request.model, fields, request.timeout_s, trace=request.trace
        )
        try:
            reply = await self.send(asked)
        except RequestError as error:
            failed = ProviderFailed(where, got=error.got, mend=error.mend)
            failed.retryable = False
            raise failed from None
        choice = _ANSWER.decode(reply.body).choices[0]
        text, finish = choice.message.content, choice.finish_reason
        wrong = ""
        if finish == "content_filter":
            wrong = "an answer stopped by the vendor's content filter"
        elif finish == "length" and request.schema is not None:
            wrong = "an answer cut off before its end (finish_reason: length)"
        elif not text:
            wrong = f"no text (finish_reason: {finish})"
        if wrong or not text:
            bad = BadAnswer(where, got=wrong, mend="raise max_tokens" if finish == "length" else "")
            bad.cost_nano = reply.cost_nano  # it was answered, so it was charged
            raise bad
        return Completion(text, reply.model, finish, reply.usage, reply.cost_nano)

    async def models(self) -> list[str]:
        """Nothing: the library cannot say what an account may use."""
        return []

    async def close(self) -> None:
        """Close the connections of this event loop; another loop closes its own when it ends."""
        self._closed = True
        with self._lock:
            models = self._loops.pop(asyncio.get_running_loop(), None)
        if models is not None:
            await models.keeper.aclose()

    def _cost(self, asked: str, usage: Usage, told: str) -> int | None:
        price = self._prices.get(asked) or (self._prices.get(told) if told else None)
        return cost_nano(price, usage)

    def _translated(self, where: str, model: Model, request: WireRequest) -> Translated:
        native = bool(model.profile.get("supports_json_schema_output", False))
        asked = Translator(where, native_schemas=native).translated(request.fields)
        # The engine tries again, on whatever route it thinks best.
        asked.settings["max_retries"] = 0
        if request.trace is not None:
            trace = request.trace
            parent = f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}"
            asked.settings["extra_headers"] = {"traceparent": parent}
        return asked

    async def _model(self, name: str) -> tuple[str, Model]:
        """`provider/model`, and the model ready for this event loop.

        Raises:
            ModelUnavailable: The vendor's key or library is missing.
        """
        where = f"{self.name}/{name}"
        if self._closed:
            raise ProviderFailed(where, got="a call after close()")
        loop = asyncio.get_running_loop()
        with self._lock:
            models = self._loops.get(loop)
            new = models is None
            if models is None:
                models = self._loops[loop] = _Models(self._prefix, self._make)
        if new:
            await anext(models.keeper)
        try:
            return where, await models.get(name)
        except (UserError, ImportError, ValueError) as error:
            said = Refusals(self.name, ()).clean(str(error))
            raise ModelUnavailable(where, got=said) from None


class _Models:
    """The models of one event loop, which share one client of their vendor."""

    def __init__(self, prefix: str, make: Callable[[str], Model] | None) -> None:
        self._prefix = prefix
        self._make = make
        self._vendor: Vendor[Any] | None = None
        self._ready: dict[str, Model] = {}
        self._making = asyncio.Lock()
        self._open = AsyncExitStack()  # what must be closed: the vendor's client, or each model's
        self.keeper = self._keep()

    async def get(self, name: str) -> Model:
        """A model by its name."""
        model = self._ready.get(name)
        if model is not None:
            return model
        async with self._making:  # two at once would each open a client, and one be forgotten
            model = self._ready.get(name)
            if model is None:
                if len(self._ready) >= _MODELS:
                    self._ready.pop(next(iter(self._ready)))
                model = self._ready[name] = await self._entered(name)
        return model

    async def _entered(self, name: str) -> Model:
        if self._make is not None:
            model = self._make(name)
            await self._open.enter_async_context(model)
            return model
        vendor = self._vendor
        if vendor is None:
            vendor = infer_provider(self._prefix)
            self._vendor = await self._open.enter_async_context(vendor)
        return infer_model(f"{self._prefix}:{name}", lambda _: vendor)

    async def _keep(self) -> AsyncGenerator[None]:
        """Closes the clients when their loop shuts down: a loop then closes its generators."""
        try:
            yield
        finally:
            await self._open.aclose()


def _check_vendor(name: str, prefix: str) -> None:
    where = f"providers.{name}.model_prefix"
    if not prefix:
        raise SettingsError(
            where, got="nothing", promised="the vendor's name in pydantic-ai",
            mend='write it like model_prefix = "bedrock"',
        )  # fmt: skip
    try:
        infer_provider_class(prefix)
    except ValueError:
        raise SettingsError(
            where, got=repr(prefix[:80]), promised="a vendor that pydantic-ai knows"
        ) from None
    except ImportError as error:
        raise SettingsError(
            where, got=f"{prefix}, whose library is not installed", mend=str(error)
        ) from None


def _refusals(name: str, model: Model) -> Refusals:
    """Errors without the key, as far as the vendor's client lets us know it."""
    client: Any = getattr(model, "client", None)
    key = getattr(client, "api_key", None)
    return Refusals(name, (key,) if isinstance(key, str) else (), "the vendor's key")
