"""Accuracy: quality by what really happened, from aggregates that are kept up to date."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from splice.core.quality import Counts, Quality, QualityWanted
from splice.core.release import Manifest, Release
from splice.core.rollout import HOLDOUT, SHADOW
from splice.core.rollups import Window
from splice.core.tallies import merged
from splice.core.truths import PinnedTruth
from splice.core.units import duration_text, plural
from splice.monitor import cbpe
from splice.monitor.buckets import Row, counts_of, figures_of, parts_of, told_of
from splice.monitor.classes import Bin, bins_of
from splice.ports.labels import LabelStore, Tallied
from splice.ports.stores import ReleaseStore

HISTORY_S = 90 * 86_400
"""How long before a window calls may be, besides as long as a truth takes, whose labels calibrate
the chances of its calls."""
_ENOUGH, _ENOUGH_OF_A_KIND = 10_000, 300
_EARLY = (
    "Outcomes of calls that are not due yet are reckoned with: those that come early are not like "
    "the rest."
)
_USUAL_S = 30 * 86_400.0


def quality(labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> Quality:
    """How right an integration was in a window, with its parts where `wanted.by` asks for them.

    Costs milliseconds: it reads aggregates by bucket, never calls. Without a truth declared, or
    without calls, it is a Quality that says so in its notes. A release without calls is no part.

    Raises:
        StoreError: The ledger could not be read.
    """
    return _Reader(labels, releases, wanted).quality()


def over_time(labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> list[Quality]:
    """The same by day asked (UTC), oldest first; days without calls are left out."""
    by_day = msgspec.structs.replace(wanted, by="day", estimates=False)
    return list(quality(labels, releases, by_day).parts)


def usual_window(releases: ReleaseStore, integration: str, outcome: str, now_us: int) -> Window:
    """The last 30 days, and before them as long as an outcome may take: so some are known."""
    truth = _Releases(releases, integration).truth(outcome)
    long_s = _USUAL_S + (0.0 if truth is None else truth.matures_s)
    return Window(now_us - round(long_s * 1e6), now_us)


class _Releases:
    """The releases of an integration, read as they are asked for: there may be thousands."""

    def __init__(self, releases: ReleaseStore, integration: str) -> None:
        self._releases = releases
        self._integration = integration
        self._found: dict[int, Release | None] = {}

    def get(self, number: int) -> Release | None:
        """One of them, or None."""
        if number not in self._found:
            self._found[number] = self._releases.release(self._integration, number)
        return self._found[number]

    def truth(self, outcome: str) -> PinnedTruth | None:
        """The truth of that outcome, or the first one that is declared where it is empty.

        Of the live release, else of the newest that has it: one that was taken away still tells.
        """
        for live in self._releases.live():
            if live.integration == self._integration:
                release = self.get(live.number)
                found = None if release is None else _first([release], outcome)
                if found is not None:
                    return found
        return _first(self._releases.releases(self._integration), outcome)  # newest first


class _Reader:
    def __init__(self, labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> None:
        self._labels = labels
        self._wanted = wanted
        self._releases = _Releases(releases, wanted.integration)
        self._truth = self._releases.truth(wanted.outcome)
        if wanted.due and self._truth is not None:
            back_us = round(self._truth.matures_s * 1e6)
            window = Window(wanted.window.since_us - back_us, wanted.window.until_us - back_us)
            self._wanted = msgspec.structs.replace(wanted, window=window)

    def quality(self) -> Quality:
        """The whole, with its parts."""
        wanted, truth = self._wanted, self._truth
        if truth is None:
            named = f" {wanted.outcome!r}" if wanted.outcome else ""
            note = f"No truth{named} is declared: truth = splice.Truth(…) says what is right."
            return Quality(wanted.integration, wanted.window, notes=(note,))
        estimates = truth.binary and wanted.estimates
        past = self._rows("", HISTORY_S + math.ceil(truth.matures_s) if estimates else 0)
        history = _History(past, self._releases) if estimates else None
        mine = self._mine(self._rows(wanted.segment) if wanted.segment else past)
        rows = [row for row in mine if _alike(row.truth, truth)]
        split = rows
        if wanted.by == "segment":
            split = [row for row in self._mine(self._rows(None)) if _alike(row.truth, truth)]
        parts = tuple(
            self._of(part, some, history if wanted.by in ("release", "variant") else None)
            for part, some in parts_of(split, wanted.by)
        )
        whole = self._of("", rows, history)
        others = {row.tallied.key.release for row in mine if not _alike(row.truth, truth)}
        notes = (*whole.notes, *self._notes(truth, others))
        return msgspec.structs.replace(whole, parts=parts, notes=notes)

    def _of(self, part: str, rows: Sequence[Row], history: _History | None) -> Quality:
        truth = self._truth
        assert truth is not None  # noqa: S101 - the whole is asked for first
        counts = counts_of(rows, truth)
        mature = [row for row in rows if row.mature]
        notes: tuple[str, ...] = ()
        early: list[Row] = []
        if self._wanted.early:
            early = [row for row in rows if not row.mature and row.told.count]
            notes = (_EARLY,) if early else ()
        figures = figures_of(truth, [*mature, *early])
        estimated = None
        if history is not None:
            estimated = self._estimated(part, rows, history)
        return Quality(
            integration=self._wanted.integration,
            window=Window(self._since_s() * 1_000_000, self._until_s() * 1_000_000),
            outcome=truth.outcome,
            task=truth.task.value,
            matures_s=truth.matures_s,
            bucket_s=truth.bucket_s,
            of=part,
            counts=counts,
            figures=figures,
            estimated=estimated,
            notes=notes,
        )

    def _estimated(self, part: str, rows: Sequence[Row], history: _History) -> Quality | None:
        """Figures of the calls that have no outcome yet, from chances calibrated by the past."""
        truth = self._truth
        assert truth is not None  # noqa: S101 - as above
        waiting: list[Row] = [row for row in rows if not (row.mature and truth.absent is False)]
        by_model: dict[str, list[Row]] = {}
        for row in waiting:
            by_model.setdefault(history.model(row.tallied), []).append(row)
        if not by_model:
            return None
        # Calls of several models: each is calibrated by its own past, which one estimate of all
        # cannot say; the model with the most calls is the one that is told.
        model = max(by_model, key=lambda one: sum(row.asked.count for row in by_model[one]))
        asked = merged([row.asked for row in by_model[model]])
        told = merged([row.told for row in by_model[model]])
        calls = cbpe.unlabelled(asked.cells, told.cells)
        count = sum(one.calls for one in calls)
        if not count:
            return None
        bins = history.of(model)
        notes = [
            f"An estimate of {count} calls whose outcome is not known yet, from chances calibrated "
            f"by {sum(one.count for one in bins):g} labels of {model or 'the same model'}. It is "
            "right as long as chances mean what they meant then: it cannot see concept drift."
        ]
        if len(by_model) > 1:
            notes.append("Calls of other models in the window are left out of it.")
        return Quality(
            integration=self._wanted.integration,
            window=Window(self._since_s() * 1_000_000, self._until_s() * 1_000_000),
            outcome=truth.outcome,
            task=truth.task.value,
            matures_s=truth.matures_s,
            bucket_s=truth.bucket_s,
            of=part,
            counts=Counts(calls=count, awaited=count),
            figures=cbpe.estimate(bins, calls),
            estimate=True,
            notes=tuple(notes),
        )

    def _rows(self, segment: str | None, before_s: int = 0) -> list[Row]:
        """Buckets of the window, and of so long before it, of everyone."""
        truth, wanted = self._truth, self._wanted
        if truth is None:
            return []
        found: list[Row] = []
        now_s = wanted.now_us / 1e6
        of = (wanted.integration, truth.outcome)
        for one in self._labels.tallied(of, self._since_s() - before_s, self._until_s(), segment):
            own = self._own(one.key.release)
            if own is None:
                continue
            mature = one.key.start_s + own.bucket_s + own.matures_s <= now_s
            found.append(Row(one, own, mature=mature))
        return found

    def _own(self, number: int) -> PinnedTruth | None:
        release = self._releases.get(number)
        return (
            None
            if release is None or self._truth is None
            else _first([release], self._truth.outcome)
        )

    def _mine(self, rows: Sequence[Row]) -> list[Row]:
        """Those of the window, release and variant that are wanted."""
        since_s = self._since_s()
        return [
            row
            for row in rows
            if row.tallied.key.start_s >= since_s and self._is_wanted(row.tallied)
        ]

    def _is_wanted(self, one: Tallied) -> bool:
        wanted = self._wanted
        if wanted.release is not None and one.key.release != wanted.release:
            return False
        if wanted.variant:
            return one.key.variant == wanted.variant
        # Beside each other, shadows are what one wants to see; in the whole, nobody got them. Those
        # who are held out got the answer of no model.
        return one.key.variant not in (SHADOW, HOLDOUT) or wanted.by == "variant"

    def _since_s(self) -> int:
        step = self._truth.bucket_s if self._truth else 1
        return self._wanted.window.since_us // 1_000_000 // step * step

    def _until_s(self) -> int:
        step = self._truth.bucket_s if self._truth else 1
        return -(-self._wanted.window.until_us // 1_000_000 // step) * step

    def _notes(self, truth: PinnedTruth, others: set[int]) -> list[str]:
        found: list[str] = []
        if others:
            listed = ", ".join(map(str, sorted(others)))
            found.append(f"Left out: releases whose truth is another ({listed}).")
        due, later = self._labels.waiting(
            self._wanted.integration, truth.outcome, self._wanted.now_us
        )
        if due:
            found.append(f"{plural(due, 'outcome is', 'outcomes are')} not joined yet.")
        if later:
            ahead = plural(
                later,
                "outcome is of the future, and counts when its",
                "outcomes are of the future, and count when their",
            )
            found.append(f"{ahead} time has come.")
        return found


class _History:
    """Labelled calls of the past, by the model that gave their chances."""

    def __init__(self, rows: Iterable[Row], releases: _Releases) -> None:
        self._releases = releases
        self._rows: dict[str, list[Row]] = {}
        self._bins: dict[str, list[Bin]] = {}
        for row in rows:
            if row.mature:
                self._rows.setdefault(self.model(row.tallied), []).append(row)

    def model(self, tallied: Tallied) -> str:
        """What gave the chances: the version of the first route that these calls had."""
        release = self._releases.get(tallied.key.release)
        return "" if release is None else _first_route(release.manifest, tallied.key.variant)

    def of(self, model: str) -> list[Bin]:
        """Its labelled calls by bin of their chance."""
        if model not in self._bins:
            self._bins[model] = self._read(self._rows.get(model, []))
        return self._bins[model]

    @staticmethod
    def _read(rows: list[Row]) -> list[Bin]:
        """Of the newest calls, as many as make a calibration sharp; of all where one is rare."""
        rows.sort(key=lambda row: -row.tallied.key.start_s)
        some: list[Row] = []
        count = 0
        for row in rows:
            some.append(row)
            count += row.told.count
            if count >= _ENOUGH:
                break
        bins = bins_of(told_of(some[0].truth, some).cells) if some else []
        rare = min(sum(one.yes for one in bins), sum(one.no for one in bins))
        if rare < _ENOUGH_OF_A_KIND and len(some) < len(rows):
            return bins_of(told_of(rows[0].truth, rows).cells)
        return bins


def _first_route(manifest: Manifest, variant: str) -> str:
    rollout = manifest.rollout
    routes = manifest.routes
    if rollout is not None and variant == SHADOW:
        routes = rollout.shadows or routes
    elif rollout is not None:
        routes = next((one.routes for one in rollout.variants if one.name == variant), routes)
    return routes[0].version if routes else ""


def _first(releases: Iterable[Release], outcome: str) -> PinnedTruth | None:
    for release in releases:
        for truth in release.manifest.truths:
            if not outcome or truth.outcome == outcome:
                return truth
    return None


def _alike(one: PinnedTruth, other: PinnedTruth) -> bool:
    """Whether counts by both truths may be added."""
    return (one.task, one.binary, one.positive) == (other.task, other.binary, other.positive)


def maturity_text(one: Quality) -> str:
    """How much is known, in words: "900 of 1,000 calls are older than 40 d; of them 850 …"."""
    counts = one.counts
    if not counts.calls:
        return "No calls in this window, of releases that declare this truth."
    said = f"{counts.mature:,} of {counts.calls:,} calls are older than "
    said += f"{duration_text(one.matures_s)}, so that their outcome is due: "
    said += f"{counts.labelled:,} have it"
    if counts.assumed:
        said += f", {counts.assumed:,} have none, which itself says it"
    if counts.awaited:
        said += f", {counts.awaited:,} ({counts.awaited / max(1, counts.mature):.1%}) are awaited"
    if counts.early and _EARLY not in one.notes:  # which says that they count
        early = plural(
            counts.early, "outcome of a younger call does", "outcomes of younger calls do"
        )
        said += f". {early} not count yet"
    return said + "."
