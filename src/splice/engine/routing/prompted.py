"""Prompted: a language model fills the prompt's gaps into an answer of the declared type."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.core.call import Prediction, Trace
from splice.core.errors import BadAnswer, InputMismatch, MalformedBody, RouteTimeout
from splice.core.release import PinnedRoute
from splice.core.residence import outside
from splice.declare.codec import Codec
from splice.declare.options import Patience
from splice.declare.prompts import Prompt
from splice.engine.routing.balanced import Balanced, Deployment
from splice.engine.routing.masked import (
    MaskedProvider,
    Veil,
    filled_completion,
    masked_request,
)
from splice.engine.routing.tried import Tried
from splice.engine.tokens import BYTES_A_TOKEN, UNSAID_OUTPUT_TOKENS, estimate_nano
from splice.ports.predictor import Question
from splice.ports.providers import Completion, CompletionRequest, Message, Provider

_encode = msgspec.json.encode


class Prompted:
    """A Predictor over a provider.

    Args:
        balanced: Completes the prompt.
        patience: How often it is asked when it fails for the moment.
        route: Model name and generation parameters.
        prompt: The prompt; its variables are taken from the context.
        output: The type that the answer must have.
        nano_per_second: Price of machine time, for a provider that runs here and has no price.
    """

    immediate = False

    def __init__(
        self,
        balanced: Balanced,
        route: PinnedRoute,
        prompt: Prompt,
        output: Codec,
        *,
        patience: Patience | None = None,
        nano_per_second: float | None = None,
    ) -> None:
        self._balanced = balanced
        self._patience = patience or Patience()
        self._route = route
        self._prompt = prompt
        self._output = output
        self._nano_per_second = nano_per_second
        self._veil: Veil | None = None
        self._schema = output.schema()
        self._prompt_tokens = sum(len(part.text) for part in prompt.parts) // BYTES_A_TOKEN

    def keep_within(self, regions: Sequence[str]) -> str:
        """From now on ask deployments in these regions only; says why not where there is none."""
        kept = self._balanced.within(regions)
        if kept is None:
            return outside(self._balanced.regions, regions)
        self._balanced = kept
        return ""

    def put_behind(self, veil: Veil) -> None:
        """From now on its provider sees placeholders in the place of what a context holds.

        Raises:
            MaskingFailed: The prompt cannot be searched for what is no secret.
        """
        self._veil = known = veil.knowing(part.text for part in self._prompt.parts)
        self._balanced = self._balanced.behind(lambda one: MaskedProvider(one, known))

    @property
    def masks(self) -> bool:
        """Whether its provider sees placeholders."""
        return self._veil is not None

    async def predict(self, question: Question) -> Prediction:
        """The decoded answer as the prediction's value.

        Raises:
            ModelMismatch: The context lacks a variable of the prompt.
            BadAnswer: The answer is not of the type.
            RouteError: The provider failed.
        """
        request = self.request(question.context, self._route.timeout_s, question.trace)
        started = time.monotonic()
        until = min(question.deadline, started + self._route.timeout_s)
        tried = Tried[Completion](self._balanced, self._patience, until, question.note)

        async def ask(provider: Provider, left: float) -> Completion:
            return await provider.complete(
                msgspec.structs.replace(request, timeout_s=max(0.001, left))
            )

        try:
            completion = await tried.answer(ask)
        except RouteTimeout as error:
            error.cost_nano = self._machine_cost(started)
            raise
        cost = completion.cost_nano
        if cost is None:
            cost = self._machine_cost(started)
        return self.predicted(completion, cost)

    @property
    def places(self) -> Sequence[Deployment]:
        """Where the model runs."""
        return self._balanced.deployments

    def request(
        self, context: Mapping[str, Any], timeout_s: float, trace: Trace | None = None
    ) -> CompletionRequest:
        """What the provider is asked in a context.

        Raises:
            ModelMismatch: The context lacks a variable of the prompt.
        """
        turns = self._prompt.fill(context)
        return CompletionRequest(
            model=self._route.model,
            messages=tuple(Message(role, text) for role, text in turns),
            timeout_s=timeout_s,
            schema=self._schema,
            params=self._route.params,
            trace=trace,
        )

    def outward(self, request: CompletionRequest) -> CompletionRequest:
        """A request as its provider sees it.

        Raises:
            MaskingFailed: It could not be masked.
        """
        if self._veil is None:
            return request
        veiled = self._veil.veiled(_encode(request.messages), request.model)
        return masked_request(request, veiled, request.timeout_s)

    def inward(self, completion: Completion, request: CompletionRequest) -> Completion:
        """What the provider answered to that, with the values of the request.

        Raises:
            MaskingFailed: It could not be masked again.
        """
        if self._veil is None:
            return completion
        veiled = self._veil.veiled(_encode(request.messages), request.model)
        return filled_completion(completion, veiled)

    def predicted(self, completion: Completion, cost_nano: int | None) -> Prediction:
        """What a completion that cost so much says.

        Raises:
            BadAnswer: It is not of the type.
        """
        value = self._decoded(completion, cost_nano)
        masked = dict(completion.masked) or None
        return Prediction(value=value, usage=completion.usage, cost_nano=cost_nano, masked=masked)

    def most(self, input_tokens: int) -> tuple[int | None, int]:
        """What a call may cost at most (None where unknown), and its tokens."""
        read, output = input_tokens + self._prompt_tokens, self.most_written
        price = self._balanced.provider.price(self._route.model)
        cost = estimate_nano(price, read, output)
        if cost is None and self._nano_per_second is not None:
            cost = int(self._route.timeout_s * self._nano_per_second)
        return cost, read + output

    @property
    def most_written(self) -> int:
        """Tokens that an answer may have at most."""
        written = self._route.params.get("max_tokens", UNSAID_OUTPUT_TOKENS)
        return written if isinstance(written, int) else UNSAID_OUTPUT_TOKENS

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
