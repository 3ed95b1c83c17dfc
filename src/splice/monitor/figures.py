"""Figures: what each kind of monitor measures, from rollups, profiles, labels and studies.

No call is read but the few that show a bad figure, and those by index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from splice.core.alerts import Measured, Part
from splice.core.call import Reason, Status
from splice.core.errors import SpliceError
from splice.core.figures import wilson
from splice.core.monitors import PinnedMonitor
from splice.core.profiles import Against, DriftQuestion, DriftReport, Profile
from splice.core.quality import Quality, QualityWanted
from splice.core.release import Release
from splice.core.rollups import Totals, Wanted, Window
from splice.core.studies import KpiStanding
from splice.core.units import NANO, duration_text, plural
from splice.monitor import traffic
from splice.monitor.oversight import reviews_waiting
from splice.monitor.words import one_line, value_text
from splice.ports.labels import LabelStore
from splice.ports.rollups import RollupStore
from splice.ports.stores import CallFilter, RecordStore, ReleaseStore

_EXAMPLES = 5
_LOOKED_AT = 300  # newest calls of the window, among which the slowest or dearest are sought
_COUNTED_MOST = 1000  # calls that are counted one by one where few are expected
_PARTS = 10


class CannotTell(SpliceError):
    """A monitor cannot be evaluated: what it is compared with is missing, or cannot be read."""

    code = "cannot_tell"


class Sources(msgspec.Struct, frozen=True):
    """What figures are measured from.

    `ledger` has the stores that the value of an integration is read from. `training` gives the
    profile of the training data of a release, by column; None where there is none.
    """

    ledger: Any  # a splice.monitor.value.Ledger; not all of its parts are always installed
    rollups: RollupStore
    records: RecordStore
    labels: LabelStore
    releases: ReleaseStore
    currency: str
    training: Callable[[Release], Mapping[str, Profile] | None]


def measure(sources: Sources, asked: PinnedMonitor, release: Release, now_us: int) -> Measured:
    """What a monitor measures now; with example calls where its figure is beyond its bound.

    Raises:
        CannotTell: What it needs is missing.
        StoreError: The ledger could not be read.
    """
    window = window_of(sources, asked, release, now_us)
    found = _Figure(sources, asked, release, now_us).measured(window)
    if asked.against_s is not None and asked.kind != "drift":
        found = _against(sources, asked, release, found, now_us)
    if found.value is not None and asked.kind != "drift":
        sure = asked.surely_beyond(found.value, found.low, found.high)
        found = msgspec.structs.replace(found, beyond=sure)
    if found.beyond and found.count >= asked.least:
        found = msgspec.structs.replace(found, calls=_examples(sources, asked, release, found))
    unit = sources.currency if asked.kind == "cost" else ""
    return msgspec.structs.replace(found, unit=unit)


def window_of(sources: Sources, asked: PinnedMonitor, release: Release, now_us: int) -> Window:
    """The window that counts now: where a firing rolls back, no call of before the release."""
    since = now_us - round(asked.window_s * 1e6)
    if asked.rolls_back:
        since = max(since, sources.releases.live_again_us(release.integration))
    return Window(min(since, now_us - 1), now_us)


def _against(
    sources: Sources, asked: PinnedMonitor, release: Release, found: Measured, now_us: int
) -> Measured:
    """The ratio to the same figure so long ago; of any release, for that was another one."""
    then_us = now_us - round((asked.against_s or 0) * 1e6)
    window = Window(then_us - (found.until_us - found.since_us), then_us)
    any_release = msgspec.structs.replace(asked, then=("alert",))
    before = _Figure(sources, any_release, release, then_us).measured(window)
    ago = duration_text(asked.against_s or 0)
    plain = msgspec.structs.replace(asked, against_s=None)
    if before.value is None or before.value <= 0 or before.count < asked.least:
        compared = f"the same {ago} earlier, of which too little is known"
        return msgspec.structs.replace(found, value=None, low=None, high=None, compared=compared)
    compared = (
        f"{value_text(plain, before.value, sources.currency if asked.kind == 'cost' else '')} in "
        f"{before.count:,} {ago} earlier"
    )
    if found.value is None:
        return msgspec.structs.replace(found, compared=compared)
    low = high = None
    if found.low is not None and before.high:
        low = found.low / before.high  # wider than it need be: both ends at once are unlikely
    if found.high is not None and before.low:
        high = found.high / before.low
    return msgspec.structs.replace(
        found, value=found.value / before.value, low=low, high=high, compared=compared,
        parts=() if asked.kind == "share" else found.parts,
    )  # fmt: skip


class _Figure:
    """Measures one monitor's figure over a window."""

    def __init__(
        self, sources: Sources, asked: PinnedMonitor, release: Release, now_us: int
    ) -> None:
        self._sources, self._asked, self._release = sources, asked, release
        self._now = now_us
        self._number = release.number if asked.rolls_back else None

    def measured(self, window: Window) -> Measured:
        """The figure."""
        kind = self._asked.kind
        if kind == "drift":
            return self._drift(window)
        if kind == "reviews":
            return reviews_waiting(
                self._sources.ledger, self._asked, self._release.integration, window
            )
        if kind == "accuracy" or self._asked.figure == "unlabelled":
            return self._quality(window)
        if kind == "outcome":
            return self._outcome(window)
        wanted = Wanted(window, self._release.integration, self._number)
        totals = traffic.totals(self._sources.rollups, wanted)
        if kind == "latency":
            return self._latency(totals, window)
        if kind == "cost":
            return self._cost(totals, window, wanted)
        if kind == "traffic":
            return self._traffic(totals, window)
        return self._share(totals, window, wanted)

    def _made(
        self, found: float | None, count: int, window: Window, parts: Sequence[Part] = ()
    ) -> Measured:
        return Measured(
            found, count, window.since_us, window.until_us,
            parts=tuple(parts[:_PARTS]), release=self._number or 0,
        )  # fmt: skip

    def _latency(self, totals: Totals, window: Window) -> Measured:
        tried = totals.calls - totals.refused
        if self._asked.figure == "mean":
            mean = totals.duration_us / totals.calls / 1e6 if totals.calls else None
            return self._made(mean, totals.calls, window)
        return self._made(getattr(totals, f"latency_{self._asked.figure}"), tried, window)

    def _cost(self, totals: Totals, window: Window, wanted: Wanted) -> Measured:
        if self._asked.figure == "call":
            found, count = totals.cost_per_call, totals.costed
        else:
            known = totals.costed or not totals.calls
            found, count = totals.cost_nano / NANO if known else None, totals.calls
        parts: list[Part] = []
        if found is not None and self._asked.beyond(found):
            for one in traffic.breakdown(self._sources.rollups, wanted, "route"):
                of_route = one.totals.cost_per_call
                if self._asked.figure == "day":
                    of_route = one.totals.cost
                if of_route is not None:
                    beyond = self._asked.figure == "call" and self._asked.beyond(of_route)
                    parts.append(Part(one_line(one.name or "no route"), of_route,
                                      count=one.totals.calls, beyond=beyond))  # fmt: skip
        return self._made(found, count, window, sorted(parts, key=lambda one: -one.value))

    def _traffic(self, totals: Totals, window: Window) -> Measured:
        calls, asked = totals.calls, self._asked
        most = asked.bound + 1
        if asked.below is not None and calls < most <= _COUNTED_MOST:
            # Silence is told by the ledger itself: rollups come a moment later.
            wanted = CallFilter(
                integration=self._release.integration, since_us=window.since_us,
                release=self._number, limit=math.ceil(most),
            )  # fmt: skip
            calls = max(calls, len(self._sources.records.find(wanted)))
        return self._made(float(calls), calls, window)

    def _share(self, totals: Totals, window: Window, wanted: Wanted) -> Measured:
        figure = self._asked.figure
        tried = totals.calls - totals.refused
        hits, count, reasons = {
            "errors": (totals.failed, tried, totals.errors),
            "fallbacks": (totals.fallbacks, totals.answered, {}),
            "refused": (totals.refused, totals.calls, totals.refusals),
            "cached": (totals.cached, totals.answered, {}),
        }[figure]
        parts = [
            Part(reason, hit / count, count=hit, words=plural(hit, "call"))
            for reason, hit in sorted(reasons.items(), key=lambda one: -one[1])
            if count
        ]
        if figure == "fallbacks" and hits:
            parts = self._failed_attempts(wanted)
        found = self._made(hits / count if count else None, count, window, parts)
        if not count:
            return found
        low, high = wilson(hits, count)
        return msgspec.structs.replace(found, low=low, high=high)

    def _failed_attempts(self, wanted: Wanted) -> list[Part]:
        """Routes whose attempts failed, and how."""
        parts: list[Part] = []
        for one in traffic.tried(self._sources.rollups, wanted):
            bad = {end: count for end, count in one.ended.items() if end not in ("answered", "")}
            if bad and one.attempts:
                said = ", ".join(f"{end} {count:,}" for end, count in sorted(bad.items()))
                share = sum(bad.values()) / one.attempts
                parts.append(Part(one_line(one.version or one.route), share, count=one.attempts,
                                  words=said))  # fmt: skip
        return sorted(parts, key=lambda one: -one.value)

    def _drift(self, window: Window) -> Measured:
        try:
            from splice.monitor import drift, references
        except ImportError as error:
            raise _not_installed(self._asked, error) from None
        asked = self._asked
        against = Against("training", release=self._release.number)
        if asked.against_s is not None:
            earlier = round(asked.against_s * 1e6)
            past = Window(window.since_us - earlier, window.until_us - earlier)
            against = Against("window", past)
        question = DriftQuestion(
            self._release.integration, window, against, self._number,
            segment=asked.segment, columns=asked.columns,
        )  # fmt: skip
        training = None
        if against.kind == "training":
            training = self._sources.training(self._release)
        # Any: only the bound of the figure that is asked for makes an alarm.
        bounds: dict[str, Any] = dict.fromkeys(drift.Limits.__struct_fields__)
        bounds |= {"significance": drift.LIMITS.significance, asked.figure: asked.bound}
        limits = drift.Limits(**bounds)
        report = references.drift_of(self._sources.rollups, question, limits, training)
        parts: list[Part] = []
        for column in report.columns:
            found = column.measured(asked.figure)
            if found is None:
                continue
            beyond = column.alarm if asked.sure else asked.beyond(found.value)
            parts.append(Part(one_line(column.column, 100), found.value, found.low, found.high,
                              column.calls, beyond, one_line(column.why)))  # fmt: skip
        self._check_drift(report, window, bool(parts))
        parts.sort(key=lambda one: (not one.beyond, -one.value))
        made = self._made(parts[0].value if parts else None, report.calls, window, parts)
        worst = parts[0] if parts else Part("", 0.0)
        return msgspec.structs.replace(
            made, low=worst.low, high=worst.high, beyond=worst.beyond,
            compared=report.against or report.why,
        )  # fmt: skip

    def _check_drift(self, report: DriftReport, window: Window, found: bool) -> None:
        """Tells few calls from a question that has no answer however many there are.

        Raises:
            CannotTell: It has none.
        """
        asked = self._asked
        if report.calls:
            columns = {one.column for one in report.columns}
            lacking = [] if report.why else [one for one in asked.columns if one not in columns]
            if lacking or not found:
                what = ", ".join(lacking) or f"that {asked.figure} fits"
                raise CannotTell(asked.name, got=report.why or f"no column {what}")
            return
        profile = self._release.manifest.profile
        segments = () if profile is None else profile.segments
        if asked.segment and asked.segment.partition("=")[0] not in segments:
            raise CannotTell(
                asked.name, got=f"no profile of {asked.segment}",
                promised=f"a segment by one of {', '.join(segments) or 'none'}",
                mend="declare profile = splice.Profile(segments=[…])",
            )  # fmt: skip
        wanted = Wanted(window, self._release.integration, self._number)
        answered = traffic.totals(self._sources.rollups, wanted).answered
        if not asked.segment and answered >= max(asked.least, 1):
            raise CannotTell(
                asked.name, got=f"no profile of {answered:,} calls",
                promised="calls whose texts are kept, and splice-ai[monitor] where they are served",
            )  # fmt: skip

    def _known_quality(self, window: Window, outcome: str = "") -> Quality:
        """Quality of the calls whose truth became due in a window; theirs is an earlier one."""
        try:
            from splice.monitor import accuracy
        except ImportError as error:
            raise _not_installed(self._asked, error) from None
        truths = self._release.manifest.truths
        truth = next((one for one in truths if outcome in ("", one.outcome)), None)
        lag_us = 0 if truth is None else round(truth.matures_s * 1e6)
        asked_in = Window(window.since_us - lag_us, window.until_us - lag_us)
        wanted = QualityWanted(
            self._release.integration, asked_in, self._now, outcome, self._number,
            segment=self._asked.segment or None,
        )  # fmt: skip
        return accuracy.quality(self._sources.labels, self._sources.releases, wanted)

    def _quality(self, window: Window) -> Measured:
        asked = self._asked
        found = self._known_quality(window)
        if not found.outcome:
            raise CannotTell(asked.name, got="no truth", mend="declare truth = splice.Truth(…)")
        counts = found.counts
        if asked.figure == "unlabelled":
            share = counts.awaited / counts.mature if counts.mature else None
            made = self._made(share, counts.mature, found.window)
            if share is None:
                return made
            low, high = wilson(counts.awaited, counts.mature)
            return msgspec.structs.replace(made, low=low, high=high)
        figure = found.figure(asked.figure)
        if figure is None:
            names = ", ".join(one.name for one in found.figures)
            raise CannotTell(asked.name, got=f"{asked.figure} of {found.task}", promised=names)
        if figure.value is None and figure.count >= max(asked.least, 1):
            raise CannotTell(asked.name, got=figure.why or f"no {asked.figure}")
        made = self._made(figure.value, figure.count, found.window)
        return msgspec.structs.replace(
            made, low=figure.low, high=figure.high, compared=f"outcome {one_line(found.outcome)}"
        )

    def _outcome(self, window: Window) -> Measured:
        asked = self._asked
        objective = self._release.manifest.objective
        if asked.figure in (objective.get("outcome"), objective.get("kpi")):
            standing = self._standing(window)
            if standing is None:
                raise CannotTell(asked.name, got=f"nothing known of {asked.figure}")
            made = self._made(standing.mean, standing.calls, window)
            ends = standing.interval
            if ends is None:
                return made
            return msgspec.structs.replace(made, low=ends.low, high=ends.high)
        found = self._known_quality(window, asked.figure)
        figure = found.figure("positive_rate") or found.figure("rating")
        if not found.outcome or figure is None:
            raise CannotTell(
                asked.name, got=f"outcome {asked.figure}, of which no mean is kept",
                promised="the outcome of the objective, or of a truth that happens or is a rating",
            )  # fmt: skip
        made = self._made(figure.value, figure.count, found.window)
        return msgspec.structs.replace(made, low=figure.low, high=figure.high)

    def _standing(self, window: Window) -> KpiStanding | None:
        try:
            from splice.monitor import value
        except ImportError as error:
            raise _not_installed(self._asked, error) from None
        sources = self._sources
        return value.worth(sources.ledger, self._release, window, sources.currency).standing


def _not_installed(asked: PinnedMonitor, error: ImportError) -> CannotTell:
    return CannotTell(asked.name, got=str(error), mend="install splice-ai[monitor]")


def _examples(
    sources: Sources, asked: PinnedMonitor, release: Release, found: Measured
) -> tuple[str, ...]:
    """Ids of calls of the window that show it, the plainest first."""
    if asked.kind == "reviews" or (asked.kind == "traffic" and asked.below is not None):
        return found.calls
    wanted = CallFilter(
        integration=release.integration, since_us=found.since_us, until_us=found.until_us,
        release=found.release or None, limit=_EXAMPLES,
    )  # fmt: skip
    look = sources.records.find
    if asked.figure == "errors":
        calls = look(msgspec.structs.replace(wanted, status=Status.FAILED))
    elif asked.figure == "refused":
        calls = look(msgspec.structs.replace(wanted, status=Status.REFUSED))
    elif asked.figure == "fallbacks":
        calls = look(msgspec.structs.replace(wanted, reason=Reason.FALLBACK))
    elif asked.kind in ("latency", "cost"):
        newest = look(msgspec.structs.replace(wanted, limit=_LOOKED_AT))
        slow = asked.kind == "latency"
        newest.sort(key=lambda one: -one.duration_us if slow else -(one.cost_nano or 0))
        calls = newest[:_EXAMPLES]
    else:
        calls = look(wanted)
    return tuple(one.call_id for one in calls if one.shadow_of is None)
