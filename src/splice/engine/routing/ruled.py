"""Ruled: a plain function of the context answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from splice.core.call import Prediction
from splice.ports.predictor import Question


class Ruled:
    """A Predictor over the user's own function."""

    immediate = True

    def __init__(self, function: Callable[[Mapping[str, Any]], Any]) -> None:
        self._function = function

    def predict(self, question: Question) -> Prediction:
        """What the function says, as a prediction; it costs nothing that is worth counting."""
        said = self._function(question.context)
        if isinstance(said, Prediction):
            said.cost_nano = said.cost_nano or 0
            return said
        is_share = isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said <= 1
        return Prediction(value=said, score=float(said) if is_share else None, cost_nano=0)

    async def close(self) -> None:
        """Nothing to let go of."""
