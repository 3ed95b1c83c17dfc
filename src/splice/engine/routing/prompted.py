"""Prompted: a language model fills the prompt's gaps into an answer of the declared type."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from splice.core.call import Prediction
from splice.core.errors import BadAnswer, InputMismatch, MalformedBody, RouteTimeout
from splice.core.release import PinnedRoute
from splice.declare.codec import Codec
from splice.declare.prompts import Prompt
from splice.ports.predictor import Question
from splice.ports.providers import Completion, CompletionRequest, Message, Provider


class Prompted:
    """A Predictor over a provider.

    Args:
        provider: Completes the prompt.
        route: Model name and generation parameters.
        prompt: The prompt; its variables are taken from the context.
        output: The type that the answer must have.
        nano_per_second: Price of machine time, for a provider that runs here and has no price.
    """

    immediate = False

    def __init__(
        self,
        provider: Provider,
        route: PinnedRoute,
        prompt: Prompt,
        output: Codec,
        *,
        nano_per_second: float | None = None,
    ) -> None:
        self._provider = provider
        self._route = route
        self._prompt = prompt
        self._output = output
        self._nano_per_second = nano_per_second
        self._schema = output.schema()

    async def predict(self, question: Question) -> Prediction:
        """The decoded answer as the prediction's value.

        Raises:
            ModelMismatch: The context lacks a variable of the prompt.
            BadAnswer: The answer is not of the type.
            RouteError: The provider failed.
        """
        turns = self._prompt.fill(question.context)
        started = time.monotonic()
        request = CompletionRequest(
            model=self._route.model,
            messages=tuple(Message(role, text) for role, text in turns),
            timeout_s=max(0.001, min(self._route.timeout_s, question.deadline - started)),
            schema=self._schema,
            params=self._route.params,
            trace=question.trace,
        )
        try:
            completion = await self._provider.complete(request)
        except RouteTimeout as error:
            error.cost_nano = self._machine_cost(started)
            raise
        cost = completion.cost_nano
        if cost is None:
            cost = self._machine_cost(started)
        value = self._decoded(completion, cost)
        return Prediction(value=value, usage=completion.usage, cost_nano=cost)

    def _machine_cost(self, started: float) -> int | None:
        rate = self._nano_per_second
        return None if rate is None else int((time.monotonic() - started) * rate)

    def _decoded(self, completion: Completion, cost: int | None) -> Any:
        where = f"{self._route.label}.output"
        try:
            return self._output.decode(completion.text.encode(), where)
        except (InputMismatch, MalformedBody) as error:
            bad = BadAnswer(
                where,
                got=error.got,
                promised=error.promised or "the declared output type",
                mend="give the model more room, or a plainer type",
            )
            if completion.finish_reason == "length":
                bad.mend = "the answer was cut at max_tokens: raise it"
            bad.cost_nano = cost
            raise bad from None

    async def close(self) -> None:
        """The provider is shared: whoever opened it closes it."""


def output_plain(value: Any) -> Any:
    """A prediction's value as JSON values, whatever type it was decoded into."""
    return (
        value.model_dump(mode="json")
        if hasattr(value, "model_dump")
        else msgspec.to_builtins(value)
    )
