"""Dead letters as messages: the original bytes and headers, with origin, error and attempts."""

from __future__ import annotations

from splice.core.events import DeadLetter, Message
from splice.serve.events.retries import ORIGIN, TRIES, header

_OURS = frozenset({ORIGIN, TRIES, "splice-error", "splice-error-detail", "splice-dead-us"})


def dead_message(letter: DeadLetter, target: str) -> Message:
    """What is published of a dead letter; the same event gives the same id each time."""
    event = letter.event
    origin = header(event.headers, ORIGIN) or str(event.origin).encode()
    kept = tuple(pair for pair in event.headers if pair[0] not in _OURS)
    headers = (
        *kept,
        (ORIGIN, origin),
        (TRIES, str(letter.attempts).encode()),
        ("splice-error", letter.code.encode()),
        ("splice-error-detail", f"{letter.where}: {letter.detail}".encode("utf-8", "replace")),
        ("splice-dead-us", str(letter.at_us).encode()),
    )
    return Message(f"dead-{event.origin}", target, event.key, event.value, headers)
