"""A process that settles events until there are no more, or until it is killed.

    python event_worker.py URL FOLDER NAME drain
    python event_worker.py URL FOLDER NAME same COUNT

`drain` works on the queue `orders`, each event with everything that can be stored with it. `same`
waits for a line, and settles events 0 to COUNT of a topic, as another reader of it does as well.
Each line that it writes is how many of a batch it was the first to settle.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.events import Event, Inbox, Message, Origin, Settled, body_digest, place_id
from splice.testing.contracts.records import simple_record


def settled(event: Event, rng: random.Random) -> Settled:
    """An answer with messages for the outbox, a queue and a table; their ids name the event."""
    record, number = simple_record(rng), str(event.origin.offset)
    record.entity = number
    inbox = Inbox(place_id("credit", event.origin), body_digest(b""), record.call_id)
    messages = [
        Message(number, target, event.key, b'{"n":%d}' % event.origin.offset)
        for target in ("kafka:decisions", "queue:review", "table:decisions")
    ]
    return Settled(event, record, inbox, tuple(messages))


def settle(ledger: Ledger, events: Sequence[Event], rng: random.Random) -> None:
    """One batch, and say how many of it were in time."""
    batch = [settled(event, rng) for event in events]
    late = ledger.events.settle(batch, now_us=time.time_ns() // 1000)
    os.write(1, b"%d\n" % (len(batch) - len(late)))


def main() -> None:
    """See above."""
    url, folder, name, mode = sys.argv[1:5]
    ledger, rng = open_ledger(url, Path(folder), busy_timeout_s=30), random.Random(name)
    os.write(1, b"ready\n")
    if mode == "same":
        sys.stdin.readline()
        offsets = list(range(int(sys.argv[5])))
        rng.shuffle(offsets)
        for start in range(0, len(offsets), 20):
            some = offsets[start : start + 20]
            settle(ledger, [Event(Origin("kafka:in", 0, n), b"k", b"") for n in some], rng)
    else:
        while ledger.queue.depth("orders"):
            now_us = time.time_ns() // 1000
            events = ledger.queue.take("orders", 40, name, now_us=now_us, lease_us=10**9)
            if events:
                settle(ledger, events, rng)
            else:
                time.sleep(0.01)  # another holds the rest
    ledger.close()


if __name__ == "__main__":
    main()
