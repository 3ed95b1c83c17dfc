"""Masking: personal data and secrets are taken out of what is recorded, by rule.

A document is taken apart into its strings, all of which are searched at once: names of fields, JSON
in strings, the texts of one message as if they were one, and long numbers too. What a rule finds is
replaced by its name: `[email]`. What cannot be searched is not let through.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from splice.control.masking_document import Document, Files, HoldsFile
from splice.control.masking_table import Table
from splice.control.masking_text import BREAK, Folded, has_numbers
from splice.core.errors import DeclarationError, SettingsError, SpliceError
from splice.ports.masking import Finder as Other
from splice.ports.masking import Veiled

if TYPE_CHECKING:  # at run time only where masking is asked for: it needs an optional library
    from splice.control.masking_rules import Finder, Searched

ALL = "all"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NAMED_WITHIN = 64
"""Characters before something in which a word may say what it is."""

_ROUNDS = 8
"""A finding that goes may leave another in the open; after so many the document is hostile."""

_Found: TypeAlias = "tuple[int, int, int]"
"""Start and end in a text, and the rank of the rule: a lower one names what overlaps."""


class Naming(Protocol):
    """What stands in the place of findings."""

    @property
    def known(self) -> Collection[str]:
        """Values that are none."""
        ...

    def __contains__(self, placeholder: str) -> bool:
        """Whether it is a placeholder that was given."""
        ...

    def placeholder(self, rule: str, found: str) -> str:
        """What stands for a finding."""
        ...


class NotMasked(SpliceError):
    """A document could not be searched; nothing of it may be kept."""

    code = "not_masked"


class Masking:
    """A Masker by rules, in time that grows with the length of the document only.

    Args:
        rules: Names of built-in and of custom rules; `all` stands for every built-in one.
        custom: RE2 patterns by name, of which `rules` may name some. They are searched in each
            string by itself, as it is and as it looks (see `masking_text`).
        others: Finders of what no pattern can find, by the rules that ask them.

    Raises:
        DeclarationError: A rule is unknown, or the library is not installed.
        SettingsError: A custom rule is not RE2, or has the name of a built-in one.
    """

    def __init__(
        self,
        rules: Sequence[str],
        custom: Mapping[str, str],
        others: Mapping[str, Other] | None = None,
    ) -> None:
        try:
            from splice.control.masking_rules import IDENTITIES, RULES, Searched, pattern
        except ImportError as error:
            raise DeclarationError(
                "log.mask",
                got=f"rules to mask by, and no library to search with ({error.name})",
                promised="google-re2 and python-stdnum",
                mend="install splice-ai[masking]",
            ) from error
        for name, text in custom.items():
            where = f"masking.rules.{name}"
            if name in RULES or name in IDENTITIES or name == ALL or not _NAME.fullmatch(name):
                raise SettingsError(
                    where, got="a name that is taken or cannot be one",
                    promised="lower-case letters, digits, - and _",
                    mend=f"call it other than {', '.join((*RULES, *IDENTITIES, ALL))}",
                )  # fmt: skip
            try:
                pattern(text)
            except ValueError as error:
                raise SettingsError(
                    where, got=f"{text!r}: {error}", promised="an RE2 pattern",
                    mend="write it without look-around and back-references",
                ) from None  # fmt: skip
        built_in = (*RULES, *IDENTITIES)
        others = others or {}
        known = {*built_in, *custom, *others, ALL}
        for name in rules:
            if name not in known:
                raise DeclarationError(
                    "log.mask", got=repr(name), promised=f"one of {', '.join(sorted(known))}",
                    mend="name one of them, or add it to [masking.rules] in splice.toml",
                )  # fmt: skip
        wanted = [name for name in built_in if name in rules or ALL in rules]
        self._searched: type[Searched] = Searched
        self._finders: list[Finder] = [RULES[name] for name in wanted if name in RULES]
        self._numbers = {name: rank for rank, name in enumerate(wanted) if name in IDENTITIES}
        self._built_in = len(wanted)
        self._custom: list[Any] = [pattern(custom[name]) for name in custom if name in rules]
        self._others = [others[name] for name in others if name in rules]
        self._names = [*wanted, *(one for one in (*custom, *others) if one in rules)]
        self.slow = bool(self._others)
        self._secret = self._names.index("secret") if "secret" in wanted else None

    def mask(self, document: bytes) -> bytes:
        """The same JSON with every finding replaced by its rule's name.

        Raises:
            NotMasked: It is not JSON, is nested too deeply, or still had findings in the end.
        """
        return self._searched_through(document, _Names(self._names), "drop")

    def veil(self, document: bytes, known: Collection[str] = (), *, files: bool = False) -> Veiled:
        """The same JSON with a placeholder for every finding, each value with one of its own.

        Raises:
            NotMasked: As in `mask`; or it holds a file and `files` is False.
        """
        table = Table(document, self._names, known)
        return table.veiled(self._searched_through(document, table, "keep" if files else "refuse"))

    def _searched_through(self, document: bytes, names: Naming, files: Files) -> bytes:
        try:
            for _ in range(_ROUNDS):
                taken = Document(document, files)
                changed = self._changed(taken, names)
                if not changed:
                    return taken.put(changed)
                if taken.is_flat(changed):
                    changed = self._flat(taken, changed, names)
                    return taken.put(changed)
                document = taken.put(changed)
        except HoldsFile:
            raise NotMasked(
                "masking", got="a file, into which no rule can look",
                mend="send text alone, or declare splice.Protect(files=True)",
            ) from None  # fmt: skip
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            # What it says may quote the document: only its type goes on.
            raise NotMasked(
                "masking", got=f"a document that cannot be read ({type(error).__name__})"
            ) from None
        raise NotMasked("masking", got=f"findings after {_ROUNDS} rounds")

    def _flat(self, document: Document, changed: dict[int, str], names: Naming) -> dict[int, str]:
        """What else is found in the texts that changed, until there is nothing.

        Raises:
            ValueError: There was, each time.
        """
        found = dict(changed)
        for _ in range(_ROUNDS):
            places = list(changed)
            more: dict[int, list[_Found]] = {}
            for place, one in self._in_each([changed[place] for place in places]):
                _add(more, places[place], one, changed[places[place]], names)
            if not more:
                return found
            changed = {
                place: self._masked(changed[place], spans, names) for place, spans in more.items()
            }
            found |= changed
        raise ValueError

    def _changed(self, document: Document, names: Naming) -> dict[int, str]:
        leaves = document.leaves
        texts = [leaf.text for leaf in leaves]
        found: dict[int, list[_Found]] = {}
        if self._secret is not None:
            for place, leaf in enumerate(leaves):
                if leaf.secret:
                    _add(found, place, (0, len(leaf.text), self._secret), texts[place], names)
        for place, one in self._in_each(texts):
            _add(found, place, one, texts[place], names)
        alone = {place: list(spans) for place, spans in found.items()}
        parts = document.parts
        for group, one in self._in_groups(texts, parts):
            for place, piece in _pieces(texts, parts[group], one):
                _add(found, place, piece, texts[place], names)
        lists = document.lists
        for group, one in self._in_groups(texts, lists):
            pieces = list(_pieces(texts, lists[group], one))
            # Strings of a list are as a rule apart: only what is a finding in none of them counts.
            if len(pieces) > 1 and not any(_overlaps(alone, place, p) for place, p in pieces):
                for place, piece in pieces:
                    _add(found, place, piece, texts[place], names)
        for place in document.opened(found):
            found.pop(place, None)
        return {place: self._masked(texts[place], found[place], names) for place in sorted(found)}

    def _in_groups(
        self, texts: Sequence[str], groups: Sequence[Sequence[int]]
    ) -> list[tuple[int, _Found]]:
        if not groups:
            return []
        return self._in_each(["".join(texts[place] for place in group) for group in groups])

    def _in_each(self, texts: Sequence[str]) -> list[tuple[int, _Found]]:
        """What is found in each of the texts, by its number."""
        found: list[tuple[int, _Found]] = []
        if self._built_in:
            joined = _Joined(texts)
            chosen = joined.chosen(self._searched)
            if len(chosen) == len(texts):
                found = self._in_all(joined)
            elif chosen:
                some = self._in_all(joined.only(chosen))
                found = [(chosen[place], one) for place, one in some]
        for place, text in enumerate(texts) if self._custom else ():
            found += [(place, one) for one in self._by_custom(text)]
        first = self._built_in + len(self._custom)
        for rank, other in enumerate(self._others, first):
            for place, spans in enumerate(_asked(other, texts)):
                found += [(place, (start, end, rank)) for start, end in spans]
        return found

    def _in_all(self, joined: _Joined) -> list[tuple[int, _Found]]:
        found: list[tuple[int, _Found]] = []
        for folded in joined.readings:
            for span, rank in self._all_in(self._searched(folded)):
                begin, end = folded.original(*span)
                place = joined.place(begin)
                offset = joined.starts[place]
                end = min(end - offset, len(joined.texts[place]))
                found.append((place, (begin - offset, end, rank)))
        return found

    def _all_in(self, searched: Searched) -> Iterator[tuple[tuple[int, int], int]]:
        for rank, finder in enumerate(self._finders):
            for span in finder(searched):
                yield span, rank
        for rule, spans in searched.numbers.items() if self._numbers else ():
            if rule in self._numbers:
                for span in spans:
                    yield span, self._numbers[rule]

    def _by_custom(self, text: str) -> list[_Found]:
        found: list[_Found] = []
        for folded in (None, *_readings(text)):
            if folded is not None and folded.text == text:
                continue
            for number, expression in enumerate(self._custom):
                rank = self._built_in + number
                for match in expression.finditer(text if folded is None else folded.raw):
                    start, end = match.span()
                    if start < end:
                        if folded is not None:
                            start, end = folded.original(start, end)
                        found.append((start, end, rank))
        return found

    def _masked(self, text: str, spans: list[_Found], names: Naming) -> str:
        """The text with placeholders; findings that overlap become one."""
        spans.sort()
        pieces: list[str] = []
        done = 0
        start, end, rank = spans[0]
        for begin, stop, other in [*spans[1:], (len(text) + 1, 0, 0)]:
            if begin < end:
                end, rank = max(end, stop), min(rank, other)
                continue
            pieces += (text[done:start], names.placeholder(self._names[rank], text[start:end]))
            done = end
            start, end, rank = begin, stop, other
        pieces.append(text[done:])
        return "".join(pieces)


def _asked(finder: Other, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """What a finder finds in each text.

    Raises:
        ValueError: Its answer is not one for these texts.
    """
    found = [list(spans) for spans in finder.find(texts)]
    for text, spans in zip(texts, found, strict=True):
        if any(not 0 <= start < end <= len(text) for start, end in spans):
            raise ValueError
    return found


class _Joined:
    """Texts that are searched together."""

    def __init__(self, texts: Sequence[str], readings: list[Folded] | None = None) -> None:
        self.texts = texts
        self.readings = readings if readings is not None else _readings(_with_breaks(texts))
        self.starts = list(accumulate([len(text) + 1 for text in texts], initial=0))
        self._length = self.starts.pop()

    def only(self, places: Sequence[int]) -> _Joined:
        """Some of the texts, by their numbers."""
        texts = [self.texts[place] for place in places]
        starts = [self.starts[place] for place in places]
        spans = [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]
        some = self.readings[0].only(spans) if len(self.readings) == 1 else None
        return _Joined(texts, None if some is None else [some])

    def place(self, begin: int) -> int:
        """The number of the text in which something begins."""
        return bisect_right(self.starts, begin) - 1

    def chosen(self, searched: type[Searched]) -> Sequence[int]:
        """The texts in which there may be something, with those before them that may name it.

        All of them, where that is most of what there is.
        """
        places: set[int] = set()
        for folded in self.readings:
            for begin in searched(folded).hints():
                place = self.place(folded.original(begin, begin + 1)[0])
                room = _NAMED_WITHIN
                while place >= 0 and room > 0 and place not in places:
                    places.add(place)
                    place -= 1
                    room -= len(self.texts[place]) + 1
        if 2 * sum(len(self.texts[place]) for place in places) > self._length:
            return range(len(self.texts))
        return sorted(places)


def _with_breaks(texts: Sequence[str]) -> str:
    whole = BREAK.join(texts)
    if whole.count(BREAK) == len(texts) - 1:
        return whole
    return BREAK.join(text.replace(BREAK, "\0") for text in texts)


class _Names:
    """Placeholders of the ledger: a finding is replaced by its rule's name alone."""

    known: Collection[str] = ()

    def __init__(self, names: Sequence[str]) -> None:
        self._placeholders = {name: f"[{name}]" for name in names}
        self._all = frozenset(self._placeholders.values())

    def __contains__(self, placeholder: str) -> bool:
        return placeholder in self._all

    def placeholder(self, rule: str, found: str) -> str:
        """What stands for a finding."""
        return self._placeholders[rule]


def _add(found: dict[int, list[_Found]], place: int, one: _Found, text: str, names: Naming) -> None:
    whole = text[one[0] : one[1]]
    inner = whole.strip("\"'")
    if inner and inner not in names and whole not in names.known:
        found.setdefault(place, []).append(one)


def _readings(text: str) -> list[Folded]:
    """The text as it looks, and as it reads where characters of it are written in numbers."""
    readings = [Folded(text)]
    if has_numbers(text):
        readings.append(Folded(text, decoded=True))
    return readings


def _pieces(texts: Sequence[str], members: Sequence[int], one: _Found) -> list[tuple[int, _Found]]:
    """A finding in texts put together, as the pieces of it that stand in each of them."""
    begin, stop, rank = one
    pieces: list[tuple[int, _Found]] = []
    offset = 0
    for place in members:
        length = len(texts[place])
        start, end = max(begin - offset, 0), min(stop - offset, length)
        if start < end:
            pieces.append((place, (start, end, rank)))
        offset += length
        if offset >= stop:
            break
    return pieces


def _overlaps(found: Mapping[int, Sequence[_Found]], place: int, one: _Found) -> bool:
    return any(start < one[1] and one[0] < end for start, end, _ in found.get(place, ()))
