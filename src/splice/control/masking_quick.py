"""A quick look for secrets: whether a plain text surely holds none, in a few microseconds.

Masking takes a document apart; of a sentence in plain ASCII there is nothing to take apart. What
this says no to is masked; what it is not sure of goes the long way.
"""

from __future__ import annotations

from splice.control.masking_rules import holds_secret_words
from splice.control.masking_text import BREAK, has_controls, has_numbers


def surely_holds_no_secret(text: str) -> bool:
    """Whether masking by `secret` would find nothing in a text; False where only it can tell."""
    if not text.isascii() or BREAK in text:
        return False
    ends = text[:1] + text[-1:]
    if ends.strip() != ends or ends in ("{}", "[]", '""'):  # it may be JSON
        return False
    raw = text.encode()
    return not (has_controls(raw) or holds_secret_words(raw) or has_numbers(text))
