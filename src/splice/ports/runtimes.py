"""A runtime loads a model file and runs rows of features through it, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from splice.core.call import Prediction
from splice.core.release import Signature


class LoadedModel(Protocol):
    """A model in memory. Not for concurrent use: the batcher runs one batch at a time."""

    @property
    def signature(self) -> Signature:
        """What it reads and gives, as read from the file."""
        ...

    @property
    def row_seconds(self) -> float:
        """How long one row takes, measured when it was loaded: tells where it may run."""
        ...

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction a row, in order, from one run of the model.

        Raises:
            ModelMismatch: A row lacks an input, or holds what the model cannot read; nothing ran.
            BadAnswer: The model gave NaN or an infinity.
            RouteCrashed: The runtime failed.
        """
        ...


class ModelRuntime(Protocol):
    """Loads files of one format."""

    def inspect(self, file: Path) -> Signature:
        """What a file's model reads and gives.

        Raises:
            ModelUnavailable: It is truncated, of another format, or it cannot be read.
        """
        ...

    def load(self, file: Path, features: Sequence[str] = (), *, threads: int = 1) -> LoadedModel:
        """The model, warmed up. `features` names the columns of a single matrix input.

        Raises:
            ModelUnavailable: It is truncated, of another format, or it cannot be read.
            ModelMismatch: `features` does not fit the signature.
        """
        ...
