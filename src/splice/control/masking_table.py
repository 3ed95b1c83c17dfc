"""The placeholders of one call, and what they stand for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence

from splice.ports.masking import Veiled

_TAG = str.maketrans("0123456789abcdef", "ghjkmnpqrstuvwxz")
"""Letters, since a rule could take digits for a number of something."""

_TAG_LENGTH = 8
_OPENED = "(?:[\\[［【〔⟦(<{]|\\\\u005b|\\\\uff3b|&#91;|&#x5b;|%5b)"


class Table:
    """Gives every value that is found a placeholder of its own, the same one each time.

    Placeholders are `[email-1]`, `[email-2]`, in the order in which the values stand in the
    document, so that a conversation that goes on keeps those that it had. Where the document holds
    what looks like a placeholder itself, they get a tag that nobody can know before the document is
    whole, `[email-1-kqtzmhrv]`: what a caller wrote is then never filled with a value.

    Args:
        document: What is searched.
        names: Of the rules.
        known: Values that are no secret.
    """

    def __init__(self, document: bytes, names: Sequence[str], known: Collection[str]) -> None:
        self.known = known
        self.values: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self._placeholders: dict[str, str] = {}
        self._document = document
        self._names = names
        self._tag = ""

    def __contains__(self, placeholder: str) -> bool:
        return placeholder in self.values

    def placeholder(self, rule: str, found: str) -> str:
        """What stands for a finding."""
        value = self._restored(found)
        placeholder = self._placeholders.get(value)
        if placeholder is None:
            if not self.values and _looks_like_one(self._document, self._names):
                self._make_tag()
            number = self.counts.get(rule, 0) + 1
            placeholder = f"[{rule}-{number}{self._tag}]"
            while placeholder.encode() in self._document:
                self._make_tag()
                placeholder = f"[{rule}-{number}{self._tag}]"
            self.counts[rule] = number
            self._placeholders[value] = placeholder
            self.values[placeholder] = value
        return placeholder

    def veiled(self, document: bytes) -> Veiled:
        """The document as it came to be, with what its placeholders stand for."""
        return Veiled(document, self.values, self.counts)

    def _restored(self, found: str) -> str:
        """A finding of a later round may hold placeholders of an earlier one."""
        if "[" in found:
            for placeholder, value in self.values.items():
                found = found.replace(placeholder, value)
        return found

    def _make_tag(self) -> None:
        digest = hashlib.sha256(self._document + self._tag.encode()).hexdigest()
        self._tag = f"-{digest[:_TAG_LENGTH].translate(_TAG)}"


def _looks_like_one(document: bytes, names: Sequence[str]) -> bool:
    """Whether something in a document looks like a placeholder of one of the rules."""
    text = document.decode("utf-8", "replace").lower()
    if not any(name in text for name in names):
        return False
    rules = "|".join(map(re.escape, names))
    return re.search(rf"{_OPENED}\s{{0,3}}(?:{rules})[^a-z0-9]{{1,3}}[0-9]", text) is not None
