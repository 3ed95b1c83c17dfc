"""Numbers that name somebody: payment cards and telephones.

Both are found in runs of digits. A card has a known beginning, a length that goes with it, and
Luhn's check digit. A telephone number has no check digit: it is one by its shape, or by the word
that stands before it; what a word before it calls an order, an article or an id is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

Span: TypeAlias = "tuple[int, int]"
"""Start and end in the text that is searched."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Digits with little between them.

    `groups` are the places of the digits that stand together, `start` is that of the run, with what
    stands before its first digit.
    """

    start: int
    end: int
    groups: list[Span]


_DIGITS = re.compile(r"[0-9]+")


def run_at(text: str, start: int, end: int) -> Run:
    """The run between two places."""
    return Run(start, end, [match.span() for match in _DIGITS.finditer(text, start, end)])


def begins(text: str, start: int) -> bool:
    """Whether no letter or digit touches the beginning of a part of the text."""
    before = text[start - 1] if start else " "
    if not (before.isalnum() or before == "_"):
        return True
    return before in "nrt" and start > 1 and text[start - 2] == "\\"  # a line break, written out


def _ends_phone(text: str, end: int) -> bool:
    """The same of a telephone number, behind which an extension may stand: `x123`."""
    return ends(text, end) or (text[end] in "xX" and text[end + 1 : end + 2].isdigit())


def ends(text: str, end: int) -> bool:
    """Whether no letter or digit touches the end of a part of the text."""
    return end >= len(text) or not (text[end].isalnum() or text[end] == "_")


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit touches a part of the text."""
    return ends(text, end) and begins(text, start)


# --- cards ---------------------------------------------------------------------------------------

_LAYOUTS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 3, 3, 3), (6, 13))
_CARD_GROUPS = 4
_SHORTEST, _LONGEST, _MOST = 13, 19, max(len(one) for one in _LAYOUTS)
_LOOSE = re.compile(r"[ \t\r\n-]{1,3}")


def cards(text: str, run: Run) -> Iterator[Span]:
    """Payment cards: 13 to 19 digits, in the groups that cards have, or in up to four others."""
    groups = run.groups
    first = 0
    while first < len(groups) and run.end - groups[first][0] >= _SHORTEST:
        last = _card_from(text, groups, first)
        if last is None:
            first += 1
            continue
        yield groups[first][0], groups[last][1]
        first = last + 1


def _card_from(text: str, groups: Sequence[Span], first: int) -> int | None:
    """The last group of the card that begins with a group."""
    digits, sizes = "", list[int]()
    tight = True
    ones = groups[first][1] - groups[first][0] == 1
    if ones and len(groups) - first > _LONGEST:  # read out digit by digit, a card ends the run
        return None
    for last in range(first, min(first + (_LONGEST if ones else _MOST), len(groups))):
        start, end = groups[last]
        if last > first:
            between = text[groups[last - 1][1] : start]
            if not _LOOSE.fullmatch(between):
                return None
            tight = tight and between in (" ", "-", "  ")
        digits += text[start : min(end, start + _LONGEST + 1)]
        sizes.append(end - start)
        if len(digits) > _LONGEST or (len(digits) >= 4 and not _lengths(digits)):
            return None
        if len(digits) < 13 or not stands_alone(text, groups[first][0], end):
            continue
        uniform = set(sizes) == {1} and (last + 1 == len(groups))
        shaped = tuple(sizes) in _LAYOUTS or len(sizes) == 1
        if (shaped or uniform or (tight and len(sizes) <= _CARD_GROUPS)) and is_card(digits):
            return last
    return None


def is_card(digits: str) -> bool:
    """Whether digits are the number of a payment card: issuer, length and check digit fit."""
    return len(digits) in _lengths(digits) and _luhn(digits)


def _lengths(digits: str) -> Sequence[int]:
    """The lengths that numbers with this beginning have."""
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if 300 <= three <= 305 or two in (36, 38, 39):
        return range(14, 20)
    if 3528 <= four <= 3589 or four == 6011 or two in (62, 65) or 644 <= three <= 649:
        return range(16, 20)
    if four in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763):
        return range(13, 20)
    return ()


_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _luhn(digits: str) -> bool:
    values = [int(one) for one in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[one] for one in values[1::2])) % 10 == 0


# --- telephones ----------------------------------------------------------------------------------

WORDS = (
    rb"(\btel\b|telef|phone|mobil|handy|\b(?:fon|fax|call|cell|sms|tlf)\b|cellul|whatsapp|\b(?:an)?ruf"
    rb"|movil|portable|msisdn)"
    rb"|order|bestell|auftrag|invoice|rechnung|articl|artikel|ticket|vorgang|referen|track|sendung"
    rb"|\b(?:case|ref|sku|ean|vin|id)\b|paket|parcel|kundennummer|kunden-?nr|customer[ -]?(?:id|no)"
    rb"|account|konto|serial|serien|version|isbn|gtin|amount|betrag|price|preis|total|quantity|menge"
    rb"|timestamp|number of"
)
"""What stands before a telephone number (the group), and before numbers that are none; in text in
lower case, with spaces for underscores."""

Said: TypeAlias = "Callable[[int], str]"
"""What the word before a place calls a number that stands there: `yes`, `no` or nothing."""

_TWO = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")
_THREE = re.compile(r"2[1-69]\d|3[578]\d|42\d|5[09]\d|6[7-9]\d|8[0578]\d|9[679]\d")
_BETWEEN = re.compile(r"[ \t]?[-./()]?[ \t]?|\) ?[-/]? ?| \(0?\) ?")
_DATE = re.compile(r"(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:19|20)\d\d")
_BARE = re.compile(r"01[5-7]\d{8,9}|0[67]\d{8}|07\d{9}")
"""Mobile numbers without a space: Germany; France, the Netherlands, Switzerland; Britain."""

_MOST_GROUPS = 7
_DATE_LENGTH = 10


def phones(text: str, run: Run, said: Said) -> Iterator[Span]:
    """Telephone numbers: with their country's code, or as their country writes them."""
    groups = run.groups
    first = 0
    short = len(groups) > 1 and run.end - run.start <= _DATE_LENGTH
    if short and text[run.start] != "+" and said(run.start) != "yes":
        return  # dates above all, of which texts are full
    while first < len(groups):
        last = _phone_from(text, run, first, said)
        if last is None:
            first += 1
            continue
        start = groups[first][0]
        while start > run.start and text[start - 1] in "+(":
            start -= 1
        yield start, groups[last][1]
        first = last + 1


def _phone_from(text: str, run: Run, first: int, said: Said) -> int | None:
    """The last group of the number that begins with a group."""
    start, end = run.groups[first]
    if end - start > 15:
        return None
    before = text[start - 1] if start else " "
    if before == "+":
        return _international(text, run.groups, first, "")
    lead = text[start : start + 2]
    if first == 0 and not begins(text, start):
        return None
    called = said(start) if first == 0 or lead[0] == "0" else ""
    if called == "no":
        return None
    if called == "yes" and (last := _as_said(text, run.groups, first)) is not None:
        return last
    if lead == "00":
        return _international(text, run.groups, first, "00")
    if lead[0] == "0":
        return _trunk(text, run.groups, first)
    return _american(text, run.groups, first)


def _joined(text: str, groups: Sequence[Span], first: int, most: int) -> tuple[int, int]:
    """The last group that still belongs to the first, of at most so many digits, and how many."""
    digits, last = 0, first
    for place in range(first, min(first + _MOST_GROUPS, len(groups))):
        start, end = groups[place]
        if place > first and not _BETWEEN.fullmatch(text, groups[place - 1][1], start):
            break
        if digits + end - start > most:
            break
        digits, last = digits + end - start, place
    return last, digits


def _international(text: str, groups: Sequence[Span], first: int, prefix: str) -> int | None:
    last, _ = _joined(text, groups, first, 15 + len(prefix) + 1)  # one for a "(0)"
    start, end = groups[first][0], groups[last][1]
    digits = "".join(_DIGITS.findall(text, start, end))[len(prefix) :]
    if not _ends_phone(text, end) or not 8 <= len(digits) <= 16 or digits.endswith("000000"):
        return None
    if digits[0] == "1":
        if prefix or len(digits) < 11 or digits[1] in "01":
            return None
        return _until(groups, first, 11)
    known = digits[0] == "7" or _TWO.match(digits) is not None or _THREE.match(digits) is not None
    bare = bool(prefix) and first == last
    return last if known and (not bare or len(digits) in (11, 12, 13)) else None


def _until(groups: Sequence[Span], first: int, digits: int) -> int | None:
    """The group with which so many digits are complete."""
    for place in range(first, len(groups)):
        digits -= groups[place][1] - groups[place][0]
        if digits <= 0:
            return place if digits == 0 else None
    return None


def _as_said(text: str, groups: Sequence[Span], first: int) -> int | None:
    last, digits = _joined(text, groups, first, 15)
    alone = _ends_phone(text, groups[last][1])
    return last if alone and 7 <= digits <= 15 else None


def _trunk(text: str, groups: Sequence[Span], first: int) -> int | None:
    """A national number with its leading 0."""
    start, end = groups[first]
    if stands_alone(text, start, end) and _BARE.fullmatch(text, start, end):
        return first
    if first and text[groups[first - 1][1] : start] in ("-", "/", "."):
        return None  # the middle of something else, as of a date
    last, digits = _joined(text, groups, first, 12)
    if last == first or digits < 9 or not _ends_phone(text, groups[last][1]):
        return None
    sizes = [b - a for a, b in groups[first : last + 1]]
    pairs = set(sizes) == {2}  # "06 12 34 56 78" is one; in a row of many such it is not
    if _DATE.match(text, start) or (pairs and (first or len(groups) != 5)):
        return None
    return last if 2 <= sizes[0] <= 6 else None


def _american(text: str, groups: Sequence[Span], first: int) -> int | None:
    """Three, three and four digits, with something other than spaces between them."""
    if groups[first][1] - groups[first][0] == 1 and text[groups[first][0]] == "1":
        first += 1
    if first + 2 >= len(groups):
        return None
    (a, b), (c, d), (e, f) = groups[first : first + 3]
    if (b - a, d - c, f - e) != (3, 3, 4) or text[a] in "01" or text[c] in "01":
        return None
    between = text[b:c] + text[d:e]
    if not between.strip() or len(between) > 4 or not _ends_phone(text, f):
        return None
    follows = first + 3 < len(groups) and text[f : groups[first + 3][0]] in ("-", ".", "/")
    preceded = a > 1 and text[a - 1] in "-./" and text[a - 2].isdigit() and text[a - 2] != "1"
    return None if follows or preceded else first + 2
