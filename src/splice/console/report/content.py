"""The content of a report: the figures of a month, in sentences, tables and charts."""

from __future__ import annotations

from splice.console import units
from splice.console.report.blocks import Report, Tile, Tiles, Tone
from splice.console.report.changes import change_section, missing_section
from splice.console.report.quality import headline, label, quality_section
from splice.console.report.service import incident_section, traffic_section
from splice.console.report.words import (
    between,
    change,
    each,
    figure,
    measured,
    money,
    money_between,
    plural,
    sentence,
    standing_of,
)
from splice.console.report.worth import cost_section, objective_section
from splice.monitor.reporting import MonthFigures


def report_of(found: MonthFigures) -> Report:
    """The report of a month."""
    manifest, month = found.declared.manifest, found.month
    known = f"{month.date_of(found.known_us).isoformat()}"
    release = "none yet" if found.release is None else f"{found.release.number}"
    facts = (
        ("Purpose", manifest.purpose),
        ("Risk", manifest.risk),
        ("Release at the end", release),
        ("Month", f"{month.name}, days of {month.zone}"),
        ("As known on", known),
    )
    footer = (
        "Intervals hold 95 times in 100. Costs are known costs. Figures come from the ledger's "
        "rollups; shadow calls are never among the calls that were answered."
    )
    if not month.whole_hours:
        footer += (
            f" Days of {month.zone} do not begin with an hour of UTC: figures of older days are "
            "counted to the hour, and the days overlap by a part of one."
        )
    return Report(
        title=f"{found.integration}: {month.name}",
        subtitle=sentence(manifest.purpose),
        facts=facts,
        summary=tuple(_summary(found)),
        tiles=Tiles(tuple(_tiles(found))),
        sections=(
            objective_section(found),
            cost_section(found),
            traffic_section(found),
            quality_section(found),
            incident_section(found),
            change_section(found),
            missing_section(found),
        ),
        made_us=found.known_us,
        footer=footer,
    )


def _summary(found: MonthFigures) -> list[str]:
    totals, month = found.totals, found.month
    said: list[str] = []
    if found.known_us < month.window.since_us:
        return [f"{month.name} has not begun."]
    if not found.closed:
        said.append(f"{month.name} is not over: this is as far as it came.")
    if found.waiting:
        said.append(
            f"Up to {units.count(found.waiting * 64)} recorded calls are not in these figures yet: "
            "they are being counted."
        )
    if not totals.calls:
        reason = "Nothing had been released yet." if found.release is None else ""
        return [*said, f"There were no calls in {month.name}.", *([reason] if reason else [])]
    trend = change(totals.calls, found.before.calls, month.before.name)
    cost = money(totals.cost, found.currency)
    answered = units.share(totals.answered / totals.calls)
    said.append(
        f"{plural(totals.calls, 'call')}" + (f" ({trend})" if trend else "")
        + f", {answered} of them answered, at a cost of {cost}."
    )  # fmt: skip
    value = found.worth.value
    if value.moved is None:
        said.append(f"What it moved in money is not known. {sentence(value.why)}".strip())
    else:
        estimate = "" if value.causal else "an estimated "
        basis = "caused by it, as a random part without it shows"
        basis = basis if value.causal else "an estimate, not a proof"
        interval = money_between(value.interval, value.currency)
        more = f" ({interval})" if interval else ""
        moved = money(value.moved, value.currency)
        said.append(f"It moved {estimate}{moved}{more}: {basis}.")
    at = found.worth.standing
    if at is not None:
        said.append(standing_of(at))
    if found.alerts:
        still = sum(1 for one in found.alerts if not one.resolved_us)
        said.append(
            f"{plural(len(found.alerts), 'alert')}"
            + (f", {still} of them still open." if still else ", none of them open any more.")
        )
    return said


def _tiles(found: MonthFigures) -> list[Tile]:
    totals, before, than = found.totals, found.before, found.month.before.name
    worth, quality = found.worth, found.quality
    unit = str(found.declared.manifest.objective.get("unit", ""))
    tiles: list[Tile] = []
    at = worth.standing
    if at is not None:
        tone: Tone = "" if at.on_course is None else "good" if at.on_course else "bad"
        short = "share" if unit.casefold().startswith("share") else ""
        tiles.append(Tile(at.kpi, figure(at.mean, short), between(at.interval, unit), tone))
    value = worth.value
    if value.moved is not None:
        note = "causal" if value.causal else "estimate"
        tone = "" if value.net is None else "good" if value.net > 0 else "bad"
        net = money(value.net, value.currency)
        tiles.append(Tile("Return, value less cost", net, note, tone))
    if not totals.calls:
        return tiles
    per_call = totals.cost_per_call
    note = "" if per_call is None else each(per_call, found.currency)
    tiles.append(Tile("Cost", money(totals.cost, found.currency), note))
    tiles.append(Tile("Calls", units.count(totals.calls), change(totals.calls, before.calls, than)))
    slow = change(totals.latency_p95, before.latency_p95, than)
    tiles.append(Tile("95 of 100 calls within", units.duration(totals.latency_p95), slow))
    share = totals.error_share
    tone = "bad" if (share or 0) > 0.05 else "care" if (share or 0) > 0.01 else ""
    tiles.append(Tile("Failed calls", units.share(share), units.count(totals.failed), tone))
    if name := headline(quality):
        tiles.append(Tile(label(name), *_figure_and_interval(measured(quality.figure(name)))))
    still = sum(1 for one in found.alerts if not one.resolved_us)
    tone = "care" if still else ""
    tiles.append(
        Tile("Alerts", units.count(len(found.alerts)), f"{still} open" if still else "", tone)
    )
    return tiles


def _figure_and_interval(text: str) -> tuple[str, str]:
    value, _, interval = text.partition(" (")
    return value, f"95 % interval {interval.rstrip(')')}" if interval else ""
