"""A tracker keeps what a training run was given and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec


class TrackerOptions(msgspec.Struct, frozen=True):
    """Where runs are logged. An adapter is made of this."""

    url: str = ""
    folder: Path = Path(".splice/runs")
    project: str = ""  # experiment (MLflow), project (W&B); the model's name if empty
    mode: Literal["online", "offline"] = "online"
    token: str = ""

    def __repr__(self) -> str:
        return "TrackerOptions(…)"  # it holds a secret


class TrackedRun(Protocol):
    """One training run. Blocks."""

    @property
    def id(self) -> str:
        """Its name with the tracker's before it: `mlflow:RUN_ID`, `files:RUN`."""
        ...

    def params(self, values: Mapping[str, Any]) -> None:
        """What it was given.

        Raises:
            StoreError: The tracker is away; nothing was logged, and the same may be said again.
        """
        ...

    def metrics(self, values: Mapping[str, float], step: int | None, at_us: int) -> None:
        """What came out, at a step or at the end.

        Raises:
            StoreError: As in `params`.
        """
        ...

    def tags(self, values: Mapping[str, str]) -> None:
        """What is to be known of it: hash of the data, revision of the code, registered version.

        Raises:
            StoreError: As in `params`.
        """
        ...

    def finish(self, *, failed: bool, at_us: int) -> None:
        """It has ended.

        Raises:
            StoreError: As in `params`.
        """
        ...


class Tracker(Protocol):
    """Starts runs."""

    def start(self, model: str, at_us: int) -> TrackedRun:
        """A new run of a training of that model.

        Raises:
            StoreError: The tracker is away.
            SettingsError: It does not let us in.
        """
        ...
