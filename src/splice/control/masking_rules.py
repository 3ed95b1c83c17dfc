"""The built-in rules: what each finds in a text, on RE2, whose time grows with the text only.

A pattern finds what may be something, in one pass over the text; what can be computed (check
digits, ranges, lengths) then says whether it is. This file is imported only where masking is asked
for: it needs `splice-ai[masking]`.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import re2
from stdnum import iban as iban_number

from splice.control.masking_identity import (
    BIRTH_WORDS,
    BIRTHDATE_BYTES,
    NAMES,
    NUMBERS,
    PASSPORT_BYTES,
    SCATTERED,
    SCATTERED_BYTES,
    UNNAMED_BYTES,
    around,
    before,
    in_run,
    scattered,
)
from splice.control.masking_numbers import WORDS, Run, Span, begins, cards, ends, phones, run_at
from splice.control.masking_secrets import HINT, SECRETS, is_secret
from splice.control.masking_text import BREAK, Folded

Finder: TypeAlias = "Callable[[Searched], Iterator[Span]]"
"""Gives the places of its findings in the folded text."""

Pattern: TypeAlias = Any  # re2 has no types


def pattern(text: str | bytes) -> Pattern:
    """A compiled RE2 pattern.

    Raises:
        ValueError: It is not RE2: look-around and back-references cannot be had in linear time.
    """
    options = cast("Any", re2).Options()
    options.log_errors = False
    try:
        return cast("Any", re2).compile(text, options)
    except cast("Any", re2).error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None


class Searched:
    """A folded text with its runs of digits, which several rules look at."""

    __slots__ = ("_announced", "_runs", "_words", "folded", "raw", "text")

    def __init__(self, folded: Folded) -> None:
        self.folded = folded
        self.text, self.raw = folded.text, folded.raw
        self._runs: list[Run] | None = None
        self._announced: bool | None = None
        self._words: list[Span] | None = None  # end of the word; 1 where it is of a telephone

    def hints(self) -> Iterator[int]:
        """Where a rule may find something: one pass in the place of many."""
        return (one.start() for one in _ANYTHING.finditer(self.raw))

    @property
    def runs(self) -> list[Run]:
        """Seven digits and more with little between them."""
        if self._runs is None:
            self._runs = [run_at(self.text, *one.span()) for one in _RUN.finditer(self.raw)]
        return self._runs

    @property
    def numbers(self) -> Mapping[str, Sequence[Span]]:
        """The numbers that states give to people, by their rules."""
        found: dict[str, list[Span]] = {}
        raw = self.raw
        for run in self.runs:
            named = _NAMED.search(raw, *before(run)) is not None
            if named or _UNNAMED.search(raw, *around(run, len(raw))) is not None:
                for rule, span in in_run(self.text, run, named=named):
                    found.setdefault(rule, []).append(span)
        places = [one.span() for one in _SCATTERED.finditer(raw)]
        return found | scattered(self.text, places) if places else found

    @property
    def may_say_who(self) -> bool:
        """Whether a word announces a day of birth or a passport."""
        if self._announced is None:
            self._announced = _ANNOUNCED.search(self.raw) is not None
        return self._announced

    def said(self, start: int) -> str:
        """What the word before a number calls it: `yes` for a telephone, `no`, or nothing."""
        if self._words is None:
            plain = self.raw.lower().replace(b"_", b" ")
            found = _WORD.finditer(plain)
            self._words = [
                (one.end(), int(one.span(1)[0] >= 0))
                for one in found
                if not _is_placeholder(plain, *one.span())
            ]
        last = bisect_right(self._words, (start, 1)) - 1
        if last < 0 or start - self._words[last][0] > _NEAR:
            return ""
        return "yes" if self._words[last][1] else "no"


def _is_placeholder(text: bytes, start: int, end: int) -> bool:
    """Whether a word stands in the place of what was found before: it says nothing."""
    return text[start - 1 : start] == b"[" and text[end : end + 1] in (b"]", b"-")


_NEAR = 32
"""Characters between a word and the number that it says something of."""

_WORD: Final = pattern(WORDS)
_RUNS = rb"[+(]{0,2}[0-9](?:[ \t\r\n./()-]{0,3}[0-9]){6,}"
_RUN: Final = pattern(_RUNS)

_EMAIL: Final = pattern(
    rb"(?:[A-Za-z0-9!#$&'*^_`~+.%-]+|\x02+|\"[^\"\x1e\n@]+\")@"
    rb"(?:(?:[A-Za-z0-9\x02_](?:[A-Za-z0-9\x02_-]*[A-Za-z0-9\x02_])?\.)+"
    rb"(?:xn--[A-Za-z0-9-]+|[A-Za-z]{2,}|\x02+)"
    rb"|\[[0-9A-Fa-f:.]{7,45}\])"
)
_NO_DOMAIN: Final = pattern(rb"@(?:[1-9]x\.(?:png|jpe?g|gif|webp|svg)|[0-9]+\.[0-9]+\..*)")


def emails(searched: Searched) -> Iterator[Span]:
    """E-mail addresses."""
    if b"@" not in searched.raw:
        return
    for match in _EMAIL.finditer(searched.raw):
        start, end = match.span()
        at = searched.raw.rfind(b"@", start, end)
        local = searched.raw[start:at]
        # icon@2x.png and library@1.2.3-beta are none, nor is the user that a clone URL begins with.
        if _NO_DOMAIN.fullmatch(searched.raw, at, end) is not None:
            continue
        if local == b"git" and searched.raw[end : end + 1] == b":":
            continue
        start += (
            len(local) - len(local.lstrip(b"'`*~^#$!&.-")) if local.strip(b"'`*~^#$!&.-") else 0
        )
        yield start, end


_IBAN_BEGINS = rb"[A-Za-z]{2}[0-9]{2}[ \t.-]{0,2}[A-Za-z0-9]"
_IBAN: Final = pattern(_IBAN_BEGINS)
_IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32,
    "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24,
    "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
    "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def ibans(searched: Searched) -> Iterator[Span]:
    """International bank account numbers: their length, form and check digits fit."""
    text = searched.text
    for match in _IBAN.finditer(searched.raw):
        start = match.start()
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or not begins(text, start):
            continue
        number, end = _letters_and_digits(text, start, length)
        if len(number) == length and ends(text, end) and _is_iban(number):
            yield start, end


def _letters_and_digits(text: str, start: int, count: int) -> tuple[str, int]:
    """The next so many letters and digits, at most two other characters between two of them."""
    found: list[str] = []
    place, between = start, 0
    while place < len(text) and len(found) < count:
        one = text[place]
        place += 1
        if one.isalnum():
            found.append(one)
            between = 0
        elif one in " \t.-" and between < 2:
            between += 1
        else:
            break
    return "".join(found).upper(), place


def _is_iban(number: str) -> bool:
    turned = number[4:] + number[:4]
    if int("".join(str(int(one, 36)) for one in turned)) % 97 != 1:  # quick, and mostly the end
        return False
    return iban_number.is_valid(number, check_country=False)


_IPS = rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,8}(?:[0-9A-Fa-f]{0,4}|[0-9.]{7,15})"
_IP: Final = pattern(_IPS)


def addresses(searched: Searched) -> Iterator[Span]:
    """IP addresses of both versions; of four numbers after the word `version`, none."""
    text = searched.text
    for match in _IP.finditer(searched.raw):
        start, end = match.span()
        if not begins(text, start) or not ends(text, end) or text[start - 1 : start] in (".", ":"):
            continue
        found = text[start:end]
        if ":" in found:
            found, end = found.rstrip(":") if not found.endswith("::") else found, end
            end = start + len(found)
            full = len([one for one in found.split(":") if one]) >= 2
            if not (full and any(one.isdigit() for one in found) and _is_ip(found)):
                continue
        elif not _is_ip(found) or _more_dots(text, end) or _is_version(text, start):
            continue
        yield start, end


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _more_dots(text: str, end: int) -> bool:
    return text[end : end + 1] == "." and text[end + 1 : end + 2].isdigit()


def _is_version(text: str, start: int) -> bool:
    before = text[max(0, start - 10) : start].lower().rstrip(" :=")
    return before.endswith(("version", "release", "ver", "ver."))


def card_numbers(searched: Searched) -> Iterator[Span]:
    """Payment cards."""
    for run in searched.runs:
        yield from cards(searched.text, run)


def phone_numbers(searched: Searched) -> Iterator[Span]:
    """Telephone numbers."""
    for run in searched.runs:
        yield from phones(searched.text, run, searched.said)


def secrets(searched: Searched) -> Iterator[Span]:
    """API keys, tokens, private keys, passwords."""
    if not holds_secret_words(searched.raw):
        return
    for kind, expression in _SECRETS:
        for match in expression.finditer(searched.raw):
            start, end = match.span(expression.groups)  # its only group, or all of it
            end -= searched.text.endswith(BREAK, start, end)
            if is_secret(kind, searched.text, match.start(), start, end):
                yield start, end


def holds_secret_words(raw: bytes) -> bool:
    """Whether something in a folded text may be a secret.

    Most texts hold none, and few of the others hold one: one pass, or two, instead of eight.
    """
    return _HINT.search(raw) is not None and _ANY_SECRET.search(raw) is not None


_HINT: Final = pattern(HINT)
_ANY_SECRET: Final = pattern(b"|".join(b"(?:%s)" % text for text in SECRETS.values()))
_SECRETS: Final = [(kind, pattern(text)) for kind, text in SECRETS.items()]


def birthdates(searched: Searched) -> Iterator[Span]:
    """Dates of birth, called so by a word before them."""
    for match in _BIRTHDATE.finditer(searched.raw) if searched.may_say_who else ():
        yield match.span(1)


def passports(searched: Searched) -> Iterator[Span]:
    """Numbers of passports, called so by a word before them."""
    for match in _PASSPORT.finditer(searched.raw) if searched.may_say_who else ():
        start, end = match.span(1)
        if sum(one.isdigit() for one in searched.text[start:end]) >= _PASSPORT_DIGITS:
            yield start, end


_PASSPORT_DIGITS = 5
_BIRTHDATE: Final = pattern(BIRTHDATE_BYTES)
_PASSPORT: Final = pattern(PASSPORT_BYTES)


RULES: Final[Mapping[str, Finder]] = {
    "secret": secrets,
    "iban": ibans,
    "card": card_numbers,
    "email": emails,
    "phone": phone_numbers,
    "ip": addresses,
    "birthdate": birthdates,
    "passport": passports,
}
"""What each rule finds, by name; where two findings overlap, the first of the rules names them."""

IDENTITIES: Final = tuple(dict.fromkeys(one.rule for one in (*NUMBERS, *SCATTERED)))
"""The rules of `Searched.numbers`, which come after these: numbers that states give to people."""

_ANNOUNCED: Final = pattern(BIRTH_WORDS)
_NAMED: Final = pattern(f"(?i:{NAMES})".encode())
_UNNAMED: Final = pattern(UNNAMED_BYTES)
_SCATTERED: Final = pattern(SCATTERED_BYTES)
_ANYTHING: Final = pattern(
    b"@|" + b"|".join([_RUNS, _IBAN_BEGINS, _IPS, SCATTERED_BYTES, BIRTH_WORDS]) + b"|" + HINT
)
"""What each of these rules needs to find anything."""
