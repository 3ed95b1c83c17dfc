"""Section of a report: whether the answers were right, and whether the world has changed."""

from __future__ import annotations

from splice.console import units
from splice.console.report.blocks import Block, Column, Notice, Section, Table, Text
from splice.console.report.words import measured, plural, sentence
from splice.core.profiles import ColumnDrift
from splice.core.quality import MEASURES, Quality
from splice.monitor.reporting import MonthFigures

_MOST = 12


def quality_section(found: MonthFigures) -> Section:
    """Accuracy by what really happened, and drift of what came in."""
    blocks: list[Block] = [*_accuracy(found), *_drift(found)]
    return Section("Quality", _lead(found), tuple(blocks))


def headline(quality: Quality) -> str:
    """The name of the figure that tells the most of a task; empty where there is none."""
    for name in ("auc", "accuracy", "f1", "mae", "ndcg", "rating"):
        one = quality.figure(name)
        if one is not None and one.value is not None:
            return name
    return ""


def _lead(found: MonthFigures) -> str:
    quality, alarms = found.quality, found.drift.alarms
    if not quality.outcome:
        right = "No truth is declared, so nobody knows how often it is right"
    elif name := headline(quality):
        right = f"{label(name)} is {measured(quality.figure(name))}"
    else:
        right = "It is not known yet how often it was right"
    if not found.drift.columns:
        drifted = "drift cannot be told"
    elif alarms:
        drifted = f"{plural(len(alarms), 'column')} drifted"
    else:
        drifted = "nothing drifted"
    return sentence(f"{right}; {drifted}")


def label(name: str) -> str:
    """A figure's name as a person reads it."""
    known = {"auc": "AUC", "mae": "Mean absolute error", "rmse": "RMSE", "f1": "F1", "ndcg": "nDCG",
             "mrr": "MRR", "mape": "MAPE", "r2": "R²", "brier": "Brier score"}  # fmt: skip
    return known.get(name, name.replace("_", " ").capitalize())


def _accuracy(found: MonthFigures) -> list[Block]:
    quality = found.quality
    blocks: list[Block] = [Text(sentence(note)) for note in quality.notes]
    if not quality.outcome:
        return blocks
    counts = quality.counts
    blocks.append(
        Table(
            f"What is known of “{quality.outcome}”",
            (Column("Answered calls"), Column("Number", right=True)),
            (
                ("in all", units.count(counts.calls)),
                ("old enough for their outcome", units.count(counts.mature)),
                ("of these with an outcome", units.count(counts.labelled)),
                ("without one, which itself says it", units.count(counts.assumed)),
                ("still awaited", units.count(counts.awaited)),
            ),
        )
    )
    if quality.figures:
        blocks.append(_figures(found))
    if quality.estimated is not None and quality.estimated.figures:
        blocks.append(_estimates(quality.estimated))
    if len(found.by_release.parts) > 1 and headline(quality):
        blocks.append(_by_release(found))
    return blocks


def _figures(found: MonthFigures) -> Table:
    columns = (
        Column("Figure"), Column(f"{found.month.name} (95 % interval)", right=True),
        Column(found.month.before.name, right=True), Column("What it is", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            label(one.name), measured(one), measured(found.quality_before.figure(one.name)),
            MEASURES[one.name].meaning if one.name in MEASURES else "",
        )
        for one in found.quality.figures
    )  # fmt: skip
    return Table("How right it was, by what really happened", columns, rows)


def _estimates(estimated: Quality) -> Table:
    columns = (Column("Figure"), Column("Estimate (95 % interval)", right=True))
    rows = tuple((label(one.name), measured(one)) for one in estimated.figures)
    return Table(
        "An estimate, not measured: calls whose outcome is not known yet, by their calibrated "
        "chances", columns, rows,
    )  # fmt: skip


def _by_release(found: MonthFigures) -> Table:
    name = headline(found.quality)
    columns = (
        Column("Release", wide=True), Column("Calls with an outcome", right=True),
        Column(f"{label(name)} (95 % interval)", right=True),
    )  # fmt: skip
    rows = tuple(
        (one.of, units.count(one.counts.labelled), measured(one.figure(name)))
        for one in found.by_release.parts
    )
    return Table("By release", columns, rows)


def _drift(found: MonthFigures) -> list[Block]:
    drift = found.drift
    if not drift.columns:
        why = sentence(drift.why) or "Nothing was profiled."
        return [Text(f"Drift cannot be told: {why[0].lower()}{why[1:]}")]
    alarms = drift.alarms
    shown = alarms or drift.columns[:_MOST]
    caption = (
        f"Columns that drifted, against {found.month.before.name}"
        if alarms
        else f"Nothing drifted against {found.month.before.name}; the columns that moved most"
    )
    columns = (
        Column("Column"), Column("Measure"), Column("Distance (95 % interval)", right=True),
        Column("Alarm from", right=True), Column("What", wide=True),
    )  # fmt: skip
    blocks: list[Block] = [Table(caption, columns, tuple(_drift_row(one) for one in shown[:30]))]
    if len(shown) > 30:
        blocks.append(Notice(f"{len(shown) - 30} more columns are not shown.", ""))
    return blocks


def _drift_row(one: ColumnDrift) -> tuple[str, ...]:
    distance = units.score(one.value)
    if one.low is not None and one.high is not None:
        distance += f" ({units.score(one.low)} to {units.score(one.high)})"
    return (one.column, one.measure.upper() if len(one.measure) < 4 else one.measure, distance,
            units.score(one.limit), sentence(one.why))  # fmt: skip
