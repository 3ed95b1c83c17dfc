"""Drift between two files of rows: exact, a column at a time.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from splice.core.profiles import ColumnDrift, DriftReport, Kind, Profile
from splice.monitor.cells import paired
from splice.monitor.drift import LIMITS, Limits, compared
from splice.monitor.shapes import Shape, Spread, shape_of
from splice.monitor.tables import Table, Values, profile_of

_THREADS = 2
"""Columns at a time. More need more memory: each holds its numbers of both sides."""


def drift_of_rows(
    current: Table,
    reference: Table,
    columns: Sequence[str] = (),
    limits: Limits = LIMITS,
) -> DriftReport:
    """How each column of two files has drifted; of those named, or of all.

    Raises:
        SettingsError: A file does not read.
    """
    names = [
        name
        for name in dict.fromkeys((*reference.columns, *current.columns))
        if not columns or name in columns
    ]
    shapes: dict[str, tuple[Shape | None, Shape | None]] = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        work = [threads.submit(_shapes, name, current, reference) for name in names]
        for name, one in zip(names, work, strict=True):
            shapes[name] = one.result()
    found = compared(
        {name: now for name, (now, _) in shapes.items() if now is not None},
        {name: before for name, (_, before) in shapes.items() if before is not None},
        limits,
    )
    unknown = [name for name in columns if name not in names]
    skipped = [*current.skipped, *(one for one in reference.skipped if one not in current.skipped)]
    return DriftReport(
        (*found, *(_left_out(name, "no such column") for name in unknown),
         *(_left_out(name, "a type that is not compared") for name in skipped if not columns)),
        current.rows, reference.rows,
        against=reference.name,
    )  # fmt: skip


def _left_out(column: str, why: str) -> ColumnDrift:
    return ColumnDrift(column, Kind.NOTHING, why=why)


def _shapes(name: str, current: Table, reference: Table) -> tuple[Shape | None, Shape | None]:
    """A column of both sides. Numbers keep every row: only what else there is becomes a profile."""
    now, before = (
        side.columns[name]() if name in side.columns else None for side in (current, reference)
    )
    if now is None or before is None:
        return _shape(now), _shape(before)
    of_now, of_before = now.numbers, before.numbers
    if of_now is None or of_before is None or not len(of_now) or not len(of_before):
        return _shape(now), _shape(before)
    spread_now, spread_before = paired(of_now, of_before)
    return _exact(now, spread_now), _exact(before, spread_before)


def _exact(values: Values, spread: Spread) -> Shape:
    """A shape with these numbers, and whatever else is in the column."""
    rest = shape_of(profile_of(msgspec.structs.replace(values, numbers=None), open_words=True))
    rest.kinds[Kind.NUMBER] = spread.count
    rest.spread = spread
    return rest


def _shape(values: Values | None) -> Shape | None:
    return None if values is None else shape_of(profile_of(values, open_words=True))


def training(table: Table) -> dict[str, Profile]:
    """The profile of training data, by column; no word is named that came fewer than 20 times."""
    return {name: profile_of(column()) for name, column in table.columns.items()}
