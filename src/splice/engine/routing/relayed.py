"""Relayed: a caller's own messages go to a language model, and its answer comes back as it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from splice.core.call import Prediction
from splice.core.chat import Asked, Dialect, WireReply, WireRequest
from splice.core.errors import BadAnswer, ModelMismatch, RequestError
from splice.core.release import PinnedRoute
from splice.core.residence import outside
from splice.declare.options import Patience
from splice.declare.prompts import Prompt
from splice.engine.routing.balanced import Balanced
from splice.engine.routing.masked import MaskedProvider, Veil
from splice.engine.routing.tried import Tried
from splice.engine.tokens import (
    BYTES_A_TOKEN,
    UNSAID_OUTPUT_TOKENS,
    estimate_nano,
    output_tokens_of,
)
from splice.ports.predictor import Question
from splice.ports.providers import Provider

_encode = msgspec.json.encode
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_REMEMBERED = 50
_ENOUGH = 5


class Relayed:
    """One route of a conversation; a Predictor too, for calls in the native shape.

    Args:
        balanced: The provider.
        route: The model and the parameters that stand where the caller says nothing.
        patience: How often, how long.
        prompt: Put before the caller's messages; None where there is none.
        nano_per_second: Price of machine time, for a provider that runs here and has no price.
    """

    immediate = False

    def __init__(
        self,
        balanced: Balanced,
        route: PinnedRoute,
        patience: Patience,
        prompt: Prompt | None,
        nano_per_second: float | None = None,
    ) -> None:
        self._nano_per_second = nano_per_second
        self.balanced = balanced
        self.route = route
        self.patience = patience
        self._params = {name: msgspec.Raw(_encode(value)) for name, value in route.params.items()}
        self._prompt = prompt
        self._before = b"" if prompt is None else _messages_of(prompt)
        self._prompt_tokens = len(self._before) // BYTES_A_TOKEN
        said = [route.params[name] for name in _BOUNDS if isinstance(route.params.get(name), int)]
        self._unsaid: int = said[0] if said else UNSAID_OUTPUT_TOKENS
        self._took: deque[float] = deque(maxlen=_REMEMBERED)

    def keep_within(self, regions: Sequence[str]) -> str:
        """From now on ask deployments in these regions only; says why not where there is none."""
        kept = self.balanced.within(regions)
        if kept is None:
            return outside(self.balanced.regions, regions)
        self.balanced = kept
        return ""

    def put_behind(self, veil: Veil) -> None:
        """From now on its provider sees placeholders in the place of what the caller says.

        Raises:
            MaskingFailed: The prompt cannot be searched for what is no secret.
        """
        known = veil
        if self._prompt is not None:
            known = veil.knowing(part.text for part in self._prompt.parts)
        self.balanced = self.balanced.behind(lambda one: MaskedProvider(one, known))

    def priced(self, reply: WireReply, seconds: float) -> WireReply:
        """The reply with the price of the machine's time, where that is its cost."""
        if reply.cost_nano is not None or self._nano_per_second is None:
            return reply
        cost = int(seconds * self._nano_per_second)
        return msgspec.structs.replace(reply, cost_nano=cost)

    def took(self, seconds: float) -> None:
        """Remember how long an answer (of a stream: its first token) took."""
        self._took.append(seconds)

    @property
    def median_s(self) -> float | None:
        """The median of the last answers' times; None where there are too few to tell."""
        return median(self._took) if len(self._took) >= _ENOUGH else None

    def request(self, asked: Asked, timeout_s: float, trace: Any = None) -> WireRequest:
        """The request as this route's provider gets it.

        Raises:
            RequestError: It cannot be said in a shape that the provider speaks.
            ModelMismatch: The provider has no such operation.
        """
        dialect, fields = asked.dialect, asked.fields
        spoken = self.balanced.provider.dialects
        headers = asked.headers
        if (dialect not in spoken or self._before) and asked.as_chat is not None:
            dialect, fields, headers = Dialect.CHAT, asked.as_chat(), {}
        if dialect not in spoken:
            raise ModelMismatch(
                self.route.label,
                got=f"a request for {dialect}",
                promised=f"what its provider does: {', '.join(sorted(spoken))}",
                mend="add a route to a provider that has it",
            )
        if self._params:
            fields = {**self._params, **fields}
        if self._before and dialect is Dialect.CHAT:
            fields = {**fields, "messages": self._put_before(fields.get("messages"))}
        return WireRequest(
            dialect,
            self.route.model,
            fields,
            timeout_s,
            self.patience.between_s,
            headers,
            trace,
        )

    def _put_before(self, messages: Any) -> msgspec.Raw:
        given = bytes(messages) if isinstance(messages, msgspec.Raw) else _encode(messages or [])
        inner = given.strip()[1:]
        comma = b"," if inner.strip() != b"]" else b""
        return msgspec.Raw(self._before[:-1] + comma + inner)

    def most_written(self, asked: Asked) -> int:
        """The most tokens that the answers to a request may have."""
        if asked.dialect is Dialect.EMBEDDINGS:
            return 0
        return output_tokens_of(asked, self._unsaid)

    def most(self, input_tokens: int, written: int | None = None) -> tuple[int | None, int]:
        """What a call may cost at most (None where unknown), and its tokens.

        `written` is the most that the answer may have, where the caller says.
        """
        price = self.balanced.provider.price(self.route.model)
        output = self._unsaid if written is None or written < 0 else written
        # A hedged try costs as much again.
        tries = 1 if self.patience.hedge_s is None else 2
        read = input_tokens + self._prompt_tokens
        cost = estimate_nano(price, tries * read, tries * output)
        if cost is None and self._nano_per_second is not None:
            cost = int(tries * self.route.timeout_s * self._nano_per_second)
        return cost, tries * (read + output)

    async def predict(self, question: Question) -> Prediction:
        """The whole chat completion as the prediction's value.

        Raises:
            RouteError: The provider failed, or it says that the request is wrong.
        """
        fields = {name: value for name, value in question.context.items() if value is not None}
        for name in ("model", "stream", "stream_options"):
            fields.pop(name, None)
        asked = Asked(Dialect.CHAT, self.route.model, False, fields, 0)
        tried = Tried[WireReply](
            self.balanced,
            self.patience,
            min(question.deadline, time.monotonic() + self.route.timeout_s),
            question.note,
        )

        async def ask(provider: Provider, left: float) -> WireReply:
            return await provider.send(self.request(asked, left, question.trace))

        try:
            reply = await tried.answer(ask)
        except RequestError as error:
            bad = BadAnswer(self.route.label, got=str(error), promised="a request it can answer")
            bad.retryable = False
            raise bad from None
        reply = self.priced(reply, time.monotonic() - tried.began)
        value: Mapping[str, Any] = msgspec.json.decode(reply.body)
        masked = dict(reply.masked) or None
        return Prediction(value=value, usage=reply.usage, cost_nano=reply.cost_nano, masked=masked)

    async def close(self) -> None:
        """The provider is shared: whoever opened it closes it."""


def _messages_of(prompt: Prompt) -> bytes:
    return _encode([{"role": part.role, "content": part.text} for part in prompt.parts])
