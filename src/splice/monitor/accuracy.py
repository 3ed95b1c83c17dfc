"""Accuracy: quality by what really happened, from aggregates that are kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from splice.core.quality import By, Counts, Measured, Quality, QualityWanted
from splice.core.release import Manifest, Release
from splice.core.rollout import HOLDOUT, SHADOW
from splice.core.rollups import Window
from splice.core.tallies import NO_SCORE, Class, Stored, Tally, read
from splice.core.truths import PinnedTruth, Task
from splice.core.units import duration_text
from splice.monitor import cbpe
from splice.monitor.classes import Bin, binary_figures, bins_of, class_figures
from splice.monitor.numbers import ranking_figures, rating_figures, regression_figures
from splice.ports.labels import LabelStore, Tallied
from splice.ports.stores import ReleaseStore

HISTORY_S = 366 * 86_400
"""How long before a window labels may be that calibrate the chances of its calls."""
_EARLY = (
    "Outcomes of calls that are not due yet are reckoned with: those that come early are not like "
    "the rest."
)
_USUAL_S = 30 * 86_400.0
_DAY_S = 86_400


class _Row(msgspec.Struct):
    """Calls of one bucket, release, variant and segment, with the truth that they have."""

    tallied: Tallied
    truth: PinnedTruth
    mature: bool
    asked: Stored
    told: Stored


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
    return list(quality(labels, releases, msgspec.structs.replace(wanted, by="day")).parts)


def usual_window(releases: ReleaseStore, integration: str, outcome: str, now_us: int) -> Window:
    """The last 30 days, and before them as long as an outcome may take: so some are known."""
    wanted = QualityWanted(integration, Window(0, now_us), now_us, outcome)
    truth = _truth(releases, wanted)[0]
    long_s = _USUAL_S + (0.0 if truth is None else truth.matures_s)
    return Window(now_us - round(long_s * 1e6), now_us)


def _truth(
    releases: ReleaseStore, wanted: QualityWanted
) -> tuple[PinnedTruth | None, dict[int, Release]]:
    """The truth that is wanted, and all releases of its integration."""
    live = {one.integration: one.number for one in releases.live()}.get(wanted.integration, 0)
    found = releases.releases(wanted.integration)
    # Of the live release first, then of the newest: a truth that was taken away still tells.
    ordered = sorted(found, key=lambda one: (one.number != live, -one.number))
    return _first(ordered, wanted.outcome), {one.number: one for one in found}


class _Reader:
    def __init__(self, labels: LabelStore, releases: ReleaseStore, wanted: QualityWanted) -> None:
        self._labels = labels
        self._wanted = wanted
        self._truth, self._releases = _truth(releases, wanted)
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
        past = self._rows("", HISTORY_S if estimates else 0)
        history = _History(past, self._releases) if estimates else None
        mine = self._mine(self._rows(wanted.segment) if wanted.segment else past)
        rows = [row for row in mine if _alike(row.truth, truth)]
        split = self._mine(self._rows(None)) if wanted.by == "segment" else rows
        parts = tuple(
            self._of(part, some, history if wanted.by in ("release", "variant") else None)
            for part, some in _parts([row for row in split if _alike(row.truth, truth)], wanted.by)
        )
        whole = self._of("", rows, history)
        others = {row.tallied.key.release for row in mine if not _alike(row.truth, truth)}
        notes = (*whole.notes, *self._notes(truth, others))
        return msgspec.structs.replace(whole, parts=parts, notes=notes)

    def _of(self, part: str, rows: Sequence[_Row], history: _History | None) -> Quality:
        truth = self._truth
        assert truth is not None  # noqa: S101 - the whole is asked for first
        counts = _counts(rows, truth)
        mature = [row for row in rows if row.mature]
        notes: tuple[str, ...] = ()
        early: list[_Row] = []
        if self._wanted.early:
            early = [row for row in rows if not row.mature and row.told.count]
            notes = (_EARLY,) if early else ()
        figures = _figures(truth, [*mature, *early])
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

    def _estimated(self, part: str, rows: Sequence[_Row], history: _History) -> Quality | None:
        """Figures of the calls that have no outcome yet, from chances calibrated by the past."""
        truth = self._truth
        assert truth is not None  # noqa: S101 - as above
        waiting: list[_Row] = [row for row in rows if not (row.mature and truth.absent is False)]
        asked: dict[str, Tally] = {}
        told: dict[str, Tally] = {}
        for row in waiting:
            model = history.model(row.tallied)
            asked.setdefault(model, Tally()).merge(row.asked)
            told.setdefault(model, Tally()).merge(row.told)
        if not asked:
            return None
        # Calls of several models: each is calibrated by its own past, which one estimate of all
        # cannot say; the model with the most calls is the one that is told.
        model = max(asked, key=lambda one: asked[one].count)
        calls = cbpe.unlabelled(asked[model].cells, told[model].cells)
        count = sum(one.calls for one in calls)
        if not count:
            return None
        bins = history.of(model)
        notes = [
            f"An estimate of {count} calls whose outcome is not known yet, from chances calibrated "
            f"by {sum(one.count for one in bins):g} labels of {model or 'the same model'}. It is "
            "right as long as chances mean what they meant then: it cannot see concept drift."
        ]
        if len(asked) > 1:
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

    def _rows(self, segment: str | None, before_s: int = 0) -> list[_Row]:
        """Buckets of the window, and of so long before it, of everyone."""
        truth, wanted = self._truth, self._wanted
        if truth is None:
            return []
        found: list[_Row] = []
        now_s = wanted.now_us / 1e6
        of = (wanted.integration, truth.outcome)
        for one in self._labels.tallied(of, self._since_s() - before_s, self._until_s(), segment):
            own = self._own(one.key.release)
            if own is None:
                continue
            mature = one.key.start_s + own.bucket_s + own.matures_s <= now_s
            found.append(_Row(one, own, mature, read(one.asked), read(one.told)))
        return found

    def _own(self, number: int) -> PinnedTruth | None:
        release = self._releases.get(number)
        return (
            None
            if release is None or self._truth is None
            else _first([release], self._truth.outcome)
        )

    def _mine(self, rows: Sequence[_Row]) -> list[_Row]:
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
            found.append(f"{due} outcomes are not joined yet.")
        if later:
            found.append(f"{later} outcomes are of the future, and count when their time has come.")
        return found


class _History:
    """Labelled calls of the past, by the model that gave their chances."""

    def __init__(self, rows: Iterable[_Row], releases: Mapping[int, Release]) -> None:
        self._releases = releases
        self._rows: dict[str, list[_Row]] = {}
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
        rows = self._rows.get(model, [])
        if model not in self._bins:
            self._bins[model] = bins_of(_told(rows[0].truth, rows).cells) if rows else []
        return self._bins[model]


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


def _parts(rows: Sequence[_Row], by: By) -> list[tuple[str, list[_Row]]]:
    if not by:
        return []
    named: dict[By, Callable[[Tallied], tuple[int, str]]] = {
        "release": lambda one: (one.key.release, str(one.key.release)),
        "variant": lambda one: (0, one.key.variant),
        "segment": lambda one: (0, one.key.segment),
        "day": lambda one: (one.key.start_s // _DAY_S, _day(one.key.start_s)),
    }
    found: dict[tuple[int, str], list[_Row]] = {}
    for row in rows:
        found.setdefault(named[by](row.tallied), []).append(row)
    return [(part, found[order, part]) for order, part in sorted(found)]


def _day(start_s: int) -> str:
    return datetime.fromtimestamp(start_s, UTC).date().isoformat()


def _counts(rows: Sequence[_Row], truth: PinnedTruth) -> Counts:
    mature = [row for row in rows if row.mature]
    early = [row for row in rows if not row.mature]
    asked = sum(row.asked.count for row in mature)
    unread = sum(row.told.unread for row in mature)
    # An outcome may be joined a moment before its call is counted.
    labelled = min(asked, sum(row.told.count for row in mature) - unread)
    left = max(0, asked - labelled - unread)
    return Counts(
        calls=asked + sum(row.asked.count for row in early),
        mature=asked,
        labelled=labelled,
        assumed=0 if truth.absent is None else left,
        awaited=left if truth.absent is None else 0,
        early=sum(row.told.count for row in early),
        unread=unread,
        contradicted=sum(row.told.contradicted for row in rows),
        unscored=sum(row.asked.unscored for row in mature),
    )


def _told(truth: PinnedTruth, rows: Sequence[_Row]) -> Tally:
    """What is known of these calls; with a lossy feedback, of all of them."""
    told = Tally()
    for row in rows:
        told.merge(row.told)
        if row.mature and truth.task is Task.CLASSIFICATION and row.truth.absent is not None:
            told.merge(_absent(row))
    return told


def _absent(row: _Row) -> Stored:
    """Cells of the mature calls that no outcome came for, as what that means."""
    absent = row.truth.absent
    true: Class = 0 if row.truth.binary else str(absent)
    left = {(place, said): [count, total] for place, said, _, count, total in row.asked.cells}
    for place, said, _, count, total in row.told.cells:
        held = left.get((place, said))
        if held is not None:
            held[0] -= count
            held[1] -= total if place != NO_SCORE else 0
    return Stored(cells=[
        (place, said, true, count, total)
        for (place, said), (count, total) in left.items()
        if count > 0
    ])  # fmt: skip


def _figures(truth: PinnedTruth, mature: Sequence[_Row]) -> tuple[Measured, ...]:
    told = _told(truth, mature)
    if truth.task is Task.CLASSIFICATION:
        return binary_figures(told.cells) if truth.binary else class_figures(told.cells)
    if truth.task is Task.REGRESSION:
        return regression_figures(told.errors)
    if truth.task is Task.RATING:
        return rating_figures(told.errors, told.good)
    nothing = 0
    if truth.absent is not None:
        due = [row for row in mature if row.mature]
        asked = sum(row.asked.count - row.asked.unscored - row.told.count for row in due)
        nothing = max(0, asked)
    return ranking_figures(told.places, nothing)


def maturity_text(one: Quality) -> str:
    """How much is known, in words: "900 of 1,000 calls are older than 40 d; of them 850 …"."""
    counts = one.counts
    if not counts.calls:
        return "No calls in this window."
    said = f"{counts.mature:,} of {counts.calls:,} calls are older than "
    said += f"{duration_text(one.matures_s)}, so that their outcome is due: "
    said += f"{counts.labelled:,} have it"
    if counts.assumed:
        said += f", {counts.assumed:,} have none, which itself says it"
    if counts.awaited:
        said += f", {counts.awaited:,} ({counts.awaited / max(1, counts.mature):.1%}) are awaited"
    if counts.early:
        said += f". {counts.early:,} outcomes of younger calls do not count yet"
    return said + "."
