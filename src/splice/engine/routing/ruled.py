"""Ruled: a plain function of the context answers at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splice.core.call import Prediction
from splice.core.errors import BadAnswer
from splice.ports.predictor import Answer, Question


class Ruled:
    """A Predictor over the user's own function.

    Args:
        function: The rule.
        aside: Run it in a thread: nobody waits for its answers.
    """

    def __init__(
        self, function: Callable[[Mapping[str, Any]], Any], *, aside: bool = False
    ) -> None:
        self._function = function
        self.immediate = not aside

    def predict(self, question: Question) -> Answer:
        """What the function says, as a prediction; it costs nothing that is worth counting.

        Raises:
            BadAnswer: It said NaN, an infinity, or what cannot be written as JSON.
        """
        if self.immediate:
            return self._said(question)
        return asyncio.to_thread(self._said, question)

    def _said(self, question: Question) -> Prediction:
        """The prediction.

        Raises:
            BadAnswer: It said NaN, an infinity, or what cannot be written as JSON.
        """
        said = self._function(question.context)
        if isinstance(said, Prediction):
            self._check(said.score, said.value, *(said.scores or {}).values())
            said.cost_nano = said.cost_nano or 0
            return said
        self._check(said)
        is_share = isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said <= 1
        return Prediction(value=said, score=float(said) if is_share else None, cost_nano=0)

    def _check(self, *values: Any) -> None:
        """The record must hold what was said, and `decide()` must not compare with NaN."""
        for value in values:
            if isinstance(value, float):
                if not math.isfinite(value):
                    raise self._bad(str(value))
            elif value is not None and not isinstance(value, (str, int)):
                plain = getattr(value, "model_dump", None)  # pydantic's
                try:
                    msgspec.json.encode(value if plain is None else plain(mode="json"))
                except (TypeError, ValueError, OverflowError, RecursionError) as error:
                    raise self._bad(f"{type(value).__name__} ({error})") from None

    def _bad(self, got: str) -> BadAnswer:
        return BadAnswer(
            f"rule:{getattr(self._function, '__name__', 'rule')}",
            got=got,
            promised="a Prediction, or a finite number, a text or another JSON value",
        )

    async def close(self) -> None:
        """Nothing to let go of."""
