"""Support tickets: 280 short texts in four queues, MADE UP for this example, read and split.

Nobody sent these tickets. One author wrote every sentence by hand for this repository (licence:
that of the repository), because no package was found that carries a real corpus of support
tickets with a licence to use it. They include typos, mixed moods, one-word tickets and cases that
touch two queues; yet a set written by one hand is easier than real mail, so take the accuracy
measured here as proof that the parts work together, not as a forecast.

A ticket belongs to the queue that must act to solve it: a payment taken twice because the app
crashed is `billing`; a sign-in page that does not draw is `technical`; a password refused is
`account`; money claimed back for a parcel that never came is `billing`.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = "made up: written by hand for this example by its author"
LICENCE: Final = "that of this repository"
TICKETS: Final = Path(__file__).with_name("tickets.jsonl")
QUEUES: Final = ("account", "billing", "delivery", "technical")
"""In the order of the model's probabilities."""

MAX_CHARACTERS: Final = 2000
"""What a request may hold; the model reads the first 128 word pieces, some 500 characters."""

SPLIT_SEED: Final = 20261123
HELD_OUT_PER_QUEUE: Final = 25


@dataclass(frozen=True, slots=True)
class Ticket:
    """One text and the queue that must act on it."""

    id: str
    text: str
    queue: str


def read() -> list[Ticket]:
    """All 280 tickets in the order of the file, 70 a queue."""
    lines = TICKETS.read_text(encoding="utf-8").splitlines()
    return [Ticket(**json.loads(line)) for line in lines]


def split(tickets: list[Ticket]) -> tuple[list[Ticket], list[Ticket]]:
    """Training part (45 a queue) and held-out part (25 a queue), the same on every machine."""
    draw = random.Random(SPLIT_SEED)  # noqa: S311 - a fixed split, not a secret
    held_out: set[str] = set()
    for queue in QUEUES:
        members = [ticket.id for ticket in tickets if ticket.queue == queue]
        held_out.update(draw.sample(members, HELD_OUT_PER_QUEUE))
    return (
        [ticket for ticket in tickets if ticket.id not in held_out],
        [ticket for ticket in tickets if ticket.id in held_out],
    )


def validation() -> dict[str, dict[str, object]]:
    """What each request field may hold, for the integration to check before the graph sees it."""
    return {"text": {"type": "string", "min_length": 1, "max_length": MAX_CHARACTERS}}
