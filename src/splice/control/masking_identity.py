"""Numbers that a state gives to people, and what else names one: dates of birth, passports.

A number is found by its form and its check digits. Where these say too little (one number in ten
would pass), a word that names it must stand before it: then it is in `words`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from splice.control.masking_numbers import Run, Span, begins, ends
from splice.control.masking_text import Folded

_NEAR = 48
"""Characters before a number in which its name may stand."""

_LONGEST = 20
"""Characters that a number has whose digits stand among letters."""

_AROUND = 8
"""Characters around a run of digits that may belong to the number."""


_BEGIN, _END = r"(?<![0-9A-Za-mo-qsu-z_])(?:", r")(?![0-9A-Za-z_])"
"""What a number stands between; `begins` says more of an n, r or t, as of a written line break."""


class Identity(NamedTuple):
    """One form of a number: its pattern, its check, and the words of which one must be near."""

    rule: str
    form: re.Pattern[str]
    valid: Callable[[str], bool]
    words: tuple[str, ...] = ()
    least: int = 9  # digits of the run that it is in


def _by(module: str) -> Callable[[str], bool]:
    """The check of a number by its module in python-stdnum, loaded when it is first needed."""
    loaded: list[Any] = []

    def valid(number: str) -> bool:
        if not loaded:
            loaded.append(import_module(f"stdnum.{module}"))
        return bool(loaded[0].is_valid(number))

    return valid


def _number(
    rule: str,
    form: str,
    valid: Callable[[str], bool],
    words: Sequence[str] = (),
    least: int = 9,
) -> Identity:
    written = [form for word in words for form in (word, word.upper())]
    folded = tuple(dict.fromkeys(Folded(one).text.lower() for one in written))
    letters = re.search("[A-Z]", form) is not None
    alone = f"{_BEGIN}{form}{_END}"
    return Identity(rule, re.compile(alone, re.IGNORECASE * letters), valid, folded, least)


def _is_dni(number: str) -> bool:
    return _by("es.nie" if number[0].upper() in "XYZ" else "es.dni")(number)


def _is_nir(number: str) -> bool:
    return number.lstrip()[:1] in ("1", "2", "3", "4", "7", "8") and _by("fr.nir")(number)


def _is_insurance(number: str) -> bool:
    """The German pension insurance number. Source: VKVV, paragraph 2 and its annex."""
    plain = number.replace(" ", "").upper()
    day, month = int(plain[2:4]), int(plain[4:6])
    if not (1 <= day <= 31 or 51 <= day <= 81) or not 1 <= month <= 12:
        return False
    digits = f"{plain[:8]}{ord(plain[8]) - ord('A') + 1:02d}{plain[9:11]}"
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    products = [int(one) * weight for one, weight in zip(digits, weights, strict=True)]
    return sum(one // 10 + one % 10 for one in products) % 10 == int(plain[11])


def _is_ric(number: str) -> bool:
    """The Chinese number, from whichever place; its digits are those of ISO 7064."""
    if not (1 <= int(number[10:12]) <= 12 and 1 <= int(number[12:14]) <= 31):
        return False
    total = sum(int(one) * pow(2, 17 - place, 11) for place, one in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def _always(number: str) -> bool:
    """Its form is all that there is: Korea gives numbers without check digit since October 2020."""
    return bool(number)


_MONTH_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_NINO = re.compile(
    r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r" ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
)


def _is_nino(number: str) -> bool:
    """It has no check digit; what repeats itself is an example of one."""
    return len(set[str](number)) > 3


_TAX = ("idnr", "id-nr", "identifikationsn", "steuer", "tax", "tin")
_ELEVEN = r"\d{3}[ .]?\d{3}[ .]?\d{3}[ -]?\d{2}"

NUMBERS: Final[tuple[Identity, ...]] = (
    _number("at_svnr", r"\d{4} ?\d{6}", _by("at.vnr"), ("sozialvers", "svnr", "sv-n", "sv n")),
    _number("au_tfn", r"\d{3} ?\d{3} ?\d{2,3}", _by("au.tfn"), ("tfn", "tax file"), least=8),
    _number("be_nn", r"\d{2}\.?\d{2}\.?\d{2}[- ]?\d{3}[. ]?\d{2}", _by("be.nn"), least=11),
    _number("bg_egn", r"\d{10}", _by("bg.egn"), ("egn", "егн")),
    _number("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", _by("br.cpf"), least=11),
    _number("br_cpf", r"\d{11}", _by("br.cpf"), ("cpf",), least=11),
    _number(
        "ca_sin",
        r"\d{3}[ -]?\d{3}[ -]?\d{3}",
        _by("ca.sin"),
        (" sin:", " sin ", "insurance n", " nas ", " nas:"),
    ),
    _number("ch_ahv", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", _by("ch.ssn"), least=13),
    _number("cn_ric", r"\d{17}[\dX]", _is_ric, least=17),
    _number("cz_rc", r"\d{6}/\d{3,4}", _by("cz.rc")),
    _number("de_idnr", r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}", _by("de.idnr"), _TAX),
    _number("de_svnr", r"\d{2} ?\d{6} ?[A-Z] ?\d{3}", _is_insurance, least=8),
    _number("dk_cpr", r"\d{6}[- ]?\d{4}", _by("dk.cpr"), ("cpr", "personnummer")),
    _number("ee_ik", r"[1-6]\d{10}", _by("ee.ik"), ("isikukood", "personal code", "ик")),
    _number("es_nif", r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]", _is_dni, least=7),
    _number("fr_nir", r"[1-478] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}", _is_nir, least=7),
    _number("gb_nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", _by("gb.nhs"), ("nhs",)),
    _number("gr_amka", r"\d{11}", _by("gr.amka"), ("amka", "αμκα")),
    _number("hr_oib", r"\d{11}", _by("hr.oib"), ("oib",)),
    _number("ie_pps", r"\d{7}[A-W][A-IW]?", _by("ie.pps"), ("pps",), least=7),
    _number("in_aadhaar", r"[2-9]\d{3} ?\d{4} ?\d{4}", _by("in_.aadhaar"), ("aadha", "uidai")),
    _number("kr_rrn", rf"\d\d{_MONTH_DAY}-\d{{7}}", _always, least=13),
    _number("lt_ak", r"[1-6]\d{10}", _by("lt.asmens"), ("asmens",)),
    _number("nl_bsn", r"\d{4}\.?\d{2}\.?\d{3}", _by("nl.bsn"), ("bsn", "burgerservice", "sofi")),
    _number("no_fnr", r"\d{6} ?\d{5}", _by("no.fodselsnummer"), least=11),
    _number("pl_pesel", r"\d{11}", _by("pl.pesel"), ("pesel",)),
    _number("pt_nif", r"[1-35689]\d{2} ?\d{3} ?\d{3}", _by("pt.nif"), ("nif", "contribuinte")),
    _number("ro_cnp", r"[1-9]\d{12}", _by("ro.cnp"), ("cnp", "numeric personal")),
    _number("se_pnr", r"(?:\d{2})?\d{6}[-+]\d{4}", _by("se.personnummer"), least=10),
    _number(
        "se_pnr",
        r"(?:19|20)?\d{10}",
        _by("se.personnummer"),
        ("personnummer", "personnr"),
        least=10,
    ),
    _number("tr_tckn", r"[1-9]\d{10}", _by("tr.tckimlik"), ("kimlik", "tckn", "t.c.")),
    _number("us_ssn", r"\d{3}-\d{2}-\d{4}", _by("us.ssn")),
    _number("us_ssn", r"9\d{2}-\d{2}-\d{4}", _by("us.itin")),
    _number("us_ssn", r"\d{3}[ -]?\d{2}[ -]?\d{4}", _by("us.ssn"), ("ssn", "social security")),
    _number("za_id", r"\d{13}", _by("za.idnr"), ("id number", "identity n", "id no")),
)
"""Numbers in runs of seven digits and more; a rule may have several forms."""

NAMES: Final = "|".join(sorted({re.escape(w.strip()) for one in NUMBERS for w in one.words}))
"""Words that name a number, as an alternation."""

SCATTERED: Final[tuple[Identity, ...]] = (
    _number(
        "it_cf", r"[A-Z]{6} ?\d{2}[A-Z]\d{2} ?[A-Z]\d{3}[A-Z]", _by("it.codicefiscale")
    ),
    _number("fi_hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Z]", _by("fi.hetu")),
    _number("mx_curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", _by("mx.curp")),
    Identity("gb_nino", _NINO, _is_nino),
)  # fmt: skip
"""Those whose digits stand among letters."""

SCATTERED_BYTES: Final = (
    rb"(?i:[a-z]{6} ?[0-9]{2}[a-z][0-9]{2} ?[a-z][0-9]{3}[a-z]"
    rb"|[0-9]{6}[-+a-fu-y][0-9]{3}[0-9a-z]"
    rb"|[a-z]{4}[0-9]{6}[hmx][a-z]{5}[0-9a-z][0-9])"
    rb"|[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
)
"""What each of them needs to be found, for RE2."""

_BORN = (
    r"born|birth|\bdob\b|geboren|geb\.|geburtsdatum|geburtstag|nee? le|naissance|nacid[oa]"
    r"|nacimiento|nat[oa] (?:il|a\b)|nascita|geboorte|urodzeni|urodzon|nascid[oa]|nascimento"
    r"|fodt|fodelsedat"
)
_MONTH = r"[a-z]{3,10}\.?"
_DATE = (
    r"(?:(?:0?[1-9]|[12][0-9]|3[01])[-./ ]{1,2}(?:0?[1-9]|1[0-2])[-./ ]{1,2}(?:19|20)?[0-9]{2}"
    r"|(?:0?[1-9]|1[0-2])[-/](?:0?[1-9]|[12][0-9]|3[01])[-/](?:19|20)?[0-9]{2}"
    r"|(?:19|20)[0-9]{2}[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12][0-9]|3[01])"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.)? (?:de |of )?{_MONTH},? (?:de |of )?(?:19|20)[0-9]{{2}}"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)[0-9]{{2}})"
)
BIRTHDATE_BYTES: Final = rf"(?i)(?:{_BORN})[^0-9\x1e.]{{0,24}}?\b({_DATE})\b".encode()
"""A date that a word before it calls a day of birth; its group is the date."""

PASSPORT_BYTES: Final = (
    rb"(?i)(?:passport|reisepass|passeport|pasaporte|passaporto|paspoort|paszport|passnummer)"
    rb"[ \t_-]{0,2}(?:no|nr|num|number|nummer|numero|numer|book)?[^0-9a-z\x1e]{0,6}"
    rb"(?:is |ist |est |es |e )?([a-z0-9]{6,10})\b"
)
"""What a word before it calls the number of a passport; its group is the number."""

_BOOKS = r"pass(?:port|eport|nummer|aporto)|pasaporte|reisepass|paspoort|paszport"
BIRTH_WORDS: Final = rf"(?i:{_BORN}|{_BOOKS})".encode()
"""What these two begin with."""


_ALONE: Final = tuple(one for one in NUMBERS if not one.words)
_NAMED: Final = tuple(one for one in NUMBERS if one.words)


UNNAMED_BYTES: Final = "|".join(
    f"(?{'i' * bool(one.form.flags & re.IGNORECASE)}:{one.form.pattern[len(_BEGIN) : -len(_END)]})"
    for one in _ALONE
).encode()
"""The forms that need no word before them, for RE2: one search in the place of many."""


def around(run: Run, length: int) -> Span:
    """Where in a text of a length a number may stand that has a run of digits."""
    return max(0, run.start - _AROUND), min(length, run.end + _AROUND)


def before(run: Run) -> Span:
    """Where the name of a number may stand."""
    return max(0, run.start - _NEAR), run.start


def in_run(text: str, run: Run, *, named: bool) -> Iterator[tuple[str, Span]]:
    """The numbers in a run of digits with their rules; `named` where a name may be before it."""
    digits = sum(stop - start for start, stop in run.groups)
    forms = [one for one in _ALONE if one.least <= digits]
    if named:
        start, end = before(run)
        words = f" {text[start:end].lower()}"
        forms += [one for one in _NAMED if any(word in words for word in one.words)]
    for identity in forms:
        for span in _found(identity, text, *around(run, len(text))):
            yield identity.rule, span


def scattered(text: str, places: Iterable[Span]) -> dict[str, list[Span]]:
    """The numbers whose digits stand among letters, by their rules, in or near some places."""
    found: dict[str, list[Span]] = {}
    for start, end in places:
        begin, stop = max(0, start - _LONGEST), min(len(text), end + _LONGEST)
        for one in SCATTERED:
            found.setdefault(one.rule, []).extend(_found(one, text, begin, stop))
    return found


def _found(identity: Identity, text: str, begin: int, end: int) -> Iterator[Span]:
    place = begin
    while (match := identity.form.search(text, place, end)) is not None:
        start, stop = match.span()
        alone = begins(text, start) and ends(text, stop) and not middle(text, start, stop)
        if alone and identity.valid(match[0]):
            yield start, stop
            place = stop
        else:
            place = start + 1


def middle(text: str, start: int, end: int) -> bool:
    """Whether it is a part of a longer number, as of one with hyphens."""
    after = text[end : end + 1] in ("-", ".") and text[end + 1 : end + 2].isdigit()
    return after or (
        text[start - 1 : start] in ("-", ".") and text[start - 2 : start - 1].isdigit()
    )
