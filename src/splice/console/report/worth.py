"""Sections of a report: the objective and what was moved, and what it cost."""

from __future__ import annotations

from typing import Any

from splice.console import units
from splice.console.report.blocks import Block, Chart, Column, Notice, Section, Table, Text
from splice.console.report.charts import bars, standing
from splice.console.report.words import (
    between,
    change,
    each,
    figure,
    list_of,
    measured,
    money,
    money_between,
    of_many,
    plural,
    sentence,
    signed,
    standing_of,
)
from splice.core.errors import DeclarationError
from splice.core.studies import Effect, Study, Value
from splice.core.units import NANO
from splice.core.units import money as money_of
from splice.monitor.reporting import MonthFigures

_BASIS = {
    "holdout": "against the entities that were held out of the AI",
    "rollout": "of the challenger against the champion",
    "baseline": "against the declared baseline",
    "none": "",
}


def objective_section(found: MonthFigures) -> Section:
    """Where the business figure stands, and the money that was moved."""
    objective: dict[str, Any] = found.declared.manifest.objective
    if not objective:
        told = "No objective is declared, so nothing says what this integration is for in figures."
        return Section("Objective and effect", told)
    blocks: list[Block] = []
    at = found.worth.standing
    kpi, unit = str(objective.get("kpi", "")), str(objective.get("unit", ""))
    rows = [("Figure", f"{kpi}" + (f" ({unit})" if unit else ""))]
    for name, label in (("baseline", "Before the AI"), ("target", "Target")):
        if objective.get(name) is not None:
            rows.append((label, figure(objective[name], unit)))
    if objective.get("due"):
        rows.append(("Due", str(objective["due"])))
    if objective.get("value_per_unit"):
        rows.append(("Worth of one unit in a year", _amount(str(objective["value_per_unit"]))))
    lead = "It is not known where the figure stands: no outcome of it is due yet."
    if at is not None and at.mean is not None:
        interval = between(at.interval, unit)
        rows.append(("Now", f"{figure(at.mean, unit)}" + (f", {interval}" if interval else "")))
        rows.append(("Rests on", f"{plural(at.calls, 'call')} whose outcome is due{_asked(found)}"))
    if at is not None:
        lead = standing_of(at)
    columns = (Column(""), Column("", wide=True))
    blocks.append(Table("What it must move", columns, tuple(rows)))
    blocks += _standing_chart(found, unit)
    blocks += _value_blocks(found)
    blocks += [_study_block(one, found) for one in found.studies]
    return Section("Objective and effect", lead, tuple(blocks))


def _asked(found: MonthFigures) -> str:
    """When the calls were asked that the figure rests on: that need not be the month."""
    at, month = found.worth.standing, found.month
    if at is None or at.asked.until_us <= at.asked.since_us:
        return ""
    return f", asked from {month.time_of(at.asked.since_us)} to {month.time_of(at.asked.until_us)}"


def _amount(written: str) -> str:
    """Money as it is declared, with commas."""
    try:
        return str(money_of(written))
    except DeclarationError:
        return written


def _standing_chart(found: MonthFigures, unit: str) -> list[Block]:
    at = found.worth.standing
    if at is None or at.mean is None:
        return []
    named = {"Before": at.baseline, "Now": at.mean, "Target": at.target}
    points = {name: float(value) for name, value in named.items() if value is not None}
    if len(points) < 2:
        return []
    interval = at.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    form = ".2~%" if unit.casefold().startswith("share") else ",.4~g"
    told = ", ".join(f"{name.lower()} {figure(value, unit)}" for name, value in points.items())
    spec = standing(points, low, high, form)
    return [Chart(f"{at.kpi}: where it stands", f"{at.kpi}: {told}", spec)]


def _value_blocks(found: MonthFigures) -> list[Block]:
    value = found.worth.value
    if value.moved is None:
        return [Notice(f"The effect in money is not known. {sentence(value.why or value.told)}")]
    kind = "Caused by the AI" if value.causal else "An estimate, not a proof"
    blocks: list[Block] = [
        Text(f"{kind}. {sentence(value.why)}".strip()),
        _value_table("Effect in money, this month", value, found.currency),
    ]
    if found.worth.beside is not None and found.worth.beside.moved is not None:
        beside = found.worth.beside
        blocks.append(_value_table("A second opinion, by a weaker basis", beside, found.currency))
    return blocks


def _value_table(caption: str, value: Value, currency: str) -> Table:
    moved = [money_between(value.interval, value.currency)]
    if value.over_s:
        moved.append(f"over {units.duration(value.over_s)}")
    more = "more than the champion's calls would have cost" if value.basis == "rollout" else ""
    rows = [
        ("Moved", money(value.moved, value.currency), ", ".join(one for one in moved if one)),
        ("Cost of the calls", money(value.cost, currency), more),
        ("Return", money(value.net, value.currency), "moved less cost"),
        (
            "Basis",
            "causal" if value.causal else "estimate",
            f"{_BASIS.get(value.basis, value.basis)}",
        ),
    ]
    columns = (Column("What"), Column("Amount", right=True), Column("Note", wide=True))
    return Table(caption, columns, tuple(rows))


def _study_block(study: Study, found: MonthFigures) -> Table:
    control, treated = study.arms
    name = "Holdout" if study.kind == "holdout" else "Rollout"
    which = list_of([str(one) for one in study.releases])
    units_in = f"{units.count(control.units)} and {units.count(treated.units)} entities"
    caption = f"{name} of release {which}: {treated.name} against {control.name}, {units_in}"
    columns = (
        Column("Figure"), Column(control.name, right=True), Column(treated.name, right=True),
        Column("Difference", right=True), Column("95 % interval", right=True), Column("Verdict"),
    )  # fmt: skip
    unit = str(found.declared.manifest.objective.get("unit", ""))
    rows = tuple(_effect_row(one, unit, found.currency) for one in study.effects)
    if study.ratio.ok is False:
        caption += ". The shares of the arms are not as they should be: do not trust it"
    return Table(caption, columns, rows, "Nothing is known of it yet.")


def _effect_row(effect: Effect, unit: str, currency: str) -> tuple[str, ...]:
    times, calls = 1.0, ""
    if effect.figure == "cost":
        times, calls = of_many(effect.control or effect.treated or 0.0)

    def told(value: float | None) -> str:
        if value is None:
            return units.UNKNOWN
        return _in_its_unit(effect, value * times, unit, currency)

    both = effect.interval
    low_high = "" if both is None else f"{told(both.low)} to {told(both.high)}"
    name = effect.figure.removeprefix("outcome:") + (" (objective)" if effect.primary else "")
    name += f" of {calls}" if calls else ""
    return (
        name, told(effect.control), told(effect.treated), told(effect.difference), low_high,
        effect.verdict.replace("_", " "),
    )  # fmt: skip


def _in_its_unit(effect: Effect, value: float, unit: str, currency: str) -> str:
    share = effect.primary and unit.casefold().startswith("share")
    size = abs(value)
    if effect.figure in ("errors", "failures") or share:
        return signed(units.share(size), value)
    if effect.figure == "cost":
        return money(value, currency)
    return signed(units.duration(size) if effect.figure == "latency" else units.score(size), value)


def cost_section(found: MonthFigures) -> Section:
    """What the calls cost: in all, by route, by day, per request and per outcome."""
    totals, before, currency = found.totals, found.before, found.currency
    if not totals.calls:
        return Section("Cost", "There were no calls, and so no cost.")
    if totals.cost is None:
        lead = "No cost is known: no price is set for any of the routes."
    else:
        trend = change(totals.cost, before.cost, found.month.before.name)
        lead = f"The calls cost {money(totals.cost, currency)}" + (f" ({trend})." if trend else ".")
    per_call, counts = totals.cost_per_call, found.quality.counts
    # Of the calls that are old enough: what they cost is shared by those whose outcome is known.
    known = counts.labelled + counts.assumed
    per_outcome = None if per_call is None or not known else per_call * counts.mature / known
    rows = [
        ("In all", money(totals.cost, currency)),
        ("Per call", each(totals.cost_per_call, currency)),
        ("Per call whose outcome is known", each(per_outcome, currency)),
        ("Calls whose cost is known", units.share(totals.cost_known)),
    ]
    positive = found.quality.figure("positive_rate")
    if positive is not None and positive.value and per_outcome is not None:
        name, cost = found.quality.outcome, per_outcome / positive.value
        rows.append((f"Per call of which “{name}” came true", each(cost, currency)))
        rows.append((f"How often “{name}” came true", measured(positive)))
    if totals.shadow.calls:
        shadows = plural(totals.shadow.calls, "call")
        cost_of = totals.shadow.cost_nano / NANO if totals.shadow.costed else None
        rows.append((f"Shadows beside it ({shadows})", money(cost_of, currency)))
    blocks: list[Block] = [Table("Cost", (Column(""), Column("", right=True)), tuple(rows))]
    blocks += _cost_chart(found)
    blocks += [_by_route(found), _by_month(found)]
    if totals.input_tokens or totals.output_tokens:
        blocks.append(
            Text(
                f"Language models read {plural(totals.input_tokens, 'token')}, of which "
                f"{units.count(totals.cached_tokens)} came from a provider's cache, and wrote "
                f"{units.count(totals.output_tokens)}."
            )
        )
    return Section("Cost", lead, tuple(blocks))


def _cost_chart(found: MonthFigures) -> list[Block]:
    known = [one for one in found.days if one.totals.cost is not None]
    if not known or not found.totals.cost_nano:
        return []
    rows = [
        {"day": f"{one.date.day}", "value": one.totals.cost or 0.0, "kind": ""}
        for one in found.days
    ]
    most = max(known, key=lambda one: one.totals.cost or 0.0)
    told = f"Highest on {most.date.isoformat()}: {money(most.totals.cost, found.currency)}."
    return [Chart(f"Cost by day, {found.currency}", told, bars(rows, "", ",.3~g"))]


def _by_route(found: MonthFigures) -> Table:
    columns = (
        Column("Route", wide=True), Column("Version"), Column("Tries", right=True),
        Column("Answered", right=True), Column("Mean time", right=True),
        Column(f"Cost, {found.currency}", right=True),
    )  # fmt: skip
    rows = tuple(
        (
            one.route or "kept answers and refusals", one.version or units.UNKNOWN,
            units.count(one.attempts),
            units.share(one.ended.get("answered", 0) / one.attempts if one.attempts else None),
            units.duration(one.latency_mean if one.attempts else None),
            units.amount(one.cost_nano / NANO if one.costed else None),
        )
        for one in found.tried
    )  # fmt: skip
    return Table("By route and version", columns, rows, "No route was tried.")


def _thousand(value: float | None) -> float | None:
    return None if value is None else value * 1000


def _by_month(found: MonthFigures) -> Table:
    columns = (
        Column("Month", wide=True), Column("Calls", right=True),
        Column(f"Cost, {found.currency}", right=True),
        Column(f"1,000 calls, {found.currency}", right=True), Column("95th percentile", right=True),
        Column("Failed", right=True),
    )  # fmt: skip
    each = [*((one.month.name, one.totals) for one in found.earlier if one.totals.calls)]
    each.append((found.month.name, found.totals))
    rows = tuple(
        (
            name, units.count(totals.calls), units.amount(totals.cost),
            units.amount(_thousand(totals.cost_per_call)), units.duration(totals.latency_p95),
            units.share(totals.error_share),
        )
        for name, totals in each
    )  # fmt: skip
    return Table("By month", columns, rows)
