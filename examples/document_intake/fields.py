"""Key fields of a document, by plain rules: what they do not find for sure, they leave out.

They read English labels, dates that are clear and amounts with two decimals. They are no model, and
nothing measures how often a real document says it otherwise.
"""

from __future__ import annotations

import re
from calendar import month_name
from contextlib import suppress
from datetime import date
from typing import Final

import splice

_MONTHS: Final = tuple(month.lower() for month in month_name[1:])
_NUMBER: Final = re.compile(
    r"(?:invoice|bill|delivery note|dispatch note|order|note|shipment|consignment|reference)"
    r"\s*(?:number|no\.?|ref(?:erence)?\.?|id|#)?\s*[:.]?\s*"
    r"([A-Z]{1,4}[-/ ]?\d[\w/-]{2,20})\b",
    re.IGNORECASE,
)
_ISO: Final = re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)\b")
_WORDED: Final = re.compile(rf"\b(\d{{1,2}})\.? ?({'|'.join(_MONTHS)}) ?(20\d\d)\b", re.IGNORECASE)
_POINTED: Final = re.compile(r"\b(\d{1,2})\.(\d{1,2})\.(20\d\d)\b")
_TOTAL: Final = re.compile(
    r"(?:grand total|invoice total|total due|amount payable|balance due|amount due|to be paid|"
    r"total incl\.? vat|\btotal)\s*:?\s*(EUR|GBP|USD|CHF|€|£|\$)?\s*"
    r"(\d{1,3}(?:[,'. ]?\d{3})*[.,]\d{2})\b\s*(EUR|GBP|USD|CHF|€|£|\$)?",
    re.IGNORECASE,
)
_SIGNS: Final = {"€": "EUR", "£": "GBP", "$": "USD"}


class Fields(splice.Reply):
    """What could be read; None where it could not."""

    number: str | None = None
    date: str | None = None  # ISO 8601
    total: str | None = None  # with two decimals; a text, for money is no float
    currency: str | None = None


def read_fields(text: str) -> Fields:
    """The fields of a text. The first number and date count, and the last total."""
    found = _NUMBER.search(text)
    total, currency = _total(text)
    return Fields(found[1] if found else None, _date(text), total, currency)


def _date(text: str) -> str | None:
    """The first clear date. 03/04/2026 is none: nobody knows which is the month."""
    dates: list[tuple[int, str]] = []
    for pattern, order in ((_ISO, (1, 2, 3)), (_WORDED, (3, 2, 1)), (_POINTED, (3, 2, 1))):
        for match in pattern.finditer(text):
            year, month, day = (match[number] for number in order)
            numbered = month if month.isdigit() else str(_MONTHS.index(month.lower()) + 1)
            with suppress(ValueError):  # the 31st of February
                dates.append((match.start(), date(int(year), int(numbered), int(day)).isoformat()))
                break
    return min(dates)[1] if dates else None


def _total(text: str) -> tuple[str | None, str | None]:
    found = list(_TOTAL.finditer(text))
    if not found:
        return None, None
    before, amount, after = found[-1].groups()
    sign = (before or after or "").upper()
    digits = re.sub(r"\D", "", amount)
    return f"{digits[:-2]}.{digits[-2:]}", _SIGNS.get(sign, sign) or None
