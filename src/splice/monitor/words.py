"""Words: a monitor's finding in a sentence, with its figure, interval, bound and window."""

from __future__ import annotations

from datetime import UTC, datetime

from splice.core.alerts import Measured, Part
from splice.core.monitors import PinnedMonitor
from splice.core.units import duration_text

_LONG = 300
_SHARES = frozenset({
    "accuracy", "precision", "recall", "f1", "positive_rate", "good", "hit_rate", "missing",
})  # fmt: skip
_TITLES = {
    ("share", "errors"): "share of calls that failed",
    ("share", "fallbacks"): "share of answers by a fallback",
    ("share", "refused"): "share of calls that were refused",
    ("share", "cached"): "share of answers from a cache",
    ("share", "unlabelled"): "share of due outcomes that did not come",
    ("cost", "call"): "mean cost of a call",
    ("cost", "day"): "cost",
    ("traffic", "calls"): "number of calls",
    ("reviews", "overdue"): "number of reviews that are overdue",
    ("reviews", "open"): "number of reviews that wait",
    ("validation", "left"): "time until a validation ends",
    ("validation", "failed"): "number of gates that fresh calls did not pass",
    ("latency", "mean"): "mean latency",
}


def one_line(text: str, most: int = _LONG) -> str:
    """A text that calls may have brought, as one line that can be read, and not too long."""
    plain = "".join(one if one.isprintable() else "\ufffd" for one in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def title(asked: PinnedMonitor) -> str:
    """What is watched, in words: "p99 of latency", "share of calls that failed"."""
    said = _TITLES.get((asked.kind, asked.figure))
    if said is None:
        said = {
            "drift": f"drift ({asked.figure})",
            "latency": f"{asked.figure} of latency",
            "accuracy": asked.figure.replace("_", " "),
            "outcome": f"mean of outcome {asked.figure}",
        }.get(asked.kind, f"{asked.kind} {asked.figure}")
    return f"{said} where {asked.segment}" if asked.segment else said


def value_text(asked: PinnedMonitor, value: float, unit: str = "") -> str:
    """A value with the unit of the monitor's figure: "5 %", "80 ms", "EUR 0.01"."""
    if asked.against_s is not None and asked.kind != "drift":
        return f"{value:.3g} times"
    if asked.kind == "latency":
        return duration_text(value)
    if asked.kind == "share" or asked.figure in _SHARES:
        return f"{value * 100:.3g} %"
    if asked.kind == "cost":
        return f"{unit} {value:,.4g}".strip()
    if asked.figure == "left" and asked.kind == "validation":
        return f"{value:.3g} days"
    if asked.kind in ("traffic", "reviews", "validation"):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def interval_text(asked: PinnedMonitor, low: float | None, high: float | None) -> str:
    """A 95 % interval in brackets; empty where there is none."""
    if low is None or high is None:
        return ""
    return f" (95 % interval {value_text(asked, low)} to {value_text(asked, high)})"


def bound_text(asked: PinnedMonitor, unit: str = "") -> str:
    """The bound: "above 2 %"."""
    word = "above" if asked.above is not None else "below"
    return f"{word} {value_text(asked, asked.bound, unit)}"


def window_text(measured: Measured) -> str:
    """The window in UTC, with its length."""
    since, until = (
        datetime.fromtimestamp(at / 1e6, UTC) for at in (measured.since_us, measured.until_us)
    )
    length = duration_text(max(1.0, (measured.until_us - measured.since_us) / 1e6))
    day = "%Y-%m-%d "
    last = until.strftime("%H:%M" if since.date() == until.date() else f"{day}%H:%M")
    return f"{length}, {since.strftime(f'{day}%H:%M')} to {last} UTC"


def part_text(asked: PinnedMonitor, part: Part) -> str:
    """A part in words: "amount 0.41 (95 % interval 0.38 to 0.44), median 12 -> 18"."""
    said = f"{one_line(part.name, 80)} {value_text(asked, part.value)}"
    said += interval_text(asked, part.low, part.high)
    return f"{said}, {one_line(part.words)}" if part.words else said


def finding_text(asked: PinnedMonitor, measured: Measured) -> str:
    """The finding in a sentence."""
    labels = asked.kind in ("accuracy", "outcome") or asked.figure == "unlabelled"
    if asked.kind == "validation":
        return _validation_text(asked, measured)
    over = f"{measured.count:,} {'labels' if labels else 'calls'}"
    window = window_text(measured)
    if measured.value is None:
        return f"{title(asked)}: nothing to measure in {over} of {window}"
    value = measured.value
    said = f"{title(asked)} is {value_text(asked, value, measured.unit)}"
    said += interval_text(asked, measured.low, measured.high)
    said += _beside(asked, measured)
    if asked.kind == "reviews":
        return f"{said}; {measured.count:,} wait in all"
    said += f" in {over} of {window}"
    if measured.compared:
        said += f", compared with {one_line(measured.compared)}"
    bad = [one for one in measured.parts if one.beyond]
    if bad:
        named = "; ".join(part_text(asked, one) for one in bad[:3])
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        said += f": {named}{more}"
    return said


def _validation_text(asked: PinnedMonitor, measured: Measured) -> str:
    if measured.value is None:
        said = "nothing ends" if asked.figure == "left" else "none was validated on fresh calls"
        return f"{title(asked)}: {said}"
    said = f"{title(asked)} is {value_text(asked, measured.value)}{_beside(asked, measured)}"
    told = "; ".join(f"{one.name}: {one_line(one.words)}" for one in measured.parts if one.words)
    return f"{said}: {told}" if told else said


def _beside(asked: PinnedMonitor, measured: Measured) -> str:
    """How the value stands to the bound."""
    if measured.value is None:
        return ""
    bound = value_text(asked, asked.bound, measured.unit)
    if not asked.beyond(measured.value):
        return f", not {bound_text(asked, measured.unit)}"
    if not measured.beyond:
        return f", {bound_text(asked, measured.unit)} but not surely"
    return f", {'above' if asked.above is not None else 'below'} {bound}"
