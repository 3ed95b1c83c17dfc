"""What goes into the source, and whether what came out is the decision about each of it, once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from serve.job import TOLERANCE, Asked, WrongAnswerError

BYTES = 1024
"""Of each event."""
PREFIX, DIGITS = b"pay-", 10
ID = "pay-%010d"
LEFT = "A card payment at the counter, by chip, with the receipt printed; nothing else was said. "


def source_events(asked: Asked, count: int, first: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """So many events, each with its key: 1 KB of JSON, every row of the model in turn."""
    tails = [_tail(row, number) for number, row in enumerate(asked.rows)]
    for number in range(first, first + count):
        key = ID % number
        yield key.encode(), b'{"id":"%s",' % key.encode() + tails[number % len(tails)]


def check(decisions: Sequence[bytes], asked: Asked, count: int) -> None:
    """Every event must have one decision, and the model's own.

    Raises:
        WrongAnswerError: One is missing, doubled, or says something else.
    """
    seen = bytearray(count)
    for body in decisions:
        decision = json.loads(body)
        number = number_of(body)
        expected = asked.probabilities[number % len(asked.probabilities)]
        if abs(decision["probability"] - expected) > TOLERANCE or not decision["action"]:
            raise WrongAnswerError(f"{body!r}: the model says {expected}")
        seen[number] += 1
    doubled, missing = sum(one > 1 for one in seen), seen.count(0)
    if doubled or missing:
        raise WrongAnswerError(f"of {count} decisions {missing} are missing, {doubled} doubled")


def number_of(decision: bytes) -> int:
    """Which event a decision is about: `source_events` counted them."""
    at = decision.index(PREFIX) + len(PREFIX)
    return int(decision[at : at + DIGITS])


def _tail(row: Sequence[float], number: int) -> bytes:
    """All of an event but its id."""
    event = {
        "at": "2026-11-28T09:15:27.204518Z",
        "card": f"card-{number:08d}",
        "amount_eur": round(17.35 + number * 3.1, 2),
        "currency": "EUR",
        "country": "DE",
        "merchant": {
            "id": f"merchant-{number:06d}",
            "name": "Uhren und Schmuck am Markt",
            "category": "jewellery",
            "city": "Leipzig",
        },
        "device": {
            "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0",
            "address": f"198.51.100.{number}",
            "session": f"{number:032x}",
        },
        "note": "",
        "features": list(row),
    }
    missing = BYTES - len(json.dumps({"id": ID % 0} | event, separators=(",", ":")))
    event["note"] = (LEFT * 10)[:missing]
    return json.dumps(event, separators=(",", ":")).encode()[1:]
