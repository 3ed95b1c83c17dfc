"""A trial: a version of a model asked through its integration, outside of any call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from splice.core.call import Prediction
from splice.core.errors import SpliceError

Change = Callable[[dict[str, Any]], dict[str, Any]]
"""Another context in the place of the one that was gathered."""


class Tried(msgspec.Struct, frozen=True):
    """What came of one request: a prediction and a decision, or the error that came instead.

    `context` is what the model was given, None where it came to none; `decision` is the reply as
    plain JSON values.
    """

    prediction: Prediction | None = None
    decision: Any = None
    context: Mapping[str, Any] | None = None
    error: SpliceError | None = None


class Trial(Protocol):
    """A version in its place in an integration. Blocks; not for several threads at once."""

    def ask(self, requests: Sequence[bytes], change: Change | None = None) -> list[Tried]:
        """What comes of each request, in order: `context()`, the model alone, `decide()`."""
        ...

    def seconds(self, requests: Sequence[bytes]) -> list[float]:
        """How long the model took for each, asked one after the other."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...
