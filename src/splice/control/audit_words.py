"""Words of audit events that lie enciphered, as a reader may have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splice.control.locked_reviews import is_locked
from splice.core.audit import AuditEvent
from splice.core.reviews import Review


def details_of(
    event: AuditEvent, review: Callable[[str], Review | None]
) -> dict[str, Any]:  # JSON values
    """The details of an event; what is enciphered among them as the person wrote it.

    Or why it cannot be read: it was erased with the person whom the call is about, or it is
    encrypted and the review is not to be had.

    Args:
        event: Its own hash is over the enciphered words, which stay as they are.
        review: Gives a review with its words, by id; None where the reader may have none.
    """
    told = dict(event.details)
    for name, value in event.details.items():
        if isinstance(value, str) and is_locked(value):
            told[name] = _written(event, review(str(event.details.get("review", ""))))
    return told


def _written(event: AuditEvent, review: Review | None) -> str:
    if review is None:
        return "encrypted"
    said = [one for one in review.verdicts if (one.by, one.at_us) == (event.by, event.at_us)]
    return (said[0].note or "erased") if said else "encrypted"
