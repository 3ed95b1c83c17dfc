"""Reading a text: what it asks, who is meant, what is denied, and which words then remain."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from splice.adapters.caches import words
from splice.adapters.caches.asking import question_of
from splice.adapters.caches.tokens import joined_de, joined_en, language_of, tokens_of
from splice.adapters.caches.words import VERB

NOT = "@not"
"""Where something is denied, among the words that remain; persons stand there as `@1` to `@5`."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What a text says, as far as its words tell. Two texts with the same reading ask the same."""

    language: str  # `en`, `de`, or empty where it is neither
    plain: tuple[str, ...]  # every word, number and sign
    asks: str = ""  # `how`, `when`, …; `whether`; empty for a statement
    modals: tuple[str, ...] = ()
    time: str = ""
    persons: tuple[int, ...] = ()
    owners: frozenset[tuple[int, str]] = frozenset()  # whose, and what
    cases: frozenset[tuple[str, str]] = frozenset()  # German: who does, and to whom it is done
    links: frozenset[tuple[str, str]] = frozenset()  # a word, and how it is linked: `to`, `about`
    content: tuple[str, ...] = ()  # what remains, in its order, with marks
    movable: frozenset[str] = frozenset()  # of these, what may stand elsewhere


def read(text: str) -> Reading:
    """What a text says; pure, and of any text: it never raises."""
    tokens, question = tokens_of(text)
    plain = tuple(token.low for token in tokens) + (("?",) if question else ())
    language = language_of(tokens)
    if not language:
        return Reading("", plain)
    joined = joined_de(tokens, question) if language == "de" else joined_en(tokens)
    rest, asks, implied = question_of(joined, language, question=question)
    return _sorted_out(rest.split(), asks, implied, language, plain)


class _Bound:
    """What binds a word: whose it is, its case, its preposition. Each waits for the next word."""

    def __init__(self, language: str) -> None:
        self._owning = words.OWNERS[language]
        self._linking = words.LINKS[language]
        self._casing: Mapping[str, str] = words.CASES_DE if language == "de" else {}
        self._owner, self._case, self._link = 0, "", ""
        self.owners: set[tuple[int, str]] = set()
        self.cases: set[tuple[str, str]] = set()
        self.links: set[tuple[str, str]] = set()

    def takes(self, part: str) -> bool:
        """Whether a part binds the word that follows."""
        self._case = self._casing.get(part, self._case)
        self._owner = self._owning.get(part, self._owner)
        self._link = self._linking.get(part, self._link)
        return part in self._owning or part in self._linking

    def bind(self, word: str, moves: bool) -> None:
        """What was taken since the last word binds this one."""
        if self._owner:
            self.owners.add((self._owner, word))
        if self._case:
            self.cases.add((self._case, word))
        # "To open", "for opening": before an action, it links nothing.
        if self._link and not moves and not (self._link == "to" and word in words.VERBS_EN):
            self.links.add((word, self._link))
        self._owner, self._case, self._link = 0, "", ""


def _sorted_out(
    parts: list[str], asks: str, implied: tuple[int, ...], language: str, plain: tuple[str, ...]
) -> Reading:
    """The words of a text, each in its place."""
    modals: set[str] = set()
    persons = list(implied)
    content = [f"@{person}" for person in implied]
    movable: set[str] = set()
    bound, time = _Bound(language), ""
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if bound.takes(part):
            continue
        if part in words.NEGATIONS:
            content += [part, NOT] if part in ("without", "ohne") else [NOT]
            modals |= {"can"} if part == "unable" else set()
        elif part in words.MODALS:
            modals.add(words.MODALS[part])
        elif language == "en" and after == "to" and part in _MUST_TO:
            modals.add("must")
        elif part in words.PAST[language]:
            time = "past"
        elif language == "en" and part in words.FUTURE:
            time = time or "future"
        elif part in words.PERSONS[language]:
            persons.append(words.PERSONS[language][part])
            content.append(f"@{words.PERSONS[language][part]}")
        elif part not in words.STOP[language]:
            word, moves = _word(part, language)
            content.append(word)
            movable |= {word} if moves else set()
            bound.bind(word, moves)
    # "How can I" is "how do I", and "where can I" is "where do I"; "when can I" is something else.
    modals -= {"can"} if asks in ("how", "where", "wo") else set()
    return Reading(
        language,
        plain,
        asks,
        tuple(sorted(modals)),
        time,
        tuple(persons),
        frozenset(bound.owners),
        frozenset(bound.cases),
        frozenset(bound.links),
        tuple(content),
        frozenset(movable),
    )


_MUST_TO = frozenset({"have", "has", "need", "needs", "required", "had"})


def _word(part: str, language: str) -> tuple[str, bool]:
    """The word that stands for all that mean the same, and whether it may stand elsewhere."""
    verb, part = part.startswith(VERB), part.removeprefix(VERB)
    part = words.NUMBERS.get(part, part)
    stem = words.stem_en(part) if language == "en" else words.stem_de(part)
    action = words.ACTIONS[language].get(part) or words.ACTIONS[language].get(stem)
    if action is not None:
        return action, True
    known = words.SAME[language].get(part) or words.SAME[language].get(stem)
    # German verbs stand second or last.
    return known or stem, verb
