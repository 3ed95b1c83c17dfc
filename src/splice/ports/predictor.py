"""A Predictor answers one question; everything in `engine/routing` wraps one and is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from splice.core.call import Prediction, Trace
from splice.core.errors import RouteError

Note: TypeAlias = "Callable[[float, RouteError | None], None]"


def _nobody(began: float, error: RouteError | None) -> None:
    """Nobody wants to know."""


class Question(msgspec.Struct, gc=False):
    """What a route is asked.

    `context` is what `context()` returned. `deadline` is on the clock of `time.monotonic()`: after
    it nobody waits for the answer. `until` is when the route that is asked just now is given up,
    which is no later; 0 where it may take the whole of the deadline. `note` is told of tries that
    another one followed: when each began on that clock, and its error (None where a faster one
    overtook it).
    """

    call_id: str
    context: Mapping[str, Any]  # features are of whatever types the model reads
    deadline: float
    trace: Trace | None = None
    note: Note = _nobody
    until: float = 0.0


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
