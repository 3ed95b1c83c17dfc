"""Experiments: studies of rollouts and holdouts, reckoned anew from the units that changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from splice.core.errors import SpliceError
from splice.core.release import Manifest, Release
from splice.core.rollout import CHALLENGER, CHAMPION, HOLDOUT, WHOLE
from splice.core.spans import Progress, Span, Tally, Touched
from splice.core.studies import REST, ArmState, Effect, SampleRatio, Study
from splice.core.units import noun, plural
from splice.monitor import kpis
from splice.monitor.effects import OPERATIONAL, Asked, effect_of, margins
from splice.monitor.sequential import RATIO_THRESHOLD, mismatch
from splice.monitor.spans import higher_is_better, objective_outcome, spans_of
from splice.ports.stores import ReleaseStore
from splice.ports.studies import StudyStore

log = logging.getLogger("splice.studies")

LIMIT = 50_000
"""Calls of a kind, and outcomes, that are looked at before how far that was is stored."""

_AT_ONCE = 500  # units in one transaction

_STALE_US = 60_000_000
"""While there is much to count, what a study says is told so often."""

_SETTLED_US = 86_400_000_000
_MOST_CROSSED = 0.01
"""A share of units that are seen in both arms; above it, something else than chance draws them."""


class Ledger(Protocol):
    """The stores that studies are reckoned from."""

    @property
    def releases(self) -> ReleaseStore:
        """Releases."""
        ...

    @property
    def studies(self) -> StudyStore:
        """Studies."""
        ...


class Studies:
    """Keeps the studies of every integration up to date.

    Args:
        ledger: What is known.
        currency: Of the account.
    """

    def __init__(self, ledger: Ledger, currency: str = "") -> None:
        self._ledger = ledger
        self._currency = currency

    def look(self, now_us: int) -> bool:
        """Bring each study a step further; whether there is more to do at once. Blocks."""
        more = False
        for live in self._ledger.releases.live():
            try:
                more = self.step(live.integration, live.number, now_us) or more
            except SpliceError as error:  # the studies of the others must go on
                log.warning("%s: its studies are not up to date: %s", live.integration, error)
        return more

    def step(self, integration: str, live: int, now_us: int, *, at_once: bool = False) -> bool:
        """One step of each study of an integration; whether there is more to do at once.

        `at_once` counts what the objective came to just now, too, and not only now and then.
        """
        releases = self._ledger.releases.releases(integration)
        store = self._ledger.studies
        known = {one.key: one for one in store.studies(integration)}
        moved_us = store.moved_us(integration)
        more = self._count_kpi(releases, live, now_us, moved_us, at_once=at_once)
        for span in spans_of(releases):
            before = known.get(span.key)
            running = live in span.releases
            if before is not None and before.settled and not running:
                continue
            if moved_us >= span.since_us:  # its units could not be counted as a whole
                if before is not None and _ended(before, running=running) != before:
                    store.put_study(_ended(before, running=running))
                continue
            progress = store.progress(span)
            touched = store.touched(span, progress, now_us, LIMIT)
            after = self._counted(span, progress, touched, now_us)
            if after is None:  # another process is at it
                continue
            more = more or touched.more
            stale = before is None or now_us - before.at_us > _STALE_US
            if stale or not touched.more:
                last = next(one for one in releases if one.number == span.releases[-1])
                self._reckon(span, last, after, touched, now_us, running=running)
        return more

    def _counted(
        self, span: Span, progress: Progress, touched: Touched, now_us: int
    ) -> Progress | None:
        """The progress once all that was touched is counted; None where another did so.

        In several transactions, for calls wait while one of them writes. The progress comes last:
        what was counted before a crash is counted again.
        """
        store = self._ledger.studies
        here: Progress | None = progress
        for start in range(0, len(touched.units), _AT_ONCE):
            units = store.counted(span, touched.units[start : start + _AT_ONCE], now_us)
            here = None if here is None else store.keep(span, units, here)
        if here is None:
            return None
        done = msgspec.structs.replace(touched.progress, revision=here.revision)
        return store.keep(span, (), done)

    def bring_up(self, integration: str, live: int, now_us: int) -> list[Study]:
        """The studies of an integration as of now; takes as long as there is new to count."""
        while self.step(integration, live, now_us, at_once=True):
            pass
        return self._ledger.studies.studies(integration)

    def _count_kpi(
        self,
        releases: Sequence[Release],
        live: int,
        now_us: int,
        moved_us: int,
        *,
        at_once: bool,
    ) -> bool:
        here = next((one for one in releases if one.number == live), None)
        kpi = None if here is None else kpis.kpi_of(here, kpis.since_of(releases))
        if kpi is None:
            return False
        return kpis.step(self._ledger.studies, kpi, now_us, moved_us, at_once=at_once)

    def _reckon(
        self,
        span: Span,
        last: Release,
        progress: Progress,
        touched: Touched,
        now_us: int,
        *,
        running: bool,
    ) -> None:
        store = self._ledger.studies
        mixtures = dict(progress.mixtures)
        tally = store.tally(span)
        study = study_of(span, last.manifest, tally, mixtures, self._currency)
        if mixtures != progress.mixtures:
            kept = store.keep(span, (), msgspec.structs.replace(progress, mixtures=mixtures))
            if kept is None:
                return
        longest = max((one.matures_us or 0 for one in span.outcomes), default=0)
        done = progress.last_us + longest + span.lag_us + _SETTLED_US
        settled = not running and not touched.more and now_us > max(done, span.since_us + longest)
        notes = study.notes
        if touched.nameless:
            nobody = plural(
                touched.nameless, "call names no entity: it is", "calls name no entity: they are"
            )
            notes = (*notes, f"{nobody} no {noun(touched.nameless, 'unit')}.")
        store.put_study(
            msgspec.structs.replace(
                study,
                at_us=now_us,
                running=running,
                settled=settled,
                notes=notes,
                until_us=None if running else progress.last_us or None,
                without_entity=touched.nameless,
            )
        )


_MOVED = (
    "Calls of this study were moved out of the ledger (ledger.keep): it says what was known then, "
    "and does not go on. Keep calls for longer than a study lasts, or begin a new season."
)


def _ended(study: Study, *, running: bool) -> Study:
    """A study that cannot be counted any more stands as it was."""
    notes = (*(one for one in study.notes if one != _MOVED), _MOVED)
    return msgspec.structs.replace(study, notes=notes, running=running, settled=not running)


def study_of(
    span: Span, manifest: Manifest, tally: Tally, mixtures: dict[str, float], currency: str = ""
) -> Study:
    """What the sums of a span say. What intervals are tuned for is noted in `mixtures`, once."""
    effects = tuple(
        effect_of(asked, tally.moments[asked.figure], mixtures)
        for asked in _asked(span, manifest, currency)
        if asked.figure in tally.moments
    )
    ratio = sample_ratio(tally.units, span.shares)
    seen = sum(tally.units) + tally.crossed
    crossing = tally.crossed > _MOST_CROSSED * seen
    causal, why = _causal(span, ratio, crossing=crossing)
    known = {one.figure: one for one in effects}
    first = span.outcomes[0] if span.outcomes else None
    pair = None if first is None else tally.moments.get(f"outcome:{first.name}")
    mature = [(0, 0) if pair is None else (pair[i].count, int(pair[i].sums[1])) for i in (0, 1)]
    names = (HOLDOUT, REST) if span.kind == "holdout" else (CHAMPION, CHALLENGER)
    arms = [
        ArmState(
            names[i], None if span.shares is None else span.shares[i], tally.units[i],
            mature[i][0], tally.calls[i], mature[i][1], span.runs[i],
        )
        for i in (0, 1)
    ]  # fmt: skip
    return Study(
        key=span.key, integration=span.integration, kind=span.kind, releases=span.releases,
        arms=(arms[0], arms[1]), effects=effects, ratio=ratio, since_us=span.since_us, at_us=0,
        causal=causal, why=why, matures_us=None if first is None else first.matures_us,
        crossed=tally.crossed, notes=_notes(span, tally, known),
    )  # fmt: skip


def sample_ratio(units: tuple[int, int], shares: tuple[int, int] | None) -> SampleRatio:
    """Whether the units came to the arms as they should have."""
    total = sum(units)
    if shares is None:
        told = "A flag chooses the variant: no shares are promised."
        return SampleRatio(units, (), threshold=RATIO_THRESHOLD, told=told)
    parts = [one / WHOLE for one in shares]
    expected = tuple(total * one for one in parts)
    probability = mismatch(units, parts)
    ok = probability >= RATIO_THRESHOLD
    told = (
        f"{units[0]:,} and {plural(units[1], 'unit')}, of {expected[0]:,.0f} and {expected[1]:,.0f}"
    )
    told += " expected: as they should come." if ok else (
        f" expected: that is no chance (p < {max(probability, 1e-12):.2g}). Something keeps units "
        "out of an arm, or calls out of the ledger: no difference of the arms means anything."
    )  # fmt: skip
    return SampleRatio(units, expected, probability, RATIO_THRESHOLD, ok, told)


def _asked(span: Span, manifest: Manifest, currency: str) -> list[Asked]:
    objective = manifest.objective
    higher = higher_is_better(objective)
    baseline, target = objective.get("baseline"), objective.get("target")
    promised = None
    if baseline is not None and target is not None and baseline != target:
        promised = abs(float(target) - float(baseline))
    rollout = manifest.rollout if span.kind == "rollout" else None
    guards = margins(() if rollout is None else rollout.guards)
    main = objective_outcome(manifest)
    found: list[Asked] = []
    for one in span.outcomes:
        figure = f"outcome:{one.name}"
        guard = guards.get(figure)
        lower = None if guard is None else not guard.higher_is_better
        margin = None if guard is None else guard.worse_by
        if one.name == main:
            lower = lower if higher is None else not higher
            found.append(Asked(figure, True, lower, promised, margin))
        else:
            found.append(Asked(figure, False, lower, None, margin))
    for figure in OPERATIONAL:
        guard = guards.get(figure)
        margin = None if guard is None else guard.worse_by
        found.append(Asked(figure, False, True, None, margin, currency))
    return found


def _causal(span: Span, ratio: SampleRatio, *, crossing: bool) -> tuple[bool, str]:
    if span.shares is None:
        return False, "A flag chose who gets which variant: nothing says that it chose by chance."
    if ratio.ok is False:
        return False, "The units did not come to the arms as they should have (sample ratio)."
    if crossing:
        return False, "More than 1 % of the units were seen in both arms."
    if span.kind == "holdout":
        return True, "Who is held out was drawn by chance, entity by entity."
    return True, "Who gets the challenger was drawn by chance, entity by entity."


def _notes(span: Span, tally: Tally, effects: dict[str, Effect]) -> tuple[str, ...]:
    notes: list[str] = []
    if not span.outcomes:
        notes.append(
            "No outcome tells this study anything: declare an objective, or a splice.Truth."
        )
    for one in span.outcomes:
        if one.matures_us is None:
            notes.append(
                f"Nothing says when {one.name} is known: calls count as soon as they have one, and "
                f'early ones may differ from late ones. Declare splice.Truth("{one.name}", '
                'matures="…").'
            )
        effect = effects.get(f"outcome:{one.name}")
        if effect is not None and not sum(effect.units):
            notes.append(f"No outcome {one.name} of a mature call is known yet.")
    if tally.crossed:
        notes.append(
            f"{plural(tally.crossed, 'unit was', 'units were')} seen in both arms, and left out."
        )
    return tuple(notes)
