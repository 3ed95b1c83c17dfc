"""Text as it is searched: plain ASCII, however it was written, with the way back to the original.

Full-width and mathematical digits, letters with marks, invisible characters, and look-alikes of
Latin letters, of `@`, dots and hyphens would hide a finding. So each character is folded: to the
ASCII that it looks like, to nothing where nobody sees it, else to a stand-in that no rule mistakes
for a letter or a digit.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

BREAK = "\x1e"
"""Stands between two strings that are searched together; no finding goes across it."""

_WORD = "\x02"  # a letter of a script that has no cases: it touches a number as a space does
_OTHER = "\x03"  # a symbol
_STAND_INS = _WORD + _OTHER
_STRANGE = "q"  # a cased letter that looks like no Latin one

_INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that leave no ink
_LOOKALIKES = {
    **dict.fromkeys("\u3002\u06d4\uff61\u2024", "."),
    **dict.fromkeys("\u2212\u02d7\u00af", "-"),
    **dict.fromkeys("\u2044\u2215\u29f8", "/"),
    **dict.fromkeys("\u2236\ua789\u02d0\u05c3", ":"),
    **dict.fromkeys("\u2018\u2019\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("™℠½¼¾℃℉№", _OTHER),
    "٪": "%",
    **dict(zip("аеорсухіјѕԁһпгкмтвн", "aeopcyxijsdhnrkmtbh", strict=True)),
    **dict(zip("АВЕКМНОРСТУХІЈЅ", "ABEKMHOPCTYXIJS", strict=True)),
    **dict(zip("αεικνορτυχ", "aeikvoptux", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    "ı": "i",
    "ß": "s",  # one character for one keeps the search quick where it can be had
    "…": ".",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "æ": "a",
    "Æ": "A",
    "œ": "o",
    "þ": "t",
}  # fmt: skip
_SPACES = {"Zs": " ", "Zl": "\n", "Zp": "\n", "Pd": "-", "Pc": "_"}
_UNSEEN = frozenset(("Cc", "Cf", "Mn", "Me"))
_REMEMBERED = 20_000  # characters; a hostile text could bring a million

_CONTROLS = bytes(i for i in (*range(0x20), 0x7F) if chr(i) not in f"\t\n\r{BREAK}")
_NUMBER = re.compile(r"\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2}|&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});")
_KEPT = frozenset("\t\n\r" + BREAK) | {chr(i) for i in range(0x20, 0x7F)}


def _folded(character: str, depth: int = 0) -> str:
    if character in _KEPT:
        return character
    if character in _LOOKALIKES:
        return _LOOKALIKES[character]
    category = unicodedata.category(character)
    if category in _UNSEEN or character in _INVISIBLE:
        return ""
    if category in _SPACES:
        return _SPACES[category]
    if category == "Nd":
        return str(unicodedata.decimal(character))
    plain = unicodedata.normalize("NFKD", character)
    if plain != character and depth < 2 and (category != "Lo" or plain.isascii()):
        return "".join(_folded(one, depth + 1) for one in plain)
    if category == "Lo":
        return _WORD
    return _STRANGE if category.startswith("L") else _OTHER


class _Folds(dict[int, str]):
    """What each character is folded to, by its number; learnt as characters come."""

    def __missing__(self, number: int) -> str:
        fold = _folded(chr(number))
        if len(self) < _REMEMBERED:
            self[number] = fold
        return fold


_FOLDS = _Folds()

_Piece: TypeAlias = "tuple[int, int, int, bool]"
"""Where it ends in the folded text; start and end in the original; one character for each."""

_Cut: TypeAlias = "tuple[int, int, str]"
"""Start and end in the original, and what is searched in its place."""


class Folded:
    r"""A text as it is searched.

    Args:
        original: The text.
        decoded: Whether characters written in numbers are read: `\u0040`, `%40`, `&#64;`.

    Attributes:
        text: ASCII; `raw` are its bytes, so that offsets are the same in both.
    """

    __slots__ = ("_pieces", "_starts", "raw", "text")

    def __init__(self, original: str, *, decoded: bool = False) -> None:
        self._pieces: list[_Piece] = []
        self._starts: list[int] = []
        raw = None if decoded else _quickly(original)
        if raw is not None:
            self.raw, self.text = raw, original if original.isascii() else raw.decode("ascii")
            return
        cuts = _uneven(original)
        if decoded:
            cuts += [
                (m.start(), m.end(), _FOLDS[_number(m[0])]) for m in _NUMBER.finditer(original)
            ]
            cuts.sort()
        self.text = self._in_pieces(original, cuts) if cuts else original.translate(_FOLDS)
        self.raw = self.text.encode()

    def only(self, parts: Sequence[tuple[int, int]]) -> Folded | None:
        """Parts of the text, with breaks between; None where it was not folded one for one."""
        if self._pieces:
            return None
        some = Folded("")
        some.raw = BREAK.encode().join([self.raw[start:end] for start, end in parts])
        some.text = some.raw.decode("ascii")
        return some

    def _in_pieces(self, original: str, cuts: Sequence[_Cut]) -> str:
        folded: list[str] = []
        length = done = 0

        def add(text: str, start: int, end: int, *, even: bool) -> None:
            nonlocal length
            self._starts.append(length)
            length += len(text)
            self._pieces.append((length, start, end, even))
            folded.append(text)

        for start, end, fold in cuts:
            if start > done:
                add(original[done:start].translate(_FOLDS), done, start, even=True)
            add(fold, start, end, even=False)
            done = end
        if done < len(original):
            add(original[done:].translate(_FOLDS), done, len(original), even=True)
        return "".join(folded)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of `text` stands in the original, with the marks that follow it."""
        if not self._pieces:
            return start, end
        first, last = bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1) - 1
        _, begin, _, even = self._pieces[first]
        if even:
            begin += start - self._starts[first]
        until, source, stop, even = self._pieces[last]
        if even and end < until:
            return begin, source + end - self._starts[last]
        # What was folded to nothing has no width: a mark belongs to the letter before it.
        while last + 1 < len(self._pieces) and self._pieces[last + 1][0] == until:
            last += 1
            stop = self._pieces[last][2]
        return begin, stop


class _Page(NamedTuple):
    """A character set of one byte each, and what its bytes are folded to."""

    codec: str
    folds: bytes
    uneven: bytes


@cache
def _page(codec: str) -> _Page:
    folds = bytearray(range(256))
    uneven = bytearray(one for one in _CONTROLS if chr(one) not in _STAND_INS)
    for number in range(0x80, 0x100):
        character = bytes([number]).decode(codec, "replace")
        fold = _FOLDS[ord(character)]
        if len(fold) == 1:
            folds[number] = ord(fold)
        else:
            uneven.append(number)
    return _Page(codec, bytes(folds), bytes(uneven))


_EAST = re.compile("[\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]+")
"""Letters of Chinese, Japanese and Korean: none has cases."""

_EASTERN = 0x3000


def _beyond(error: UnicodeError) -> tuple[bytes, int]:
    """What a page has not: folded here. It comes out shorter where that is not one for one."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    folds = [_FOLDS[ord(one)] for one in error.object[error.start : error.end]]
    return "".join([one for one in folds if len(one) == 1]).encode(), error.end


codecs.register_error("splice-fold", _beyond)

_PAGES = (  # of the first character that Latin-1 has not; any other is no mistake, only slower
    (0x100, 0x180, "cp1250"),
    (0x370, 0x400, "cp1253"),
    (0x400, 0x500, "cp1251"),
)
_MARKS = {
    one: _FOLDS[ord(one)] for one in "\u2019\u2018\u201c\u201d\u201e\u2013\u2014\u2026\u2022\u20ac"
}
"""What texts in Latin-1 are full of besides, each folded to one character."""


def _quickly(original: str) -> bytes | None:
    """The folded text, where every character is folded to one; else None."""
    if original.isascii():
        raw = original.encode()
        return raw if len(raw.translate(None, _CONTROLS)) == len(raw) else None
    if any(one in original for one in _STAND_INS):
        return None
    length = len(original)
    for mark, fold in _MARKS.items():
        original = original.replace(mark, fold)
    codec = "latin-1"
    try:
        raw = original.encode(codec)
    except UnicodeEncodeError as error:
        number = ord(original[error.start])
        if number >= _EASTERN:
            original = _EAST.sub(_as_words, original)
        codec = next((page for least, end, page in _PAGES if least <= number < end), codec)
        raw = original.encode(codec, "splice-fold")
    page = _page(codec)
    raw = raw.translate(page.folds, page.uneven)
    return raw if len(raw) == length else None


def _as_words(match: re.Match[str]) -> str:
    return _WORD * len(match[0])


def _uneven(original: str) -> list[_Cut]:
    """The characters that are not folded to one character each."""
    uneven = {one for one in set(original) if len(_FOLDS[ord(one)]) != 1}
    if not uneven:
        return []
    return [
        (place, place + 1, _FOLDS[ord(one)]) for place, one in enumerate(original) if one in uneven
    ]


def _number(written: str) -> int:
    if written[0] == "\\":
        number = int(written[2:], 16)
    elif written[0] == "%":
        number = int(written[1:], 16)
    else:
        inner = written[2:-1]
        number = int(inner[1:], 16) if inner[0] in "xX" else int(inner)
    return number if number < 0x110000 and number != ord(BREAK) else 0


def has_controls(raw: bytes) -> bool:
    """Whether a text in ASCII has characters that nobody sees."""
    return len(raw.translate(None, _CONTROLS)) != len(raw)


def has_numbers(original: str) -> bool:
    r"""Whether characters of a text may be written in numbers: `\u0040`, `%40`, `&#64;`."""
    # From mark to mark is ten times as fast as a look at every character; and a mark of one
    # character is found five times as fast as one of two.
    for mark in "%&\\":
        place = original.find(mark)
        while place >= 0:
            if _NUMBER.match(original, place):
                return True
            place = original.find(mark, place + 1)
    return False
