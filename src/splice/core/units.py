"""Durations and money as people write them, turned into numbers."""

from __future__ import annotations

import math
import re

import msgspec

from splice.core.errors import DeclarationError

_DURATION = re.compile(r"\s*(\d[\d_]*(?:\.\d+)?)\s*(us|ms|s|min|h|d)\s*", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
# A comma stands before three digits or nowhere: "EUR 1,5" is one and a half to many who write it.
_MONEY = re.compile(r"\s*([A-Z]{3})\s+(-?(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?)\s*", re.ASCII)

NANO = 1_000_000_000
"""Costs are whole numbers of billionths of the account's currency: one call of a small model costs
less than a millionth, and sums of whole numbers do not drift."""


def seconds(text: str | float, where: str = "duration") -> float:
    """Seconds from "100 ms", "2 s", "5 min", "1 h", "40 d", or a number of seconds.

    Raises:
        DeclarationError: It is not a duration, or not above zero.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value = float(text) if abs(text) < 1e300 else float("inf")
    else:
        match = _DURATION.fullmatch(str(text))
        if match is None:
            raise DeclarationError(
                where,
                got=repr(text),
                promised='a duration such as "100 ms", "2 s" or "5 min"',
                mend="write a number and one of us, ms, s, min, h, d",
            )
        value = float(match[1].replace("_", "")) * _SECONDS[match[2]]
    if not 0 < value < float("inf"):
        raise DeclarationError(
            where, got=repr(text), promised="a duration above zero", mend="give it some time"
        )
    return value


def duration_text(value: float) -> str:
    """Seconds as a person writes them: "200 ms", "20 s"."""
    if value < 1:
        return f"{value * 1000:.4g} ms"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.4g} s"


def plural(count: int, one: str, many: str = "") -> str:
    """How many of what: "1 call", "1,234 calls"; with a verb, "1 call is" and "2 calls are".

    Args:
        count: How many.
        one: The word for one.
        many: The word for more, and for none; the same with an s where it is left out.
    """
    return f"{count:,} {noun(count, one, many)}"


def noun(count: float, one: str, many: str = "") -> str:
    """The word alone, of a count that stands elsewhere."""
    return one if count == 1 else many or f"{one}s"


def amount_text(value: float) -> str:
    """Money without its currency: "2.500 M", "1,234", "12.50", "0.0000167", "<0.000001".

    Args:
        value: In whole units of the currency.
    """
    size = abs(value)
    if 0 < size < 1e-6:  # more digits say nothing to anybody
        return "<0.000001" if value > 0 else ">-0.000001"
    if size >= 1e6:
        return f"{plain_digits(value / 1e6, 4)} M"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:,.2f}"
    whole, _, decimals = plain_digits(value).partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}" if decimals else whole


def plain_digits(value: float, significant: int = 3) -> str:
    """A finite number with so many digits that say something, never with an exponent."""
    if value == 0:
        return "0"
    places = max(0, significant - math.floor(math.log10(abs(value))) - 1)
    rounded = round(value, places)
    return "0" if rounded == 0 else f"{rounded:,.{places}f}"


def money_text(value: float, currency: str) -> str:
    """Money with its currency: "EUR 12.50", "< EUR 0.000001"."""
    text = amount_text(value)
    if text[0] in "<>":
        return f"{text[0]} {currency} {text[1:]}"
    return f"{currency} {text}"


def cost_text(nano: int | None, currency: str) -> str:
    """A cost that a person can read; unknown is said."""
    return "unknown" if nano is None else money_text(nano / NANO, currency)


class Money(msgspec.Struct, frozen=True):
    """An amount in one currency; `nano` is in billionths of one unit of it."""

    currency: str
    nano: int

    @property
    def amount(self) -> float:
        """The amount in whole units of the currency."""
        return self.nano / NANO

    @property
    def exact(self) -> str:
        """The amount in words, with cents or as many digits as it has: "EUR 0.002"."""
        whole, rest = divmod(abs(self.nano), NANO)
        decimals = f"{rest:09}".rstrip("0").ljust(2, "0")
        return f"{self.currency} {'-' if self.nano < 0 else ''}{whole:,}.{decimals}"

    def __str__(self) -> str:
        return f"{self.currency} {self.amount:,.2f}"


def money(text: str, where: str = "money") -> Money:
    """Money from "EUR 4_100_000" or "USD 0.25".

    Raises:
        DeclarationError: It is not a three-letter currency and an amount.
    """
    match = _MONEY.fullmatch(str(text))
    if match is None:
        raise DeclarationError(
            where,
            got=repr(text),
            promised='money such as "EUR 4_100_000"',
            mend="write the three letters of the currency, a space, and the amount",
        )
    amount = match[2].replace("_", "").replace(",", "")
    whole, _, fraction = amount.partition(".")
    sign = -1 if whole.startswith("-") else 1
    nano = abs(int(whole)) * NANO + int(fraction[:9].ljust(9, "0") or 0)
    return Money(match[1], sign * nano)
