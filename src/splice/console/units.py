"""Figures as people read them: exact, with their unit, unknown said as unknown."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from splice.core.units import NANO, amount_text, plain_digits

UNKNOWN = "–"
"""What stands where a figure is not known: never a 0 that nobody measured."""

_MILLION = 1_000_000
_NEVER = "not yet"


def digits(value: float, significant: int = 3) -> str:
    """A number with so many digits that say something, and a comma between thousands."""
    return plain_digits(value, significant) if math.isfinite(value) else UNKNOWN


def count(value: float | None) -> str:
    """How many: "12,345", and "12.3 M" from ten million on."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 10 * _MILLION:
        return f"{digits(value / _MILLION)} M"
    return f"{value:,.0f}"


def share(value: float | None) -> str:
    """A part of one, in percent: "2.50 %", "<0.01 %"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    percent = value * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    if percent >= 10:
        return f"{percent:.1f} %"
    return "0 %" if percent == 0 else f"{percent:.2f} %"


def duration(seconds: float | None) -> str:
    """A time that something took: "84.2 ms", "1.24 s", "3.5 min"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0.001:
        return f"{digits(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{digits(seconds * 1e3)} ms"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds)} s"


def micros(value: float | None) -> str:
    """The same of microseconds."""
    return UNKNOWN if value is None else duration(value / 1e6)


def amount(value: float | None) -> str:
    """Money in whole units of its currency, without its name: "1,234", "0.00123"."""
    return UNKNOWN if value is None or not math.isfinite(value) else amount_text(value)


def cost(nano: float | None) -> str:
    """The same of billionths."""
    return UNKNOWN if nano is None else amount(nano / NANO)


def score(value: float | None) -> str:
    """A score, an effect or a distance: "0.253"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value and abs(value) < 0.0005:
        return "<0.001" if value > 0 else ">−0.001"
    return f"{value:.3f}" if abs(value) < 10 else digits(value, 4)


def moment(unix_us: int | None, *, millis: bool = False) -> str:
    """When, in UTC: "2026-11-28 06:56:29"."""
    if unix_us is None:
        return _NEVER
    try:
        when = datetime.fromtimestamp(unix_us // _MILLION, UTC)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    text = when.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{unix_us % _MILLION // 1000:03}" if millis else text


def machine(unix_us: int) -> str:
    """When, for a program: "2026-11-28T06:56:29Z"."""
    return moment(unix_us).replace(" ", "T") + "Z"


def age(then_us: int | None, now_us: int) -> str:
    """How long ago, or how long from now: "3 min ago", "in 2 h"."""
    if then_us is None:
        return _NEVER
    seconds = (now_us - then_us) / 1e6
    if abs(seconds) < 1:
        return "now"
    text = duration(abs(float(f"{seconds:.2g}")))
    return f"{text} ago" if seconds > 0 else f"in {text}"
