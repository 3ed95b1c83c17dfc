"""Figures of a report in words: amounts with currency, changes, intervals, what is unknown."""

from __future__ import annotations

import math

from splice.console import units
from splice.core.quality import MEASURES, Measured
from splice.core.studies import Interval, KpiStanding
from splice.core.units import money_text, noun

UNKNOWN = units.UNKNOWN


def money(value: float | None, currency: str) -> str:
    """`EUR 1,234`; unknown where it is."""
    if value is None:
        return "unknown"
    if not math.isfinite(value):
        return f"{currency} {UNKNOWN}"
    return f"{'−' if value < 0 else ''}{money_text(abs(value), currency)}"


def of_many(value: float) -> tuple[float, str]:
    """By what a cost of one call is multiplied to be read, and the calls that it is then of."""
    size = abs(value)
    if size == 0 or size >= 0.01:
        return 1, "a call"
    return (1000, "1,000 calls") if size >= 0.00001 else (1_000_000, "a million calls")


def each(value: float | None, currency: str) -> str:
    """The cost of one call; of many at once where one costs next to nothing."""
    if value is None:
        return "unknown"
    times, calls = of_many(value)
    return f"{money(value * times, currency)} {'' if times == 1 else 'for '}{calls}"


def signed(text: str, value: float) -> str:
    """The text of an amount without its sign, with it."""
    return f"−{text}" if value < 0 else text


def figure(value: float | None, unit: str) -> str:
    """A business figure with its unit: shares in percent."""
    if value is None:
        return "unknown"
    if unit.casefold().startswith("share"):
        rest = unit[5:].strip()
        return f"{units.share(value)} {rest}".strip() if value >= 0 else f"−{units.share(-value)}"
    return f"{units.digits(value)} {unit}".strip()


def standing_of(at: KpiStanding) -> str:
    """Where a figure stands on its way from baseline to target, in a sentence."""
    if at.mean is None:
        return sentence(at.told) or f"It is not known where {at.kpi} stands: no outcome is due yet."
    interval = between(at.interval, at.unit)
    said = f"{at.kpi} is {figure(at.mean, at.unit)}" + (f" ({interval})" if interval else "")
    if at.baseline is not None:
        said += f", from {figure(at.baseline, at.unit)} before"
    if at.target is not None:
        by = f" by {at.due}" if at.due else ""
        said += f"; it should be {figure(at.target, at.unit)}{by}"
    course = {True: "it is on course", False: "it is not on course", None: ""}[at.on_course]
    return sentence(f"{said}: {course}" if course else said)


def between(interval: Interval | None, unit: str) -> str:
    """`95 % interval 0.81 % to 1.04 %`; empty where there is none."""
    if interval is None:
        return ""
    short = "share" if unit.casefold().startswith("share") else ""
    low, high = figure(interval.low, short), figure(interval.high, short)
    return f"{interval.level * 100:g} % interval {low} to {high}"


def money_between(interval: Interval | None, currency: str) -> str:
    """The same of money."""
    if interval is None:
        return ""
    low, high = money(interval.low, currency), money(interval.high, currency)
    return f"{interval.level * 100:g} % interval {low} to {high}"


def change(now: float | None, before: float | None, than: str) -> str:
    """`+12 % on October 2026`; empty where there is nothing to compare with."""
    if now is None or not before:
        return f"none in {than}" if before == 0 and now else ""
    share = now / before - 1
    if abs(share) < 0.005:
        return f"as in {than}"
    if share > 9:
        return f"{units.digits(now / before)} times {than}"
    sign = "+" if share > 0 else "−"
    return f"{sign}{units.digits(abs(share) * 100, 2)} % on {than}"


def measured(one: Measured | None) -> str:
    """A figure of quality with its interval, or why there is none."""
    if one is None:
        return UNKNOWN
    if one.value is None:
        return one.why or UNKNOWN
    text = quality_figure(one.name, one.value)
    if one.low is None or one.high is None:
        return text
    return f"{text} ({quality_figure(one.name, one.low)} to {quality_figure(one.name, one.high)})"


def quality_figure(name: str, value: float) -> str:
    """A figure of quality: shares in percent, all else as numbers."""
    unit = MEASURES[name].unit if name in MEASURES else ""
    if unit == "share" and value >= 0:
        return units.share(value)
    return units.digits(value) if abs(value) < 0.1 else units.score(value)


def plural(number: int, one: str, many: str = "") -> str:
    """`1 call`, `2 calls`."""
    return f"{units.count(number)} {noun(number, one, many)}"


def sentence(text: str) -> str:
    """The text with a capital first and a full stop, if it has any."""
    text = text.strip()
    if not text:
        return ""
    ended = text if text[-1] in ".!?…" else f"{text}."
    # The name of a figure is written as it is declared.
    name = "_" in text.split(maxsplit=1)[0]
    return ended if name else ended[0].upper() + ended[1:]


def list_of(some: list[str]) -> str:
    """`a, b and c`."""
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}" if some else ""
