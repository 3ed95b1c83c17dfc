"""The steward: moves canaries from step to step, and ends them where a guard is broken.

Every process that serves has one; a lease lets one of them act, and each change names the release
it was made for, so that two that act all the same (their clocks disagree) change nothing twice.
How long a step has lasted is told by the steward's own steady clock, from when it first saw the
step: no other worker's clock, and no clock that is set, can cut it short.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from splice.control.judging import Judged, Verdict, verdict
from splice.control.rollouts import Rollouts, Who
from splice.core.errors import RefusedError, SpliceError
from splice.core.figures import Figures
from splice.core.release import Live, Release
from splice.core.rollout import CHALLENGER, CHAMPION, challenger_of, next_step, share_text
from splice.ports.figures import FigureStore, Sought
from splice.ports.leases import LeaseStore

log = logging.getLogger("splice.rollouts")

STEWARD = "splice steward"
"""Who does what no person did."""

_LEASE_US = 15_000_000
_LEAST_S = 2.0
_MOST_S = 10.0  # a ledger that is locked for a while must not blind it for longer
_IDLE = 20.0  # times as long as the last look took: looking never takes a twentieth of a core

Promote = Callable[[Release], str]
"""Makes the challenger of a release the champion, through the gates; says what it did."""


class Standing(msgspec.Struct, frozen=True):
    """How a rollout stands: figures of both variants, and what is to be done."""

    release: Release
    share: int
    challenger: Figures
    champion: Figures
    verdict: Verdict

    @property
    def guards(self) -> tuple[Judged, ...]:
        """Its guards, each judged."""
        return self.verdict.guards


def standing(
    release: Release,
    older: Sequence[Release],
    figures: FigureStore,
    lasted_s: float,
    since_us: int = 0,
) -> Standing | None:
    """How the rollout of a release stands; None where none runs.

    Args:
        release: The live one.
        older: The releases of the integration, for outcomes, which take longer than a step.
        figures: What its calls came to.
        lasted_s: How long the step has lasted.
        since_us: Where it was live before, when it became live again: what it came to then is
            no news. 0 otherwise, for no clock need be asked what its own number says.
    """
    rollout = release.manifest.rollout
    challenger = challenger_of(rollout)
    if rollout is None or challenger is None:
        return None
    guards = [one.figure for one in rollout.guards]
    names = [one.partition(":")[2] for one in guards if one.startswith("outcome:")]
    same = tuple(
        one.number
        for one in older
        if one.manifest.rollout is not None
        and (one.manifest.rollout.salt, one.manifest.rollout.run) == (rollout.salt, rollout.run)
        and challenger_of(one.manifest.rollout) is not None
    )
    pair: list[Figures] = []
    for variant in (CHALLENGER, CHAMPION):
        now = Sought(release.integration, (release.number,), variant, since_us)
        found = figures.figures(now)
        if names:
            ever = Sought(release.integration, same, variant, since_us)
            means = figures.figures(ever, names).outcomes
            found = msgspec.structs.replace(found, outcomes=means)
        pair.append(found)
    judged = verdict(rollout, pair[0], pair[1], lasted_s)
    return Standing(release, challenger.share, pair[0], pair[1], judged)


class Steward:
    """Looks after the rollouts of one ledger.

    Args:
        rollouts: Changes them.
        figures: What their calls came to.
        leases: Lets one process act.
        holder: This process's name among the others.
        promote: Makes a challenger the champion.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        figures: FigureStore,
        leases: LeaseStore,
        holder: str,
        promote: Promote | None = None,
    ) -> None:
        self._rollouts = rollouts
        self._figures = figures
        self._leases = leases
        self._holder = holder
        self._promote = promote
        self._seen: dict[str, tuple[int, float]] = {}  # release and since when, steadily
        self._due: dict[str, float] = {}
        self._known: dict[str, Release] = {}
        self._told: dict[str, str] = {}

    def look(self, live: Iterable[Live], now_us: int, clock: float | None = None) -> None:
        """Judge every rollout that is due, and act on it. Blocks."""
        at = time.monotonic() if clock is None else clock
        for one in live:
            if one.stopped:  # its calls are refused: no time passes for it
                self._seen.pop(one.integration, None)
                continue
            number, since = self._seen.get(one.integration, (0, at))
            if number != one.number:
                since = at
                self._seen[one.integration] = (one.number, at)
                self._due.pop(one.integration, None)
            if at < self._due.get(one.integration, 0.0):
                continue
            began = time.monotonic()
            try:
                self._look(one, at - since, now_us)
            except SpliceError as error:
                self._say(one.integration, f"cannot look after its rollout: {error}")
            if self._due.get(one.integration) == float("inf"):  # none runs
                continue
            took = time.monotonic() - began
            self._due[one.integration] = at + min(_MOST_S, max(_LEAST_S, _IDLE * took))

    def close(self) -> None:
        """Let another process act at once."""
        for integration in self._seen:
            self._leases.give_lease(f"rollout {integration}", self._holder)

    def _look(self, live: Live, lasted_s: float, now_us: int) -> None:
        release = self._release(live)
        if release is None or challenger_of(release.manifest.rollout) is None:
            self._due[live.integration] = float("inf")  # until another release is live
            return
        if not self._leases.take_lease(
            f"rollout {live.integration}", self._holder, now_us, _LEASE_US
        ):
            return
        older = self._rollouts.releases.releases(live.integration)
        since_us = self._rollouts.releases.live_again_us(live.integration)
        found = standing(release, older, self._figures, lasted_s, since_us)
        if found is None:
            return
        try:
            self._act(found, now_us)
        except RefusedError as error:  # a person was faster, or a gate said no
            self._say(live.integration, str(error))

    def _release(self, live: Live) -> Release | None:
        found = self._known.get(live.integration)
        if found is None or found.number != live.number:
            found = self._rollouts.releases.release(live.integration, live.number)
            if found is not None:
                self._known[live.integration] = found
        return found

    def _act(self, found: Standing, now_us: int) -> None:
        release, said = found.release, found.verdict
        name = release.integration
        who = Who(STEWARD, said.why, now_us)
        rollout = release.manifest.rollout
        if rollout is None or said.do == "wait":
            return
        if said.do == "abort":
            back = self._rollouts.stop(name, who, live=release, action="rollout.abort")
            log.error("%s: rollout ended, release %d answers: %s", name, back.number, said.why)
        elif rollout.flag:
            return  # its flag says who gets what
        elif said.do == "advance":
            self._rollouts.advance(release, who)
            log.info("%s: the challenger gets %s now", name, share_text(next_step(rollout) or 0))
        elif rollout.then == "promote" and self._promote is not None:
            log.info("%s: %s", name, self._promote(release))
        else:
            self._say(name, f"the challenger stands at {share_text(found.share)}: {said.why}")

    def _say(self, name: str, text: str) -> None:
        if self._told.get(name) != text:
            self._told[name] = text
            log.warning("%s: %s", name, text)
