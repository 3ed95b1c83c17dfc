"""The second check: whether two texts ask the same, told by their words alone.

Nearness of vectors cannot tell "invoice 4711" from "invoice 4712", nor "before" from "after". This
check can, because it trusts nothing that it does not know: after what does not matter is left out
(articles, courtesy, inflection) and words that mean the same are made one, the same words must
remain, and in the same order. What is asked for (how, when, who, whether), negations, what one can
or must, who does it and when, are compared on their own. It reads English and German; texts in
other languages must be the same but for letter case and punctuation.
"""

from __future__ import annotations

from collections import Counter

from splice.adapters.caches import words
from splice.adapters.caches.reading import NOT, Reading, read

_SHORT = 3  # words
_OTHER_CASE = {"who": "whom", "whom": "who"}
_Owners = frozenset[tuple[int, str]]


def same_question(one: str, other: str) -> bool:
    """Whether two texts ask the same, as far as their words tell."""
    return not difference(read(one), read(other))


def difference(one: Reading, other: Reading) -> str:
    """In what two texts differ; empty where they ask the same.

    One of `language`, `question`, `modality`, `time`, `person`, `words`, `order` and
    `link` (a preposition).
    """
    # Letter case alone may be meaning: "to us" and "to US", "sie" and "Sie".
    if (one.plain, one.asks, one.content) == (other.plain, other.asks, other.content):
        return ""
    if not one.language or one.language != other.language:
        return "language"
    if one.asks != other.asks:
        return "question"
    if one.modals != other.modals:
        return "modality"
    if one.time != other.time and one.asks != "when":
        return "time"
    if "past" in (one.time, other.time) and one.time != other.time:
        return "time"
    if one.persons != other.persons or not _same_owners(one.owners, other.owners):
        return "person"
    # "Der Hund beißt den Mann" is not "den Hund beißt der Mann".
    if any((_OTHER_CASE[case], word) in other.cases for case, word in one.cases):
        return "person"
    if all(word.startswith("@") for word in one.content) or Counter(one.content) != Counter(
        other.content
    ):
        return "words"
    if not _same_order(one, other):
        return "order"
    return "" if _same_links(one, other) else "link"


def _same_owners(one: _Owners, other: _Owners) -> bool:
    """Whether "my invoice" and "the invoice" stand here, but not "your", nor "her invoice"."""
    if any(owner > 2 for owner, _ in one ^ other):
        return False
    return one <= other or other <= one


def _same_links(one: Reading, other: Reading) -> bool:
    """Whether no word has another preposition: "apply to the bank", "apply for the bank"."""
    moved = one.content != other.content
    for word in {word for word, _ in one.links ^ other.links}:
        mine = {link for at, link in one.links if at == word} or {""}
        yours = {link for at, link in other.links if at == word} or {""}
        pair = tuple(sorted(("/".join(sorted(mine)), "/".join(sorted(yours)))))
        # "Limit for transfers" is "transfer limit": then a word has moved as well.
        if mine != yours and pair not in words.LINKS_ALIKE and not (moved and pair == ("", "for")):
            return False
    return True


def _same_order(one: Reading, other: Reading) -> bool:
    """Whether the words stand in the same order, but for one that may stand elsewhere."""
    a, b = one.content, other.content
    if a == b:
        return True
    first = next(i for i, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1])
    last = next(i for i in range(len(a) - 1, -1, -1) if a[i] != b[i])
    moves: list[tuple[str, tuple[str, ...]]] = []  # what may have moved, and over what
    if a[first] == b[last] and a[first + 1 : last + 1] == b[first:last]:
        moves.append((a[first], b[first:last]))
    if a[last] == b[first] and a[first:last] == b[first + 1 : last + 1]:
        moves.append((a[last], a[first:last]))
    return any(_may_move(one, other, moved, over) for moved, over in moves)


def _may_move(one: Reading, other: Reading, moved: str, over: tuple[str, ...]) -> bool:
    if moved == NOT:  # "didn't my order", "my order not": in longer texts it may deny another word
        return sum(not word.startswith("@") for word in one.content) <= _SHORT
    if moved not in one.movable or moved not in other.movable:
        return False
    # English tells by the order who does what to whom; a German verb stands where it must.
    return one.language == "de" or not (
        words.STRICT.intersection(one.content)
        or one.movable.intersection(over)
        or any(word.startswith("@") for word in over)
    )
