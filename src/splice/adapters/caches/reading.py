"""Reading a text: what it asks, who is meant, what is denied, and which words then remain."""

from __future__ import annotations

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
    negations: int = 0
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


def _sorted_out(
    parts: list[str], asks: str, implied: tuple[int, ...], language: str, plain: tuple[str, ...]
) -> Reading:
    """The words of a text, each in its place."""
    modals: list[str] = []
    persons: list[int] = list(implied)
    owners: set[tuple[int, str]] = set()
    cases: set[tuple[str, str]] = set()
    links: set[tuple[str, str]] = set()
    owner, case, link = 0, "", ""
    content: list[str] = [f"@{person}" for person in implied]
    movable: set[str] = set()
    negations, time = 0, ""
    for i, part in enumerate(parts):
        after = parts[i + 1] if i + 1 < len(parts) else ""
        if language == "de" and part in words.CASES_DE:
            case = words.CASES_DE[part]
        if part in words.NEGATIONS:
            negations += 1
            content += [part, NOT] if part in ("without", "ohne") else [NOT]
            modals += ["can"] if part == "unable" else []
        elif part in words.MODALS:
            modals.append(words.MODALS[part])
        elif language == "en" and after == "to" and part in _MUST_TO:
            modals.append("must")
        elif part in words.PAST[language]:
            time = "past"
        elif language == "en" and part in words.FUTURE:
            time = time or "future"
        elif part in words.PERSONS[language]:
            persons.append(words.PERSONS[language][part])
            content.append(f"@{words.PERSONS[language][part]}")
        elif part in words.OWNERS[language]:
            owner = words.OWNERS[language][part]
        elif part in words.LINKS[language]:
            link = words.LINKS[language][part]
        elif part not in words.STOP[language]:
            word, moves = _word(part, language)
            content.append(word)
            if moves:
                movable.add(word)
            if owner:
                owners.add((owner, word))
            if case:
                cases.add((case, word))
            # "To open", "for opening": before an action, it links nothing.
            if link and not moves and not (link == "to" and word in words.VERBS_EN):
                links.add((word, link))
            owner, case, link = 0, "", ""
    # "How can I" is "how do I", and "where can I" is "where do I"; "when can I" is something else.
    if asks in ("how", "where", "wo"):
        modals = [modal for modal in modals if modal != "can"]
    return Reading(
        language,
        plain,
        asks,
        negations,
        tuple(sorted(set(modals))),
        time,
        tuple(persons),
        frozenset(owners),
        frozenset(cases),
        frozenset(links),
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
