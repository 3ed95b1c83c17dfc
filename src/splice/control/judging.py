"""Judging: whether the guards of a rollout hold, by the figures of its variants.

A guard is broken at once where its figure is beyond the bound beyond doubt (99 % interval, from
`SURE_FROM` observations on); at the end of a step the figure itself must be within. Quantiles and
costs have no interval here: they count from `min_calls` on.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

import msgspec

from splice.core.figures import Z99, Figures, figure_text, wilson
from splice.core.release import PinnedGuard, PinnedRollout
from splice.core.rollout import next_step
from splice.declare.diff import guard_text

SURE_FROM = 20
_MOST_ERRORS = 0.5
"""No guard need be declared for this: most of its answers are those of the routes behind it."""


class Judged(msgspec.Struct, frozen=True):
    """How one guard stands. `state` is `unknown` while too little is known to tell."""

    guard: PinnedGuard
    state: Literal["holds", "broken", "unknown"]
    measured: float | None
    against: float | None  # the bound on the figure itself, the champion's included
    count: int
    sure: bool = False

    @property
    def told(self) -> str:
        """What came and what was allowed, in words."""
        figure = self.guard.figure
        if self.measured is None or self.against is None:
            return f"{guard_text(self.guard)}: nothing known yet"
        word = "at least" if _is_floor(self.guard) else "at most"
        measured, bound = figure_text(figure, self.measured), figure_text(figure, self.against)
        known = "outcomes" if figure.startswith("outcome:") else "calls"
        return f"{figure} {measured}, {word} {bound} allowed ({self.count} {known})"


def judge(
    guard: PinnedGuard, challenger: Figures, champion: Figures, min_calls: int
) -> list[Judged]:
    """How a guard stands, once for each of its bounds."""
    found: list[Judged] = []
    for bound, floor, relative in (
        (guard.at_most, False, False),
        (guard.at_least, True, False),
        (guard.worse_by, guard.higher_is_better, True),
    ):
        if bound is not None:
            found.append(_judged(guard, (bound, floor, relative), challenger, champion, min_calls))
    return found


def _judged(
    guard: PinnedGuard,
    bound: tuple[float, bool, bool],
    challenger: Figures,
    champion: Figures,
    min_calls: int,
) -> Judged:
    limit, floor, relative = bound
    figure = guard.figure
    measured, count = challenger.of(figure), challenger.count_of(figure)
    one = _bare(guard, limit, floor=floor, relative=relative)
    base = champion.of(figure) if relative else 0.0
    if measured is None or base is None or not isfinite(measured) or not isfinite(base):
        return Judged(one, "unknown", measured, None, count)
    if relative and champion.count_of(figure) < min(min_calls, SURE_FROM):
        return Judged(one, "unknown", measured, None, count)
    against = (base - limit if floor else base + limit) if relative else limit
    beyond = measured < against if floor else measured > against
    if not beyond:
        state = "holds" if count >= min_calls else "unknown"
        return Judged(one, state, measured, against, count)
    if _is_sure(figure, challenger, champion if relative else None, against, floor=floor):
        return Judged(one, "broken", measured, against, count, sure=True)
    return Judged(one, "broken" if count >= min_calls else "unknown", measured, against, count)


def _bare(guard: PinnedGuard, limit: float, *, floor: bool, relative: bool) -> PinnedGuard:
    if relative:
        return PinnedGuard(guard.figure, worse_by=limit, higher_is_better=floor)
    if floor:
        return PinnedGuard(guard.figure, at_least=limit)
    return PinnedGuard(guard.figure, at_most=limit)


def _is_floor(guard: PinnedGuard) -> bool:
    return guard.at_least is not None or (guard.worse_by is not None and guard.higher_is_better)


def _is_sure(
    figure: str, challenger: Figures, champion: Figures | None, against: float, *, floor: bool
) -> bool:
    """Whether the figure is beyond the bound with all of its 99 % interval."""
    count = challenger.count_of(figure)
    if count < SURE_FROM:
        return False
    if figure in ("errors", "failures") and champion is None:
        low, high = wilson(getattr(challenger, figure), count, Z99)
        return high < against if floor else low > against
    spread = challenger.spread_of(figure)
    if spread is None:
        return False
    other = None if champion is None else champion.spread_of(figure)
    if champion is not None and other is None:
        return False
    error = Z99 * (spread * spread + (other or 0.0) ** 2) ** 0.5
    measured = challenger.of(figure) or 0.0
    return measured + error < against if floor else measured - error > against


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a rollout, and why."""

    do: Literal["wait", "advance", "finish", "abort"]
    why: str
    guards: tuple[Judged, ...] = ()


def verdict(
    rollout: PinnedRollout, challenger: Figures, champion: Figures, lasted_s: float
) -> Verdict:
    """What is to be done after a step has lasted so long."""
    judged = tuple(
        one
        for guard in rollout.guards
        for one in judge(guard, challenger, champion, rollout.min_calls)
    )
    broken = [one for one in judged if one.state == "broken"]
    if broken:
        return Verdict("abort", f"guard broken: {broken[0].told}", judged)
    errors = challenger.of("errors")
    if errors is not None and errors > _MOST_ERRORS and challenger.calls >= SURE_FROM:
        told = f"its own routes did not answer {errors:.0%} of {challenger.calls} calls"
        return Verdict("abort", told, judged)
    if len(rollout.steps) < 2 and not rollout.then:
        return Verdict("wait", "a fixed share, until somebody moves it", judged)
    if lasted_s < rollout.every_s:
        return Verdict("wait", f"the step lasts {rollout.every_s - lasted_s:.0f} s more", judged)
    if challenger.calls < rollout.min_calls:
        return Verdict("wait", f"{challenger.calls} of {rollout.min_calls} calls", judged)
    # Where everybody has the challenger there is no champion to compare with: that was done before.
    alone = not champion.calls and next_step(rollout) is None
    unknown = [
        one
        for one in judged
        if one.state == "unknown" and not (alone and one.guard.worse_by is not None)
    ]
    if unknown:
        return Verdict("wait", f"too little is known: {unknown[0].told}", judged)
    if next_step(rollout) is not None:
        return Verdict("advance", "every guard holds", judged)
    return Verdict("finish", "every guard held to the last step", judged)
