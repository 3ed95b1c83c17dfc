"""Words that give a class away: what answers when the model is away. Needs nothing but Python."""

from __future__ import annotations

import re
from typing import Final

WORDS: Final = {
    "complaint": "complaint complain disappointed refund damaged defective unacceptable faulty",
    "contract": "agreement parties hereby clause termination tenant landlord employer lender",
    "cv": "curriculum vitae resume experience education skills degree references",
    "delivery_note": "delivery dispatch dispatched shipment consignee packages pallet carrier",
    "invoice": "invoice vat subtotal payable iban bill tax",
}
_PATTERNS: Final = {
    kind: re.compile(rf"\b(?:{'|'.join(words.split())})\b") for kind, words in WORDS.items()
}


def kind_of(words: str) -> tuple[str | None, float]:
    """The class with most of its words in the text, and the share of the hits that are its own.

    No class, and 0, where two tie or none has any. The share is a measure of how clear it was, not
    a probability.
    """
    counts = {kind: len(pattern.findall(words)) for kind, pattern in _PATTERNS.items()}
    best = max(counts.values())
    winners = [kind for kind, count in counts.items() if count == best]
    if best == 0 or len(winners) > 1:
        return None, 0.0
    return winners[0], best / sum(counts.values())
