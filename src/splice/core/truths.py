"""A truth: which outcome tells whether an integration was right, as a release pins it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Task(StrEnum):
    """What an integration foretells."""

    CLASSIFICATION = "classification"  # whether something happens, or which of several classes
    REGRESSION = "regression"  # a number
    RANKING = "ranking"  # which of a list is relevant, the likeliest first
    RATING = "rating"  # nothing that comes true: a person or a judge says how good it was


Value = bool | float | str
"""What an outcome's value can be."""


class PinnedTruth(msgspec.Struct, frozen=True, omit_defaults=True):
    """A truth as it is pinned; see `splice.Truth` for what the fields mean.

    `score` and `predicted` are paths: `prediction.score`, `prediction.value`, `reply.action`.
    Empty is what the task takes by itself. `positive` empty means that the outcome is the name of
    one of several classes. What is None or empty is left out of the digest of a release.
    """

    outcome: str
    task: Task
    matures_s: float
    within_s: float
    score: str = ""
    predicted: str = ""
    positive: tuple[Value, ...] = ()
    foretold: tuple[Value, ...] = ()
    threshold: float | None = None
    absent: Value | None = None
    good: float | None = None
    at: int | None = None
    segments: tuple[str, ...] = ()

    @property
    def bucket_s(self) -> int:
        """How long a stretch of calls is counted together, in seconds.

        A day; an hour where the truth takes less than three, five minutes where less than one hour.
        """
        if self.matures_s >= 3 * 86_400:
            return 86_400
        return 3600 if self.matures_s >= 3600 else 300

    @property
    def binary(self) -> bool:
        """Whether it happens or not, rather than one of several classes."""
        return self.task is Task.CLASSIFICATION and bool(self.positive)
