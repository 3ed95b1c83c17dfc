"""A provider of language models that follows a script, and holds to the contract of its port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.core.call import Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import ProviderFailed, ProviderRejected, RouteTimeout, SpliceError
from splice.core.prices import Price, cost_nano
from splice.ports.providers import Completion, CompletionRequest
from splice.testing.openai_shapes import (
    DONE,
    chat_events,
    chat_reply,
    embeddings,
    example_of,
    pieces_of,
)


class Said(msgspec.Struct, frozen=True):
    """A step of a ScriptedProvider: a text, after a while, or broken off after some pieces.

    A text of None is the last message in capitals, or a value that satisfies the schema asked for.
    `pause_s` lies before each piece of a stream. `breaks_after` pieces `error` is raised.
    """

    text: str | None = None
    seconds: float = 0.0
    pause_s: float = 0.0
    breaks_after: int | None = None
    error: SpliceError | None = None
    finish_reason: str = "stop"


class ScriptedProvider:
    """A Provider that answers a request with a step of its script, the last one for ever.

    Tokens are the pieces of the texts: words with the space before them.

    Args:
        *script: What it says, or errors to raise. Nothing is `Said()`.
        model: The name of its model.
        price: What that costs.
        dialects: What it speaks: chat, and embeddings.

    Attributes:
        asked: The requests, in their order.
        hung_up: How many streams were left before their end.
        closed: Whether it was closed.
    """

    def __init__(
        self,
        *script: Said | SpliceError,
        model: str = "scripted",
        price: Price | None = None,
        dialects: Sequence[Dialect] = (Dialect.CHAT, Dialect.EMBEDDINGS),
    ) -> None:
        self._script = script or (Said(),)
        self._model = model
        self._price = price
        self.dialects = frozenset(dialects)
        self.asked: list[WireRequest | CompletionRequest] = []
        self.hung_up = 0
        self.closed = False

    def price(self, model: str) -> Price | None:
        """The price of its model."""
        return self._price if model == self._model else None

    async def send(self, request: WireRequest) -> WireReply:
        """The next step, whole."""
        fields = _plain(request.fields)
        said = await self._next(request, request.timeout_s, fields)
        if said.breaks_after is not None:
            raise said.error or ProviderFailed(self._model, got="a break, as scripted")
        if request.dialect is Dialect.EMBEDDINGS:
            usage = Usage(_count(str(fields.get("input"))), 0)
            counted = {"prompt_tokens": usage.input_tokens or 0}
            body = json.dumps(embeddings(request.model, fields, counted)).encode()
            return WireReply(request.dialect, body, usage, request.model, self._cost(usage))
        text = _answer(said, fields)
        usage = _usage(fields, text)
        message = {"role": "assistant", "content": text}
        reply = chat_reply(request.model, [message], said.finish_reason, _wire(usage))
        body = json.dumps(reply).encode()
        return WireReply(Dialect.CHAT, body, usage, request.model, self._cost(usage))

    async def open(self, request: WireRequest) -> ScriptedStream:
        """The next step, as a stream."""
        fields = _plain(request.fields)
        return ScriptedStream(
            self, request, await self._next(request, request.timeout_s, fields), fields
        )

    async def complete(self, request: CompletionRequest) -> Completion:
        """The next step, as the completion of a prompt."""
        fields: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in request.messages]
        }
        if request.schema is not None:
            wanted = {"type": "json_schema", "json_schema": {"schema": request.schema}}
            fields["response_format"] = wanted
        said = await self._next(request, request.timeout_s, fields)
        text = _answer(said, fields)
        usage = _usage(fields, text)
        return Completion(text, request.model, said.finish_reason, usage, self._cost(usage))

    async def models(self) -> list[str]:
        """Its model."""
        return [self._model]

    async def close(self) -> None:
        """Later calls fail."""
        self.closed = True

    def _cost(self, usage: Usage) -> int | None:
        return cost_nano(self._price, usage)

    async def _next(
        self, request: WireRequest | CompletionRequest, timeout_s: float, fields: Mapping[str, Any]
    ) -> Said:
        if self.closed:
            raise ProviderFailed(self._model, got="a call after close()")
        if "messages" in fields and not isinstance(fields["messages"], list):
            raise ProviderRejected(self._model, got="messages that are no list")
        if timeout_s <= 0:
            raise RouteTimeout(self._model, got="no time left")
        step = self._script[min(len(self.asked), len(self._script) - 1)]
        self.asked.append(request)
        if isinstance(step, SpliceError):
            raise step
        await asyncio.sleep(min(step.seconds, timeout_s))  # also of 0: real ones always wait
        if step.seconds > timeout_s:
            raise RouteTimeout(self._model, got=f"no answer within {timeout_s:g} s")
        return step


class ScriptedStream:
    """A Stream of a ScriptedProvider: one event each time it is asked."""

    def __init__(
        self, provider: ScriptedProvider, request: WireRequest, said: Said, fields: dict[str, Any]
    ) -> None:
        self._provider = provider
        self._request = request
        self._said = said
        self._fields = fields
        text = _answer(said, fields)
        self._pieces = pieces_of(text)
        options: dict[str, Any] = fields.get("stream_options") or {}
        wants = bool(options.get("include_usage"))
        message = {"role": "assistant", "content": text}
        usage = _wire(_usage(fields, text))
        model = request.model
        events = [*chat_events(model, [message], said.finish_reason, usage, counted=wants), DONE]
        self._events = events
        self._given = 0
        self._over = False

    @property
    def started(self) -> bool:
        """Whether a piece of the text has come; the first event is only a head."""
        return self._given > 1

    async def next(self) -> bytes | None:
        """The next event."""
        if self._over or self._given == len(self._events):
            self._over = True
            return None
        said = self._said
        if said.breaks_after is not None and self._given > said.breaks_after:
            raise said.error or ProviderFailed(self._request.model, got="a break, as scripted")
        await asyncio.sleep(said.pause_s)
        self._given += 1
        return self._events[self._given - 1]

    def reply(self) -> WireReply:
        """What has come."""
        complete = self._given == len(self._events)
        text = "".join(self._pieces[: max(0, self._given - 1)])
        usage = _usage(self._fields, text)
        if not complete:
            usage = msgspec.structs.replace(usage, estimated=True)
        message = {"role": "assistant", "content": text}
        finish = self._said.finish_reason if complete else None
        model = self._request.model
        body = json.dumps(chat_reply(model, [message], finish, _wire(usage))).encode()
        cost = cost_nano(self._provider.price(model), usage)
        return WireReply(Dialect.CHAT, body, usage, model, cost, complete=complete)

    def hang_up(self) -> None:
        """Leave it."""
        if not self._over and self._given < len(self._events):
            self._provider.hung_up += 1
        self._over = True


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(fields))


def _answer(said: Said, fields: Mapping[str, Any]) -> str:
    if said.text is not None:
        return said.text
    wanted: dict[str, Any] = fields.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(example_of(wanted["json_schema"]["schema"]))
    return str(fields["messages"][-1]["content"]).upper()


def _count(text: str) -> int:
    return max(1, len(pieces_of(text)))


def _usage(fields: Mapping[str, Any], text: str) -> Usage:
    return Usage(sum(_count(str(m["content"])) for m in fields["messages"]), len(pieces_of(text)))


def _wire(usage: Usage) -> dict[str, int]:
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
