"""What a window of calls is compared with: an earlier window, a release, or the training data."""

from __future__ import annotations

from collections.abc import Mapping

from splice.core.profiles import DriftQuestion, DriftReport, Profile
from splice.monitor.drift import LIMITS, Limits
from splice.ports.rollups import RollupStore


def drift_of(
    store: RollupStore,
    question: DriftQuestion,
    limits: Limits = LIMITS,
    training: Mapping[str, Profile] | None = None,
) -> DriftReport:
    """The answer to a drift question, from stored profiles alone: no call is read.

    `training` is the profile of the training data, by column, where the question is against it.
    """
    raise NotImplementedError
