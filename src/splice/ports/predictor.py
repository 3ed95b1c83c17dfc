"""A Predictor answers one question; everything in `engine/routing` wraps one and is one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from splice.core.call import Prediction, Trace


class Question(msgspec.Struct, gc=False):
    """What a route is asked.

    `context` is what `context()` returned. `deadline` is on the clock of `time.monotonic()`: after
    it nobody waits for the answer.
    """

    call_id: str
    context: Mapping[str, Any]  # features are of whatever types the model reads
    deadline: float
    trace: Trace | None = None


Answer: TypeAlias = "Prediction | Awaitable[Prediction]"
"""A rule or a memory has the answer at once; whatever waits returns an awaitable."""


class Predictor(Protocol):
    """One way to answer, ready to run."""

    def predict(self, question: Question) -> Answer:
        """The prediction, or an awaitable of it.

        Raises:
            RouteError: This attempt failed; the next route is tried.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds, once no call uses it any more."""
        ...
