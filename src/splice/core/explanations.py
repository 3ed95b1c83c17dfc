"""Explanations: what a model's answer rests on, and what was answered of calls like it."""

from __future__ import annotations

import msgspec

from splice.core.call import Outcome, Record
from splice.core.release import PinnedRoute, Release


class Attribution(msgspec.Struct, frozen=True):
    """What one feature adds to the answer: the parts and the base come to the answer."""

    feature: str
    value: str  # as it was, in words
    adds: float


class Attributions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Shapley values of one answer, the greatest first.

    `of` is what they explain (`score`, `score of fraud`, `value`); `base` its mean over
    `background` calls of the same release; `answer` what the model gives for the recorded input,
    and `recorded` what it gave then, None where that is not known. `by` says what worked them out.
    Where they could not be had, `why` says it, and nothing else is there.
    """

    why: str = ""
    of: str = ""
    base: float = 0.0
    answer: float = 0.0
    recorded: float | None = None
    parts: tuple[Attribution, ...] = ()
    background: int = 0
    model: str = ""  # version that was asked: the one that answered
    by: str = ""
    took_s: float = 0.0

    @property
    def differs(self) -> bool:
        """Whether the model gives something else for what was recorded: a part of it is masked."""
        if self.recorded is None:
            return False
        return abs(self.answer - self.recorded) > 1e-4 * max(1.0, abs(self.recorded))


class Similar(msgspec.Struct, frozen=True):
    """An earlier call, how far it is away (0 is the same), and what became of it."""

    record: Record
    distance: float
    outcomes: tuple[Outcome, ...] = ()
    verdict: str = ""  # of its review, if it had one that is decided


def route_of(release: Release | None, version: str) -> PinnedRoute | None:
    """The route of a release, or of one of its variants or shadows, that runs a version."""
    if release is None:
        return None
    manifest = release.manifest
    routes = list(manifest.routes)
    if manifest.rollout is not None:
        routes += [route for one in manifest.rollout.variants for route in one.routes]
        routes += manifest.rollout.shadows
    if manifest.holdout is not None:
        routes += manifest.holdout.routes
    return next((one for one in routes if one.version == version), None)
