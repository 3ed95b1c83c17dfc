"""Effects: what the sums of two arms say of each figure, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from splice.core.moments import Moments
from splice.core.release import PinnedGuard
from splice.core.studies import Effect, GuardState, Interval, Verdict
from splice.core.units import duration_text, plain_digits
from splice.monitor import sequential
from splice.monitor.sequential import LEAST_HITS, LEAST_UNITS, Compared

SHARES = ("errors", "failures")
"""Figures that are shares of the calls, whatever came."""

OPERATIONAL = ("errors", "failures", "cost", "latency")


class Asked(msgspec.Struct, frozen=True):
    """What is asked of one figure.

    `lower` whether less is better; None where nobody says. `promised` is the effect that the
    objective promises; `margin` how much worse a guardrail may be.
    """

    figure: str
    primary: bool = False
    lower: bool | None = None
    promised: float | None = None
    margin: float | None = None
    currency: str = ""


def effect_of(asked: Asked, moments: tuple[Moments, Moments], mixtures: dict[str, float]) -> Effect:
    """The effect on a figure. What its interval is tuned for is noted in `mixtures`, once."""
    control, treated = (_as_share(asked.figure, one) for one in moments)
    moments = control, treated
    compared = sequential.compare(control, treated)
    plain = Effect(
        asked.figure, asked.primary, control.ratio, treated.ratio,
        units=(control.count, treated.count), lower_is_better=asked.lower, margin=asked.margin,
        guard="" if asked.margin is None else "open", share=_is_share(asked.figure, moments),
    )  # fmt: skip
    if compared is None:
        return msgspec.structs.replace(plain, told=_too_few(asked, moments))
    mixture = mixtures.get(asked.figure)
    if mixture is None:
        mixture = sequential.mixture_at(compared.variance, compared.units)
        if asked.promised:
            mixture = sequential.mixture_for(asked.promised)
        mixtures[asked.figure] = mixture
    interval = sequential.interval(compared, mixture)
    verdict = _verdict(interval, asked.lower)
    size = abs(asked.promised or asked.margin or 0.0)
    if not size and asked.primary:
        size = abs(compared.difference)
    needed = None
    if verdict == "open" and size:
        needed = sequential.more_units(compared, mixture, size)
    found = msgspec.structs.replace(
        plain, difference=compared.difference, interval=interval, verdict=verdict,
        reduction=compared.reduction, needed=needed, size=size or None,
        guard=_guard(interval, asked),
    )  # fmt: skip
    return msgspec.structs.replace(found, told=_told(found, asked, compared))


def _is_share(figure: str, moments: tuple[Moments, Moments]) -> bool:
    seen = [one for one in moments if one.count]
    return figure in SHARES or (bool(seen) and all(one.binary for one in seen))


def _as_share(figure: str, one: Moments) -> Moments:
    """An amount of money or time is no share, even where it is always 0 or 1."""
    return msgspec.structs.replace(one, binary=False) if figure in ("cost", "latency") else one


def margins(guards: Sequence[PinnedGuard]) -> Mapping[str, PinnedGuard]:
    """The guards that compare the arms, by the figure of theirs that has a mean over units."""
    return {
        one.figure: one
        for one in guards
        if one.worse_by is not None
        and (one.figure.startswith("outcome:") or one.figure in OPERATIONAL)
    }


def amount(
    figure: str, value: float, currency: str = "", *, signed: bool = False, share: bool = False
) -> str:
    """A value of a figure with its unit: "2.1 %", "80 ms", "EUR 0.0021".

    `signed` is of a difference: "+0.3 pp" (percentage points), for two shares have no percents
    between them.
    """
    sign = "+" if signed and value > 0 else "-" if value < 0 else ""
    size = abs(value)
    if share or figure in SHARES:
        return f"{sign}{size * 100:.3g} {'pp' if signed else '%'}"
    if figure == "latency":
        return f"{sign}{duration_text(size)}"
    text = plain_digits(size, 4)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{currency} {sign}{text}" if figure == "cost" and currency else f"{sign}{text}"


def between(figure: str, interval: Interval, currency: str = "", *, share: bool = False) -> str:
    """An interval in words: "-0.012 to +0.004"."""
    low, high = (
        amount(figure, one, currency, signed=True, share=share)
        for one in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def _verdict(interval: Interval, lower: bool | None) -> Verdict:
    if interval.low <= 0 <= interval.high:
        return "open"
    if lower is None:
        return "differs"
    return "better" if (interval.high < 0) is lower else "worse"


def _guard(interval: Interval, asked: Asked) -> GuardState:
    """No worse than the margin, by the whole of the interval."""
    if asked.margin is None:
        return ""
    least, most = interval.low, interval.high
    if asked.lower is False:  # less is worse
        least, most = -most, -least
    if most <= asked.margin:
        return "holds"
    return "broken" if least > asked.margin else "open"


def _too_few(asked: Asked, moments: tuple[Moments, Moments]) -> str:
    counts = [one.count for one in moments]
    what = "with a known outcome" if asked.figure.startswith("outcome:") else "with such calls"
    if min(counts) < LEAST_UNITS:
        return (
            f"Nothing can be told yet: {counts[0]:,} and {counts[1]:,} units {what}, of "
            f"{LEAST_UNITS} that each arm needs."
        )
    if not sum(one.hits for one in moments):
        return "Nothing can be told yet: no call of either arm came to anything but 0."
    if not any(map(sequential.spread, moments)):
        means = [amount(asked.figure, one.ratio or 0.0, asked.currency) for one in moments]
        return f"All calls of an arm came to the same, {means[0]} and {means[1]}: no chance in it."
    return (
        f"Nothing can be told yet: it is so rare, or so common, that fewer than {LEAST_HITS} "
        "differ from the rest."
    )


def _told(found: Effect, asked: Asked, compared: Compared) -> str:
    interval = found.interval
    if interval is None:
        return ""
    share = found.share
    apart = amount(asked.figure, compared.difference, asked.currency, signed=True, share=share)
    span = between(asked.figure, interval, asked.currency, share=share)
    if found.verdict == "open":
        text = f"No difference can be told yet; it lies between {span.replace(' to ', ' and ')}."
        if found.needed and found.size:
            size = amount(
                asked.figure, found.size, asked.currency, signed=True, share=share
            ).lstrip("+")
            why = "that it looks like now"
            if asked.promised or asked.margin:
                why = "that the objective promises" if asked.promised else "of its margin"
            text += f" About {found.needed:,} more units would tell the {size} {why}."
        return text
    words = {"better": "Better", "worse": "Worse", "differs": "Different"}[found.verdict]
    return f"{words}: {apart} ({span})."
