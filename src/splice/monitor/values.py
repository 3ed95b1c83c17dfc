"""From the values of columns to their profiles: each value by its type, nothing raw kept."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

import msgspec
import numpy as np

from splice.core.profiles import Numbers, Profile
from splice.monitor.columns import Column
from splice.monitor.sketches import FEW_VALUES, FEW_WORDS, numbers_of, word_hash, words_of
from splice.monitor.texts import Encode, texts_of

MOST_WORD = 40
"""Characters; what is longer, or has more than four spaces, is a text."""
NAMED = 20
"""In so many calls a word must have come before it may be named, unless its type declares it."""
_LOOKED_AT = 64
_MASKED = re.compile(r"\[[a-z][a-z0-9_-]{0,31}\]|sha256:[0-9a-f]{16}")
_PERSONAL = re.compile(r"@|\d{5}|[\n\r\t]")
_TRUTHS = {0: "false", 1: "true"}


class Naming:
    """Decides which words may be named: never by what they say alone.

    A word of a column with few different words may be named once it came in `NAMED` calls that
    this process has seen, or where the declaration names it itself.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Counter[int] | None] = {}

    def names(
        self, place: tuple[str, str], words: Mapping[str, int], declared: tuple[str, ...]
    ) -> dict[int, str]:
        """The words of a batch that may be named, by their hash. `place` is who asks."""
        if declared:
            return {word_hash(word): word for word in words if word in declared}
        if len(self._seen) >= 20_000:  # of as many columns as nobody has: forget, and count anew
            self._seen.clear()
        before = self._seen.setdefault(place, Counter())
        if before is None:
            return {}
        before.update({word_hash(word): count for word, count in words.items()})
        if len(before) > FEW_WORDS:
            self._seen[place] = None
            return {}
        return {
            hashed: word for word in words if may_be_named(word, before[hashed := word_hash(word)])
        }


def may_be_named(word: str, count: int) -> bool:
    """Whether a word came often enough, and has nothing in it that only personal words have."""
    return count >= NAMED and not _PERSONAL.search(word)


def is_text(text: str) -> bool:
    """Whether it is a text rather than a word."""
    return len(text) > MOST_WORD or text.count(" ") > 4


class Terms(msgspec.Struct):
    """What is known of columns beside their values."""

    naming: Naming
    owner: str = ""  # whose columns they are: the integration
    words: Mapping[str, tuple[str, ...]] = {}  # the words that a column's type declares
    private: Callable[[str, Column], bool] = lambda name, values: False
    encode: Mapping[str, Encode] = {}


def profiles_of(columns: Mapping[str, Column], terms: Terms) -> dict[str, Profile]:
    """The profile of each column."""
    found: dict[str, Profile] = {}
    alike: list[tuple[str, Column]] = []
    for name, values in columns.items():
        kinds = set(map(type, values))
        if kinds <= {float, int} and values:
            alike.append((name, values))
            found[name] = Profile()
        elif kinds == {type(None)}:
            found[name] = Profile(calls=len(values), missing=len(values))
        else:
            found[name] = _mixed(name, values, kinds, terms)
    by_size: dict[int, list[tuple[str, Column]]] = {}
    for one in alike:
        by_size.setdefault(len(one[1]), []).append(one)
    for group in by_size.values():
        for name, numbers in zip(
            (n for n, _ in group), _numbers([v for _, v in group]), strict=True
        ):
            found[name] = Profile(calls=numbers.count + numbers.not_finite, numbers=numbers)
    return found


def _mixed(name: str, values: Column, kinds: set[type], terms: Terms) -> Profile:
    """The profile of a column with missing values, or with values of several types."""
    profile = Profile(calls=len(values), missing=values.count(None) if None in values else 0)
    if float in kinds or int in kinds:
        # bool is an int: its own type tells them apart.
        profile.numbers = _numbers([[v for v in values if type(v) is float or type(v) is int]])[0]
    if bool in kinds:
        true = sum(value is True for value in values)
        false = sum(value is False for value in values)
        counts = {hashed: n for hashed, n in ((0, false), (1, true)) if n}
        profile.truths = words_of(counts, {one: _TRUTHS[one] for one in counts}, private=False)
    if str in kinds:
        _strings(name, values, kinds, profile, terms)
    if list in kinds:
        lengths = [float(len(cast("list[Any]", v))) for v in values if type(v) is list]
        profile.lengths = _numbers([lengths])[0]
    return profile


def _strings(name: str, values: Column, kinds: set[type], profile: Profile, terms: Terms) -> None:
    texts = cast("list[str]", values if kinds == {str} else [v for v in values if type(v) is str])
    counts = Counter(texts)
    long = {text for text in counts if is_text(text)}
    if long:
        profile.texts = texts_of([t for t in texts if t in long], terms.encode.get(name))
    words = {word: count for word, count in counts.items() if word not in long}
    if not words:
        return
    looked_at = islice(words, FEW_WORDS)  # of more, none is named and none is counted by itself
    profile.private = terms.private(name, values) or any(map(_MASKED.search, looked_at))
    named: dict[int, str] = {}
    if not profile.private and len(words) <= FEW_WORDS:
        named = terms.naming.names((terms.owner, name), words, terms.words.get(name, ()))
    hashed: dict[int, int] = {}
    for word, count in words.items():
        place = word_hash(word)
        hashed[place] = hashed.get(place, 0) + count
    profile.words = words_of(hashed, named, private=profile.private)


def _numbers(columns: list[Column]) -> list[Numbers]:
    """The numbers of columns of one length, which hold nothing else."""
    counted = [_counted(values) for values in columns]
    try:
        matrix = np.array(columns, np.float64)
    except OverflowError:  # a whole number beyond the doubles
        matrix = np.array([[_double(value) for value in values] for values in columns])
    if np.isfinite(matrix).all():
        return numbers_of(matrix, counted)
    found: list[Numbers] = []
    for row, counts in zip(matrix, counted, strict=True):
        finite = row[np.isfinite(row)]
        kept = None if counts is None else {v: n for v, n in counts.items() if math.isfinite(v)}
        numbers = numbers_of(finite[None, :], [kept])[0]
        numbers.not_finite = len(row) - len(finite)
        found.append(numbers)
    return found


def _counted(values: Column) -> dict[float, int] | None:
    """How often each number is there, or None where they are many."""
    if len(set(values[:_LOOKED_AT])) > FEW_VALUES:
        return None
    counts = Counter(values)
    if len(counts) > FEW_VALUES:
        return None
    joined: dict[float, int] = {}
    for value, count in counts.items():
        number = _double(value) + 0.0
        joined[number] = joined.get(number, 0) + count
    return joined


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
