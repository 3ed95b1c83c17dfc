"""Buckets of calls with their labels: counted, split into parts, and made into figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property

from splice.core.quality import By, Counts, Measured
from splice.core.tallies import NO_SCORE, Class, Stored, Tally, merged, read
from splice.core.truths import PinnedTruth, Task
from splice.monitor.classes import binary_figures, class_figures
from splice.monitor.numbers import ranking_figures, rating_figures, regression_figures
from splice.ports.labels import Tallied

_DAY_S = 86_400


class Row:
    """Calls of one bucket, release, variant and segment, with the truth that they have."""

    def __init__(self, tallied: Tallied, truth: PinnedTruth, *, mature: bool) -> None:
        self.tallied = tallied
        self.truth = truth
        self.mature = mature

    @cached_property
    def asked(self) -> Stored:
        """Of every answered call; read when it is asked for, for most rows of a past are not."""
        return read(self.tallied.asked)

    @cached_property
    def told(self) -> Stored:
        """Of those with a label."""
        return read(self.tallied.told)


def parts_of(rows: Sequence[Row], by: By) -> list[tuple[str, list[Row]]]:
    """The rows of each part, in the order of releases, names or days."""
    if not by:
        return []
    named: dict[By, Callable[[Tallied], tuple[int, str]]] = {
        "release": lambda one: (one.key.release, str(one.key.release)),
        "variant": lambda one: (0, one.key.variant),
        "segment": lambda one: (0, one.key.segment),
        "day": lambda one: (one.key.start_s // _DAY_S, _day(one.key.start_s)),
    }
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        found.setdefault(named[by](row.tallied), []).append(row)
    return [(part, found[order, part]) for order, part in sorted(found)]


def _day(start_s: int) -> str:
    return datetime.fromtimestamp(start_s, UTC).date().isoformat()


def counts_of(rows: Sequence[Row], truth: PinnedTruth) -> Counts:
    """How many calls there are of each kind."""
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


def told_of(truth: PinnedTruth, rows: Sequence[Row]) -> Tally:
    """What is known of these calls; with a lossy feedback, of all of them."""
    told = merged([row.told for row in rows])
    if truth.task is Task.CLASSIFICATION:
        silent = [row for row in rows if row.mature and row.truth.absent is not None]
        if silent:
            told.merge(_absent(silent))
    return told


def _absent(rows: Sequence[Row]) -> Stored:
    """The mature calls that no outcome came for, as what that means."""
    truth = rows[0].truth
    true: Class = 0 if truth.binary else str(truth.absent)
    asked = merged([row.asked for row in rows])
    left = {(place, said): list(held) for (place, said, _), held in asked.cells.items()}
    for (place, said, _), (count, total) in merged([row.told for row in rows]).cells.items():
        held = left.get((place, said))
        if held is not None:
            held[0] -= count
            held[1] -= total if place != NO_SCORE else 0
    return Stored(cells=[
        (place, said, true, count, total)
        for (place, said), (count, total) in left.items()
        if count > 0
    ])  # fmt: skip


def figures_of(truth: PinnedTruth, mature: Sequence[Row]) -> tuple[Measured, ...]:
    """The figures of what is known of these calls."""
    told = told_of(truth, mature)
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
