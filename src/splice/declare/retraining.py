"""What a user writes of retraining: where the data comes from, how to train, what happens then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from splice.core.versions import Card


class Retraining(Protocol):
    """What the functions of a pipeline are handed: the run that they are a part of."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    @property
    def why(self) -> str:
        """Why it was asked for; empty where nobody said."""
        ...

    @property
    def folder(self) -> Path:
        """A folder of this step, for files that it makes. It is kept with the run."""
        ...

    @property
    def project(self) -> Path:
        """The folder of splice.toml, which is the working folder too."""
        ...

    def params(self, **values: Any) -> None:
        """What the training is given, for the tracker and the version's lineage: JSON values."""
        ...

    def metrics(self, *, step: int | None = None, **values: float) -> None:
        """What comes out, for the tracker. The last of each goes into the version's card."""
        ...


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` gives where it has more to say than the model.

    `model` is a fitted estimator, or the path of a model file. An estimator is converted to ONNX:
    `example` are rows that it answers, on which the two are compared. `card` is what a person must
    know who decides on it; the metrics of the run are added. `tolerance` is the most that a
    converted chance may differ.
    """

    model: Any
    example: Any = None
    card: Card = Card()
    tolerance: float | None = None


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """How the model of an integration is trained anew, and what becomes of the new version.

    Attributes:
        model: Name of the model, one that a route follows.
        data: `data(run)` gives what to train on: a path, a list of paths, or rows (a list of
            dicts). Its SHA-256 goes into the lineage of the version.
        train: `train(run, data)` gives a fitted estimator, the path of a model file, or a
            `Trained`. It gets the paths or the rows that `data` gave.
        promote: `gates` makes the version the champion if every gate, and the approver where one
            is needed, lets it; `canary` starts the declared rollout with it, through the same
            gates; `never` only registers it.
        schedule: When `splice retrain watch` runs it by itself, in UTC: "Sun 03:00", "03:00",
            "every 7 d". Nobody does where it is left out.
        deadline: The longest that a run may take; one that takes longer is ended.
        memory_mb: The most memory that a step's process, with those that it starts, may have;
            nothing bounds it where left out.
    """

    model: str
    data: Callable[[Any], Any]  # the user's own; Any, for a function may name a part of Retraining
    train: Callable[[Any, Any], Any]
    promote: str = "gates"
    schedule: str = ""
    deadline: str | float = "6 h"
    memory_mb: int | None = None
