"""What a window of calls is compared with: an earlier window, a release, or the training data.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from splice.core.profiles import DriftQuestion, DriftReport, Profile
from splice.core.rollout import SHADOW
from splice.core.rollups import DAY_S, HOUR_S, Wanted, Window
from splice.monitor.columns import BASE, PREDICTION, REPLY
from splice.monitor.drift import LIMITS, Limits, drift
from splice.monitor.profiles import merged
from splice.ports.rollups import Piece, RollupStore

_BASES = (BASE, PREDICTION, REPLY)


def drift_of(
    store: RollupStore,
    question: DriftQuestion,
    limits: Limits = LIMITS,
    training: Mapping[str, Profile] | None = None,
) -> DriftReport:
    """The answer to a drift question, from stored profiles alone: no call is read.

    `training` is the profile of the training data, by column, where the question is against it.
    """
    current = profiles_of(store, question, question.window)
    against = question.against
    if against.kind == "training":
        said = "the training data"
        if training is None:
            return DriftReport(
                calls=_calls(current), against=said,
                why='no profile of the training data: compare with a past window, as against="7 d"',
            )  # fmt: skip
        reference: Mapping[str, Profile] = training
        if question.columns:
            reference = {name: one for name, one in training.items() if _asked(name, question)}
    elif against.kind == "release":
        said = f"release {against.release}"
        before = msgspec.structs.replace(question, release=against.release)
        same = question.release in (None, against.release)
        end_us = question.window.since_us if same else question.window.until_us
        reference = profiles_of(store, before, Window(0, end_us))
    else:
        said = told(against.window)
        reference = profiles_of(store, question, against.window)
    calls, reference_calls = _calls(current), _calls(reference)
    why = ""
    if not calls or not reference_calls:
        lacking = told(question.window) if not calls else said
        why = f"no calls with a profile: {lacking}"
        return DriftReport((), calls, reference_calls, why, said)
    found = drift(current, reference, limits)
    return DriftReport(tuple(found), calls, reference_calls, why, said)


def profiles_of(store: RollupStore, question: DriftQuestion, window: Window) -> dict[str, Profile]:
    """The profile of each column over a window, which begins and ends with whole hours."""
    wanted = Wanted(window, question.integration, question.release, question.variant)
    pieces = pieces_of(window, store.kept_since().get("profile_hours", 0))
    columns = [*question.columns, *_BASES] if question.columns else None
    bodies: dict[str, list[bytes]] = {}
    for one in store.profiles(wanted, pieces, columns, question.segment):
        if question.variant is not None or one.key.variant != SHADOW:
            bodies.setdefault(one.key.column, []).append(one.body)
    return {column: merged(parts) for column, parts in bodies.items()}


def pieces_of(window: Window, hours_since_s: int) -> Sequence[Piece]:
    """Days where the window has whole ones, or hours are no longer kept; hours at its edges."""
    first = window.since_us // 1_000_000 // HOUR_S * HOUR_S
    last = -(-window.until_us // (1_000_000 * HOUR_S)) * HOUR_S
    if last <= first:
        return ()
    from_day, to_day = -(-first // DAY_S) * DAY_S, last // DAY_S * DAY_S
    if first < hours_since_s:
        from_day = first // DAY_S * DAY_S
    if last <= hours_since_s:
        to_day = -(-last // DAY_S) * DAY_S
    if from_day >= to_day:
        return (Piece(HOUR_S, first, last),)
    pieces = [Piece(DAY_S, from_day, to_day)]
    if first < from_day:
        pieces.insert(0, Piece(HOUR_S, first, from_day))
    if to_day < last:
        pieces.append(Piece(HOUR_S, to_day, last))
    return pieces


def told(window: Window) -> str:
    """A window in words, UTC."""
    ends = (
        datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
        for us in (window.since_us, window.until_us)
    )
    return " to ".join(ends)


def _asked(column: str, question: DriftQuestion) -> bool:
    return column in question.columns


def _calls(profiles: Mapping[str, Profile]) -> int:
    return max((one.calls for one in profiles.values()), default=0)
